"""Commands of the banks' side: sending what waits, reading answers, and the sandbox bank."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import RefusedError, UnavailableError
from nostro.cli import sends
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    errors,
    progress,
    reason_text,
    session,
    table,
)
from nostro.cli.settle import NowOption, release_files
from nostro.settings import Settings
from settlement import FileState, poll, require_reconciled, resolve_interrupted, resolve_unknown, usual_profiles

if TYPE_CHECKING:
    from sandbox import Bank, BankSetup

_LOOK_EVERY_S = 0.5

bank_app = typer.Typer(no_args_is_help=True, help="Move files to and from the banks.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    sends.register(bank_app)
    app.add_typer(bank_app, name="bank")


@bank_app.command("send")
def send_command(
    now: NowOption = None, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Look up interrupted sends, then seal and send every approved file.

    Status 1 when the books may have forgotten what they sent; see `nostro bank reconcile-sends`.

    Example: `nostro bank send --as alice`
    """
    with session(person, book) as s:
        require_reconciled(s.conn, s.home)
        resolve_interrupted(s.conn, book_id=s.book_id, home=s.home)
    release_files(None, True, False, now, as_json, book, person)


@bank_app.command("profiles")
def profiles_command(as_json: JsonOption = False) -> None:
    """Usual bank profiles, to start one's own from in a setup file.

    Example: `nostro bank profiles`
    """
    known = list(usual_profiles().values())
    columns = ("profile", "rail", "ccy", "message", "characters", "address", "UETR", "holidays", "what it is")
    cells = [
        (p.code, *p.rails, p.currency, p.message, p.charset, p.address, p.uetr, p.holidays, p.title) for p in known
    ]
    emit({"profiles": known}, lambda: table(None, columns, cells), as_json=as_json)


@bank_app.command("poll")
def poll_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """Fetch what the banks left on their servers, and read new status reports (pain.002) from the inboxes.

    Status 1 when a new one cannot be read; it is kept, and the others are taken in. Status 3 when a bank cannot be
    reached; poll again.

    Example: `nostro bank poll`
    """
    with session(book=book) as s, progress("reading status reports", quiet=as_json):
        report = poll(s.conn, home=s.home, book_id=s.book_id)
    new = [m for m in report.messages if m.is_new]

    def text() -> None:
        if report.fetched:
            console.print(f"{len(report.fetched)} files fetched")
        console.print(f"{len(new)} new status reports, {sum(m.rejected for m in new)} payments rejected")
        for message in new:
            for finding in message.findings:
                console.print(f"{message.name}: {finding.reference or ''} {finding.message}".replace(":  ", ": "))

    emit(report, text, as_json=as_json)
    if report.unreachable:
        raise UnavailableError("; ".join(report.unreachable))
    unreadable = [(m.name, f.message) for m in new for f in m.findings if f.code == "reader"]
    if unreadable:
        name, why = unreadable[0]
        raise RefusedError(f"{len(unreadable)} of {len(new)} new status reports cannot be read; first: {name}: {why}")


def _fault_counts(texts: list[str] | None) -> dict[str, int]:
    """Faults as given: name=count, or a name alone for once."""
    from sandbox import Fault

    counts: dict[str, int] = {}
    for text in texts or ():
        name, _, count = text.partition("=")
        if name not in {fault.value for fault in Fault} or not (count or "1").isdecimal():
            known = ", ".join(fault.value for fault in Fault)
            raise typer.BadParameter(f"{text!r} is not NAME or NAME=COUNT with one of {known}")
        counts[name] = int(count or "1")
    return counts


@bank_app.command("resolve")
def resolve_command(
    file_id: Annotated[int, typer.Argument(help="A file that is unknown.")],
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="How that is known; it is kept.")],
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether the bank has the file.", show_default=False)],
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say what became of an unknown file, once the bank was asked. When a second person says the same, it is so.

    A file that the bank never got is cancelled: what it paid is owed again, held until `nostro settle unhold`.
    The file is looked up first; one that is found is sent, whatever is said.

    Example: `nostro bank resolve 3 --not-sent --reason "bank: no such MsgId" --as alice`
    """
    with session(person, book) as s:
        resolve_interrupted(s.conn, book_id=s.book_id, home=s.home)
        result = resolve_unknown(s.conn, file_id, sent=sent, reason=reason)
    said = f"file {file_id}: {result.state.value}"
    if result.state is FileState.UNKNOWN:
        said += " still; a second person must say the same"
    emit(result, lambda: console.print(said), as_json=as_json)


@bank_app.command("simulate")
def simulate_command(
    setup: Annotated[Path, typer.Option("--setup", help="The same YAML that `nostro setup` read.")],
    day: Annotated[
        str | None, typer.Option("--date", callback=date_text, help="The day the simulated banks close.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of everything the banks decide (first time: 1).")
    ] = None,
    rejects: Annotated[int, typer.Option("--rejects-per-mille", help="Payments the banks reject.")] = 0,
    returns: Annotated[int, typer.Option("--returns-per-mille", help="Payments that come back later.")] = 0,
    charges: Annotated[bool, typer.Option("--charges", help="Book tariffed charges.")] = False,
    interest: Annotated[bool, typer.Option("--interest", help="Book weekly interest.")] = False,
    statement: Annotated[
        str, typer.Option("--statement", help="The statements' version: camt.053.001.08 or camt.053.001.02.")
    ] = "camt.053.001.08",
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="A fault that strikes the banks' files so often: NAME or NAME=COUNT (repeat)."),
    ] = None,
    behaviour: Annotated[
        list[str] | None,
        typer.Option("--behaviour", help="More of how the banks behave: NAME or NAME=NUMBER (repeat), as documented."),
    ] = None,
    sftp: Annotated[
        int | None, typer.Option("--sftp", min=0, max=65535, help="Then serve the banks' folders on this port.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The sandbox bank: take new orders, answer them, execute, and write the day's statements.

    With --sftp it serves its folders over SFTP, on this machine alone, and answers orders as they come, until Ctrl-C.

    Example: `nostro bank simulate --date 2026-11-02 --setup setup.yaml`
    """
    from sandbox import Bank, BankBehaviour, Fault, StatementVersion, read_setup

    if statement not in {version.value for version in StatementVersion}:
        raise typer.BadParameter(f"{statement!r} is not camt.053.001.08 or camt.053.001.02")
    if day is None and sftp is None:
        raise typer.BadParameter("say which day to close (--date), or serve (--sftp PORT)")
    faults = {Fault(name): count for name, count in _fault_counts(fault).items()}
    behaves = BankBehaviour(
        rejects_per_mille=rejects,
        returns_per_mille=returns,
        charges=charges,
        interest=interest,
        statement=StatementVersion(statement),
    )
    more: dict[str, Any] = _more_behaviour(behaviour)
    behaves = replace(behaves, **more)
    home, known = Settings().home_path, read_setup(setup)
    with Bank(home, known, seed=seed, behaviour=behaves, faults=faults) as bank:
        received = bank.receive()
        closed = None if day is None else bank.close_day(date.fromisoformat(day))

        def text() -> None:
            done = "" if closed is None else f", {closed.executed} payments executed, {closed.returned} returned"
            console.print(f"{len(received)} orders received{done}")
            if closed is not None:
                columns = ("account", "statement", "lines")
                table(None, columns, [(s.account, s.statement_id, s.lines) for s in closed.statements], right=(2,))

        emit({"received": received, "day": closed}, text, as_json=as_json)
        if sftp is not None:
            _serve(bank, home, known, sftp)


def _more_behaviour(told: list[str] | None) -> dict[str, int]:
    """By field of `BankBehaviour`; a name alone is 1: yes."""
    from sandbox import BankBehaviour

    known = [field.name for field in fields(BankBehaviour) if field.type in ("int", "bool", "int | None")]
    found = {}
    for each in told or []:
        name, _, number = each.partition("=")
        field = name.replace("-", "_")
        if field not in known or not (number or "1").isdecimal():
            raise typer.BadParameter(f"{each!r} is not NAME or NAME=NUMBER of {', '.join(known)}")
        found[field] = int(number or "1")
    return found


def _serve(bank: Bank, home: Path, setup: BankSetup, port: int) -> None:
    """Answer over SFTP until Ctrl-C."""
    from sandbox import sftp_door

    with sftp_door(home, setup, port=port) as door:
        errors.print(
            f"the banks' folders are served on {door.host} port {door.port}; host key in {door.known_hosts.name}, "
            f"password in {door.password_file.name} ({door.known_hosts.parent}); Ctrl-C ends it"
        )
        while True:
            for order in bank.receive():
                errors.print(f"{order.bank}: {order.file_name}, {order.payments} payments, {order.rejected} rejected")
            time.sleep(_LOOK_EVERY_S)
