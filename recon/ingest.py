"""Taking in what banks and acquirers deliver.

Lives here: what becomes of each file (accepted, refused, redelivered, informative, seen before) and of each
statement in it. Must not live here: reading bytes (`recon.formats`), the chain (`recon.statements`).

Each file is one transaction: kept, proven, booked. What cannot be booked is kept, and says why.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from ledger import Connection, RefusedError, transaction
from recon.accounts import BankAccount, bank_accounts
from recon.errors import FileRefusedError
from recon.formats import (
    Layout,
    PspReport,
    PspReportRefused,
    StatementRefused,
    is_packed,
    is_payout_report,
    read_psp_report,
    read_statement_file,
    unpacked,
)
from recon.model import INTRADAY, ProofReason, ProofState, Statement, StatementFile
from recon.pages import join_pages, waits_for_pages
from recon.records import (
    Delivery,
    add_finding,
    add_statement,
    closing_date_of,
    keep,
    keep_intraday,
    log,
    quarantine,
    set_outcome,
    taken_in,
)
from recon.staging import stage
from recon.statements import book_ready, chain_end, chain_fault, waiting
from settlement import BookedLine, is_answer, require_service, take_notice

_BIC: Final = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What became of one statement. `state`: booked, waiting, unproven, repeated, revised or informative."""

    stmt_id: str
    account: str
    closing_date: dt.date | None
    state: str
    line_count: int
    message: str | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `outcome`: accepted, refused, redelivered, informative or duplicate."""

    name: str
    sha256: str
    outcome: str
    reason: str | None
    statements: tuple[StatementResult, ...] = ()
    receipt_count: int = 0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """All files in the order given, and what else could be booked because of them."""

    files: tuple[FileResult, ...]

    @property
    def refused(self) -> tuple[FileResult, ...]:
        return tuple(file for file in self.files if file.outcome == "refused")

    @property
    def booked_lines(self) -> int:
        return sum(s.line_count for f in self.files for s in f.statements if s.state == "booked")

    @property
    def receipts(self) -> int:
        return sum(file.receipt_count for file in self.files)


def ingest_files(
    conn: Connection,
    *,
    book_id: int,
    paths: Iterable[Path],
    layouts: Sequence[Layout] = (),
    on_progress: Callable[[FileResult], None] | None = None,
) -> IngestReport:
    """Take in statement files and acquirer reports; proven statements are booked, N against T.

    A file that was taken in before changes nothing. A refused file is kept with its reason and may be given
    again later. Raises only when the database does not answer, and `AccessError` for a person's login.
    """
    with transaction(conn):
        require_service(conn, "statements are taken in")
        delivery = Delivery(conn, book_id, bank_accounts(conn, book_id))
    results = []
    for path in paths:
        for result in _ingest_path(delivery, path, layouts):
            results.append(result)
            if on_progress is not None:
                on_progress(result)
    with transaction(conn):
        _record_gaps(delivery)
    return IngestReport(files=tuple(results))


def arrived_files(conn: Connection, *, book_id: int, home: Path) -> list[Path]:
    """Every file in the banks' inboxes that reconciliation may read (not what answers us), by path."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT body -> 'transport' ->> 'inbox' FROM settlement.bank_profile WHERE book_id = %s", (book_id,)
        ).fetchall()
    found = set()
    for (inbox,) in rows:
        folder = home / str(inbox)
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file() and not path.name.startswith(".") and path.suffix not in {".part", ".tmp"}:
                found.add(path)
    return sorted(path for path in found if not is_answer(path))


def _ingest_path(delivery: Delivery, path: Path, layouts: Sequence[Layout]) -> Iterator[FileResult]:
    """What becomes of a file, or of each file in an archive."""
    try:
        content = path.read_bytes()
    except OSError as error:
        yield FileResult(path.name, "", "refused", f"cannot be read ({error.strerror}): check path and rights")
        return
    members = [(path.name, content)]
    if is_packed(content[:4]):
        try:
            members = list(unpacked(content, name=path.name))
        except StatementRefused as refused:
            yield _refused(delivery, content, hashlib.sha256(content).hexdigest(), path.name, refused)
            return
    for name, each in members:
        yield _ingest_file(delivery, each, name, layouts)


def _ingest_file(delivery: Delivery, content: bytes, name: str, layouts: Sequence[Layout]) -> FileResult:
    sha256 = hashlib.sha256(content).hexdigest()
    if taken_in(delivery, sha256):
        with transaction(delivery.conn):
            log(delivery, sha256, name, "duplicate")
        return FileResult(name, sha256, "duplicate", "taken in before; nothing changed")
    try:
        parsed = _parse(content, name, layouts)
        with transaction(delivery.conn):
            return _accept(delivery, content, sha256, name, parsed)
    except RefusedError as refused:
        return _refused(delivery, content, sha256, name, refused)


def _refused(delivery: Delivery, content: bytes, sha256: str, name: str, refused: RefusedError) -> FileResult:
    delivery.read.clear()
    kind = "psp" if isinstance(refused, PspReportRefused) else "camt"
    with transaction(delivery.conn):
        file_id = keep(delivery, content, sha256, name)
        set_outcome(delivery, file_id, kind, "refused", str(refused))
        log(delivery, sha256, name, "refused")
    return FileResult(name, sha256, "refused", str(refused))


def _parse(content: bytes, name: str, layouts: Sequence[Layout]) -> StatementFile | PspReport:
    if is_payout_report(content):
        return read_psp_report(content, name=name)
    try:
        return read_statement_file(content, name=name, layouts=layouts)
    except StatementRefused as refused:
        if refused.rule in ("not-xml", "empty-file") and name.endswith(".csv"):
            return read_psp_report(content, name=name)  # which says what its header should be
        raise


def _accept(
    delivery: Delivery, content: bytes, sha256: str, name: str, parsed: StatementFile | PspReport
) -> FileResult:
    file_id = keep(delivery, content, sha256, name)
    if isinstance(parsed, PspReport):
        return _accept_report(delivery, file_id, sha256, parsed)
    if not parsed.statements[0].is_of_a_bank:
        return _accept_informative(delivery, file_id, sha256, parsed)
    placed = [(statement, _account_of(delivery, statement)) for statement in parsed.statements]
    kind = parsed.statements[0].kind
    delivery.read[file_id] = parsed
    quarantine(delivery, file_id, parsed)
    results = [_record(delivery, file_id, statement, account) for statement, account in placed]
    _join(delivery, file_id, placed)
    is_end_of_day = any(statement.is_end_of_day for statement in parsed.statements)
    if is_end_of_day:
        results = _booked(delivery, file_id, results, {account.code: account for _, account in placed})
    else:
        _tell_settlement(delivery, content, parsed, placed)
    outcome = _outcome_of(results, is_end_of_day=is_end_of_day)
    reason = None
    if outcome == "redelivered":
        reason = "every statement in it was delivered before: " + ", ".join(r.stmt_id for r in results)
    set_outcome(delivery, file_id, kind, outcome, reason)
    log(delivery, sha256, name, outcome)
    return FileResult(name, sha256, outcome, reason, tuple(results))


def _accept_informative(delivery: Delivery, file_id: int, sha256: str, parsed: StatementFile) -> FileResult:
    """A provider's report: kept, its bad rows named, no account of ours to book to."""
    quarantine(delivery, file_id, parsed)
    bad = sum(statement.quarantined_entry_count for statement in parsed.statements)
    reason = f"{parsed.entry_count} rows of {parsed.message_version}, {bad} quarantined; a report books nothing"
    set_outcome(delivery, file_id, parsed.message_version, "informative", reason)
    log(delivery, sha256, parsed.name, "informative")
    return FileResult(parsed.name, sha256, "informative", reason)


def _tell_settlement(
    delivery: Delivery, content: bytes, parsed: StatementFile, placed: Sequence[tuple[Statement, BankAccount]]
) -> None:
    """What a notification or an intraday report says of our own payments; it posts nothing."""
    lines: list[BookedLine] = []
    for statement, account in placed:
        is_told = ~pl.col("is_reversal") | pl.col("return_reason").is_not_null()
        booked = parsed.lines_of(statement).filter((pl.col("status") == "BOOK") & is_told)
        columns = ("end_to_end_id", "uetr", "payment_information_id", "amount_minor", "return_reason", "msg_id")
        named = booked.select(columns).iter_rows()
        lines += [
            BookedLine(
                bank_account_id=account.bank_account_id,
                end_to_end_id=e2e,
                uetr=uetr,
                payment_information_id=batch,
                amount_minor=-amount,
                return_reason=reason,
                message_id=message,
            )
            for e2e, uetr, batch, amount, reason, message in named
            if e2e or uetr or batch or reason or message
        ]
    if lines:
        kind = placed[0][0].kind
        take_notice(delivery.conn, book_id=delivery.book_id, kind=kind, name=parsed.name, content=content, lines=lines)


def _outcome_of(results: Sequence[StatementResult], *, is_end_of_day: bool) -> str:
    if not is_end_of_day:
        return "informative"
    return "redelivered" if all(result.state == "repeated" for result in results) else "accepted"


def _account_of(delivery: Delivery, statement: Statement) -> BankAccount:
    """Our account that this statement is about; refuses the file when there is none."""
    currencies = {proof.currency for proof in statement.proofs if proof.currency} | {statement.currency}
    named = [account for account in delivery.accounts if is_named(account, statement.account)]
    fitting = [account for account in named if account.currency in currencies or currencies == {None}]
    if len(fitting) == 1:
        return fitting[0]
    shown = statement.account or "not named"
    if not named:
        raise FileRefusedError(
            f"line {statement.source_line}: account {shown} of statement {statement.id} is not one of ours;"
            " add it with `nostro setup` or send the file to its owner"
        )
    raise FileRefusedError(
        f"line {statement.source_line}: statement {statement.id} of account {shown} is not in that account's currency"
    )


def is_named(account: BankAccount, stated: str | None) -> bool:
    """Whether a statement's account is ours: the IBAN, or its national part as MT940 writes it.

    ``37040044/532013000`` is bank code and number of a German IBAN; a number of six characters or more alone, or
    behind a BIC, is the end of an IBAN.
    """
    if stated is None:
        return False
    compact = re.sub(r"[\s.-]", "", stated).upper()
    if account.iban in (stated, compact):
        return True
    bank, _, number = compact.rpartition("/")
    bank = "" if _BIC.fullmatch(bank) else bank
    national = account.iban[4:]
    if bank and number.isdigit():
        return national == bank + number.zfill(len(national) - len(bank))
    return not bank and len(number) >= 6 and account.iban[:2].isalpha() and national.endswith(number)


def _record(delivery: Delivery, file_id: int, statement: Statement, account: BankAccount) -> StatementResult:
    """Store one statement's head and its own proof; the chain is looked at afterwards."""
    kind = statement.kind
    closing = closing_date_of(statement)
    known = delivery.conn.execute(
        "SELECT s.content_sha256 = %s, b.statement_id IS NOT NULL, s.proof = 'proven' FROM recon.statement s"
        " LEFT JOIN recon.statement_page p ON p.page_statement_id = s.statement_id"
        " LEFT JOIN recon.statement_booking b ON b.statement_id = coalesce(p.statement_id, s.statement_id)"
        " WHERE s.bank_account_id = %s AND s.kind = %s AND s.stmt_id = %s AND s.page IS NOT DISTINCT FROM %s"
        " AND s.ordinal > 0",
        (statement.content_sha256, account.bank_account_id, kind, statement.id, statement.page),
    ).fetchall()
    if any(same for same, *_ in known):
        message = f"statement {statement.id} was delivered again with the same content; it counts once"
        if statement.is_end_of_day:
            add_finding(delivery, account, file_id, None, "STATEMENT_DUP", statement.id, message, closing)
        return StatementResult(statement.id, account.code, closing, "repeated", 0, message)
    proof, fault = _own_proof(statement, account)
    statement_id = add_statement(delivery, file_id, kind, statement, account, proof)
    if not statement.is_end_of_day:
        if kind in INTRADAY:
            keep_intraday(delivery, file_id, statement_id, statement)
        return StatementResult(statement.id, account.code, closing, "informative", statement.row_count)
    if any(booked for _, booked, _ in known):
        message = f"statement {statement.id} is booked and came again with other content; nothing of it is booked"
        add_finding(delivery, account, file_id, statement_id, "STATEMENT_REVISED", statement.id, message, closing)
        return StatementResult(statement.id, account.code, closing, "revised", statement.row_count, message)
    if fault is not None and not waits_for_pages(statement):
        message = f"statement {statement.id}: {fault}; nothing of it is booked"
        add_finding(delivery, account, file_id, statement_id, "STATEMENT_IMBALANCE", statement.id, message, closing)
        return StatementResult(statement.id, account.code, closing, "unproven", statement.row_count, message)
    if any(proven for *_, proven in known) and not waits_for_pages(statement):
        message = f"statement {statement.id} came again with other content before it was booked; the later one counts"
        add_finding(delivery, account, file_id, statement_id, "STATEMENT_REVISED", statement.id, message, closing)
    return StatementResult(statement.id, account.code, closing, "waiting", statement.row_count)


def _join(delivery: Delivery, file_id: int, placed: Sequence[tuple[Statement, BankAccount]]) -> None:
    """Make statements of the pages that are complete now; the others say what they wait for."""
    for statement, account in {(s.id, a.code): (s, a) for s, a in placed if waits_for_pages(s)}.values():
        fault = join_pages(delivery, account, statement.kind, statement.id)
        if fault is not None:
            code, why = fault
            message = f"statement {statement.id} of {account.code} is not booked: {why}"
            add_finding(delivery, account, file_id, None, code, statement.id, message, closing_date_of(statement))


def _own_proof(statement: Statement, account: BankAccount) -> tuple[ProofState, str | None]:
    """State of the statement's own equation, and a sentence when it may not be booked."""
    proof = statement.proof
    if len(statement.proofs) > 1:
        return ProofState.UNPROVEN, "it has lines in several currencies"
    if statement.quarantined:
        first = statement.quarantined[0]
        return ProofState.UNPROVEN, f"line {first.source_line} cannot be read ({first.message})"
    if proof.state is ProofState.VIOLATED:
        difference = (proof.closing_minor or 0) - (proof.opening_minor or 0) - proof.booked_minor
        return proof.state, f"opening + booked lines differ from closing by {difference} minor units"
    if proof.state is not ProofState.PROVEN:
        return proof.state, f"it cannot be proven ({proof.reason.value})"
    if proof.reason is not ProofReason.BALANCES_TIE or closing_date_of(statement) is None:
        return ProofState.UNPROVEN, f"it has no booked opening and closing balance ({proof.reason.value})"
    if proof.currency != account.currency:
        return ProofState.UNPROVEN, f"it is in {proof.currency}, the account in {account.currency}"
    return proof.state, None


def _booked(
    delivery: Delivery, file_id: int, results: list[StatementResult], accounts: dict[str, BankAccount]
) -> list[StatementResult]:
    """Book what follows the chains of these accounts now, older waiting statements too."""
    done: set[tuple[str, str]] = set()
    for code in sorted(accounts):
        for statement, late in book_ready(delivery.conn, accounts[code], delivery.read):
            done.add((code, statement.stmt_id))
            if late:
                message = (
                    f"{late} lines of statement {statement.stmt_id} are of a closed period;"
                    " they posted on the first open date"
                )
                add_finding(
                    delivery, accounts[code], statement.file_id, statement.statement_id, "LATE_CHANGE",
                    statement.stmt_id, message, statement.closing_date,
                )  # fmt: skip
    delivery.read.pop(file_id, None)
    return [
        StatementResult(r.stmt_id, r.account, r.closing_date, "booked", r.line_count)
        if r.state == "waiting" and (r.account, r.stmt_id) in done
        else r
        for r in results
    ]


def _record_gaps(delivery: Delivery) -> None:
    """What still waits after the whole delivery does not follow its chain: say why, once."""
    for account in delivery.accounts:
        last = chain_end(delivery.conn, account)
        for statement in waiting(delivery.conn, account):
            fault = chain_fault(statement, last, account)
            if fault is not None:
                message = f"statement {statement.stmt_id} of {account.code} is not booked: {fault}"
                add_finding(
                    delivery, account, statement.file_id, statement.statement_id, "STATEMENT_GAP",
                    statement.stmt_id, message, statement.closing_date,
                )  # fmt: skip


def _accept_report(delivery: Delivery, file_id: int, sha256: str, report: PspReport) -> FileResult:
    rows = [tuple(getattr(payout, name) for name in _RECEIPT_COLUMNS) for payout in report.payouts]
    stage(delivery.conn, "stage_receipt", pl.DataFrame(rows, schema=_RECEIPT_COLUMNS, orient="row"))
    row = delivery.conn.execute("SELECT recon.expect_receipts(%s, %s)", (delivery.book_id, file_id)).fetchone()
    assert row is not None
    set_outcome(delivery, file_id, "psp", "accepted", None)
    log(delivery, sha256, report.name, "accepted")
    return FileResult(report.name, sha256, "accepted", None, receipt_count=int(str(row[0])))


_RECEIPT_COLUMNS: dict[str, pl.DataType] = {
    "source_line": pl.Int32(),
    "payout_id": pl.String(),
    "acquirer": pl.String(),
    "bank_account": pl.String(),
    "currency": pl.String(),
    "payout_date": pl.Date(),
    "gross_minor": pl.Int64(),
    "refunds_minor": pl.Int64(),
    "chargebacks_minor": pl.Int64(),
    "fees_minor": pl.Int64(),
    "net_minor": pl.Int64(),
    "line_count": pl.Int32(),
}
