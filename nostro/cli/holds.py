"""Commands on holds: place, post, void, expire, list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

import typer

from ledger import (
    AccountBalance,
    HoldPosting,
    HoldState,
    NewEntry,
    NewHold,
    NewPosting,
    balance,
    expire_due,
    format_amount,
    list_holds,
    parse_amount_minor,
    place_holds,
    post_holds,
    void_holds,
)
from ledger.errors import HoldError, UnknownAccountError
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    Session,
    console,
    date_text,
    emit,
    moment_text,
    parse_date,
    parse_moment,
    session,
    table,
)

hold_app = typer.Typer(no_args_is_help=True, help="Reserve money now, post or release it later.")
KeyArgument = Annotated[str, typer.Argument(help="The key of the hold; a retry with the same key is harmless.")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", callback=moment_text, help="Business time (default: now), e.g. 2026-12-02T08:00+01:00."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(hold_app, name="hold")


def _moment(text: str | None) -> datetime:
    return parse_moment(text) or datetime.now(UTC)


def _account(s: Session, code: str) -> AccountBalance:
    """The account of just this code."""
    found = [row for row in balance(s.conn, book_id=s.book_id, account=code) if row.code == code]
    if not found:
        raise UnknownAccountError(f"{code} is not an account but the beginning of some; give the whole code.")
    return found[0]


@hold_app.command("place")
def place_command(
    key: KeyArgument,
    account: Annotated[str, typer.Argument(help="The account to reserve on.")],
    amount: Annotated[str, typer.Argument(help="How much, on the account's normal side, e.g. 120.50.")],
    expires: Annotated[
        str | None, typer.Option("--expires", callback=moment_text, help="Business time from which it can only expire.")
    ] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Kept with the hold.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Reserve money on an account, so that nothing else can take it.

    Example: `nostro hold place order-17 liabilities:wallet:W000001 120.50 --expires 2026-12-09T00:00+01:00`
    """
    with session(person, book) as s:
        minor = parse_amount_minor(amount, _account(s, account).exponent)
        hold = NewHold(key, account, minor, parse_moment(expires), reference)
        (placed,) = place_holds(s.conn, book_id=s.book_id, holds=[hold])
    said = "placed" if placed.is_new else "was placed before"
    emit(placed, lambda: console.print(f"hold {key} of {amount} on {account}: {said}"), as_json=as_json)


@hold_app.command("post")
def post_command(
    key: KeyArgument,
    to: Annotated[str, typer.Argument(help="The account on the other side of the entry.")],
    amount: Annotated[str | None, typer.Option("--amount", help="A part (default: all); the rest is released.")] = None,
    entry_key: Annotated[str | None, typer.Option("--entry", help="Key of the entry (default: hold:KEY).")] = None,
    on: Annotated[str | None, typer.Option("--on", callback=date_text, help="Effective date (default: today).")] = None,
    description: Annotated[str | None, typer.Option("--description", help="Text of the entry.")] = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Post a hold in full or part by a two-leg entry that takes the money from the held account.

    Example: `nostro hold post order-17 assets:cash --amount 100.00 --on 2026-12-03`
    """
    moment = _moment(at)
    day: date = parse_date(on) or moment.date()
    with session(person, book) as s:
        found = list_holds(s.conn, book_id=s.book_id, state=None, key=key)
        if not found:
            raise HoldError(f"there is no hold with key {key}.")
        hold = found[0]
        minor = hold.amount_minor if amount is None else parse_amount_minor(amount, hold.exponent)
        side = 1 if _account(s, hold.account).type in {"asset", "expense"} else -1
        legs = (NewPosting(hold.account, -side * minor), NewPosting(to, side * minor))
        paid = NewEntry(entry_key or f"hold:{key}", day, legs, description=description, reference=hold.reference)
        postings = [HoldPosting(key, paid, minor)]
        (posted,) = post_holds(s.conn, book_id=s.book_id, postings=postings, at=moment)
    shown = format_amount(minor, hold.exponent)
    emit(posted, lambda: console.print(f"hold {key}: {shown} posted by entry {posted.key}"), as_json=as_json)


@hold_app.command("void")
def void_command(
    keys: Annotated[list[str], typer.Argument(help="Keys of holds.", metavar="KEY…")],
    at: AtOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Give holds up; their money is free again.

    Example: `nostro hold void order-17`
    """
    with session(person, book) as s:
        count = void_holds(s.conn, book_id=s.book_id, keys=keys, at=_moment(at))
    emit({"voided": count}, lambda: console.print(f"{count} holds voided"), as_json=as_json)


@hold_app.command("expire")
def expire_command(
    at: AtOption = None, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Expire every hold that is due. Until then an expired hold still counts.

    Example: `nostro hold expire --at 2026-12-09T00:00+01:00`
    """
    moment, expired = _moment(at), list[str]()
    with session(person, book) as s:
        while keys := expire_due(s.conn, book_id=s.book_id, now=moment):
            expired += keys
    emit({"expired": expired}, lambda: console.print(f"{len(expired)} holds expired"), as_json=as_json)


@hold_app.command("list")
def list_command(
    account: Annotated[str | None, typer.Option("--account", help="Only of this account.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved holds too.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Holds that are open, in the order they were placed.

    Example: `nostro hold list --account liabilities:wallet:W000001`
    """
    with session(book=book) as s:
        state = None if every else HoldState.OPEN
        holds = list_holds(s.conn, book_id=s.book_id, state=state, account=account)

    def text() -> None:
        rows = [
            (
                h.key,
                h.account,
                format_amount(h.amount_minor, h.exponent),
                h.currency,
                h.state.value,
                format_amount(h.posted_minor, h.exponent) if h.posted_minor else None,
                h.expires_at,
            )
            for h in holds
        ]
        table(None, ("hold", "account", "amount", "currency", "state", "posted", "expires"), rows, right=(2, 5))

    emit({"holds": holds}, text, as_json=as_json)
