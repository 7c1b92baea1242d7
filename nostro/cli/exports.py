"""Commands that hand the books to other programs: hledger, beancount, Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ledger import ExportFormat, ExportReport, export_journal, export_text, knowledge_at
from nostro.cli.books import AsOfOption, KnownOption
from nostro.cli.common import BookOption, JsonOption, console, emit, parse_date, parse_moment, progress, session
from nostro.cli.reconciliation import export_app

ToOption = Annotated[Path | None, typer.Option("--to", help="Target file (default: standard output).")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program's `export`."""
    assert any(group.typer_instance is export_app for group in app.registered_groups)
    export_app.command("hledger")(export_hledger_command)
    export_app.command("beancount")(export_beancount_command)
    export_app.command("parquet")(export_parquet_command)


def _export(
    format_: ExportFormat, to: Path | None, as_of: str | None, known_at: str | None, as_json: bool, book: str | None
) -> None:
    day, moment = parse_date(as_of), parse_moment(known_at)
    if to is None and (as_json or format_ is ExportFormat.PARQUET):
        raise typer.BadParameter("name the target file with --to")
    with session(book=book) as s, progress("exporting", quiet=as_json):
        known = None if moment is None else knowledge_at(s.conn, moment)
        if to is None:
            export_text(s.conn, book_id=s.book_id, format_=format_, out=sys.stdout, as_of=day, known=known)
            return
        report = export_journal(s.conn, book_id=s.book_id, format_=format_, path=to, as_of=day, known=known)
    emit({"file": to, "format": format_, "known": known, "report": report}, lambda: _say(to, report), as_json=as_json)


def _say(to: Path, report: ExportReport) -> None:
    console.print(f"wrote {to}: {report.entries:,} entries, {report.postings:,} postings, {report.accounts:,} accounts")


def export_hledger_command(
    to: ToOption = None,
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Every entry as an hledger journal; account codes are hledger names as they are.

    Example: `nostro export hledger --to books.journal`
    """
    _export(ExportFormat.HLEDGER, to, as_of, known_at, as_json, book)


def export_beancount_command(
    to: ToOption = None,
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Every entry as a beancount ledger, with an `open` for every account that carries its code.

    Example: `nostro export beancount --to books.beancount`
    """
    _export(ExportFormat.BEANCOUNT, to, as_of, known_at, as_json, book)


def export_parquet_command(
    to: ToOption = None,
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Every posting as a Parquet row, in the columns that `nostro import journal` reads.

    Example: `nostro export parquet --to books.parquet`
    """
    _export(ExportFormat.PARQUET, to, as_of, known_at, as_json, book)
