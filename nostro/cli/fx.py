"""Commands on currencies and exchange rates."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from ledger import currencies, define_currency, format_amount, import_rates, rates_on
from ledger.currencies import ECB_FIXING
from ledger.money import INT64_MAX
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    moment_text,
    open_database,
    parse_date,
    parse_moment,
    session,
    table,
)

currency_app = typer.Typer(no_args_is_help=True, help="Currencies of ISO 4217 and your own.")
rates_app = typer.Typer(no_args_is_help=True, help="Exchange rates, with their source and time.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(currency_app, name="currency")
    app.add_typer(rates_app, name="rates")


@currency_app.command("define")
def define_command(
    code: Annotated[str, typer.Argument(help="3 to 8 capital letters, e.g. BTC.")],
    exponent: Annotated[int, typer.Option("--exponent", help="Decimals, 0 to 8; they never change.")],
    as_json: JsonOption = False,
    person: AsOption = None,
) -> None:
    """Define a currency that ISO 4217 does not have, for every book of the deployment.

    Example: `nostro currency define BTC --exponent 8`
    """
    with open_database(person) as conn:
        found = define_currency(conn, code=code, exponent=exponent)
    largest = format_amount(INT64_MAX, found.exponent)
    emit(
        {"currency": found, "largest": largest},
        lambda: console.print(f"{found.code} has {found.exponent} decimals; amounts go up to {largest}"),
        as_json=as_json,
    )


@currency_app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """Every currency that entries can be in, with its decimals.

    Example: `nostro currency list`
    """
    with open_database() as conn:
        found = tuple(currencies(conn).values())
    rows = [(c.code, c.exponent, "ISO 4217" if c.numeric < 1000 else "defined here") for c in found]
    emit({"currencies": found}, lambda: table(None, ("code", "decimals", ""), rows, right=(1,)), as_json=as_json)


def _time_of_day(text: str) -> str:
    try:
        time.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time of day like 16:00") from None
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"{text!r} is not a time zone like Europe/Berlin") from None
    return text


@rates_app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CSV: the ECB's reference rates, or columns date,base,quote,rate.")],
    source: Annotated[str, typer.Option("--source", help="Who says so; part of every rate.")] = "ECB",
    base: Annotated[str, typer.Option("--base", help="What a file in the ECB's form is quoted against.")] = "EUR",
    at: Annotated[str, typer.Option("--at", callback=_time_of_day, help="When they are fixed.")] = "16:00",
    zone: Annotated[str, typer.Option("--zone", callback=_zone, help="The time zone of that.")] = str(
        ECB_FIXING.tzinfo
    ),
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Record exchange rates from a file, all or none. Another value for the same moment is kept as a correction.

    Example: `nostro rates import eurofxref-hist.csv`
    """
    moment = time.fromisoformat(at).replace(tzinfo=ZoneInfo(zone))
    with session(person, book) as s:
        report = import_rates(s.conn, book_id=s.book_id, path=file, source=source, base=base, at=moment)
    emit(
        {"file": file.name, "report": report},
        lambda: console.print(
            f"{file.name}: {report.rates:,} rates, {report.added:,} new, {report.corrections:,} corrections"
        ),
        as_json=as_json,
    )


@rates_app.command("show")
def show_command(
    currency: Annotated[str | None, typer.Argument(help="Only rates of this currency, e.g. USD.")] = None,
    on: Annotated[str | None, typer.Option("--on", callback=date_text, help="The newest up to this date.")] = None,
    known_at: Annotated[
        str | None, typer.Option("--known-at", callback=moment_text, help="As recorded at this moment.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Every row, corrected ones too.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Rates by pair: the newest up to a date as known at a moment, or all of them.

    Example: `nostro rates show USD --on 2026-11-20`
    """
    with session(book=book) as s:
        found = rates_on(
            s.conn,
            book_id=s.book_id,
            on=parse_date(on),
            known_at=parse_moment(known_at),
            currency=currency,
            history=history,
        )
    columns = ("row", "date", "one", "costs", "", "source", "fixed", "recorded", "")
    rows = [
        (
            r.rate_id,
            r.rate_date,
            r.base,
            r.rate,
            r.quote,
            r.source,
            r.as_of.isoformat(),
            r.recorded_at.isoformat(timespec="seconds"),
            "corrected since" if r.is_corrected else "",
        )
        for r in found
    ]
    emit({"rates": found}, lambda: table(None, columns, rows, right=(0, 3)), as_json=as_json)
