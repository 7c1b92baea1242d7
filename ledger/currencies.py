"""Currencies beyond ISO 4217, and exchange rates: defining, importing, looking up.

Lives here: Python's side of `ledger.currency` and `ledger.rate`, and the readers of rate files. Must not live here:
entries (`ledger.fx`), conversions (they are in Postgres, exact).

A rate says what one unit of the base currency costs in the quote currency, as the ECB writes its reference rates.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from ledger.db import Connection
from ledger.errors import RateFileError, translate_errors
from ledger.money import Currency
from ledger.transactions import transaction

ECB_FIXING = time(16, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # the reference rates are published about then


@dataclass(frozen=True, slots=True)
class Rate:
    """A recorded rate: one `base` costs `rate` of `quote`. `is_corrected`: a newer row says otherwise."""

    rate_id: int
    base: str
    quote: str
    rate: Decimal
    source: str
    rate_date: date
    as_of: datetime
    recorded_at: datetime
    is_corrected: bool


@dataclass(frozen=True, slots=True)
class NewRate:
    """A rate to record; `as_of` is the moment it was fixed or observed."""

    base: str
    quote: str
    rate: Decimal
    rate_date: date
    as_of: datetime


@dataclass(frozen=True, slots=True)
class RateImport:
    """What an import did: rates in the file, rows added, and how many of those correct an earlier row."""

    rates: int
    added: int
    corrections: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """How amounts of one currency become another's: times `numerator`, divided by `denominator`, by these rates."""

    rate_ids: tuple[int, ...]
    numerator: Decimal
    denominator: Decimal
    rate_date: date


# --- currencies ----------------------------------------------------------------------------------------------------


def define_currency(conn: Connection, *, code: str, exponent: int) -> Currency:
    """Define a currency with up to eight decimals, for every book of the deployment; again: the same one.

    Raises `AmountError` (more than eight decimals), `UnknownCurrencyError` (no code, or it has other decimals
    already; those of ISO 4217 keep ISO's).
    """
    with transaction(conn):
        row = conn.execute("SELECT ledger.define_currency(%s, %s)", (code, exponent)).fetchone()
    assert row is not None
    return Currency(code, exponent, int(str(row[0])))


def currencies(conn: Connection) -> dict[str, Currency]:
    """Every currency of the deployment by code, those of ISO 4217 and the defined ones."""
    with translate_errors():
        rows = conn.execute("SELECT code, exponent, currency_id FROM ledger.currency ORDER BY code").fetchall()
    return {str(row[0]): Currency(*row) for row in rows}  # type: ignore[arg-type]


# --- rates ---------------------------------------------------------------------------------------------------------


def add_rates(conn: Connection, *, book_id: int, source: str, rates: Sequence[NewRate]) -> RateImport:
    """Record rates of a source. A rate that is there already adds nothing; another value for the same pair and
    moment is a correction: a newer row, which later look-ups find.

    Raises `RateError` (not positive, a currency against itself), `UnknownCurrencyError`.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT added, corrections FROM ledger.add_rates(%s, %s, %s::text[], %s::text[], %s::numeric[], %s::date[],"
            " %s::timestamptz[])",
            (
                book_id,
                source,
                [rate.base for rate in rates],
                [rate.quote for rate in rates],
                [rate.rate for rate in rates],
                [rate.rate_date for rate in rates],
                [rate.as_of for rate in rates],
            ),
        ).fetchone()
    assert row is not None
    return RateImport(len(rates), *row)  # type: ignore[arg-type]


def import_rates(
    conn: Connection, *, book_id: int, path: Path, source: str, base: str = "EUR", at: time = ECB_FIXING
) -> RateImport:
    """Record every rate of a CSV file, or none.

    The file is either in the form of the ECB's reference rates (``Date,USD,JPY,…``, a row a day, ``N/A`` where there
    is none; quoted against ``base``) or has the columns ``date,base,quote,rate``. ``at`` is the time of day, with its
    time zone, at which the rates of a date were fixed. Raises `RateFileError` with every fault and its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RateFileError(f"{path.name} cannot be read as CSV: {error}.", ()) from error
    faults: list[str] = []
    known = currencies(conn)
    rates = list(_rates(rows, base, at, set(known), faults)) if rows else []
    if not rates and not faults:
        faults.append("line 1: there is no rate in it.")
    if faults:
        raise RateFileError(
            f"{path.name} was refused whole: {len(faults)} fault{'s' if len(faults) > 1 else ''}; correct the file.",
            tuple(faults),
        )
    return add_rates(conn, book_id=book_id, source=source, rates=rates)


_LONG = ["date", "base", "quote", "rate"]
_RATE = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")


def _rates(rows: list[list[str]], base: str, at: time, known: set[str], faults: list[str]) -> Iterator[NewRate]:
    """The rates of either form; what is wrong goes to `faults`."""
    head = [name.lower() for name in rows[0]]
    is_long = head == _LONG
    if not is_long and (head[:1] != ["date"] or len(head) < 2):
        faults.append(f"line 1: the columns are neither {','.join(_LONG)} nor Date and currency codes.")
        return
    quotes = [] if is_long else [name for name in rows[0][1:] if name]
    for code in [base, *quotes]:
        if code not in known:
            faults.append(f"line 1: currency {code!r} is neither of ISO 4217 nor defined here.")
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        day = _day(row[0])
        if is_long:
            width, cells = 4, [(*row[1:3], row[3])] if len(row) == 4 else []
        else:
            width = len(rows[0])
            cells = [(base, code, text) for code, text in zip(quotes, row[1:], strict=False)]
        if len(row) != width or day is None:
            said = f"{row[0]!r} is not a date" if len(row) == width else f"{len(row)} fields, the header has {width}"
            faults.append(f"line {line}: {said}.")
            continue
        for of, to, text in cells:
            if text in ("", "N/A") and not is_long:
                continue
            if _RATE.fullmatch(text) is None or not Decimal(text):
                faults.append(f"line {line}: {of}/{to}: {text!r} is not a positive decimal number.")
            elif is_long and (of not in known or to not in known or of == to):
                faults.append(f"line {line}: {of!r} and {to!r} are not two currencies that are known here.")
            else:
                yield NewRate(of, to, Decimal(text), day, datetime.combine(day, at))


def _day(text: str) -> date | None:
    """``2026-11-20``, or ``20 November 2026`` as the ECB's daily file has it."""
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 (a date has no time zone)
        except ValueError:
            continue
    return None


_RATES = """
SELECT DISTINCT ON (base, quote, source) rate_id, base, quote, rate, source, rate_date, as_of, recorded_at, is_corrected
  FROM ledger.rate_current
 WHERE book_id = %(book)s AND (%(on)s::date IS NULL OR rate_date <= %(on)s)
   AND (%(known)s::timestamptz IS NULL OR recorded_at <= %(known)s)
   AND (%(currency)s::text IS NULL OR %(currency)s IN (base, quote))
 ORDER BY base, quote, source, rate_date DESC, as_of DESC, rate_id DESC
"""
_HISTORY = """
SELECT rate_id, base, quote, rate, source, rate_date, as_of, recorded_at, is_corrected FROM ledger.rate_current
 WHERE book_id = %(book)s AND (%(on)s::date IS NULL OR rate_date <= %(on)s)
   AND (%(known)s::timestamptz IS NULL OR recorded_at <= %(known)s)
   AND (%(currency)s::text IS NULL OR %(currency)s IN (base, quote))
 ORDER BY base, quote, rate_date, as_of, rate_id
"""


def rates_on(
    conn: Connection,
    *,
    book_id: int,
    on: date | None = None,
    known_at: datetime | None = None,
    currency: str | None = None,
    history: bool = False,
) -> tuple[Rate, ...]:
    """The newest rate of each pair and source up to a date, as known at a moment; with ``history`` every row."""
    query = _HISTORY if history else _RATES
    with translate_errors():
        rows = conn.execute(query, {"book": book_id, "on": on, "known": known_at, "currency": currency}).fetchall()
    return tuple(Rate(*row) for row in rows)  # type: ignore[arg-type]


def conversion(
    conn: Connection,
    *,
    book_id: int,
    source_currency: str,
    target_currency: str,
    on: date,
    max_age_days: int,
    known_at: datetime | None = None,
) -> Conversion:
    """The conversion that entries of a date use. Raises `RateError` when there is none, or the newest is too old."""
    with transaction(conn):
        row = conn.execute(
            "SELECT rate_ids, numerator, denominator, rate_date FROM ledger.rate_on("
            "%s, ledger.book_currency(%s), ledger.book_currency(%s), %s, %s, %s)",
            (book_id, source_currency, target_currency, on, max_age_days, known_at),
        ).fetchone()
    assert row is not None
    ids: list[int] = row[0]  # type: ignore[assignment]
    return Conversion(tuple(ids), *row[1:])  # type: ignore[arg-type]
