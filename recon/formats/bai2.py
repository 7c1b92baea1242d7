"""BAI2 (Cash Management Balance Reporting, version 2): accounts, totals and details of US and Canadian banks.

Lives here: records, continuations, control totals, the meaning of type codes. Must not live here: proofs
(`assembly`).

A record starts with its code at the start of a line, or behind the ``/`` that ends the record before. 88
continues the record before it. Amounts have the currency's implied decimals. Control totals: 49 is the sum of
every amount of the account as written, 98 of its accounts, 99 of its groups; each also counts. Source: BAI,
Cash Management Balance Reporting Specifications, version 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from recon.formats.assembly import Draft, Line, day_of, finish_file
from recon.formats.camt_progress import Notes
from recon.formats.mt940 import CONTROL, decoded
from recon.formats.rules import StatementRefused
from recon.formats.values import Fault, exponent_of, reference, shown
from recon.model import Balance, EntryStatus, StatementFile

_START: Final = re.compile(r"\s*(01|02|03|16|49|88|98|99)([,:/])(.*)", re.DOTALL)
_NEXT: Final = re.compile(r"/\s+(?=(?:01|02|03|16|49|88|98|99),)")
_AMOUNT: Final = re.compile(r"([+-]?)([0-9]{1,18})")
# Status codes of balances (Appendix A): ledger balances are booked, available ones are not.
_BALANCES: Final = {"010": "OPBD", "015": "CLBD", "040": "OPAV", "045": "CLAV", "030": "ITBD", "060": "ITAV"}
_TOTALS: Final = {"100": 1, "400": -1}
# Records that stand between accounts.
_OUTSIDE: Final = frozenset({"01", "02", "03", "98", "99"})
# Items that came back: ACH, wires, checks, cash letters (Appendix A).
_RETURNS: Final = frozenset(
    {str(code) for code in (*range(250, 259), 261, 266, 268, 552, *range(555, 558), 561, 563, 564, 566, 567, 568, 651)}
)
# What stands behind the item count; anything else there is the next type code.
_FUNDS: Final = frozenset({"", "0", "1", "2", "D", "S", "V", "Z"})
_NO_MONEY: Final = "890"
# Labels that are fields of a line; any other stays in the text.
_LABEL: Final = re.compile(r"(EREF|REMI|DBNM|CRNM|DACT|CACT):\s*(.*)")
_LENGTH: Final = re.compile(r"\s*01,(?:[^,\n]*,){5}([0-9]{2,5}),")
_REASON: Final = re.compile(r'Reason: "(R[0-9]{2}|C[0-9]{2})"')


# Type code 100 or 400 → stated sum and number of the account's credits or debits.
_Sums = dict[str, tuple[int, int | None]]


@dataclass(slots=True)
class _Record:
    code: str
    line: int
    fields: list[str]
    more: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Totals:
    """Running sums for the control records."""

    amount: int = 0
    records: int = 0
    children: int = 0
    stated: _Sums = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    as_of: date | None
    clock: str
    currency: str
    originator: str | None
    modifier: str
    status: str
    totals: _Totals = field(default_factory=_Totals)


def looks_like_bai2(text: str) -> bool:
    return re.match(r"\s*01,[^,\n]*,[^,\n]*,[0-9]{6}(?:[0-9]{2})?,", text) is not None


def read_bai2(data: bytes, *, name: str) -> StatementFile:
    """Read a BAI2 file; one statement for each account record.

    Raises `StatementRefused`: cut short (no 99 record), or no account in it.
    """
    text, encoding = decoded(data)
    records = list(_records(text))
    if not records or records[-1].code != "99":
        line = records[-1].line if records else 1
        raise StatementRefused("cut-short", line, "the file ends without its 99 record: fetch it again from the bank")
    notes = Notes()
    if encoding != "utf-8":
        notes.add("encoding-assumed", f"the text is not UTF-8; read as {encoding}", 1)
    drafts = _walk(records, notes)
    if not drafts:
        raise StatementRefused("no-statement", 1, "no account record (03) in the file: ask the bank to send it again")
    return finish_file(name, data, drafts, notes)


def _lines(text: str) -> list[str]:
    """Lines; a file in one piece is cut at the physical record length that its header states."""
    lines = re.split(r"\r\n|\n|\r", CONTROL.sub("", text).strip("\n"))
    length = _LENGTH.match(text)
    if len(lines) > 1 or length is None:
        return lines
    size = int(length.group(1))
    return [lines[0][at : at + size] for at in range(0, len(lines[0]), size)]


def _records(text: str) -> Iterator[_Record]:
    current: _Record | None = None
    for number, line in enumerate(_lines(text), 1):
        for piece in _NEXT.split(line):
            found = _START.match(piece)
            if found is None:
                if current is not None and piece.strip():
                    _continue(current, piece, number, wrapped=True)
                continue
            body = _body(found.group(3))
            if found.group(1) == "88":
                if current is not None:
                    _continue(current, body, number, wrapped=False)
            else:
                if current is not None:
                    yield current
                current = _Record(found.group(1), number, body.split(","))
    if current is not None:
        yield current


def _body(text: str) -> str:
    text = text.rstrip()
    return text[:-1] if text.endswith("/") else text


def _continue(record: _Record, text: str, number: int, *, wrapped: bool) -> None:
    """A text that ran over the line's end, or an 88 record: fields of the record before, or more of its text."""
    if wrapped:
        text = _body(text)
    if record.code == "16" and _text_at(record.fields) is not None:
        record.more.append((text.strip(), number))
    elif wrapped:
        record.fields[-1] += text
    else:
        record.fields += text.split(",")
    if not wrapped:
        record.more.append(("", number))


def _text_at(fields: list[str]) -> int | None:
    """Where the text of a 16 record starts; None when its fields are not complete yet."""
    at = _references_at(fields) + 2
    return at if len(fields) > at else None


def _references_at(fields: list[str]) -> int:
    """Where the two references of a 16 record stand, behind its funds type."""
    kind = fields[2].strip().upper() if len(fields) > 2 else ""
    skip = {"S": 3, "V": 2}.get(kind, 0)
    if kind == "D":
        count = fields[3].strip() if len(fields) > 3 else ""
        skip = 1 + 2 * int(count) if count.isdigit() and len(count) < 3 else 0
    return 3 + skip


def _walk(records: list[_Record], notes: Notes) -> list[Draft]:
    drafts: list[Draft] = []
    group = _Group(None, "", "USD", None, "", "")
    file_totals, account = _Totals(), _Totals()
    draft: Draft | None = None
    for record in records:
        lines = 1 + sum(1 for text, _ in record.more if text == "")
        if record.code in _OUTSIDE and draft is not None:
            draft.set_aside(0, Fault("control-missing", "the account has no 49 record"), draft.source_line)
            draft = None
        if record.code == "01":
            file_totals = _Totals()
        for totals in (account, group.totals, file_totals):
            totals.records += lines
        if record.code == "02":
            group = _group(record, notes)
            group.totals.records = lines
        elif record.code == "03":
            account = _Totals(records=lines)
            draft = _account(record, group, account)
            drafts.append(draft)
        elif record.code == "16":
            if draft is None:
                raise StatementRefused("entry-misplaced", record.line, "a 16 record outside an account: ask the bank")
            _detail(record, draft, group, account)
        elif record.code == "49" and draft is not None:
            group.totals.amount += _stated(record, 0)
            group.totals.children += 1
            _check_account(record, draft, account)
            draft = None
        elif record.code == "98":
            file_totals.amount += _stated(record, 0)
            file_totals.children += 1
            _check(record, group.totals, "group-total-differs", notes)
        elif record.code == "99":
            _check(record, file_totals, "file-total-differs", notes)
    _number_repeats(drafts)
    return drafts


def _group(record: _Record, notes: Notes) -> _Group:
    fields = [each.strip() for each in record.fields] + [""] * 8
    as_of = _day(fields[3])
    if as_of is None:
        notes.add("date-unreadable", f"as-of date {shown(fields[3])} is not a date", record.line)
    group = _Group(as_of, fields[4], fields[5] or "USD", reference(fields[1]), fields[6], fields[2])
    if group.status not in ("", "1"):
        word = {"2": "deletion", "3": "correction", "4": "test"}.get(group.status, group.status)
        notes.add("group-status", f"the group is marked {word}", record.line)
    return group


def _day(text: str) -> date | None:
    """YYMMDD, or YYYYMMDD as in version 3."""
    found = re.fullmatch("(?:20)?([0-9]{2})([0-9]{2})([0-9]{2})", text)
    return None if found is None else day_of(2000 + int(found.group(1)), int(found.group(2)), int(found.group(3)))


def _account(record: _Record, group: _Group, totals: _Totals) -> Draft:
    fields = [each.strip() for each in record.fields]
    currency = (fields[1] if len(fields) > 1 else "") or group.currency
    intraday = group.modifier in ("3", "4")
    draft = Draft(
        version="bai2.intraday" if intraday else "bai2",
        source_line=record.line,
        account=reference(fields[0]),
        currency=currency if exponent_of(currency) is not None else None,
        from_date=group.as_of,
        to_date=group.as_of,
    )
    day = group.as_of.isoformat() if group.as_of else "undated"
    draft.id = f"{day} {group.clock}".strip() if intraday else day
    draft.content = [",".join(fields)]
    if draft.currency is None:
        draft.set_aside(
            0, Fault("currency-unknown", f"currency {shown(currency)} is not an ISO 4217 code"), record.line
        )
    if group.status in ("2", "4"):
        draft.set_aside(0, Fault("not-original", "the group is a deletion or a test"), record.line)
    totals.stated = _summaries(fields[2:], draft, totals, record.line)
    return draft


def _summaries(fields: list[str], draft: Draft, totals: _Totals, line: int) -> _Sums:
    """Balances go to the draft, stated sums of details come back. A list of type, amount, item count, funds type.

    Lines end with more or fewer commas than their fields need: an empty type code is passed over.
    """
    at = 0
    stated: _Sums = {}
    while at < len(fields):
        if not fields[at]:
            at += 1
            continue
        code, text, count, kind = [*fields[at : at + 4], "", "", "", ""][:4]
        at += 4
        kind = kind.upper()
        if kind not in _FUNDS:
            at -= 1
        elif kind == "S":
            at += 3
        elif kind == "V":
            at += 2
        elif kind == "D":
            days = fields[at] if at < len(fields) else ""
            at += 1 + 2 * (int(days) if days.isdigit() and len(days) < 3 else 0)
        if not text:
            continue
        found = _AMOUNT.fullmatch(text)
        if found is None:
            _unreadable(code, text, draft, line)
            continue
        amount = int(found.group(1) + found.group(2))
        totals.amount += amount
        if code in _TOTALS:
            stated[code] = (amount, int(count) if count.isdigit() and len(count) < 10 else None)
        elif code in _BALANCES and draft.currency is not None:
            draft.balances.append(
                Balance(
                    kind=_BALANCES[code],
                    intermediate=False,
                    amount_minor=amount,
                    currency=draft.currency,
                    day=draft.to_date,
                    moment=None,
                    source_line=line,
                )
            )
    return stated


def _unreadable(code: str, text: str, draft: Draft, line: int) -> None:
    fault = Fault("amount-garbled", f"{code}: {shown(text)} is not a whole number of minor units")
    if code in ("010", "015"):
        draft.set_aside(0, fault, line)
    else:
        draft.notes.add("balance-unreadable", fault.message, line)


def _detail(record: _Record, draft: Draft, group: _Group, totals: _Totals) -> None:
    draft.entry_count += 1
    ordinal = draft.entry_count
    fields = [each.strip() for each in record.fields]
    draft.content.append(",".join([*fields, *(text for text, _ in record.more)]))
    code, text = fields[0], fields[1] if len(fields) > 1 else ""
    sign = _sign(code)
    if re.fullmatch(r"[0-9]{1,18}", text):
        totals.amount += int(text)
    at = _references_at(fields)
    bank, customer = [*fields[at : at + 2], "", ""][:2]
    if code == _NO_MONEY and not text.strip("0"):
        draft.notes.add("information-only", "an 890 record is a text and moves no money", record.line)
        return
    fault = _detail_fault(code, text, sign, draft)
    if fault is not None or sign is None or draft.currency is None:
        draft.set_aside(
            ordinal, fault or Fault("sign-unknown", f"type code {shown(code)}"), record.line, reference=bank or None
        )
        return
    labels, words = _labels([",".join(record.fields[at + 2 :]).strip(), *(each for each, _ in record.more)])
    amount = sign * int(text)
    reason = _REASON.search(words)
    mine = labels.get("DBNM") if sign > 0 else labels.get("CRNM")
    draft.lines.append(
        Line(
            line_ordinal=ordinal,
            amount_minor=amount,
            entry_amount_minor=amount,
            currency=draft.currency,
            status=(EntryStatus.PDNG if draft.version == "bai2.intraday" else EntryStatus.BOOK).value,
            booking_date=group.as_of,
            value_date=_value_date(fields, group.as_of),
            account_servicer_ref=reference(bank),
            instruction_id=reference(customer),
            end_to_end_id=reference(labels.get("EREF")) or reference(customer),
            remittance=labels.get("REMI") or words or None,
            party_name=mine or None,
            party_account=(labels.get("DACT") if sign > 0 else labels.get("CACT")) or None,
            proprietary_code=code,
            return_reason=reason.group(1) if reason else "NARR" if code in _RETURNS else None,
            additional_info=words or None,
            source_line=record.line,
        )
    )


def _sign(code: str) -> int | None:
    """1 credit, -1 debit, None: a type code that moves no money or is not in the standard's ranges."""
    if not re.fullmatch(r"[0-9]{3}", code):
        return None
    number = int(code)
    if 100 <= number <= 399 or 920 <= number <= 959 or number in (721, 722):
        return 1
    if 400 <= number <= 699 or 960 <= number <= 999:
        return -1
    return None


def _detail_fault(code: str, text: str, sign: int | None, draft: Draft) -> Fault | None:
    if draft.currency is None:
        return Fault("currency-unknown", "the account's currency is not known")
    if not text:
        return Fault("amount-missing", "the amount is missing")
    if re.fullmatch(r"-[0-9]{1,18}", text):
        return Fault("amount-negative", f"amount {shown(text)} has a sign of its own besides its type code")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        return Fault("amount-garbled", f"amount {shown(text)} is not a whole number of minor units")
    if sign is None:
        return Fault("sign-unknown", f"type code {shown(code)} is neither a credit nor a debit")
    return None


def _value_date(fields: list[str], as_of: date | None) -> date | None:
    kind = fields[2].upper() if len(fields) > 2 else ""
    if kind == "V" and len(fields) > 3:
        return _day(fields[3]) or as_of
    return None if kind in ("1", "2", "S", "D") else as_of


def _labels(texts: list[str]) -> tuple[dict[str, str], str]:
    """Texts that banks label (``EREF: …``), and the rest as one text."""
    labels: dict[str, str] = {}
    rest: list[str] = []
    for text in texts:
        found = _LABEL.fullmatch(text.strip())
        if found is not None:
            labels.setdefault(found.group(1), found.group(2).strip())
        elif text.strip():
            rest.append(text.strip())
    return labels, re.sub(r"\s+", " ", " ".join(rest)).strip()


def _stated(record: _Record, place: int) -> int:
    text = record.fields[place].strip() if len(record.fields) > place else ""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,24}", text) else 0


def _check_account(record: _Record, draft: Draft, totals: _Totals) -> None:
    """The account's own control total: when it does not hold, a record was lost or changed."""
    if _stated(record, 0) != totals.amount:
        message = f"control total {_stated(record, 0)}, the records add up to {totals.amount}"
        draft.set_aside(0, Fault("total-differs", message), record.line)
    elif _stated(record, 1) != totals.records:
        message = f"control count {_stated(record, 1)}, there are {totals.records} records"
        draft.notes.add("record-count-differs", message, record.line)
    for code, (amount, _) in totals.stated.items():
        mine = sum(abs(line.amount_minor) for line in draft.lines if line.amount_minor * _TOTALS[code] > 0)
        if draft.entry_count and mine != abs(amount):
            word = "credits" if code == "100" else "debits"
            draft.notes.add(
                "summary-count-differs", f"{code} states {word} of {amount}, details have {mine}", record.line
            )


def _check(record: _Record, totals: _Totals, rule: str, notes: Notes) -> None:
    stated = (_stated(record, 0), _stated(record, 1))
    if stated != (totals.amount, totals.children):
        message = f"record {record.code} states sum and number {stated}, there are {(totals.amount, totals.children)}"
        notes.add(rule, message, record.line)
    elif _stated(record, 2) != totals.records:
        message = f"record {record.code} counts {_stated(record, 2)} records, there are {totals.records}"
        notes.add("record-count-differs", message, record.line)


def _number_repeats(drafts: list[Draft]) -> None:
    """The same account and day twice in a file: the second is told apart by its place."""
    seen: dict[tuple[str | None, str | None], int] = {}
    for draft in drafts:
        key = (draft.account, draft.id)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            draft.id = f"{draft.id} ({seen[key]})"
