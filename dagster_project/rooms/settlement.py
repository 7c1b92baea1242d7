"""What the steps ask of settlement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import ledger
import settlement
from dagster_project.partitions import local_date
from dagster_project.resources import Session
from dagster_project.rooms.answers import Table, Verdict, money
from ledger import format_amount
from settlement.collecting import compose_again
from settlement.composing import read_frame
from settlement.iso20022 import gate_file


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


def last_settled_day(session: Session) -> dt.date | None:
    """The business date of the last settlement run."""
    runs = settlement.run_status(session.conn, book_id=session.book_id)
    return max((run.business_date for run in runs), default=None)


def propose(session: Session, day: dt.date, now: dt.datetime) -> None:
    """Propose what is owed on a day; again: the same files. Refused while the books may have forgotten sends."""
    settlement.require_reconciled(session.conn, session.home)
    settlement.propose(session.conn, book_id=session.book_id, business_date=day, now=now)


def payment_files(session: Session, day: dt.date) -> list[settlement.PaymentFileStatus]:
    """The day's payment files as they stand."""
    return settlement.payment_files(session.conn, book_id=session.book_id, business_date=day)


def file_tables(files: Sequence[settlement.PaymentFileStatus]) -> tuple[Table, Table]:
    """One row a payment file: what people decide on, and what identifies it."""
    head = [
        (f.file_id, f.bank_account, f.instruction_count, _file_total(f), f.state.value, f.approved_by) for f in files
    ]
    more = [(f.file_id, f.rail, f.execution_date, f.msg_id, f.prepared_by, f.reason) for f in files]
    return (
        Table("payment files", ("file", "bank account", "payments", "total", "state", "approved by"), tuple(head)),
        Table("their details", ("file", "rail", "executes", "MsgId", "prepared by", "reason"), tuple(more)),
    )


def _file_total(file: settlement.PaymentFileStatus) -> str:
    return money(file.total_minor, file.currency)


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
    counts = {"files": len(files), "broken_rules": len(found)}
    if not found:
        return Verdict(True, f"{len(files)} files pass their schema, read back and add up.", counts)
    table = Table("findings", ("file", "rule", "place", "finding"), tuple(found))
    return Verdict(False, f"{len(found)} findings in stored payment files; do not release them.", counts, (table,))


def _gate(session: Session, file: settlement.PaymentFileStatus) -> list[settlement.Finding]:
    frame = read_frame(session.conn, file.run_id)
    composed, _ = compose_again(session.conn, frame, part=file.part, file_id=file.file_id)
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
