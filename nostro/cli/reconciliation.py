"""Commands of reconciliation: statements in, runs, breaks, exports."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import RefusedError
from nostro.cli.common import (
    EXIT_CHECK_FAILED,
    BookOption,
    JsonOption,
    KnownOption,
    RunDayOption,
    console,
    date_text,
    emit,
    parse_date,
    parse_known,
    progress,
    session,
)
from recon import (
    arrived_files,
    build_warehouse,
    check_files,
    export_days,
    ingest_files,
    lines_to_parquet,
    reconcile,
    run_report,
)
from recon.formats import Layout, read_layouts

recon_app = typer.Typer(no_args_is_help=True, help="Prove that the bank did what the books say.")
export_app = typer.Typer(no_args_is_help=True, help="The books for other programs.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(recon_app, name="recon")
    app.add_typer(export_app, name="export")


@recon_app.command("ingest")
def ingest_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Statements, reports, zip or gzip of them; known by content.", metavar="[FILE…]"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read and prove only; book nothing, whatever the account.")
    ] = False,
    inbox: Annotated[bool, typer.Option("--inbox", help="Take what arrived in the banks' inboxes.")] = False,
    layout: Annotated[
        list[Path] | None, typer.Option("--layout", help="Layout of other reports (YAML); may be given again.")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Take in statement files: prove each, book the proven ones, keep every original.

    Status 1 when a file was refused (the others are taken in); with `--check`, 5 when a file is refused or a
    statement does not prove.

    Example: `nostro recon ingest statement.xml`
    """
    if (check and not files) or (not files and not inbox):
        raise typer.BadParameter("say which files to read, or --inbox for what arrived from the banks")
    layouts = [each for path in layout or () for each in read_layouts(path)]
    if check:
        _check(files or [], layouts, as_json)
        return
    with session(book=book) as s, progress("ingesting", quiet=as_json) as report:
        paths = [*(files or []), *(arrived_files(s.conn, book_id=s.book_id, home=s.home) if inbox else [])]
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            report(done, len(paths))

        taken = ingest_files(s.conn, book_id=s.book_id, paths=paths, layouts=layouts, on_progress=count)

    def text() -> None:
        for file in taken.files:
            console.print(f"{file.name}: {file.outcome}{f' ({file.reason})' if file.reason else ''}")
            for each in file.statements:
                said = f": {each.message}" if each.message else ""
                console.print(f"  {each.account} {each.stmt_id}: {each.state}, {each.line_count} lines{said}")
        console.print(
            f"{len(taken.files)} files, {len(taken.refused)} refused, {taken.booked_lines:,} lines booked, "
            f"{taken.receipts} receipts announced"
        )

    emit(taken, text, as_json=as_json)
    if taken.refused:
        first = taken.refused[0]
        raise RefusedError(
            f"{len(taken.refused)} of {len(taken.files)} files were refused; first: {first.name}: {first.reason}"
        )


def _check(files: list[Path], layouts: list[Layout], as_json: bool) -> None:
    with progress("checking", quiet=as_json) as report:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            report(done, len(files))

        result = check_files(files, layouts=layouts, on_progress=count)

    def text() -> None:
        for line in result.render():
            console.print(line)

    emit(result.as_json(), text, as_json=as_json)
    counts = result.totals()
    if counts.files_refused or counts.violated or counts.unproven:
        raise typer.Exit(EXIT_CHECK_FAILED)  # the report has said why


@recon_app.command("lines")
def lines_command(
    files: Annotated[list[Path], typer.Argument(help="Statements or reports; known by content.", metavar="FILE…")],
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="Folder for the Parquet files; made when missing.")],
    layout: Annotated[
        list[Path] | None, typer.Option("--layout", help="Layout of other reports (YAML); may be given again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the lines of statement files as Parquet, one file each; nothing is booked and no database is needed.

    A file of any size takes the same memory. A second run writes the same bytes again. Status 1 when a file was
    refused (the others are written).

    Example: `nostro recon lines statement.xml --to lines`
    """
    layouts = [each for path in layout or () for each in read_layouts(path)]
    with progress("reading", quiet=as_json) as report:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            report(done, len(files))

        written = lines_to_parquet(files, folder=to, layouts=layouts, on_progress=count)

    def text() -> None:
        for each in written:
            said = f"refused ({each.reason})" if each.path is None else f"{each.row_count:,} lines in {each.path}"
            console.print(f"{each.name}: {said}")

    emit({"files": written}, text, as_json=as_json)
    refused = [each for each in written if each.path is None]
    if refused:
        raise RefusedError(
            f"{len(refused)} of {len(files)} files were refused; first: {refused[0].name}: {refused[0].reason}"
        )


@recon_app.command("run")
def run_command(
    day: Annotated[str, typer.Option("--date", callback=date_text, help="Business date to reconcile through.")],
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the matching engine.")] = os.cpu_count()
    or 2,
    full: Annotated[
        bool, typer.Option("--full", help="Read the whole ledger too; refused unless that gives the same.")
    ] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Clear cash in transit, name every break, certify every proven bank day. The same inputs: the same run.

    It reads what was open in the run before and what is new since.

    Example: `nostro recon run --date 2026-11-02`
    """
    wanted = parse_date(day)
    assert isinstance(wanted, date)
    with session(book=book) as s, progress("reconciling", quiet=as_json):
        report = reconcile(s.conn, book_id=s.book_id, business_date=wanted, home=s.home, threads=threads, full=full)
    emit(report, lambda: _print_lines(report.render()), as_json=as_json)


def _print_lines(lines: object) -> None:
    for line in lines:  # type: ignore[attr-defined]
        console.print(line)


@recon_app.command("report")
def report_command(
    day: RunDayOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What a run cleared, what is open and how old, what was carried forward, what is certified and signed.

    Example: `nostro recon report --date 2026-11-02`
    """
    with session(book=book) as s:
        report = run_report(s.conn, book_id=s.book_id, business_date=parse_date(day), known_at=parse_known(known_at))
    emit(report, lambda: _print_lines(report.render()), as_json=as_json)


@export_app.command("days")
def export_days_command(
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="Folder; an earlier export there is replaced.")],
    as_json: JsonOption = False,
) -> None:
    """The analysts' tables as Parquet, one file for each bank account and day.

    Example: `nostro export days --to lake`
    """
    with session() as s, progress("exporting", quiet=as_json):
        report = export_days(s.conn, to)
    emit(report, lambda: console.print(f"wrote {to}: {sum(report.files.values()):,} files"), as_json=as_json)


@export_app.command("duckdb")
def export_duckdb_command(
    to: Annotated[Path | None, typer.Option("--to", help="Target file (default: NOSTRO_HOME/nostro.duckdb).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build nostro.duckdb for analysts: a new file, swapped in at once.

    Example: `nostro export duckdb`
    """
    with session() as s, progress("exporting", quiet=as_json):
        target = to or s.home / "nostro.duckdb"
        report = build_warehouse(s.conn, target)
    emit(report, lambda: console.print(f"wrote {target}"), as_json=as_json)
