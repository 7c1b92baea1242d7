"""The command that shows what banks announced during the day."""

from __future__ import annotations

from typing import Annotated

import typer

from nostro.cli.common import BookOption, JsonOption, console, date_text, emit, parse_date, session
from nostro.cli.reconciliation import recon_app
from recon import Announced, intraday_report


def register(app: typer.Typer) -> None:
    """The command is in `nostro recon`, which is added by itself."""


@recon_app.command("intraday")
def intraday_command(
    state: Annotated[Announced | None, typer.Option("--state", help="Only entries of this state.")] = None,
    day: Annotated[str | None, typer.Option("--date", callback=date_text, help="Only entries of this day.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What banks announced during the day (camt.052, MT942), and what of it the booked statement has replaced.

    An announced entry posts nothing; once the booked statement has it, only the booked line counts.

    Example: `nostro recon intraday --state announced`
    """
    with session(book=book) as s:
        found = intraday_report(s.conn, book_id=s.book_id, state=state, day=parse_date(day))

    def text() -> None:
        for line in found.render():
            console.print(line)

    emit(found, text, as_json=as_json)
