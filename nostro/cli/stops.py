"""Commands that stop payments: hold a payment or a run, take back a sealed file."""

from __future__ import annotations

from typing import Annotated

import typer

from nostro.cli.common import AsOption, BookOption, JsonOption, console, emit, reason_text, session
from settlement import cancel, hold_instruction, hold_run, release_run

ReasonOption = Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")]
PaymentArgument = Annotated[str, typer.Argument(help="EndToEndId of the payment.")]
RunArgument = Annotated[int, typer.Argument(help="The run, as `nostro settle status --json` names it.")]


def register(settle: typer.Typer) -> None:
    """Add these commands to `nostro settle`."""
    settle.command("hold")(hold_command)
    settle.command("hold-run")(hold_run_command)
    settle.command("release-run")(release_run_command)
    settle.command("cancel")(cancel_command)


def hold_command(
    end_to_end_id: PaymentArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Hold what a proposed or approved payment would pay; the next proposal goes without it.

    Example: `nostro settle hold E2E… --reason "invoice disputed" --as alice`
    """
    with session(person, book) as s:
        count = hold_instruction(s.conn, end_to_end_id=end_to_end_id, reason=reason)
    said = f"{count} open items are held; propose again"
    emit({"end_to_end_id": end_to_end_id, "held": count}, lambda: console.print(said), as_json=as_json)


def hold_run_command(
    run_id: RunArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Let no file of a run be sealed or sent until it is released.

    Example: `nostro settle hold-run 7 --reason "bank reports a disturbance" --as alice`
    """
    with session(person, book) as s:
        is_new = hold_run(s.conn, run_id=run_id, reason=reason)
    said = f"run {run_id} {'is held' if is_new else 'was held before'}"
    emit({"run_id": run_id, "is_new": is_new}, lambda: console.print(said), as_json=as_json)


def release_run_command(
    run_id: RunArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Let the files of a held run go on.

    Example: `nostro settle release-run 7 --reason "disturbance is over" --as bob`
    """
    with session(person, book) as s:
        is_new = release_run(s.conn, run_id=run_id, reason=reason)
    said = f"run {run_id} {'goes on' if is_new else 'was not held'}"
    emit({"run_id": run_id, "is_new": is_new}, lambda: console.print(said), as_json=as_json)


def cancel_command(
    file_id: Annotated[int, typer.Argument(help="A sealed file that was not sent.")],
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Take back a sealed file before it is sent: everything it pays is owed again.

    Example: `nostro settle cancel 3 --reason "wrong bank account" --as bob`
    """
    with session(person, book) as s:
        result = cancel(s.conn, file_id, reason=reason)
    said = f"file {file_id}: cancelled{'' if result.is_new else ' (was already)'}"
    emit(result, lambda: console.print(said), as_json=as_json)
