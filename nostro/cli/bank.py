"""Commands of the banks' side: sending what waits, reading answers, and the sandbox bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import RefusedError, UnavailableError
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    parse_date,
    progress,
    session,
    table,
)
from nostro.cli.settle import NowOption, release_files
from nostro.settings import Settings
from settlement import poll, resolve_interrupted, usual_profiles

bank_app = typer.Typer(no_args_is_help=True, help="Move files to and from the banks.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(bank_app, name="bank")


@bank_app.command("send")
def send_command(
    now: NowOption = None, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Look up interrupted sends, then seal and send every approved file.

    Example: `nostro bank send --as alice`
    """
    with session(person, book) as s:
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


@bank_app.command("simulate")
def simulate_command(
    day: Annotated[str, typer.Option("--date", callback=date_text, help="The day the simulated banks close.")],
    setup: Annotated[Path, typer.Option("--setup", help="The same YAML that `nostro setup` read.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything the banks decide.")] = 1,
    rejects: Annotated[int, typer.Option("--rejects-per-mille", help="Payments the banks reject.")] = 0,
    returns: Annotated[int, typer.Option("--returns-per-mille", help="Payments that come back later.")] = 0,
    charges: Annotated[bool, typer.Option("--charges", help="Book tariffed charges.")] = False,
    interest: Annotated[bool, typer.Option("--interest", help="Book weekly interest.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The sandbox bank: take new orders, answer them, execute, and write the day's statements.

    Example: `nostro bank simulate --date 2026-11-02 --setup setup.yaml`
    """
    from sandbox import Bank, BankBehaviour, read_setup

    wanted = parse_date(day)
    assert wanted is not None
    behaviour = BankBehaviour(rejects_per_mille=rejects, returns_per_mille=returns, charges=charges, interest=interest)
    with Bank(Settings().home_path, read_setup(setup), seed=seed, behaviour=behaviour) as bank:
        received = bank.receive()
        report = bank.close_day(wanted)

    def text() -> None:
        console.print(
            f"{len(received)} orders received, {report.executed} payments executed, {report.returned} returned"
        )
        columns = ("account", "statement", "lines")
        table(None, columns, [(s.account, s.statement_id, s.lines) for s in report.statements], right=(2,))

    emit({"received": received, "day": report}, text, as_json=as_json)
