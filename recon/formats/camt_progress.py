"""What is known while a statement is being read.

Lives here: the counters and lists that entries leave behind for the end of their statement. Must not live
here: XML, the meaning of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from recon.model import EntryStatus, Finding, Quarantined


class Notes:
    """Findings of one statement, each rule once: first message, first line, how often."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int, int]] = {}

    def add(self, rule: str, message: str, line: int, *, count: int = 1) -> None:
        first, at, before = self._found.get(rule, (message, line, 0))
        self._found[rule] = (first, at, before + count)

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
    # Sums of credits and of debits (without sign): of all entries, of the booked ones.
    moved_minor: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    # Currencies stated before the first entry, and entries in any other: judged when all balances are read.
    stated_currencies: frozenset[str] = frozenset()
    doubtful: list[DoubtfulEntry] = field(default_factory=list)

    def moved(self, credit_minor: int, debit_minor: int, *, is_booked: bool) -> None:
        """Add entries to the sums that a statement may state; both amounts without sign."""
        for place, minor in enumerate((credit_minor, debit_minor)):
            self.moved_minor[place] += minor
            self.moved_minor[place + 2] += minor if is_booked else 0


@dataclass(slots=True)
class Entry:
    """An entry that could be read: signed amount, status, dates."""

    line_ordinal: int
    amount_minor: int
    currency: str
    status: EntryStatus
    is_reversal: bool
    booking_date: date | None
    value_date: date | None
    batch_count: int | None
