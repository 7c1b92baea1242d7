"""Commands on currencies, exchange rates, exchange and revaluation."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from ledger import (
    FunctionalTrialBalance,
    balance,
    currencies,
    define_currency,
    exchange,
    exchanges,
    format_amount,
    import_rates,
    parse_amount_minor,
    rates_on,
    revaluation,
    revalue,
    reverse_exchange,
)
from ledger.currencies import ECB_FIXING
from ledger.fx import MAX_AGE_DAYS
from ledger.money import INT64_MAX
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    Session,
    console,
    date_text,
    emit,
    moment_text,
    open_database,
    parse_date,
    parse_moment,
    progress,
    reason_text,
    session,
    table,
    today,
)

currency_app = typer.Typer(no_args_is_help=True, help="Currencies of ISO 4217 and your own.")
exchange_app = typer.Typer(no_args_is_help=True, help="Exchange one currency for another.")
rates_app = typer.Typer(no_args_is_help=True, help="Exchange rates, with their source and time.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(currency_app, name="currency")
    app.add_typer(rates_app, name="rates")
    app.add_typer(exchange_app, name="exchange")
    app.command("revalue")(revalue_command)


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
    with session(person, book) as s, progress(f"importing {file.name}", quiet=as_json):
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


# --- exchange and revaluation --------------------------------------------------------------------------------------

AgeOption = Annotated[int, typer.Option("--max-age", min=0, help="Refuse rates older than so many days.")]


def _rate_text(text: str | None) -> str | None:
    try:
        number = None if text is None else Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a rate like 1.0850") from None
    if number is not None and not (number.is_finite() and number > 0):
        raise typer.BadParameter(f"{text!r} is not a positive rate")
    return text


def _minor(s: Session, account: str, amount: str | None) -> int | None:
    """Minor units in the currency of an account, which must exist."""
    if amount is None:
        return None
    known = next(row for row in balance(s.conn, book_id=s.book_id, account=account))
    return parse_amount_minor(amount, known.exponent)


@exchange_app.command("post")
def exchange_command(
    key: Annotated[str, typer.Argument(help="A key of your own; the same key is the same exchange for ever.")],
    sold_account: Annotated[str, typer.Argument(help="The account that gives.")],
    bought_account: Annotated[str, typer.Argument(help="The account that gets, in another currency.")],
    sold: Annotated[str | None, typer.Option("--sold", help="How much it gives, e.g. 100.00.")] = None,
    bought: Annotated[str | None, typer.Option("--bought", help="How much the other gets.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", callback=_rate_text, help="What one --of costs in the other currency.")
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="The currency that --rate prices, e.g. EUR.")] = None,
    at_market: Annotated[bool, typer.Option("--at-market", help="Use the recorded rate of the date.")] = False,
    max_age: AgeOption = MAX_AGE_DAYS,
    on: Annotated[str | None, typer.Option("--on", callback=date_text, help="Effective date (default: today).")] = None,
    description: Annotated[str | None, typer.Option("--description", help="Kept with the entry.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Sell money of one currency for another: both amounts, or one and a rate. Again: the same exchange.

    Example: `nostro exchange post fx-17 assets:treasury:eur assets:treasury:usd --sold 1000.00 --rate 1.0850 --of EUR`
    """
    with session(person, book) as s:
        done = exchange(
            s.conn,
            book_id=s.book_id,
            key=key,
            effective_date=parse_date(on) or today(),
            sold_account=sold_account,
            bought_account=bought_account,
            sold_minor=_minor(s, sold_account, sold),
            bought_minor=_minor(s, bought_account, bought),
            rate=None if rate is None else Decimal(rate),
            rate_base=of,
            at_market=at_market,
            max_age_days=max_age,
            description=description,
        )
    emit(
        done,
        lambda: console.print(
            f"{key}: sold {format_amount(done.sold_minor, done.sold_exponent)} {done.sold_currency} for "
            f"{format_amount(done.bought_minor, done.bought_exponent)} {done.bought_currency}"
        ),
        as_json=as_json,
    )


@exchange_app.command("list")
def exchange_list_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """Every exchange in the order of posting, with the rates it used and what it realised.

    Example: `nostro exchange list`
    """
    with session(book=book) as s:
        found = exchanges(s.conn, book_id=s.book_id)
    rows = [
        (
            e.effective_date,
            e.key,
            format_amount(e.sold_minor, e.sold_exponent),
            e.sold_currency,
            format_amount(e.bought_minor, e.bought_exponent),
            e.bought_currency,
            e.realised_minor,
            ",".join(map(str, e.rate_ids)),
            "reversed" if e.is_reversed else "",
        )
        for e in found
    ]
    columns = ("date", "key", "sold", "", "bought", "", "realised, minor units", "rates", "")
    emit({"exchanges": found}, lambda: table(None, columns, rows, right=(2, 4, 6)), as_json=as_json)


@exchange_app.command("reverse")
def exchange_reverse_command(
    key: Annotated[str, typer.Argument(help="The key of the exchange.")],
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept with the reversal.")],
    on: Annotated[str | None, typer.Option("--on", callback=date_text, help="Effective date (default: today).")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Take an exchange back whole, with its cost and realised result as posted.

    Example: `nostro exchange reverse fx-17 --reason "the bank cancelled the deal"`
    """
    day = parse_date(on) or today()
    with session(person, book) as s:
        entry_id = reverse_exchange(s.conn, book_id=s.book_id, key=key, effective_date=day, reason=reason)
    emit(
        {"reversed": key, "entry_id": entry_id, "effective_date": day},
        lambda: console.print(f"{key} is reversed by entry {entry_id}, effective {day}"),
        as_json=as_json,
    )


def revalue_command(
    day: Annotated[str, typer.Option("--date", callback=date_text, help="The date to value at, e.g. 2026-11-30.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be posted.")] = False,
    max_age: AgeOption = MAX_AGE_DAYS,
    source: Annotated[str | None, typer.Option("--source", help="Only rates of this source.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Post the unrealised result of every foreign position on a date, taken back the day after. Again: nothing.

    Example: `nostro revalue --date 2026-11-30`
    """
    wanted = parse_date(day)
    assert isinstance(wanted, date)
    act = revaluation if dry_run else revalue
    with session(person, book) as s:
        report = act(s.conn, book_id=s.book_id, on=wanted, max_age_days=max_age, source=source)

    def text() -> None:
        def own(minor: int) -> str:
            return format_amount(minor, report.exponent)

        rows = [
            (
                p.currency,
                format_amount(p.position_minor, p.exponent),
                p.numerator if p.denominator == 1 else f"{p.numerator}/{p.denominator}" if p.rate_ids else "",
                p.rate_date,
                ",".join(map(str, p.rate_ids)),
                *map(own, (p.book_value_minor, p.market_value_minor, p.gain_minor, p.posted_minor)),
            )
            for p in report.positions
        ]
        head = ("", "position", "rate", "of", "row", f"cost {report.currency}", "worth", "gain", "posted")
        table(None, head, rows, right=(1, 2, 4, 5, 6, 7, 8))
        console.print(f"{report.entries_posted} entries posted")

    emit(report, text, as_json=as_json)


def print_functional(told: FunctionalTrialBalance) -> None:
    """A trial balance in the functional currency as a table."""
    rows = [
        (
            r.code,
            format_amount(r.posted_minor, r.exponent),
            r.currency,
            format_amount(r.functional_minor, told.exponent),
            ",".join(map(str, r.rate_ids)),
        )
        for r in told.rows
    ]
    table(None, ("account", "debit less credit", "", f"in {told.currency}", "rates"), rows, right=(1, 3, 4))
    for name, minor in (
        ("trading accounts (unrealised, gains negative)", told.trading_minor),
        ("translation difference (rounding)", told.translation_difference_minor),
    ):
        console.print(f"{name}: {format_amount(minor, told.exponent)} {told.currency}")
