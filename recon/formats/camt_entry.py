"""From one raw entry to rows of `StatementLines`, or to the faults that quarantine it.

Lives here: amount, sign, status and dates of an entry, and every rule that sets an entry aside. Must not
live here: XML, transactions (`camt_rows`), balances.

The sign is CdtDbtInd of the entry alone; RvslInd is information.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from recon.formats.camt_progress import DoubtfulEntry, Entry, StatementInProgress
from recon.formats.camt_records import RawEntry
from recon.formats.camt_rows import Row, posting_rows
from recon.formats.values import SIGNS, Fault, clean, parse_day, parse_money, shown
from recon.model import EntryStatus, Quarantined

_STATUSES: Final = {status.value: status for status in EntryStatus}
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


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
    entry = Entry(
        line_ordinal=ordinal,
        amount_minor=sign * amount,
        currency=currency,
        status=status,
        is_reversal=_is_reversal(raw, statement),
        booking_date=booking_date,
        value_date=value_date,
        batch_count=None,
    )
    statement.moved(max(entry.amount_minor, 0), max(-entry.amount_minor, 0), is_booked=status is EntryStatus.BOOK)
    rows = posting_rows(raw, entry, statement)
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
    sign = SIGNS.get(text, 0)
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
