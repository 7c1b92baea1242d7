"""Commands around sign-off: cleared sets taken back."""

from __future__ import annotations

from typing import Annotated

import typer

from nostro.cli.common import AsOption, BookOption, JsonOption, console, emit, reason_text, session
from nostro.cli.reconciliation import recon_app
from recon import request_unmatch, unmatch_set


def register(app: typer.Typer) -> None:
    """The commands are in `nostro recon`, which is added by itself."""


@recon_app.command("unmatch")
def unmatch_command(
    match_set_id: Annotated[int, typer.Argument(help="The cleared set, as `nostro trace` names it.")],
    reason: Annotated[
        str | None,
        typer.Option("--reason", callback=reason_text, help="Why; another person then approves."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Do it, as another person asked.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Take a cleared set back: one person asks with a reason, another approves; the set stays in the history.

    Example: `nostro recon unmatch 17 --reason "another customer's payment" --as alice`
    """
    if approve == (reason is not None):
        raise typer.BadParameter("give --reason to ask for it, or --approve to do what another person asked")
    with session(person, book) as s:
        if reason is not None:
            number = request_unmatch(s.conn, match_set_id=match_set_id, reason=reason)
            value: dict[str, int | None] = {"match_set_id": match_set_id, "request_id": number, "open_again": 0}
            said = f"asked; another person does it: nostro recon unmatch {match_set_id} --approve --as NAME"
        else:
            count = unmatch_set(s.conn, match_set_id=match_set_id)
            value = {"match_set_id": match_set_id, "request_id": None, "open_again": count}
            said = f"{count} postings of set {match_set_id} are open again; run the reconciliation"
    emit(value, lambda: console.print(said), as_json=as_json)
