"""Commands about what waits for a person because of a bank's answer, or for want of one."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import format_amount
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    parse_date,
    reason_text,
    session,
    table,
    today,
)
from settlement import decide_dispute, decide_names, dismiss_message, exceptions

ReasonOption = Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")]
DateOption = Annotated[str | None, typer.Option("--date", callback=date_text, help="The day (default: today).")]
_COLUMNS = ("kind", "policy", "file", "EndToEndId", "payee", "amount", "ccy", "since", "code", "what to do")


def register(settle: typer.Typer) -> None:
    """Add these commands to `nostro settle`."""
    settle.command("exceptions")(exceptions_command)
    settle.command("names")(names_command)
    settle.command("dispute")(dispute_command)
    settle.command("dismiss")(dismiss_command)


def exceptions_command(day: DateOption = None, as_json: JsonOption = False, book: BookOption = None) -> None:
    """What waits for a person: payments held, disputes, doubtful names, recalls, no answer, answers we cannot place.

    Example: `nostro settle exceptions --date 2026-11-03`
    """
    with session(book=book) as s:
        rows = exceptions(s.conn, book_id=s.book_id, as_of=parse_date(day) or today())
    cells = [
        (
            r.kind,
            r.policy,
            r.file_id,
            r.end_to_end_id,
            r.payee,
            "" if r.amount_minor is None or r.exponent is None else format_amount(r.amount_minor, r.exponent),
            r.currency,
            r.since,
            r.code,
            r.meaning,
        )
        for r in rows
    ]
    emit(
        {"exceptions": rows},
        lambda: table(None, _COLUMNS, cells, right=(2, 5)) if rows else console.print("nothing waits for a person"),
        as_json=as_json,
    )


def names_command(
    file_id: Annotated[int, typer.Argument(help="The payment file.")],
    reason: ReasonOption,
    release: Annotated[
        bool, typer.Option("--release/--recall", help="Let it go on at the bank, or ask the doubtful payments back.")
    ],
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Decide about a file in which the bank found names that are not surely those of the accounts.

    Example: `nostro settle names 3 --recall --reason "the names are of other firms" --as bob`
    """
    with session(person, book) as s:
        count = decide_names(s.conn, file_id=file_id, release=release, reason=reason)
    said = f"file {file_id} goes on at the bank" if release else f"{count} payments are asked back"
    emit({"file_id": file_id, "release": release, "recalled": count}, lambda: console.print(said), as_json=as_json)


def dispute_command(
    end_to_end_id: Annotated[str, typer.Argument(help="EndToEndId of the payment.")],
    reason: ReasonOption,
    executed: Annotated[bool, typer.Option("--executed/--rejected", help="What it was, as the bank confirmed.")],
    day: DateOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say what a payment was that the bank called both executed and rejected. Rejected: it is owed again, and held.

    Example: `nostro settle dispute E2E… --executed --reason "confirmed by the bank" --as bob`
    """
    with session(person, book) as s:
        decide_dispute(
            s.conn,
            end_to_end_id=end_to_end_id,
            was_executed=executed,
            reason=reason,
            effective_date=parse_date(day) or today(),
        )
    said = "it was executed" if executed else "it was rejected; what it paid is owed again, and held"
    emit({"end_to_end_id": end_to_end_id, "was_executed": executed}, lambda: console.print(said), as_json=as_json)


def dismiss_command(
    message_id: Annotated[int, typer.Argument(help="Number of the message, as `settle exceptions` says.")],
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say what became of a bank's message about payments that are not ours, or that could not be read.

    Example: `nostro settle dismiss 12 --reason "of another customer, the bank withdrew it" --as alice`
    """
    with session(person, book) as s:
        is_new = dismiss_message(s.conn, book_id=s.book_id, message_id=message_id, reason=reason)
    said = "it is off the list" if is_new else "it was off the list before"
    emit({"message_id": message_id, "is_new": is_new}, lambda: console.print(said), as_json=as_json)
