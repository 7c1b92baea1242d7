"""Commands on accounts: how posts write the balance of a hot one."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import AccountMode, ModeOf, hot_accounts, set_account_modes
from nostro.cli.common import AsOption, BookOption, JsonOption, console, emit, session

account_app = typer.Typer(no_args_is_help=True, help="How posts write the balance of an account.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(account_app, name="account")


@account_app.command("mode")
def mode_command(
    code: Annotated[str, typer.Argument(help="The account, e.g. income:fees:eur.")],
    mode: Annotated[AccountMode, typer.Argument(help="Where posts write.")],
    shards: Annotated[int, typer.Option(min=2, max=64, help="Rows of a sharded account.")] = 8,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Let many post on one account at once: sharded (some rows), deferred (folded later), or strict again.

    Example: `nostro account mode income:fees:eur sharded --shards 8`
    """
    with session(person, book) as s:
        changed = set_account_modes(s.conn, book_id=s.book_id, modes=[ModeOf(code, mode, shards)])
    said = "now posts" if changed else "posts already"
    emit(
        {
            "account": code,
            "mode": mode.value,
            "shards": shards if mode is AccountMode.SHARDED else 0,
            "changed": changed > 0,
        },
        lambda: console.print(f"{code} {said} {mode.value}"),
        as_json=as_json,
    )


@account_app.command("hot")
def hot_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """The accounts that are not strict, and what their balances have outside the balance row.

    Example: `nostro account hot`
    """
    with session(book=book) as s:
        hot = hot_accounts(s.conn, book_id=s.book_id)

    def text() -> None:
        for one in hot:
            tail = f"{one.pending_batches} batches pending after seq {one.folded_through_seq or 0}"
            console.print(f"{one.code}: {one.mode.value}, {tail if one.shards == 0 else f'{one.shards} shards'}")
        if not hot:
            console.print("every account is strict")

    emit(
        {
            "accounts": [
                {
                    "account": one.code,
                    "mode": one.mode.value,
                    "shards": one.shards,
                    "folded_minor": one.folded_minor,
                    "outside_minor": one.outside_minor,
                    "pending_batches": one.pending_batches,
                    "folded_through_seq": one.folded_through_seq,
                }
                for one in hot
            ]
        },
        text,
        as_json=as_json,
    )
