"""SWIFT MT940 (customer statement) and MT942 (interim report), in the dialects of the banks.

Lives here: fields, statements, balances, the :61: line. Must not live here: what stands in :86:
(`mt940_details`), proofs (`assembly`).

A field starts a line with a tag the message knows; any other line belongs to the field before, because banks
wrap texts at 65 characters and a time like ``:26:37`` may come to stand at the start of a line. SWIFT blocks,
transport lines before the first field, carriage returns and control characters carry no meaning and are passed
over. Field formats: SWIFT Standards MT, category 9; the German rules: Deutsche Kreditwirtschaft, DFÜ annex 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from typing import Final

from recon.formats.assembly import Draft, Line, day_of, finish_file
from recon.formats.mt940_details import Details, read_details, read_ns, read_supplement
from recon.formats.rules import StatementRefused
from recon.formats.values import Fault, iban_in, parse_money, shown, without_currency
from recon.model import Balance, EntryStatus, StatementFile

_TAG: Final = re.compile(
    r"[ \t]*:(20|21|25P?|28C?|13D?|34F|60[FM]?|61|86|62[FM]?|64|65F?|90[CD]|NS|940|942):(.*)", re.DOTALL
)
# Braces may have become national letters on their way through a seven-bit alphabet.
_BLOCK: Final = re.compile(r"\{[1-5]:(?:[^{}\n]|\{[^{}\n]*\})*\}|\{4:\s*$|^\s*[{äæ]4:")
_MESSAGE_TYPE: Final = re.compile(r"\{2:[IO](94[02])")
_END: Final = re.compile(r"-(?:[}åü].*|X{3})?\s*")
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_AMOUNT: Final = r"[0-9]+(?:[,.][0-9]*)?|[,.][0-9]+"
_ENTRY: Final = re.compile(
    rf"([0-9]{{6}})([0-9]{{4}})?\s*(RC|RD|EC|ED|C|D)([A-Z])?\s?({_AMOUNT})\s?"
    r"(?:([A-Z][A-Z0-9 ]{3})(.*)|([A-Za-z/].*))?",
    re.DOTALL,
)
_BALANCE: Final = re.compile(rf"([CD])([0-9]{{6}})([A-Z]{{3}})?\s*({_AMOUNT})\s*")
_NUMBER: Final = re.compile(r"\s*([0-9]{1,9})(?:\s*/\s*([0-9]{1,9}))?\s*")
_HEAD: Final = ("25", "28", "60", "34")
_HEAD_FIELD: Final = re.compile(r"^[ \t]*:(20|25|28|34|60)[A-Z]?:", re.MULTILINE)
_KINDS: Final = {"60F": "OPBD", "60M": "OPBD", "62F": "CLBD", "62M": "CLBD", "64": "CLAV", "65": "FWAV"}
# What a bank writes into :61: when there is no reference, or it stands in :86:.
_POINTERS: Final = frozenset(
    {"NONREF", "NOREF", "NOTPROVIDED", "EREF", "KREF", "MREF", "MARF", "PREF", "CREF", "REMI", "REF", "", "-", "."}
)
_SIGNS: Final = {"C": 1, "D": -1, "RC": -1, "RD": 1, "EC": 1, "ED": -1}
REFERENCE_CHARACTERS: Final = 16


@dataclass(slots=True)
class _Field:
    tag: str
    line: int
    texts: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


@dataclass(slots=True)
class _RawEntry:
    head: _Field
    information: list[_Field] = field(default_factory=list)


def looks_like_mt(text: str) -> bool:
    """Whether a text is a SWIFT MT940 or MT942: it has two of the fields that stand at a statement's head."""
    return len(set(_HEAD_FIELD.findall(_in_lines(text)))) > 1


def read_mt940(data: bytes, *, name: str) -> StatementFile:
    """Read a file of one or more MT940/MT942 messages.

    Raises `StatementRefused` when it has no statement. An entry that cannot be read is quarantined.
    """
    text, encoding = decoded(data)
    drafts: list[Draft] = []
    for version, fields in _messages(text):
        drafts.append(_statement(version, fields))
    if not drafts:
        raise StatementRefused("no-statement", 1, "no :20: field starts a statement: ask the bank to send it again")
    if encoding != "utf-8":
        drafts[0].notes.add("encoding-assumed", f"the text is not UTF-8; read as {encoding}", drafts[0].source_line)
    return finish_file(name, data, _joined(drafts))


def decoded(data: bytes) -> tuple[str, str]:
    """Text and encoding: UTF-8, UTF-16 with its mark, else Windows-1252, else Latin-1 (which reads any byte)."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), "utf-8"
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def _in_lines(text: str) -> str:
    """Line feeds alone. Home banking transports write two signs for a line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("@@", "\n") if "@@:20:" in text else text


def _messages(text: str) -> Iterator[tuple[str, list[_Field]]]:
    """Fields of each message. A :20: starts one; behind a closing balance or an end mark any head field does.

    An end mark (``-``, ``-}``) alone ends nothing, because a wrapped text may leave a lone hyphen on a line.
    """
    fields: list[_Field] = []
    version = stated = ""
    ended = closed = False
    for number, raw in enumerate(_in_lines(text).split("\n"), 1):
        if found := _MESSAGE_TYPE.search(raw):
            stated = f"mt{found.group(1)}"
        line = CONTROL.sub("", _BLOCK.sub("", raw))
        found = _TAG.match(line)
        if found is None:
            ended = ended or bool(_END.fullmatch(line))
            if fields and not ended:
                fields[-1].texts.append(line)
            continue
        tag = found.group(1)
        if tag in ("940", "942"):
            stated, ended = f"mt{tag}", True
            continue
        if tag == "20" or (tag[:2] in _HEAD and (ended or closed or not fields)):
            if fields:
                yield version or _version(fields), fields
            fields, version, closed = [], stated, False
        ended = False
        closed = closed or tag[:2] == "62"
        if fields or tag == "20" or tag[:2] in _HEAD:
            fields.append(_Field(tag, number, [found.group(2)]))
    if fields:
        yield version or _version(fields), fields


def _version(fields: list[_Field]) -> str:
    """MT942 has floor limits, a date-time or sums, and no opening balance."""
    tags = {each.tag for each in fields}
    return "mt942" if tags & {"34F", "90C", "90D", "13D"} and not tags & {"60F", "60M"} else "mt940"


def _statement(version: str, fields: list[_Field]) -> Draft:
    reference = fields[0].text.strip() if fields[0].tag == "20" else ""
    draft = Draft(version=version, source_line=fields[0].line, message_id=reference or None)
    entries: list[_RawEntry] = []
    sums: list[_Field] = []
    closed = False
    for each in fields:
        if each.tag in ("61", "NS", "86"):
            _collect(each, entries, draft, closed=closed)
        elif each.tag in _KINDS or each.tag[:2] in ("60", "62", "65"):
            closed = closed or each.tag[:2] == "62"
            _balance(each, draft)
        elif each.tag[:2] in ("25", "28", "13") and not entries:
            _head(each, draft)
        elif each.tag in ("90C", "90D"):
            sums.append(each)
        elif entries and each.tag not in ("34F", "13D"):
            draft.notes.add("field-misplaced", f":{each.tag}: stands among the entries; passed over", each.line)
    draft.content = [f"{each.tag}:{each.text.rstrip()}" for each in fields if each.tag not in ("20", "13D")]
    draft.currency = draft.currency or _currency_of_sums([each for each in fields if each.tag == "34F"] + sums)
    days = [b.day for b in draft.balances if b.day and b.kind in ("OPBD", "CLBD")]
    draft.to_date = max(days) if days else draft.created_at.date() if draft.created_at else None
    for ordinal, entry in enumerate(entries, 1):
        _entry(ordinal, entry, draft)
    draft.entry_count = len(entries)
    _identify(draft)
    for each in sums:
        _compare_sum(each, draft)
    return draft


def _collect(each: _Field, entries: list[_RawEntry], draft: Draft, *, closed: bool) -> None:
    if each.tag == "61":
        entries.append(_RawEntry(each))
    elif entries and not closed:
        entries[-1].information.append(each)
    elif each.tag == "NS" and not entries:
        found = re.search(r"^22(.*)$", each.text, re.MULTILINE)
        draft.owner = (found.group(1).strip() or None) if found else None


def _head(each: _Field, draft: Draft) -> None:
    text = each.text.strip()
    if each.tag[:2] == "25":
        account = text.split("\n")[0].strip()
        draft.iban = iban_in(account)
        draft.account = None if draft.iban else without_currency(account) or None
    elif each.tag[:2] == "28":
        if found := _NUMBER.fullmatch(text):
            draft.sequence = int(found.group(1)) or None
            draft.page = int(found.group(2)) if found.group(2) else None
            draft.id = text
        elif text:
            draft.id = text
            draft.notes.add("sequence-unreadable", f":{each.tag}: {shown(text)} is not a statement number", each.line)
    elif found := re.fullmatch(r"([0-9]{6})([0-9]{4})([+-][0-9]{4})?", text):
        day, clock = _day(found.group(1)), found.group(2)
        if day is not None and int(clock[:2]) < 24 and int(clock[2:]) < 60:
            zone = None
            if offset := found.group(3):
                minutes = int(offset[1:3]) * 60 + int(offset[3:5])
                zone = timezone(timedelta(minutes=(-minutes if offset[0] == "-" else minutes) % 1440))
            draft.created_at = datetime(day.year, day.month, day.day, int(clock[:2]), int(clock[2:]), tzinfo=zone)


def _day(text: str) -> date | None:
    """YYMMDD; 80 and later are of the last century."""
    year = int(text[:2])
    return day_of(year + (1900 if year >= 80 else 2000), int(text[2:4]), int(text[4:6]))


def _value_day(text: str, draft: Draft, line: int) -> date | None:
    """As `_day`; 30 February is the last of February (months of thirty days, used for value dates)."""
    day = _day(text)
    if day is None and text[2:4] == "02" and text[4:6] in ("29", "30"):
        draft.notes.add("thirtieth-of-february", f"{text} is read as the last day of February", line)
        day = _day(text[:2] + "0301")
        return None if day is None else day - timedelta(days=1)
    return day


def _balance(each: _Field, draft: Draft) -> None:
    kind = _KINDS.get(each.tag) or _KINDS.get(each.tag + "F") or "FWAV"
    found = _BALANCE.fullmatch(each.text.strip().split("\n")[0].strip())
    is_book = kind in ("OPBD", "CLBD")
    currency = draft.currency if found is None else found.group(3) or draft.currency
    if found is not None and found.group(3) is None and currency is not None:
        draft.notes.add("balance-currency-assumed", f":{each.tag}: has no currency; that of the opening", each.line)
    amount = (
        Fault("amount-garbled", f":{each.tag}: {shown(each.text)} is not sign, date, currency and amount")
        if found is None
        else _money(found.group(4), currency)
    )
    if isinstance(amount, Fault) or found is None or currency is None:
        fault = amount if isinstance(amount, Fault) else Fault("currency-missing", "no currency")
        if is_book:
            draft.set_aside(0, fault, each.line)
        else:
            draft.notes.add("balance-unreadable", f"balance {kind}: {fault.message}", each.line)
        return
    if is_book:
        draft.currency = draft.currency or currency
    day = _value_day(found.group(2), draft, each.line)
    if day is None:
        draft.notes.add("date-unreadable", f"{shown(found.group(2))} is not a date", each.line)
    draft.balances.append(
        Balance(
            kind=kind,
            intermediate=each.tag.endswith("M"),
            amount_minor=_SIGNS[found.group(1)] * amount,
            currency=currency,
            day=day,
            moment=None,
            source_line=each.line,
        )
    )


def _money(text: str, currency: str | None) -> int | Fault:
    return parse_money(
        text.replace(",", ".").strip(".") if text.endswith((",", ".")) else text.replace(",", "."), currency
    )


def _entry(ordinal: int, raw: _RawEntry, draft: Draft) -> None:
    first, _, supplement = raw.head.text.partition("\n")
    found = _ENTRY.fullmatch(first.strip())
    if found is None:
        fault = Fault("garbled", f":61: {shown(first)} is not date, mark and amount")
        draft.set_aside(ordinal, fault, raw.head.line)
        return
    amount = _money(found.group(5), draft.currency)
    value_date = _value_day(found.group(1), draft, raw.head.line)
    kind, rest = _kind(found.group(6) or "", found.group(7) or found.group(8) or "")
    reference, bank_reference, more = _references(rest)
    if value_date is None:
        draft.set_aside(
            ordinal, Fault("date-garbled", f"value date {shown(found.group(1))} is not a date"), raw.head.line
        )
    if isinstance(amount, Fault):
        draft.set_aside(ordinal, amount, raw.head.line, reference=reference)
    if isinstance(amount, Fault) or value_date is None or draft.currency is None:
        return
    mark = found.group(3)
    details = _details(raw, [more, supplement])
    signed = _SIGNS[mark] * amount
    draft.lines.append(
        Line(
            line_ordinal=ordinal,
            amount_minor=signed,
            entry_amount_minor=signed,
            currency=draft.currency,
            status=_status(draft.version, mark),
            is_reversal=mark in ("RC", "RD"),
            booking_date=_booking_date(found.group(2), value_date, draft, raw.head.line),
            value_date=value_date,
            account_servicer_ref=bank_reference,
            payment_information_id=details.payment_information_id,
            instruction_id=reference,
            end_to_end_id=details.end_to_end_id or reference,
            transaction_id=details.transaction_id,
            mandate_id=details.mandate_id,
            structured_ref=details.structured_ref,
            remittance=details.remittance,
            party_name=details.party_name,
            party_account=details.party_account,
            proprietary_code="+".join(part for part in (kind, details.code) if part) or None,
            return_reason=details.return_reason,
            charges_minor=_part(details.charges, draft.currency),
            instructed_amount_minor=None if details.instructed is None else _part(details.instructed, None),
            instructed_currency=None
            if details.instructed is None or _part(details.instructed, None) is None
            else details.instructed[0],
            additional_info=details.text,
            source_line=raw.head.line,
        )
    )


def _part(stated: tuple[str, str] | None, currency: str | None) -> int | None:
    """Minor units of a currency and amount text; None when there is none, or not in `currency`."""
    if stated is None or (currency is not None and stated[0] != currency):
        return None
    amount = _money(stated[1], stated[0])
    return None if isinstance(amount, Fault) else amount


def _status(version: str, mark: str) -> str:
    """A statement reports what is booked; an interim report informs, and E marks what is expected."""
    if mark.startswith("E"):
        return EntryStatus.FUTR.value
    return (EntryStatus.PDNG if version == "mt942" else EntryStatus.BOOK).value


def _kind(kind: str, rest: str) -> tuple[str, str]:
    """Transaction type and references; some banks leave the type out, and NONREF follows the amount."""
    pointer = (kind + rest).partition("//")[0].strip()
    return ("", kind + rest) if pointer in ("NONREF", "NOREF") else (kind.strip(), rest)


def _references(text: str) -> tuple[str | None, str | None, str]:
    """The account owner's reference, the bank's, and a text that some banks put behind them."""
    own, _, bank = text.partition("//")
    more = ""
    if iban_in(own.strip()) is not None:
        own, more = "", own
    elif len(own) > REFERENCE_CHARACTERS and "//" not in text:
        own, more = own[:REFERENCE_CHARACTERS], own[REFERENCE_CHARACTERS:]
    return _reference(own), _reference(bank), more.strip()


def _reference(text: str) -> str | None:
    found = text.strip()
    return None if found.upper().rstrip("+") in _POINTERS else found


def _details(raw: _RawEntry, supplements: list[str]) -> Details:
    ns = "\n".join(each.text for each in raw.information if each.tag == "NS")
    information = "\n".join(each.text for each in raw.information if each.tag == "86")
    details = read_ns(ns) if ns and not information.strip() else read_details(information)
    return read_supplement(details, "\n".join(text for text in supplements if text.strip()))


def _booking_date(text: str | None, value_date: date, draft: Draft, line: int) -> date | None:
    """The entry date (MMDD) in the year nearest to the value date; without one see `booking-date-missing`."""
    if text is not None:
        near = [day_of(value_date.year + more, int(text[:2]), int(text[2:])) for more in (-1, 0, 1)]
        days = [day for day in near if day is not None]
        if days:
            return min(days, key=lambda day: abs(day - value_date))
        draft.notes.add("date-unreadable", f"entry date {shown(text)} is not a date", line)
    days = [b.day for b in draft.balances if b.day and b.kind in ("OPBD", "CLBD")]
    draft.notes.add("booking-date-missing", "no entry date: the value date where the statement covers it", line)
    if not days or min(days) <= value_date <= max(days):
        return value_date
    return max(days)


def _currency_of_sums(fields: list[_Field]) -> str | None:
    for each in fields:
        if found := re.match(r"[0-9]{0,5}([A-Z]{3})", each.text.strip()):
            return found.group(1)
    return None


def _compare_sum(each: _Field, draft: Draft) -> None:
    """:90D: and :90C: state how many debits and credits the report has, and their sum."""
    found = re.fullmatch(rf"([0-9]{{1,5}})([A-Z]{{3}})({_AMOUNT})", each.text.strip().split("\n")[0].strip())
    amount = _money(found.group(3), found.group(2)) if found else None
    if found is None or not isinstance(amount, int):
        draft.notes.add("balance-unreadable", f":{each.tag}: is not number, currency and sum", each.line)
        return
    sign = 1 if each.tag == "90C" else -1
    mine = [line.amount_minor for line in draft.lines if line.amount_minor * sign > 0]
    if (len(mine), sum(mine) * sign) != (int(found.group(1)), amount):
        message = f":{each.tag}: says {int(found.group(1))} entries, there are {len(mine)}, or their sums differ"
        draft.notes.add("summary-count-differs", message, each.line)


def _identify(draft: Draft) -> None:
    """Number and closing day: neither :20: (often one word for ever) nor the number alone tells statements apart."""
    day = draft.to_date or (draft.created_at.date() if draft.created_at else None)
    parts = [part for part in (draft.id, day.isoformat() if day else None) if part]
    draft.id = " ".join(parts) or draft.message_id


def _joined(drafts: list[Draft]) -> list[Draft]:
    """Pages that follow each other (62M, then 60M of the same amount and statement number) as one statement."""
    joined: list[Draft] = []
    for draft in drafts:
        before = joined[-1] if joined else None
        if before is None or not _continues(before, draft):
            joined.append(draft)
            continue
        shift = before.entry_count
        before.lines += [_moved(line, shift) for line in draft.lines]
        before.quarantined += [
            replace(bad, line_ordinal=bad.line_ordinal + shift) if bad.line_ordinal else bad
            for bad in draft.quarantined
        ]
        before.balances = [b for b in before.balances if not (b.kind == "CLBD" and b.intermediate)]
        before.balances += [b for b in draft.balances if not (b.kind == "OPBD" and b.intermediate)]
        before.entry_count += draft.entry_count
        before.content += draft.content
        before.page, before.to_date, before.id = draft.page, draft.to_date, draft.id
    return joined


def _moved(line: Line, shift: int) -> Line:
    line.line_ordinal += shift
    return line


def _continues(before: Draft, draft: Draft) -> bool:
    ends = [b for b in before.balances if b.kind == "CLBD" and b.intermediate]
    starts = [b for b in draft.balances if b.kind == "OPBD" and b.intermediate]
    return (
        (before.iban, before.account, before.version) == (draft.iban, draft.account, draft.version)
        and before.sequence == draft.sequence
        and [b.amount_minor for b in ends] == [b.amount_minor for b in starts]
        and len(ends) == 1
    )
