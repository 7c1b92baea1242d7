"""The company of a chunk: five bank accounts with their calendars, and the parties it deals with.

Lives here: calendars, accounts, parties and the ways a bank spells their names. Must not live here: amounts, events.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import holidays
import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.reconbench.spec import ACCOUNTS_A_CHUNK, CHUNKS, DAYS, HOLIDAYS, RARE_CURRENCIES

Ints = npt.NDArray[np.int64]

_FIRST = (
    "Müller",
    "Schröder",
    "Bäcker",
    "Çelik",
    "Núñez",
    "García",
    "Dubois",
    "Lefèvre",
    "Rossi",
    "Bianchi",
    "Novák",
    "Dvořák",
    "Kowalski",
    "Wójcik",
    "Jansen",
    "de Vries",
    "Andersson",
    "Öberg",
    "Hansen",
    "Sørensen",
    "Smith",
    "Taylor",
    "Walker",
    "Brown",
    "Tanaka",
    "Suzuki",
    "Weiß",
    "Groß",
    "Jäger",
    "Köhler",
    "Fuchs",
    "Petrov",
    "Ivanova",
    "O'Brien",
    "McLeod",
    "Almeida",
    "Conceição",
    "Virtanen",
    "Mäkinen",
    "Horváth",
    "Szabó",
    "Popescu",
    "Ionescu",
)
_SECOND = (
    "Maschinenbau",
    "Logistik",
    "Handel",
    "Trading",
    "Systems",
    "Foods",
    "Textil",
    "Energie",
    "Consulting",
    "Bau",
    "Print",
    "Media",
    "Travel",
    "Pharma",
    "Optik",
    "Möbel",
    "Elektro",
    "Transport",
    "Software",
    "Agro",
    "Design",
    "Events",
    "Security",
    "Tools",
    "Papier",
    "Stahl",
    "Chemie",
    "Garten",
)
_SUFFIXES = (
    ("GmbH", "G.m.b.H.", "Gesellschaft mit beschränkter Haftung"),
    ("AG", "A.G.", "Aktiengesellschaft"),
    ("Ltd", "Ltd.", "Limited"),
    ("Inc", "Inc.", "Incorporated"),
    ("S.A.", "SA", "Société Anonyme"),
    ("B.V.", "BV", "Besloten Vennootschap"),
    ("AB", "A.B.", "Aktiebolag"),
)
_SPELT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "AE", "Ö": "OE", "Ü": "UE", "ø": "oe", "Ø": "OE"}
)
_BARE = str.maketrans("äöüßÄÖÜøéèçñáíóřłýąęãõåÇÉÁÓ", "aousAOUoeecnaiorlyaeaoaCEAO")
VARIANTS = 6


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Accounts by position 0..4 of the chunk; `dates[a]` are the business days of account a, `as_of` the last."""

    chunk: int
    codes: tuple[str, ...]
    currencies: tuple[str, ...]
    dates: tuple[npt.NDArray[np.datetime64], ...]
    as_of: dt.date
    parties: pl.DataFrame  # party, party_account, party_name, name_0 … name_5 (how banks write it)
    parties_an_account: int

    @property
    def days(self) -> Ints:
        """Business days of each account; the last one is the day of reconciliation."""
        return np.array([len(days) for days in self.dates], dtype=np.int64)

    def party_of(self, account: Ints, pick: Ints) -> Ints:
        """A party that deals with this account; `pick` is any number."""
        return pick % self.parties_an_account * ACCOUNTS_A_CHUNK + account


def build_world(rng: np.random.Generator, *, seed: int, chunk: int, rows: int) -> World:
    """The world of one chunk; `rows` is the chunk's own number of rows a side."""
    start = dt.date(2026, 1 + seed % 12, 1)
    currencies = ("EUR", "EUR", "USD", "USD", RARE_CURRENCIES[chunk % len(RARE_CURRENCIES)])
    closed = {name: _closed_days(name, start) for name in set(HOLIDAYS)}
    as_of = _as_of(start, closed)
    window = np.arange(np.datetime64(start), np.datetime64(as_of) + 1)
    dates = tuple(window[np.is_busday(window, holidays=closed[name])] for name in currencies)
    per_account = max(20, rows // 50 // ACCOUNTS_A_CHUNK)
    return World(
        chunk=chunk,
        codes=tuple(f"{chunk * ACCOUNTS_A_CHUNK + n:02}-{name.lower()}" for n, name in enumerate(currencies)),
        currencies=currencies,
        dates=dates,
        as_of=as_of,
        parties=_parties(rng, per_account * ACCOUNTS_A_CHUNK, chunk),
        parties_an_account=per_account,
    )


def _closed_days(currency: str, start: dt.date) -> list[np.datetime64]:
    years = (start.year, start.year + 1)
    name = HOLIDAYS[currency]
    known = (
        holidays.financial_holidays(name, years=years)
        if name == "ECB"
        else holidays.country_holidays(name, years=years)
    )
    return [np.datetime64(day) for day in sorted(known)]


def _as_of(start: dt.date, closed: dict[str, list[np.datetime64]]) -> dt.date:
    """The last of the thirty days that is a business day everywhere."""
    for back in range(DAYS):
        day = start + dt.timedelta(days=DAYS - 1 - back)
        if all(np.is_busday(np.datetime64(day), holidays=days) for days in closed.values()):
            return day
    raise AssertionError("a month without a business day")


def _parties(rng: np.random.Generator, count: int, chunk: int) -> pl.DataFrame:
    first, second, third = (rng.integers(0, len(words), count) for words in (_FIRST, _SECOND, _SECOND))
    suffix = rng.integers(0, len(_SUFFIXES), count)
    digits = rng.integers(10**8, 10**9, count)
    rows: list[tuple[object, ...]] = []
    for n in range(count):
        words = [_FIRST[first[n]], _SECOND[second[n]], f"{_SECOND[third[n]]} {n % 97 + 1}"]
        rows.append((n, f"DE{n % 97:02}{digits[n]}{chunk * 10**7 + n:09}", *_spellings(words, *_SUFFIXES[suffix[n]])))
    names = ["party_name", *(f"name_{n}" for n in range(VARIANTS))]
    schema = {"party": pl.Int64(), "party_account": pl.String()} | {name: pl.String() for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _spellings(words: list[str], short: str, dotted: str, long: str) -> tuple[str, ...]:
    """The name as we keep it, then six ways in which banks send it."""
    base = " ".join(words)
    return (
        f"{base} {short}",
        f"{base} {short}",
        base.upper(),
        f"{base.translate(_SPELT)} {dotted}".upper(),
        f"{base.translate(_BARE)} {long}",
        f"{words[1]} {words[2]} {words[0]}".translate(_BARE).upper(),
        f"{base} {short}".translate(_SPELT)[:27],
    )


def chunks() -> range:
    """Positions of the chunks."""
    return range(CHUNKS)
