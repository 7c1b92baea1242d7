"""Commands of settlement: set-up, propose, look, approve, release."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger import currency, format_amount
from ledger.errors import OutcomeUnknownError, RefusedError
from nostro.cli import exceptions, lineage, recalls, stops
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    Session,
    console,
    date_text,
    emit,
    moment_text,
    open_database,
    parse_date,
    parse_moment,
    progress,
    reason_text,
    session,
    table,
    today,
)
from settlement import (
    FileState,
    PaymentBatch,
    PaymentFileStatus,
    StepResult,
    WrittenText,
    apply_setup,
    approve,
    file_content,
    netting,
    payment_batches,
    payment_file,
    payment_files,
    propose,
    reject,
    release,
    release_hold,
    require_reconciled,
    run_status,
    written_texts,
)

settle_app = typer.Typer(no_args_is_help=True, help="Pay out what the books say is owed.")

DateOption = Annotated[str | None, typer.Option("--date", callback=date_text, help="Business date (default: today).")]
NowOption = Annotated[
    str | None,
    typer.Option("--now", callback=moment_text, help="The moment to act at, with time zone (default: the clock)."),
]
FilesArgument = Annotated[list[int] | None, typer.Argument(help="Payment file numbers.", metavar="[FILE…]")]
AllOption = Annotated[bool, typer.Option("--all", help="Every file that waits for this step.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("setup")(setup_command)
    stops.register(settle_app)
    exceptions.register(settle_app)
    recalls.register(settle_app)
    lineage.register(app, settle_app)
    app.add_typer(settle_app, name="settle")


def _business_date(text: str | None) -> date:
    return parse_date(text) or today()


def _now(text: str | None) -> datetime:
    return parse_moment(text) or datetime.now(UTC)


def setup_command(
    file: Annotated[Path, typer.Argument(help="The YAML file that declares book, accounts, banks and payees.")],
    as_json: JsonOption = False,
) -> None:
    """Declare the book, its accounts, banks, bank accounts, payees and opening balances. Harmless to repeat.

    Example: `nostro setup setup.yaml`
    """
    with open_database() as conn:
        report = apply_setup(conn, file)
    said = "set up" if report.changed else "was set up like this before; nothing changed"
    emit(
        report,
        lambda: console.print(
            f"book {report.book}: {said}\n{report.banks} banks, {report.bank_accounts} bank accounts, "
            f"{report.payees:,} payees ({report.new_payees:,} new, {report.changed_payees:,} changed)"
        ),
        as_json=as_json,
    )


def file_rows(files: list[PaymentFileStatus]) -> list[tuple[object, ...]]:
    """Payment files as rows of the table people read."""
    return [
        (
            f.file_id,
            f.business_date,
            f.bank_account,
            f.instruction_count,
            f.total,
            f.currency,
            f.state.value,
            f.prepared_by,
            f.approved_by,
            f.reason,
        )
        for f in files
    ]


FILE_COLUMNS = ("file", "date", "bank account", "count", "total", "ccy", "state", "prepared", "approved", "reason")


def _print_files(files: list[PaymentFileStatus]) -> None:
    if files:
        table(None, FILE_COLUMNS, file_rows(files), right=(0, 3, 4))
    else:
        console.print("no payment files")


@settle_app.command("propose")
def propose_command(
    day: DateOption = None,
    bank_account: Annotated[str | None, typer.Option("--bank-account", help="Only this bank account.")] = None,
    payee: Annotated[
        list[str] | None, typer.Option("--payee", help="An ad-hoc run: this payee (repeat) whatever its schedule.")
    ] = None,
    now: NowOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Cut, net and render what is owed; nothing is paid before another person approves.

    Example: `nostro settle propose --date 2026-11-02 --as alice`
    """
    with session(person, book) as s, progress("proposing", quiet=as_json):
        require_reconciled(s.conn, s.home)
        files = propose(
            s.conn,
            book_id=s.book_id,
            business_date=_business_date(day),
            now=_now(now),
            bank_account=bank_account,
            payees=payee or None,
        )

    def text() -> None:
        _print_files([f.file for f in files])
        if not files:
            console.print("nothing new is owed")

    emit({"files": files}, text, as_json=as_json)


@settle_app.command("show")
def show_command(
    file_id: Annotated[int | None, typer.Argument(help="A payment file; without it, the files that wait.")] = None,
    xml: Annotated[bool, typer.Option("--xml", help="Print the file's bytes.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Look at a payment file, its batches and the texts it writes differently, or at all files that are not finished.

    Example: `nostro settle show 3 --xml`
    """
    with session(book=book) as s:
        if file_id is not None and xml:
            content = file_content(s.conn, file_id).decode("utf-8")
            emit({"file_id": file_id, "xml": content}, lambda: typer.echo(content, nl=False), as_json=as_json)
            return
        finished = {FileState.RECONCILED, FileState.VOID, FileState.REJECTED, FileState.CANCELLED}
        waiting = set(FileState) - finished
        files = (
            [payment_file(s.conn, file_id)]
            if file_id is not None
            else payment_files(s.conn, book_id=s.book_id, states=waiting)
        )
        written = written_texts(s.conn, file_id) if file_id is not None else []
        batches = payment_batches(s.conn, file_id) if file_id is not None else []

    def text() -> None:
        _print_files(files)
        if batches:
            _print_batches(batches)
        if written:
            _print_written(written)

    told = {"files": files} if file_id is None else {"files": files, "batches": batches, "written": written}
    emit(told, text, as_json=as_json)


def _print_batches(batches: list[PaymentBatch]) -> None:
    """The blocks of a file, and what the bank said of each."""
    columns = ("batch", "PmtInfId", "executes", "terms", "count", "total", "ccy", "executed", "rejected")
    cells = [
        (
            b.batch,
            b.payment_information_id,
            b.execution_date,
            " ".join(filter(None, (b.service_level, b.local_instrument, b.sequence_type, b.charge_bearer))),
            b.instruction_count,
            b.total,
            b.currency,
            b.executed_count,
            b.rejected_count,
        )
        for b in batches
    ]
    table("batches", columns, cells, right=(0, 4, 5, 7, 8))


_WRITTEN_MAX = 20


def _print_written(written: list[WrittenText]) -> None:
    """What the file does not say as it was given; the rest of a long list is in `--json`."""
    columns = ("nr", "payee", "field", "given", "written", "changes")
    cells = [(w.ordinal, w.payee, w.field, w.original, w.written, ", ".join(w.changes)) for w in written[:_WRITTEN_MAX]]
    table("written in the bank's characters", columns, cells, right=(0,))
    if len(written) > _WRITTEN_MAX:
        console.print(f"and {len(written) - _WRITTEN_MAX:,} more; --json lists all")


def _wanted(s: Session, files: list[int] | None, everything: bool, states: set[FileState], verb: str) -> list[int]:
    if files and not everything:
        return files
    if everything and not files:
        return [f.file_id for f in payment_files(s.conn, book_id=s.book_id, states=states)]
    raise typer.BadParameter(f"say which files to {verb}, or --all")


@settle_app.command("approve")
def approve_command(
    files: FilesArgument = None,
    everything: AllOption = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Sign files prepared by somebody else: their hash, count, total and payees.

    Example: `nostro settle approve 3 4 --as bob`
    """
    with session(person, book) as s:
        done = [approve(s.conn, f) for f in _wanted(s, files, everything, {FileState.PROPOSED}, "approve")]

    def text() -> None:
        _print_files([a.file for a in done])
        for a in done:
            if a.missing_count:
                console.print(f"file {a.file.file_id} waits for {a.missing_count} more approval")
            if a.warning is not None:
                console.print(f"warning: {a.warning}")

    emit({"approvals": done}, text, as_json=as_json)


@settle_app.command("reject")
def reject_command(
    file_id: Annotated[int, typer.Argument(help="The payment file.")],
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")],
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Refuse a file before it is sealed; what it would have paid stays owed.

    Example: `nostro settle reject 3 --reason "wrong cut-off" --as bob`
    """
    with session(person, book) as s:
        result = reject(s.conn, file_id, reason=reason)
    emit(result, lambda: _print_steps([result]), as_json=as_json)


def _print_steps(results: list[StepResult]) -> None:
    for r in results:
        said = "" if r.is_new else " (was already)"
        console.print(f"file {r.file_id}: {r.state.value}{said}{f': {r.reason}' if r.reason else ''}")
    if not results:
        console.print("no files waited for this")


def release_files(
    files: list[int] | None,
    everything: bool,
    resend: bool,
    now: str | None,
    as_json: bool,
    book: str | None,
    person: str | None,
) -> None:
    """Seal and send files and say how far each got. Raises `RefusedError` (void) and `OutcomeUnknownError`."""
    states = {FileState.APPROVED, FileState.SEALED, FileState.FAILED}
    results: list[StepResult] = []
    with session(person, book) as s:
        for file_id in _wanted(s, files, everything, states, "release"):
            results.append(release(s.conn, file_id, home=s.home, now=_now(now), resend=resend))
    emit({"files": results}, lambda: _print_steps(results), as_json=as_json)
    if void := [r for r in results if r.state is FileState.VOID]:
        raise RefusedError(f"file {void[0].file_id} is void ({void[0].reason}); propose again.")
    if unknown := [r for r in results if r.state is FileState.UNKNOWN]:
        raise OutcomeUnknownError(
            f"whether file {unknown[0].file_id} reached the bank is unknown; its status report or statement will tell, "
            "see `nostro settle status`."
        )


@settle_app.command("release")
def release_command(
    files: FilesArgument = None,
    everything: AllOption = False,
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send the identical bytes of an unknown file again (bank refuses duplicates)."),
    ] = False,
    now: NowOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Seal approved files and send them to their banks. Again: nothing is sent twice.

    Example: `nostro settle release --all --as alice`
    """
    release_files(files, everything, resend, now, as_json, book, person)


@settle_app.command("status")
def status_command(day: DateOption = None, as_json: JsonOption = False, book: BookOption = None) -> None:
    """Runs, files and where they stand.

    Example: `nostro settle status --date 2026-11-02`
    """
    with session(book=book) as s:
        runs = run_status(s.conn, book_id=s.book_id, business_date=parse_date(day))

    def text() -> None:
        _print_files([f for run in runs for f in run.files])

    emit({"runs": runs}, text, as_json=as_json)


@settle_app.command("netting")
def netting_command(
    day: DateOption = None,
    bank_account: Annotated[str | None, typer.Option("--bank-account", help="Only this bank account.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What a proposal made now would do with each payee, and why. Changes nothing.

    Example: `nostro settle netting --date 2026-11-02`
    """
    with session(book=book) as s:
        rows = netting(s.conn, book_id=s.book_id, business_date=_business_date(day), bank_account=bank_account)

    def amount(minor: int, code: str) -> str:
        return format_amount(minor, currency(code).exponent)

    columns = ("payee", "ccy", "owed", "pays", "reserved", "outcome", "items")
    cells = [
        (
            r.payee,
            r.currency,
            amount(r.owed_minor, r.currency),
            amount(r.pay_minor, r.currency),
            amount(r.reserve_minor, r.currency),
            r.outcome,
            r.item_count,
        )
        for r in rows
    ]
    emit({"payees": rows}, lambda: table(None, columns, cells, right=(2, 3, 4, 6)), as_json=as_json)


@settle_app.command("unhold")
def unhold_command(
    end_to_end_id: Annotated[str, typer.Argument(help="EndToEndId of the payment that came back or was stopped.")],
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="Why it may be paid again.")],
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Let a payment that was rejected, came back or was stopped be paid in the next run.

    Example: `nostro settle unhold E2E… --reason "payee confirmed the account" --as alice`
    """
    with session(person, book) as s:
        is_new = release_hold(s.conn, end_to_end_id=end_to_end_id, reason=reason)
    said = "released" if is_new else "was released before"
    emit({"end_to_end_id": end_to_end_id, "released": is_new}, lambda: console.print(said), as_json=as_json)
