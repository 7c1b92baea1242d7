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


@dataclass(frozen=True, slots=True)
class Sealing:
    """What is under seal; `root` and `digest`, in hexadecimal, are empty when nothing is. `anchor`: a sentence."""

    new_seals: int
    sealed_through: int
    root: str
    digest: str
    anchor: str


NOT_ANCHORED = "not anchored (NOSTRO_SEAL_ANCHOR names no file)"
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


def expire_holds(session: Session, now: dt.datetime) -> int:
    """Expire every hold that is due at this business time; returns how many."""
    expired = 0
    while keys := ledger.expire_due(session.conn, book_id=session.book_id, now=now):
        expired += len(keys)
    return expired


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


def seal(session: Session) -> Sealing:
    """Publish, seal what is new, and append the seals that the anchor file lacks.

    A file that cannot be reached keeps nobody from being paid: it gets what it lacks next time, and the check is red.
    """
    ledger.publish(session.conn)
    made = ledger.seal(session.conn, book_id=session.book_id)
    head = next(reversed(ledger.list_seals(session.conn, book_id=session.book_id)), None)
    return Sealing(
        new_seals=len(made),
        sealed_through=0 if head is None else head.last_seq,
        root="" if head is None else head.root.hex(),
        digest="" if head is None else head.digest.hex(),
        anchor=_anchor(session),
    )


def _anchor(session: Session) -> str:
    path = session.seal_anchor
    if path is None:
        return NOT_ANCHORED
    try:
        added = ledger.anchor_to_file(session.conn, path, book_id=session.book_id)
    except OSError as error:
        return f"{path.name} was not reached: {error.strerror}"
    return f"{path.name}, {added} seals added"


def _has_lines(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def seals_hold(session: Session) -> Verdict:
    """The chain of seals, and the entries under those that no check has found good yet.

    With an anchor, every stored seal is compared with the anchored one, and the latest must be there.
    """
    path = session.seal_anchor
    try:
        anchored = ledger.read_seal_lines(path, book_id=session.book_id) if path and _has_lines(path) else ()
    except (ledger.RefusedError, OSError) as error:
        return Verdict(False, f"the anchor cannot be read: {error}")
    report = ledger.verify_seals(session.conn, book_id=session.book_id, anchored=anchored, incremental=True)
    through = 0 if report.head is None else report.head.last_seq
    is_anchored = report.head is not None and report.head.digest in {kept.digest for kept in anchored}
    counts = {
        "seals": report.seals,
        "sealed_through": through,
        "not_sealed_yet": report.unsealed_entries,
        "checked_entries": report.checked_entries,
        "anchored": int(is_anchored),
        "faults": len(report.faults),
    }
    if report.faults:
        first = report.faults[0]
        table = Table("faults", ("place", "fault"), tuple((f.place, f.fault) for f in report.faults))
        sentence = f"{len(report.faults)} faults under seal, first: {first.place} {first.fault}."
        return Verdict(False, sentence, counts, (table,))
    if report.head is None:
        return Verdict(True, "nothing is published, so nothing is sealed.", counts)
    where = f"anchored in {path.name}" if path and is_anchored else NOT_ANCHORED if path is None else "not anchored yet"
    sentence = (
        f"sealed through sequence {through}, root {report.head.root.hex()}, {where}; "
        f"{report.unsealed_entries} entries not sealed yet."
    )
    return Verdict(path is None or is_anchored, sentence, counts)
