"""What banks announced during the day, and what of it the booked statements have replaced.

Lives here: reading it. Must not live here: which entry a booked line replaces (the database says), booking anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ledger import Connection, currency, format_amount, transaction


class Announced(StrEnum):
    """What became of an announced entry."""

    ANNOUNCED = "announced"  # no booked statement covers its day yet, or the bank calls it pending
    REPLACED = "replaced"  # a booked statement has it; the booked line counts instead
    MISSING = "missing"  # called booked (or MT942, BAI2), and the booked statement of its day lacks it


@dataclass(frozen=True, slots=True)
class IntradayEntry:
    """One announced entry, however many reports repeat it (`report`: the last). `amount_minor`: credit positive."""

    bank_account: str
    entry_date: dt.date
    status: str
    amount_minor: int
    currency: str
    reference: str | None
    end_to_end_id: str | None
    party_name: str | None
    report: str
    state: str
    replaced_by: str | None
    replaced_by_line: int | None


@dataclass(frozen=True, slots=True)
class IntradayPosition:
    """A bank account now, minor units: booked balance, what is announced since, pending apart.

    `expected_minor` = booked + announced; what a booked statement replaced is in the balance alone.
    """

    bank_account: str
    currency: str
    closing_date: dt.date | None
    booked_minor: int
    announced_minor: int
    pending_minor: int
    expected_minor: int
    announced_entries: int


@dataclass(frozen=True, slots=True)
class Intraday:
    """Positions of every bank account, and announced entries."""

    positions: tuple[IntradayPosition, ...]
    entries: tuple[IntradayEntry, ...]

    def render(self) -> Iterator[str]:
        """The same as text lines."""
        for at in self.positions:
            since = f"booked through {at.closing_date}" if at.closing_date else "nothing booked"
            yield (
                f"{at.bank_account}: {_money(at.booked_minor, at.currency)} {since}, announced"
                f" {_money(at.announced_minor, at.currency)}, expected {_money(at.expected_minor, at.currency)};"
                f" pending {_money(at.pending_minor, at.currency)}"
            )
        for entry in self.entries:
            by = f" by {entry.replaced_by} line {entry.replaced_by_line}" if entry.replaced_by else ""
            name = entry.reference or entry.end_to_end_id or ""
            yield (
                f"  {entry.entry_date} {entry.bank_account} {entry.status} {_money(entry.amount_minor, entry.currency)}"
                f" {name} {entry.party_name or ''}".rstrip()
                + f": {entry.state}{by} ({entry.report})"
            )


def intraday_report(
    conn: Connection, *, book_id: int, state: Announced | None = None, day: dt.date | None = None
) -> Intraday:
    """Bank accounts with what is announced; entries of one state and one day when given."""
    with transaction(conn):
        positions = conn.execute(_POSITIONS, (book_id,)).fetchall()
        entries = conn.execute(_ENTRIES, {"book": book_id, "state": state, "day": day}).fetchall()
    return Intraday(
        tuple(IntradayPosition(*row) for row in positions),  # type: ignore[arg-type]
        tuple(IntradayEntry(*row) for row in entries),  # type: ignore[arg-type]
    )


_POSITIONS = """
SELECT bank_account, currency, closing_date, booked_minor, announced_minor, pending_minor, expected_minor,
       announced_entries
  FROM recon.intraday_position WHERE book_id = %s ORDER BY bank_account
"""

_ENTRIES = """
SELECT bank_account, entry_date, status, amount_minor, currency, account_servicer_ref, end_to_end_id, party_name,
       report, state, replaced_by, replaced_by_line
  FROM recon.intraday_entry
 WHERE book_id = %(book)s AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(day)s::date IS NULL OR entry_date = %(day)s)
 ORDER BY bank_account, entry_date, statement_id, line_ordinal, detail_ordinal
"""


def _money(amount_minor: int, code: str) -> str:
    return f"{format_amount(amount_minor, currency(code).exponent)} {code}"
