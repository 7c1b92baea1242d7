"""Commands about what left for banks: compare it with the books, and settle what a restore made them forget."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import RefusedError
from nostro.cli.common import AsOption, BookOption, JsonOption, console, emit, reason_text, session, table
from settlement import LostSend, SendReview, end_lost, lost_sends, review_sends, sign_sends

_OUTCOMES = {True: "not_sent", False: "by_hand"}
LostArgument = Annotated[int, typer.Argument(help="The lost send, see `nostro bank lost-sends`.")]
_COLUMNS = ("lost", "bank", "MsgId", "known from", "payments", "total (minor units)", "state", "file")


def register(bank_app: typer.Typer) -> None:
    """Add these commands to `nostro bank`."""
    bank_app.command("reconcile-sends")(reconcile_command)
    bank_app.command("lost-sends")(lost_command)
    bank_app.command("lost-send")(end_command)


def reconcile_command(
    reason: Annotated[
        str | None, typer.Option("--reason", callback=reason_text, help="Sign what is found, and say why it may go on.")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Compare the books with the journal of sends, the banks' folders and their answers; after a restore, sign it.

    Without --reason it only looks. Two people sign; then a new journal begins, and every file that left and was
    forgotten is taken into the books as unknown: it is never sent by that. Those that the books cannot carry yet (the
    journals since the backup are missing) keep their payees from being paid; sign again after importing them.

    Status 1 while something must be signed.

    Example: `nostro bank reconcile-sends --reason "restored from the backup of 2 November" --as bob`
    """
    with session(person, book) as s:
        signed = None if reason is None else sign_sends(s.conn, home=s.home, reason=reason)
        review = signed or review_sends(s.conn, home=s.home)
    emit(review, lambda: _print(review), as_json=as_json)
    if not review.may_send:
        raise RefusedError(
            f"nothing is sent yet: {review.difference or 'banks have files that the books never sent'}; "
            f"{review.signatures} of 2 people have signed what is found."
        )


def _print(review: SendReview) -> None:
    journal = "no journal" if review.journal is None else f"the journal {review.journal}"
    console.print(f"the books know {review.books} sends, {journal}: {review.difference or 'they agree'}")
    for bank in review.unreachable:
        console.print(f"not asked: {bank}")
    if review.lost:
        table(None, _COLUMNS, [_cells(one) for one in review.lost], right=(0, 4, 5, 7))


def _cells(one: LostSend) -> tuple[object, ...]:
    head = (one.lost_send_id, one.bank, one.msg_id, one.source, one.payment_count, one.total_minor)
    return (*head, one.state, one.file_id)


def lost_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """Files that left for a bank and that a restore made the books forget, and what became of each.

    Example: `nostro bank lost-sends`
    """
    with session(book=book) as s:
        found = lost_sends(s.conn)

    def text() -> None:
        if found:
            table(None, _COLUMNS, [_cells(one) for one in found], right=(0, 4, 5, 7))
        else:
            console.print("nothing was forgotten")

    emit({"lost_sends": found}, text, as_json=as_json)


def end_command(
    lost: LostArgument,
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="How that is known; it is kept.")],
    not_sent: Annotated[
        bool, typer.Option("--not-sent/--by-hand", help="The bank never got it, or: it was booked in another way.")
    ],
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say what became of a lost send that the books cannot carry; when two people say the same, its payees are free.

    Example: `nostro bank lost-send 1 --not-sent --reason "the bank never got it, letter of 3 November" --as bob`
    """
    with session(person, book) as s:
        one = end_lost(s.conn, lost, outcome=_OUTCOMES[not_sent], reason=reason)
    waits = ": a second person must say the same" if one.state == "open" else ""
    emit(one, lambda: console.print(f"lost send {one.lost_send_id} is {one.state}{waits}"), as_json=as_json)
