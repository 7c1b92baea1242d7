"""Commands on payees: look, change bank details, hold, release, ask the screening hooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ledger import currency, format_amount
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    emit,
    moment_text,
    parse_moment,
    reason_text,
    session,
    table,
)
from settlement import FileState, PayeeView, change_payee, hold_payee, payee_view, release_payee, screen_payee

payee_app = typer.Typer(no_args_is_help=True, help="Whom we pay: details, holds, screening.")
PayeeArgument = Annotated[str, typer.Argument(help="The payee's id, as in the setup.")]
ReasonOption = Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(payee_app, name="payee")


def _print(view: PayeeView) -> None:
    exponent = currency(view.currency).exponent
    console.print(
        f"{view.payee}: {format_amount(view.open_minor, exponent)} {view.currency} open, "
        f"{format_amount(view.reserved_minor, exponent)} reserved; account {view.account}"
    )
    for reason in view.held:
        console.print(f"held: {reason}")
    cells = [
        (v.version, v.name, v.iban, v.pay_from, v.schedule, f"T+{v.delay_days}", v.recorded_by, v.recorded_at)
        for v in view.versions
    ]
    table(None, ("version", "name", "IBAN", "paid from", "schedule", "delay", "by", "recorded"), cells, right=(0,))
    if view.screenings:
        said = [
            (s.checked_at, s.hook, s.moment, s.version, s.verdict, s.list_version, s.detail) for s in view.screenings
        ]
        table(None, ("checked", "hook", "at", "version", "verdict", "list", "detail"), said)


@payee_app.command("show")
def show_command(
    payee: PayeeArgument,
    now: Annotated[
        str | None, typer.Option("--now", callback=moment_text, help="Held at which moment (default: the clock).")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Everything recorded of a payee: versions, what is open and reserved, why it is held, verdicts.

    Example: `nostro payee show P000001`
    """
    with session(book=book) as s:
        view = payee_view(s.conn, book_id=s.book_id, payee=payee, now=parse_moment(now) or datetime.now(UTC))
    emit(view, lambda: _print(view), as_json=as_json)


@payee_app.command("change")
def change_command(
    payee: PayeeArgument,
    name: Annotated[str | None, typer.Option("--name", help="As the account's bank knows it.")] = None,
    iban: Annotated[str | None, typer.Option("--iban", help="The new IBAN.")] = None,
    bic: Annotated[str | None, typer.Option("--bic", help="The new BIC; empty: none.")] = None,
    country: Annotated[str | None, typer.Option("--country", help="Two capitals (ISO 3166).")] = None,
    town: Annotated[str | None, typer.Option("--town", help="Town of the address.")] = None,
    street: Annotated[str | None, typer.Option("--street", help="Street and number; empty: none.")] = None,
    postcode: Annotated[str | None, typer.Option("--postcode", help="Postcode; empty: none.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Record new details of a payee; earlier ones are kept for ever. New bank details may have to wait (setup).

    Example: `nostro payee change P000001 --iban NL91ABNA0417164300 --as alice`
    """
    given = {
        "name": name,
        "iban": iban,
        "bic": bic,
        "country": country,
        "town": town,
        "street": street,
        "postcode": postcode,
    }
    details = {field: value or None for field, value in given.items() if value is not None}
    if not details:
        raise typer.BadParameter("say what changes, such as --iban")
    with session(person, book) as s:
        is_new = change_payee(s.conn, book_id=s.book_id, payee=payee, details=details)
        view = payee_view(s.conn, book_id=s.book_id, payee=payee, now=datetime.now(UTC))

    def text() -> None:
        console.print("recorded" if is_new else "was recorded like this before; nothing changed")
        _print(view)

    emit({"payee": payee, "is_new": is_new, "held": view.held}, text, as_json=as_json)


@payee_app.command("hold")
def hold_command(
    payee: PayeeArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Stop paying a payee until an approver releases it.

    Example: `nostro payee hold P000001 --reason "goods complained about" --as alice`
    """
    with session(person, book) as s:
        going_on = hold_payee(s.conn, book_id=s.book_id, payee=payee, reason=reason)

    def text() -> None:
        console.print(f"{payee} is held")
        for one in going_on:
            is_here = one.state in (FileState.SEALED, FileState.FAILED)
            answer = (
                f"nostro settle {'cancel' if is_here else 'recall'} {one.file_id if is_here else one.end_to_end_id}"
            )
            console.print(f"not stopped: {one.end_to_end_id}; its file {one.file_id} is {one.state}: `{answer}`")

    emit({"payee": payee, "held": True, "not_stopped": going_on}, text, as_json=as_json)


@payee_app.command("release")
def release_command(
    payee: PayeeArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Release every hold of a payee, and new bank details that another person recorded. Approvers only.

    Example: `nostro payee release P000001 --reason "called back, account confirmed" --as bob`
    """
    with session(person, book) as s:
        count = release_payee(s.conn, book_id=s.book_id, payee=payee, reason=reason)
    said = f"{count} released" if count else "nothing was held"
    emit({"payee": payee, "released": count}, lambda: console.print(said), as_json=as_json)


@payee_app.command("screen")
def screen_command(
    payee: PayeeArgument,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Ask the screening hooks of the setup about a payee now; whoever is not clear is held.

    Example: `nostro payee screen P000001 --as alice`
    """
    with session(person, book) as s:
        payee_view(s.conn, book_id=s.book_id, payee=payee, now=datetime.now(UTC))  # so that an unknown one is refused
        verdicts = screen_payee(s.conn, book_id=s.book_id, payee=payee)

    def text() -> None:
        for v in verdicts:
            console.print(f"{v.hook}: {v.verdict} {v.list_version or ''} {v.detail or ''}")
        if not verdicts:
            console.print("the setup names no screening hook")

    emit({"verdicts": verdicts}, text, as_json=as_json)
