"""From one raw entry to rows of `StatementLines`, or to the faults that quarantine it.

Lives here: the meaning of an entry and of its transactions. Must not live here: XML, balances, proofs.

The sign is CdtDbtInd of the entry alone; RvslInd is information. An entry is split into its transactions
only when all their amounts are given and sum to it exactly; otherwise the entry stays one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Final

from recon.formats.camt_shape import RawAmount, RawDetail, RawEntry, RawGroup
from recon.formats.values import Fault, clean, parse_count, parse_day, parse_money, reference, shown
from recon.model import EntryStatus, Finding, Quarantined

Row = tuple[object, ...]

_SIGNS: Final = {"CRDT": 1, "DBIT": -1}
_STATUSES: Final = {status.value: status for status in EntryStatus}
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class Notes:
    """Findings of one statement, each rule once: first message, first line, how often."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int, int]] = {}

    def add(self, rule: str, message: str, line: int) -> None:
        first, at, count = self._found.get(rule, (message, line, 0))
        self._found[rule] = (first, at, count + 1)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(rule=rule, message=message, source_line=line, count=count)
            for rule, (message, line, count) in sorted(self._found.items())
        )


@dataclass(frozen=True, slots=True)
class DoubtfulEntry:
    """An entry in a currency that its statement had not stated when the entry was read."""

    line_ordinal: int
    currency: str
    source_line: int
    reference: str | None


@dataclass(slots=True)
class StatementInProgress:
    """What the entries of a statement need to know, and what they leave behind."""

    ordinal: int
    own_account: str | None
    missing_status: EntryStatus
    notes: Notes = field(default_factory=Notes)
    quarantined: list[Quarantined] = field(default_factory=list)
    booked_minor: dict[str, int] = field(default_factory=dict)
    row_count: dict[str, int] = field(default_factory=dict)
    entry_count: int = 0
    # Currencies stated before the first entry, and entries in any other: judged when all balances are read.
    stated_currencies: frozenset[str] = frozenset()
    doubtful: list[DoubtfulEntry] = field(default_factory=list)


@dataclass(slots=True)
class _Entry:
    line_ordinal: int
    amount_minor: int
    currency: str
    status: EntryStatus
    is_reversal: bool
    booking_date: date | None
    value_date: date | None
    batch_count: int | None


def entry_rows(raw: RawEntry, statement: StatementInProgress) -> Sequence[Row]:
    """Rows of the next entry of a statement; none when it is quarantined."""
    statement.entry_count += 1
    ordinal = statement.entry_count
    if raw.repeated:
        _quarantine(raw, statement, "field-repeated", "amount, sign or status is given twice")
        return ()
    bad_before = len(statement.quarantined)
    currency = clean(raw.currency)
    amount = parse_money(raw.amount, currency)
    if isinstance(amount, Fault):
        _quarantine(raw, statement, amount.rule, amount.message)
    sign = _sign(raw, statement)
    status = _status(raw, statement)
    booking_date = _day(raw, raw.booking_day, "booking", statement)
    value_date = _day(raw, raw.value_day, "value", statement)
    if len(statement.quarantined) > bad_before or isinstance(amount, Fault) or currency is None:
        return ()
    entry = _Entry(
        line_ordinal=ordinal,
        amount_minor=sign * amount,
        currency=currency,
        status=status,
        is_reversal=_is_reversal(raw, statement),
        booking_date=booking_date,
        value_date=value_date,
        batch_count=None,
    )
    rows = _rows(raw, entry, statement)
    if currency not in statement.stated_currencies:
        statement.doubtful.append(DoubtfulEntry(ordinal, currency, raw.line, _name(raw)))
    if status is EntryStatus.BOOK:
        if booking_date is None:
            message = "entry without BookgDt takes the day of the closing balance, else the period's end"
            statement.notes.add("booking-date-missing", message, raw.line)
        statement.booked_minor[currency] = statement.booked_minor.get(currency, 0) + entry.amount_minor
    statement.row_count[currency] = statement.row_count.get(currency, 0) + len(rows)
    return rows


def _quarantine(raw: RawEntry, statement: StatementInProgress, rule: str, message: str) -> None:
    statement.quarantined.append(
        Quarantined(
            line_ordinal=statement.entry_count,
            rule=f"entry-{rule}",
            message=f"entry {statement.entry_count}: {message}; ask the bank for a corrected statement",
            source_line=raw.line,
            reference=_name(raw),
        )
    )


def set_aside_foreign(statement: StatementInProgress, accepted: frozenset[str]) -> frozenset[int]:
    """Quarantine entries whose currency is neither the account's nor one of its book balances'.

    Returns their line ordinals; their rows are to be dropped. `accepted` is empty when nothing was stated.
    """
    foreign = [entry for entry in statement.doubtful if accepted and entry.currency not in accepted]
    for entry in foreign:
        statement.quarantined.append(
            Quarantined(
                line_ordinal=entry.line_ordinal,
                rule="entry-currency-differs",
                message=(
                    f"entry {entry.line_ordinal}: currency {entry.currency} is not the account's "
                    f"({', '.join(sorted(accepted))}) and has no balance of its own; ask the bank for the "
                    "booked amount"
                ),
                source_line=entry.source_line,
                reference=entry.reference,
            )
        )
        statement.booked_minor.pop(entry.currency, None)
        statement.row_count.pop(entry.currency, None)
    statement.quarantined.sort(key=lambda bad: bad.line_ordinal)
    return frozenset(entry.line_ordinal for entry in foreign)


def _name(raw: RawEntry) -> str | None:
    return clean(raw.servicer_ref) or clean(raw.reference)


def _sign(raw: RawEntry, statement: StatementInProgress) -> int:
    text = clean(raw.sign)
    if text is None:
        _quarantine(raw, statement, "sign-missing", "no CdtDbtInd, so credit and debit cannot be told apart")
        return 0
    sign = _SIGNS.get(text, 0)
    if sign == 0:
        _quarantine(raw, statement, "sign-unknown", f"CdtDbtInd {shown(text)} is neither CRDT nor DBIT")
    return sign


def _status(raw: RawEntry, statement: StatementInProgress) -> EntryStatus:
    text = clean(raw.status)
    if text is None and clean(raw.proprietary_status) is None:
        default = statement.missing_status
        statement.notes.add("status-missing", f"entry without Sts, read as {default}", raw.line)
        return default
    status = _STATUSES.get(text or "")
    if status is None:
        named = shown(text or clean(raw.proprietary_status) or "")
        _quarantine(raw, statement, "status-unknown", f"status {named} is not BOOK, PDNG, INFO or FUTR")
        return EntryStatus.INFO
    return status


def _day(raw: RawEntry, text: str | None, which: str, statement: StatementInProgress) -> date | None:
    if text is None:
        return None
    day = parse_day(text)
    if day is None:
        _quarantine(raw, statement, "date-garbled", f"{which} date {shown(text.strip())} is not a date")
    return day


def _is_reversal(raw: RawEntry, statement: StatementInProgress) -> bool:
    text = clean(raw.reversal)
    if text is None:
        return False
    found = _BOOLEANS.get(text)
    if found is None:
        statement.notes.add("reversal-unreadable", f"RvslInd {shown(text)} is not a boolean", raw.line)
    return bool(found)


def _rows(raw: RawEntry, entry: _Entry, statement: StatementInProgress) -> list[Row]:
    groups = raw.groups or []
    pairs = [(group, detail) for group in groups for detail in group.details or ()]
    entry.batch_count = _batch_count(groups, len(pairs), raw, statement)
    if len(pairs) > 1:
        amounts = _detail_amounts([detail for _, detail in pairs], entry, raw, statement)
        if amounts is not None:
            return [
                _row(raw, entry, group, detail, ordinal, amount, statement)
                for ordinal, ((group, detail), amount) in enumerate(zip(pairs, amounts, strict=True), 1)
            ]
        return [_row(raw, entry, _common_group(groups), _common_detail(pairs), 0, entry.amount_minor, statement)]
    if not pairs:
        return [_row(raw, entry, _common_group(groups), None, 0, entry.amount_minor, statement)]
    group, detail = pairs[0]
    if (entry.batch_count or 1) > 1 and not _is_whole(detail, entry):
        # One transaction shown out of many: its references do not stand for the entry.
        return [_row(raw, entry, group, None, 0, entry.amount_minor, statement)]
    return [_row(raw, entry, group, detail, 0, entry.amount_minor, statement)]


def _batch_count(
    groups: Sequence[RawGroup], details: int, raw: RawEntry, statement: StatementInProgress
) -> int | None:
    counts = [parse_count(group.count) for group in groups if group.count is not None]
    if not counts or None in counts:
        return None
    total = sum(count for count in counts if count is not None)
    if details and total != details:
        message = f"NbOfTxs says {total}, the entry has {details} transactions"
        statement.notes.add("batch-count-differs", message, raw.line)
    return total if total < 2**31 else None


def _detail_amount(detail: RawDetail, currency: str) -> int | None:
    """The transaction's amount in the entry's currency, unsigned: its own, else as transferred, else as instructed."""
    for text, code in (
        (detail.amount, detail.currency),
        (detail.transaction_amount, detail.transaction_currency),
        (detail.instructed_amount, detail.instructed_currency),
    ):
        if text is not None and code == currency:
            minor = parse_money(text, code)
            if not isinstance(minor, Fault):
                return minor
    return None


def _is_whole(detail: RawDetail, entry: _Entry) -> bool:
    amount = _detail_amount(detail, entry.currency)
    return amount is None or amount == abs(entry.amount_minor)


def _detail_amounts(
    details: Sequence[RawDetail], entry: _Entry, raw: RawEntry, statement: StatementInProgress
) -> list[int] | None:
    """Signed amounts that sum to the entry; None when they are not all given or do not."""
    own = -1 if clean(raw.sign) == "DBIT" else 1
    amounts: list[int] = []
    for detail in details:
        minor = _detail_amount(detail, entry.currency)
        if minor is None or detail.repeated:
            statement.notes.add(
                "detail-amount-missing", "not every transaction has an amount in the entry's currency", detail.line
            )
            return None
        amounts.append(minor * _SIGNS.get(clean(detail.sign) or "", own))
    total = sum(amounts)
    if total == entry.amount_minor:
        return amounts
    if total == -entry.amount_minor and all(amount * own <= 0 for amount in amounts):
        message = "all transactions carry the opposite sign of their entry; the entry's sign is taken"
        statement.notes.add("detail-sign-opposite", message, raw.line)
        return [-amount for amount in amounts]
    statement.notes.add("details-do-not-sum", "the transactions do not sum to their entry", raw.line)
    return None


def _common_group(groups: Sequence[RawGroup]) -> RawGroup:
    """What all batch heads of an entry agree on."""
    return RawGroup(
        message_id=_agreed([group.message_id for group in groups]),
        payment_information_id=_agreed([group.payment_information_id for group in groups]),
    )


def _common_detail(pairs: Sequence[tuple[RawGroup, RawDetail]]) -> RawDetail:
    """What all transactions of an unsplit batch agree on: the batch they came from."""
    return RawDetail(
        message_id=_agreed([detail.message_id for _, detail in pairs]),
        payment_information_id=_agreed([detail.payment_information_id for _, detail in pairs]),
    )


def _agreed(texts: Sequence[str | None]) -> str | None:
    found = {clean(text) for text in texts}
    return found.pop() if len(found) == 1 else None


def _row(
    raw: RawEntry,
    entry: _Entry,
    group: RawGroup,
    transaction: RawDetail | None,
    ordinal: int,
    amount_minor: int,
    statement: StatementInProgress,
) -> Row:
    """One row, in the order of `STATEMENT_LINES`."""
    detail = _NO_DETAIL if transaction is None else transaction
    party_name, party_account = _other_side(detail, amount_minor, statement.own_account)
    instructed_minor, instructed_currency = _instructed(raw, detail, ordinal, statement)
    if ordinal:
        servicer_ref = reference(detail.servicer_ref) or reference(raw.servicer_ref)
        info = clean(detail.additional_info) or clean(raw.additional_info)
    else:
        servicer_ref = reference(raw.servicer_ref) or reference(detail.servicer_ref)
        info = clean(raw.additional_info) or clean(detail.additional_info)
    uetr = reference(detail.uetr)
    return (
        statement.ordinal,
        entry.line_ordinal,
        ordinal,
        amount_minor,
        entry.amount_minor,
        entry.currency,
        entry.status.value,
        entry.is_reversal,
        entry.booking_date,
        entry.value_date,
        servicer_ref,
        reference(raw.reference),
        reference(detail.message_id) or reference(group.message_id),
        reference(detail.payment_information_id) or reference(group.payment_information_id),
        reference(detail.instruction_id),
        reference(detail.end_to_end_id),
        None if uetr is None else uetr.lower(),
        reference(detail.transaction_id),
        reference(detail.mandate_id),
        _first(detail.structured_refs),
        _joined(detail.remittance) or _joined(detail.structured_texts),
        party_name,
        party_account,
        _bank_code(detail) or _bank_code(raw),
        clean(detail.proprietary_code) or clean(raw.proprietary_code),
        _return_reason(detail),
        _charges(raw, detail, ordinal, entry.currency, statement),
        instructed_minor,
        instructed_currency,
        entry.batch_count,
        info,
        detail.line if ordinal else raw.line,
    )


def _other_side(detail: RawDetail, amount_minor: int, own: str | None) -> tuple[str | None, str | None]:
    """Name and account of the party that is not the account holder.

    A credit comes from the debtor, a debit goes to the creditor; but in a return or reversal the roles may
    be those of the original payment, so a side whose account is the statement's own is never the answer.
    """
    debtor_account, creditor_account = _account(detail.debtor_account), _account(detail.creditor_account)
    takes_debtor = amount_minor >= 0
    if own is not None and (debtor_account if takes_debtor else creditor_account) == own:
        takes_debtor = (not takes_debtor) if debtor_account != creditor_account else takes_debtor
    debtor = clean(detail.debtor) or clean(detail.ultimate_debtor)
    creditor = clean(detail.creditor) or clean(detail.ultimate_creditor)
    if takes_debtor and debtor is None and debtor_account is None:
        takes_debtor = own is not None and creditor_account == own
    elif not takes_debtor and creditor is None and creditor_account is None:
        takes_debtor = own is None or debtor_account != own
    return (debtor, debtor_account) if takes_debtor else (creditor, creditor_account)


def _account(text: str | None) -> str | None:
    if text is None:
        return None
    if text.isalnum() and text.isupper():
        return text
    return "".join(text.split()).upper() or None


def _bank_code(record: RawDetail | RawEntry) -> str | None:
    if record.domain is None and record.family is None:
        return None
    return _code(record.domain, record.family, record.sub_family)


@lru_cache(maxsize=1024)
def _code(*parts: str | None) -> str | None:
    return "/".join(found for part in parts if (found := clean(part))) or None


def _return_reason(detail: RawDetail) -> str | None:
    if not detail.returns:
        return None
    # NARR: "reason is given in narrative", the code list's own word for a return without a code.
    return clean(detail.returns[0].code) or clean(detail.returns[0].proprietary) or "NARR"


def _first(texts: list[str | None] | None) -> str | None:
    if not texts:
        return None
    return next((found for text in texts if (found := reference(text))), None)


def _joined(texts: list[str | None] | None) -> str | None:
    if not texts:
        return None
    if len(texts) == 1:
        return clean(texts[0])
    return " ".join(found for text in texts if (found := clean(text))) or None


def _instructed(
    raw: RawEntry, detail: RawDetail, ordinal: int, statement: StatementInProgress
) -> tuple[int | None, str | None]:
    text, code = detail.instructed_amount, clean(detail.instructed_currency)
    if text is None and not ordinal:
        text, code = raw.instructed_amount, clean(raw.instructed_currency)
    if text is None:
        return None, None
    minor = parse_money(text, code)
    if isinstance(minor, Fault):
        statement.notes.add("instructed-amount-unreadable", minor.message, raw.line)
        return None, None
    return minor, code


def _charges(
    raw: RawEntry, detail: RawDetail, ordinal: int, currency: str, statement: StatementInProgress
) -> int | None:
    """Charges of the row in the entry's currency, positive when the bank took them."""
    found = detail.charges or (None if ordinal else raw.charges)
    if not found:
        return None
    total = 0
    for charge in found:
        minor = _charge(charge, currency)
        if minor is None:
            message = "charges are not given as an amount in the entry's currency"
            statement.notes.add("charges-unreadable", message, raw.line)
            return None
        total += minor
    if abs(total) >= 2**63:
        return None
    return total


def _charge(charge: RawAmount, currency: str) -> int | None:
    if charge.records:
        parts = [_charge(record, currency) for record in charge.records]
        return None if None in parts else sum(part for part in parts if part is not None)
    text, code = charge.amount, charge.currency
    if text is None:
        text, code = charge.total, charge.total_currency
    minor = parse_money(text, clean(code))
    if isinstance(minor, Fault) or clean(code) != currency:
        return None
    return -minor if clean(charge.sign) == "CRDT" else minor


_NO_DETAIL: Final = RawDetail()
