"""Any sequence of exchanges, reversals, rates and revaluations against a model in exact fractions.

The model keeps positions and costs as Python fractions and rounds half to even; the books must agree on every trading
account, every result, on every date. Arithmetic alone (rounding, average cost) is compared on many more examples.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import (
    Connection,
    NewRate,
    add_rates,
    define_currency,
    exchange,
    exchanges,
    functional_trial_balance,
    revaluation,
    revalue,
    reverse_exchange,
    trial_balance,
    verify,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, fresh_database, open_account, open_books

EXPONENTS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "BTC": 8}
DAYS = [DAY + dt.timedelta(days=n) for n in range(3)]
_keys = count(1)
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[tuple[Database, Connection]]:
    """A database for this file with the defined currency; every example has a book of its own."""
    with fresh_database(template, "nostro_test_exchange_properties") as database, database.app() as connection:
        connection.autocommit = True
        define_currency(connection, code="BTC", exponent=8)
        yield database, connection


# --- arithmetic ----------------------------------------------------------------------------------------------------

LARGE = st.integers(-(10**30), 10**30)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(LARGE | st.integers(-9, 9), (LARGE | st.integers(-4, 4)).filter(bool)), max_size=50))
def test_fractions_are_rounded_half_to_even(conn: tuple[Database, Connection], pairs: list[tuple[int, int]]) -> None:
    with conn[0].owner() as owner:  # a function of the books' own; nobody else may call it
        ours = owner.execute(
            "SELECT ledger.round_half_even(n, d)::text FROM unnest(%s::numeric[], %s::numeric[]) WITH ORDINALITY"
            " AS u (n, d, i) ORDER BY i",
            ([str(n) for n, _ in pairs], [str(d) for _, d in pairs]),
        ).fetchall()
    assert [int(str(found)) for (found,) in ours] == [round(Fraction(n, d)) for n, d in pairs]


# --- sequences -----------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """Positions (bought positive) and costs per foreign currency, and what was realised; effects by key and date."""

    position: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EXPONENTS, 0))
    cost: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EXPONENTS, 0))
    realised: int = 0
    effects: dict[str, list[tuple[dt.date, str, int, int, int]]] = field(default_factory=dict)

    def take_in(self, key: str, day: dt.date, code: str, quantity: int, value: int) -> None:
        """The method of docs/accounting.md, a second time and in other words."""
        held, cost = self.position[code], self.cost[code]
        if held * quantity > 0:
            change = value
        elif held + quantity == 0:
            change = -cost
        elif abs(quantity) < abs(held):
            change = -round(Fraction(cost * abs(quantity), abs(held)))
        else:
            value_of_the_closed = round(Fraction(value * abs(held), abs(quantity)))
            change = -cost + value - value_of_the_closed
        self._move(key, day, code, quantity, change, change - value)

    def _move(self, key: str, day: dt.date, code: str, quantity: int, change: int, gain: int) -> None:
        self.position[code] += quantity
        self.cost[code] += change
        self.realised += gain
        self.effects.setdefault(key, []).append((day, code, quantity, change, gain))

    def reverse(self, key: str, day: dt.date) -> None:
        for _, code, quantity, change, gain in self.effects[key].copy():
            self._move(f"reverse:{key}", day, code, -quantity, -change, -gain)

    def at(self, day: dt.date) -> dict[str, tuple[int, int]]:
        """(position, cost) by currency, of what is effective by then."""
        found = dict.fromkeys(EXPONENTS, (0, 0))
        for effects in self.effects.values():
            for when, code, quantity, change, _ in effects:
                if when <= day:
                    found[code] = (found[code][0] + quantity, found[code][1] + change)
        return {code: both for code, both in found.items() if both != (0, 0)}


def in_minor(minor: int, source: str, target: str, rate: Fraction) -> int:
    return round(Fraction(minor, 10 ** EXPONENTS[source]) * rate * 10 ** EXPONENTS[target])


CODES = st.sampled_from(sorted(EXPONENTS))
AMOUNTS = st.integers(1, 10**7) | st.integers(1, 9)
RATES = st.decimals(Decimal("0.5"), Decimal(2), places=5)
STEP = st.one_of(
    st.tuples(st.just("exact"), CODES, CODES, AMOUNTS, AMOUNTS, st.sampled_from(DAYS)),
    st.tuples(st.just("rate"), CODES, CODES, st.integers(10**3, 10**7), RATES, st.sampled_from(DAYS)),
    st.tuples(st.just("back"), st.integers(0, 20), st.sampled_from(DAYS)),
    st.tuples(st.just("quote"), CODES.filter(lambda code: code != "EUR"), RATES, st.sampled_from(DAYS)),
    st.tuples(st.just("revalue"), st.sampled_from(DAYS)),
)


class Company:
    """A book beside its model."""

    def __init__(self, books: Books, conn: Connection) -> None:
        self.books, self.conn, self.model = books, conn, Model()
        self.quotes: dict[tuple[str, dt.date], Decimal] = {}
        with conn.transaction():
            for code in EXPONENTS:
                open_account(conn, books.book, f"assets:money:{code.lower()}", "asset", currency=code)
        for code in EXPONENTS:
            if code != "EUR":
                self.quote(code, Decimal(1), DAYS[0])

    def quote(self, code: str, rate: Decimal, day: dt.date) -> None:
        fixed = dt.datetime.combine(day, dt.time(12), dt.UTC)
        rates = [NewRate("EUR", code, rate, day, fixed)]
        add_rates(self.conn, book_id=self.books.book, source="desk", rates=rates)
        self.quotes[code, day] = rate

    def rate_on(self, code: str, day: dt.date) -> Fraction:
        """What one unit costs in euro: the newest quote up to the day, the other way round."""
        return 1 / Fraction(
            max((when, rate) for (of, when), rate in self.quotes.items() if of == code and when <= day)[1]
        )

    def trade(
        self, sold: str, bought: str, sold_minor: int, bought_minor: int | None, rate: Decimal | None, day: dt.date
    ) -> None:
        traded = bought_minor if rate is None else in_minor(sold_minor, sold, bought, Fraction(rate))
        if sold == bought or not traded:
            return
        key = f"x{next(_keys)}"
        done = exchange(
            self.conn,
            book_id=self.books.book,
            key=key,
            effective_date=day,
            sold_account=f"assets:money:{sold.lower()}",
            bought_account=f"assets:money:{bought.lower()}",
            sold_minor=sold_minor,
            bought_minor=bought_minor,
            rate=rate,
            rate_base=None if rate is None else sold,
        )
        assert (done.sold_minor, done.bought_minor) == (sold_minor, traded)
        if rate is not None:  # nothing is lost: what was traded less the residue is the exact amount
            assert done.residue_minor is not None
            exact = Fraction(sold_minor, 10 ** EXPONENTS[sold]) * Fraction(rate) * 10 ** EXPONENTS[bought]
            assert traded - Fraction(done.residue_minor) == exact
        before = self.model.realised
        value = sold_minor if sold == "EUR" else traded
        if "EUR" not in (sold, bought):
            value = in_minor(sold_minor, sold, "EUR", self.rate_on(sold, day))
        for code, quantity, sign in ((sold, -sold_minor, -1), (bought, traded, 1)):
            if code != "EUR":
                self.model.take_in(key, day, code, quantity, sign * value)
        assert done.realised_minor == self.model.realised - before

    def back(self, number: int, day: dt.date) -> None:
        keys = [key for key in self.model.effects if f"reverse:{key}" not in self.model.effects and key[0] == "x"]
        if keys:
            key = keys[number % len(keys)]
            reverse_exchange(self.conn, book_id=self.books.book, key=key, effective_date=day, reason="taken back")
            self.model.reverse(key, day)

    def revalue(self, day: dt.date) -> None:
        """Posted and shown agree with the model; a second time posts nothing."""
        revalue(self.conn, book_id=self.books.book, on=day)
        again = revalue(self.conn, book_id=self.books.book, on=day)
        assert again.entries_posted == 0
        worth = {
            code: (position, cost, in_minor(position, code, "EUR", self.rate_on(code, day)))
            for code, (position, cost) in self.model.at(day).items()
        }
        assert {
            p.currency: (p.position_minor, p.book_value_minor, p.market_value_minor) for p in again.positions
        } == worth
        assert all(p.posted_minor == p.gain_minor for p in again.positions)
        assert again.positions == revaluation(self.conn, book_id=self.books.book, on=day).positions

    def check(self) -> None:
        book = self.books.book
        assert verify(self.conn, book_id=book) == ()
        whole = trial_balance(self.conn, book_id=book)
        assert whole.is_zero
        posted = {row.code: row.posted_minor for row in whole.rows if row.posted_minor}
        expected = {"income:fx-realised:eur": -self.model.realised}
        for code in EXPONENTS:
            expected[f"equity:trading:{code.lower()}-eur:position"] = -self.model.position[code]
            expected[f"equity:trading:{code.lower()}-eur:cost"] = self.model.cost[code]
        ours = {code: minor for code, minor in posted.items() if code.startswith(("equity:", "income:"))}
        assert ours == {code: minor for code, minor in expected.items() if minor}  # revaluations are all taken back
        told = functional_trial_balance(self.conn, book_id=book, as_of=DAYS[-1])
        assert abs(told.translation_difference_minor) <= len(told.rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, min_size=1, max_size=10))
def test_the_books_follow_the_model(conn: tuple[Database, Connection], steps: list[tuple[object, ...]]) -> None:
    company = Company(open_books(conn[0]), conn[1])
    for kind, *more in steps:
        if kind == "exact":
            sold, bought, amount, other, day = more
            company.trade(sold, bought, amount, other, None, day)  # type: ignore[arg-type]
        elif kind == "rate":
            sold, bought, amount, rate, day = more
            company.trade(sold, bought, amount, None, rate, day)  # type: ignore[arg-type]
        elif kind == "back":
            company.back(*more)  # type: ignore[arg-type]
        elif kind == "quote":
            company.quote(*more)  # type: ignore[arg-type]
        else:
            company.revalue(*more)  # type: ignore[arg-type]
    company.check()
    for day in DAYS:
        company.revalue(day)
    company.check()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=5), AMOUNTS)
def test_there_and_back_again_loses_nothing(
    conn: tuple[Database, Connection], bought: list[tuple[int, int]], proceeds: int
) -> None:
    """Bought in parts and sold whole: the trading accounts are empty, and what is gone in euro is the result."""
    company = Company(open_books(conn[0]), conn[1])
    for euro, satoshi in bought:
        company.trade("EUR", "BTC", euro, satoshi, None, DAY)
    company.trade("BTC", "EUR", sum(satoshi for _, satoshi in bought), proceeds, None, DAY)
    company.check()
    left = {r.code: r.posted_minor for r in trial_balance(conn[1], book_id=company.books.book).rows if r.posted_minor}
    change = proceeds - sum(euro for euro, _ in bought)
    assert left == ({"assets:money:eur": change, "income:fx-realised:eur": -change} if change else {})
    assert len(exchanges(conn[1], book_id=company.books.book)) == len(bought) + 1
