"""The one place that calls the rooms: ledger, settlement, recon. Steps and checks ask here and nowhere else.

Lives here: a room's answer as a table, counts and a verdict, free of Dagster. Must not live here: SQL, rules, files'
formats.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ledger
import settlement
from dagster_project.partitions import local_date
from dagster_project.resources import Session
from ledger import format_amount
from recon.accounts import bank_accounts
from recon.breaks import taxonomy_digest_parts
from recon.ingest import arrived_files, ingest_files
from recon.matching.rules import rules_sha256
from settlement.composing import compose, read_frame, read_obligations
from settlement.iso20022 import gate_file


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a name; cells are shown as text."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule holds, in one sentence, with what broke it."""

    holds: bool
    sentence: str
    counts: Mapping[str, int] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()


def _amount(minor: int, exponent: int, currency: str) -> str:
    return f"{format_amount(minor, exponent)} {currency}"


# --- ledger ----------------------------------------------------------------------------------------------------------


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
    return {
        code: format_amount(total, ledger.currency(code).exponent) for code, total in sorted(whole.totals_minor.items())
    }


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
        return Verdict(True, "every invariant of the books holds.", {"faults": 0})
    table = Table("faults", ("invariant", "place", "fault"), tuple((f.invariant, f.place, f.fault) for f in faults))
    first = faults[0]
    return Verdict(
        False,
        f"{len(faults)} faults in the books, first: invariant {first.invariant}, {first.place} {first.fault}.",
        {"faults": len(faults)},
        (table,),
    )


# --- settlement ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BanksOn:
    """Which bank accounts' banks are open on a day, and which are closed."""

    open: tuple[str, ...]
    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A payment file that is approved and not sent yet. The key names the attempt."""

    file_id: int
    business_date: dt.date
    run_key: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a release."""

    file_id: int
    at_the_bank: bool
    state: str
    sentence: str
    retryable: bool


def day_has_come(day: dt.date, now: dt.datetime) -> Verdict:
    """Payments are not proposed for a day that has not begun."""
    today = local_date(now)
    return Verdict(
        day <= today,
        f"{day} is today or earlier." if day <= today else f"{day} lies ahead of {today}; run it on its day.",
    )


def inbox_files(session: Session) -> list[Path]:
    """Statements and payout reports in the banks' inboxes; what is still being written has a hidden name."""
    return arrived_files(session.conn, book_id=session.book_id, home=session.home)


def last_open_day(session: Session, before: dt.date) -> dt.date:
    """The last day before this one on which any of our banks was open."""
    days = [account.calendar.previous_open(before) for account in bank_accounts(session.conn, session.book_id)]
    return max(days, default=before - dt.timedelta(days=1))


def last_settled_day(session: Session) -> dt.date | None:
    """The business date of the last settlement run."""
    runs = settlement.run_status(session.conn, book_id=session.book_id)
    return max((run.business_date for run in runs), default=None)


def banks_on(session: Session, day: dt.date) -> BanksOn:
    """Who is open on a day, by each bank account's own calendar."""
    accounts = bank_accounts(session.conn, session.book_id)
    return BanksOn(
        open=tuple(account.code for account in accounts if account.calendar.is_open(day)),
        closed=tuple(f"{a.code} ({a.calendar.holidays})" for a in accounts if not a.calendar.is_open(day)),
    )


def propose(session: Session, day: dt.date, now: dt.datetime) -> None:
    """Propose what is owed on a day; again: the same files."""
    settlement.propose(session.conn, book_id=session.book_id, business_date=day, now=now)


def payment_files(session: Session, day: dt.date) -> list[settlement.PaymentFileStatus]:
    """The day's payment files as they stand."""
    return settlement.payment_files(session.conn, book_id=session.book_id, business_date=day)


def file_table(files: Sequence[settlement.PaymentFileStatus]) -> Table:
    """One row a payment file."""
    rows = tuple(
        (
            *(f.file_id, f.bank_account, f.rail, f.execution_date, f.instruction_count, _file_total(f), f.state.value),
            *(f.prepared_by, f.approved_by, f.msg_id, f.reason),
        )
        for f in files
    )
    columns = ("file", "bank account", "rail", "execution date", "instructions", "total", "state")
    return Table("payment files", (*columns, "prepared by", "approved by", "MsgId", "reason"), rows)


def _file_total(file: settlement.PaymentFileStatus) -> str:
    return _amount(file.total_minor, file.exponent, file.currency)


_DEAD = frozenset({settlement.FileState.VOID, settlement.FileState.REJECTED})


def file_totals(files: Sequence[settlement.PaymentFileStatus]) -> dict[str, str]:
    """What the living files of a day pay, one sum a currency."""
    sums: dict[tuple[str, int], int] = {}
    for file in files:
        if file.state not in _DEAD:
            sums[file.currency, file.exponent] = sums.get((file.currency, file.exponent), 0) + file.total_minor
    return {f"total {code}": format_amount(total, exponent) for (code, exponent), total in sorted(sums.items())}


def file_gates_clean(session: Session, day: dt.date) -> Verdict:
    """The stored bytes of each living file of the day: schema, read-back against what is owed, count and sum."""
    files = [file for file in payment_files(session, day) if file.state not in _DEAD]
    found = [
        (file.file_id, finding.rule, finding.place, finding.sentence)
        for file in files
        for finding in _gate(session, file)
    ]
    counts = {"files": len(files), "findings": len(found)}
    if not found:
        return Verdict(True, f"{len(files)} files pass their schema, read back and add up.", counts)
    table = Table("findings", ("file", "rule", "place", "finding"), tuple(found))
    return Verdict(False, f"{len(found)} findings in stored payment files; do not release them.", counts, (table,))


def _gate(session: Session, file: settlement.PaymentFileStatus) -> list[settlement.Finding]:
    obligations = read_obligations(session.conn, file.run_id, file_id=file.file_id)
    composed = compose(read_frame(session.conn, file.run_id), file.part, obligations)
    content = settlement.file_content(session.conn, file.file_id)
    return gate_file(content, composed.file, composed.transfers, composed.totals)


_RELEASABLE = frozenset({settlement.FileState.APPROVED, settlement.FileState.SEALED, settlement.FileState.FAILED})
_IN_DOUBT = frozenset({settlement.FileState.SENDING, settlement.FileState.UNKNOWN})


def waiting_files(session: Session, now: dt.datetime) -> list[WaitingFile]:
    """Files somebody approved that are not at the bank. A failed delivery is tried again once an hour."""
    files = settlement.payment_files(session.conn, book_id=session.book_id, states=_RELEASABLE)
    return [WaitingFile(file.file_id, file.business_date, f"{file.file_id}:{_attempt(file, now)}") for file in files]


def _attempt(file: settlement.PaymentFileStatus, now: dt.datetime) -> str:
    if file.state is settlement.FileState.FAILED:
        return f"{file.state}-{now.astimezone(dt.UTC):%Y%m%dT%H}"
    return file.state.value


def release(session: Session, day: dt.date, only: int | None, now: dt.datetime) -> list[Outcome]:
    """Release the day's approved files (or `only` this one); one that fails does not keep the others."""
    files = [file for file in payment_files(session, day) if file.state in _RELEASABLE | _IN_DOUBT]
    return [_release(session, file, now) for file in files if only in (None, file.file_id)]


def _release(session: Session, file: settlement.PaymentFileStatus, now: dt.datetime) -> Outcome:
    try:
        result = settlement.release(session.conn, file.file_id, home=session.home, now=now)
    except ledger.NostroError as error:
        return Outcome(file.file_id, False, "failed" if error.retryable else "refused", str(error), error.retryable)
    at_the_bank = result.state is not settlement.FileState.VOID
    sentence = f"file {file.file_id} is {result.state}" + (f": {result.reason}" if result.reason else "")
    return Outcome(file.file_id, at_the_bank, result.state.value, sentence, False)


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """One row a release."""
    return Table("releases", ("file", "state", "outcome"), tuple((o.file_id, o.state, o.sentence) for o in outcomes))


def poll(session: Session) -> settlement.PollReport:
    """Read status reports and look up sends in doubt."""
    return settlement.poll(session.conn, home=session.home, book_id=session.book_id)


def message_table(report: settlement.PollReport) -> Table:
    """One row a status report that was new."""
    rows = tuple(
        (m.name, m.bank, m.file_id, m.changed, m.rejected, len(m.findings)) for m in report.messages if m.is_new
    )
    return Table("status reports", ("name", "bank", "file", "changed", "rejected", "findings"), rows)


def message_finding_table(report: settlement.PollReport) -> Table:
    """What banks said that could not be applied."""
    rows = tuple((m.name, f.code, f.reference, f.message) for m in report.messages for f in m.findings)
    return Table("not applied", ("report", "code", "reference", "what"), rows)


# --- recon -----------------------------------------------------------------------------------------------------------

# Changes with every rule that could decide differently; the UI then marks older results as outdated.
RULES_VERSION = rules_sha256(taxonomy_digest_parts())[:12]


@dataclass(frozen=True, slots=True)
class Report:
    """What a step of reconciliation found: counts, a table, and for breaks the sums by code and amounts as text."""

    counts: Mapping[str, int]
    table: Table
    by_code: Table = Table("by code", (), ())
    texts: Mapping[str, str] = field(default_factory=dict)


def ingest(session: Session) -> Report:
    """Take in every statement and payout report of the inboxes; one taken in before changes nothing."""
    taken = ingest_files(session.conn, book_id=session.book_id, paths=inbox_files(session))
    fresh = [file for file in taken.files if file.outcome != "duplicate"]
    rows: list[tuple[object, ...]] = [
        (file.name, file.outcome, told.account, told.stmt_id, told.closing_date, told.state, told.message)
        for file in fresh
        for told in file.statements
    ]
    rows += [(file.name, file.outcome, "", "", "", "", file.reason) for file in fresh if not file.statements]
    columns = ("file", "outcome", "bank account", "statement", "closes", "state", "what")
    return Report(
        counts={
            "files": len(taken.files),
            "new_files": len(fresh),
            "refused": len(taken.refused),
            "booked_lines": taken.booked_lines,
            "expected_receipts": taken.receipts,
        },
        table=Table("new files", columns, tuple(rows)),
    )
