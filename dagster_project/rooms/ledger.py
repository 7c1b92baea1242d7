"""What the steps ask of the ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ledger
from dagster_project.resources import Session
from dagster_project.rooms.answers import Table, Verdict
from dagster_project.rooms.calendars import last_open_day
from ledger import format_amount


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A journal file and what its import did."""

    name: str
    report: ledger.ImportReport


@dataclass(frozen=True, slots=True)
class TrialBalanceSummary:
    """The trial balance by kind of account: what fits on a page."""

    accounts: int
    totals: Mapping[str, str]
    table: Table


_JOURNAL_KINDS = (".csv", ".csv.gz", ".parquet")


def journal_inbox(home: Path) -> Path:
    """Where journal files are put for the nightly import."""
    return home / "journals" / "inbox"


def journal_files(home: Path, *, after: dt.date, through: dt.date) -> list[Path]:
    """Journal files by the date in their name (`<anything>-<date>.csv`, `.csv.gz`, `.parquet`), oldest first."""
    days = [after + dt.timedelta(days=count) for count in range(1, (through - after).days + 1)]
    found = [path for day in days for path in sorted(journal_inbox(home).glob(f"*{day.isoformat()}*"))]
    return [path for path in found if path.name.endswith(_JOURNAL_KINDS) and not path.name.startswith(".")]


def import_journals(session: Session, day: dt.date) -> tuple[ImportedFile, ...]:
    """Import each journal file of the day, and of the closed days since the last night; a refused file stops here."""
    last_night = last_open_day(session, day)
    return tuple(
        ImportedFile(path.name, ledger.import_journal(session.conn, book_id=session.book_id, path=path))
        for path in journal_files(session.home, after=last_night, through=day)
    )


def imported_table(files: Iterable[ImportedFile]) -> Table:
    """One row a journal file."""
    rows = tuple(
        (f.name, f.report.entries, f.report.new_entries, f.report.postings, f.report.sha256[:12]) for f in files
    )
    return Table("journal files", ("file", "entries", "new", "postings", "sha256"), rows)


def trial_balance(session: Session, day: dt.date) -> TrialBalanceSummary:
    """Balances through a day, summed by the first two segments of the account code; publishes the knowledge order."""
    ledger.publish(session.conn)
    whole = ledger.trial_balance(session.conn, book_id=session.book_id, as_of=day)
    sums: dict[tuple[str, str, int], tuple[int, int]] = {}
    for row in whole.rows:
        key = (":".join(row.code.split(":")[:2]), row.currency, row.exponent)
        count, total = sums.get(key, (0, 0))
        sums[key] = count + 1, total + row.posted_minor
    rows = tuple(
        (
            code,
            currency,
            count,
            format_amount(total, exponent) if total > 0 else "",
            format_amount(-total, exponent) if total < 0 else "",
        )
        for (code, currency, exponent), (count, total) in sorted(sums.items())
    )
    return TrialBalanceSummary(
        accounts=len(whole.rows),
        totals=_totals(whole),
        table=Table("trial balance", ("accounts", "currency", "number", "debit", "credit"), rows),
    )


def _totals(whole: ledger.TrialBalance) -> dict[str, str]:
    exponents = {row.currency: row.exponent for row in whole.rows}
    return {code: format_amount(total, exponents[code]) for code, total in sorted(whole.totals_minor.items())}


def debits_equal_credits(session: Session) -> Verdict:
    """Σ postings = 0 in every currency."""
    whole = ledger.trial_balance(session.conn, book_id=session.book_id)
    if whole.is_zero:
        return Verdict(True, f"debits equal credits in {', '.join(sorted(whole.totals_minor)) or 'every currency'}.")
    broken = ", ".join(f"{text} {code}" for code, text in _totals(whole).items() if whole.totals_minor[code] != 0)
    return Verdict(False, f"debits less credits is {broken}; nothing may be paid until `nostro verify` finds out why.")


def books_verify(session: Session) -> Verdict:
    """Every invariant of the books, recomputed."""
    faults = ledger.verify(session.conn, book_id=session.book_id)
    if not faults:
        return Verdict(True, "every invariant of the books holds.", {"broken_rules": 0})
    table = Table("faults", ("invariant", "place", "fault"), tuple((f.invariant, f.place, f.fault) for f in faults))
    first = faults[0]
    return Verdict(
        False,
        f"{len(faults)} faults in the books, first: invariant {first.invariant}, {first.place} {first.fault}.",
        {"broken_rules": len(faults)},
        (table,),
    )
