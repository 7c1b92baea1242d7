"""Commands on periods: close, soft-close, re-open, and where they stand."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from ledger import (
    close_period,
    period_status,
    reopen_period,
    request_close_override,
    request_reopen,
    soft_close_period,
)
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    parse_date,
    session,
    table,
)

period_app = typer.Typer(no_args_is_help=True, help="Close and re-open periods of the books.")
ThroughArgument = Annotated[
    str, typer.Argument(callback=date_text, help="The last day of the period, e.g. 2026-11-30.")
]
OverrideOption = Annotated[
    str | None, typer.Option("--request-override", help="Reason to let another person close it uncertified.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(period_app, name="period")
    app.command("close-period")(close_period_command)
    period_app.command("close")(close_command)


def _day(text: str) -> date:
    day = parse_date(text)
    assert day is not None
    return day


def close_period_command(
    through: ThroughArgument,
    request_override: OverrideOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Close the books through a day. Each bank account must be certified through it.

    Example: `nostro close-period 2026-11-30`
    """
    close_command(through, request_override, as_json, book, person)


def close_command(
    through: ThroughArgument,
    request_override: OverrideOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Close the books through a day. Each bank account must be certified through it.

    Example: `nostro period close 2026-11-30`
    """
    day = _day(through)
    with session(person, book) as s:
        if request_override is not None:
            request_close_override(s.conn, book_id=s.book_id, through=day, reason=request_override)
        else:
            close_period(s.conn, book_id=s.book_id, through=day)
    said = "override requested; another person closes" if request_override else "closed"
    emit({"through": day, "state": said}, lambda: console.print(f"books through {day}: {said}"), as_json=as_json)


@period_app.command("soft-close")
def soft_close_command(
    through: ThroughArgument, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Let only approvers post journal entries through a day. Settlement and reconciliation go on.

    Example: `nostro period soft-close 2026-11-30`
    """
    day = _day(through)
    with session(person, book) as s:
        soft_close_period(s.conn, book_id=s.book_id, through=day)
    emit(
        {"through": day, "state": "soft-closed"},
        lambda: console.print(f"books through {day}: soft-closed, approvers still post"),
        as_json=as_json,
    )


@period_app.command("reopen")
def reopen_command(
    from_date: Annotated[str, typer.Argument(callback=date_text, help="The first day to open again, e.g. 2026-11-01.")],
    reason: Annotated[
        str | None, typer.Option("--reason", help="Ask for it, with this reason; another person then re-opens.")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Open closed and soft-closed days again: one person asks with --reason, an approver re-opens without it.

    Example: `nostro period reopen 2026-11-01 --reason "invoice 4711 was forgotten" --as alice`
    """
    day = _day(from_date)
    with session(person, book) as s:
        if reason is not None:
            request_reopen(s.conn, book_id=s.book_id, from_date=day, reason=reason)
        else:
            reopen_period(s.conn, book_id=s.book_id, from_date=day)
    said = "re-opening requested; another person re-opens" if reason is not None else "open again"
    emit({"from": day, "state": said}, lambda: console.print(f"books from {day}: {said}"), as_json=as_json)


@period_app.command("status")
def status_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """Through which day the books are closed, and how that came.

    Example: `nostro period status`
    """
    with session(book=book) as s:
        status = period_status(s.conn, book_id=s.book_id)

    def text() -> None:
        console.print(f"closed through: {status.closed_through or 'nothing is closed'}")
        console.print(f"soft-closed through: {status.soft_closed_through or 'nothing is soft-closed'}")
        rows = [(e.recorded_at.date(), e.event, e.day, e.recorded_by, e.reason) for e in status.events]
        if rows:
            table(None, ("on", "event", "day", "by", "reason"), rows)

    emit(status, text, as_json=as_json)
