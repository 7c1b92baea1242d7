"""Exchange through trading accounts, realised and unrealised results, the books in the functional currency."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from ledger import (
    AmountError,
    ClosedPeriodError,
    Connection,
    ControlAccountError,
    Exchange,
    IdempotencyConflictError,
    NewRate,
    RateError,
    RefusedError,
    UnknownAccountError,
    add_rates,
    define_currency,
    exchange,
    exchanges,
    functional_trial_balance,
    post_batch,
    rates_on,
    revaluation,
    revalue,
    reverse,
    reverse_exchange,
    soft_close_period,
    translate_errors,
    trial_balance,
    verify,
)
from nostro.cli import main
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, open_account, open_books

EUR, USD, BTC, JPY = "assets:cash", "assets:cash-usd", "assets:cash-btc", "assets:cash-jpy"
NEXT = DAY + dt.timedelta(days=1)
POSITION, COST = "equity:trading:usd-eur:position", "equity:trading:usd-eur:cost"
REVALUATION, GAIN, UNREALISED = (
    "equity:trading:usd-eur:revaluation",
    "income:fx-realised:eur",
    "income:fx-unrealised:eur",
)


@pytest.fixture
def books(db: Database) -> Books:
    """A euro book with cash in four currencies of 0, 2 and 8 decimals."""
    opened = open_books(db)
    with db.app() as conn:
        define_currency(conn, code="BTC", exponent=8)
        open_account(conn, opened.book, BTC, "asset", currency="BTC")
        open_account(conn, opened.book, JPY, "asset", currency="JPY")
    return opened


def buy(conn: Connection, books: Books, key: str, sold: str, bought: str, **more: object) -> Exchange:
    given = {"book_id": books.book, "effective_date": DAY} | more
    return exchange(conn, key=key, sold_account=sold, bought_account=bought, **given)  # type: ignore[arg-type]


def rate(conn: Connection, books: Books, base: str, quote: str, text: str, day: dt.date = DAY) -> None:
    moment = dt.datetime.combine(day, dt.time(15), dt.UTC)
    add_rates(conn, book_id=books.book, source="desk", rates=[NewRate(base, quote, Decimal(text), day, moment)])


def posted(conn: Connection, books: Books, as_of: dt.date | None = None) -> dict[str, int]:
    """Every balance that is not zero, debit positive."""
    rows = trial_balance(conn, book_id=books.book, as_of=as_of).rows
    return {row.code: row.posted_minor for row in rows if row.posted_minor}


# --- exchange ------------------------------------------------------------------------------------------------------


def test_exact_amounts_and_the_realised_result_at_average_cost(books: Books) -> None:
    with books.db.app() as conn:
        first = buy(conn, books, "x1", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        assert (first.realised_minor, first.rounding_minor, first.residue_minor) == (0, 0, None)
        assert posted(conn, books) == {EUR: -92_00, USD: 100_00, POSITION: -100_00, COST: 92_00}
        buy(conn, books, "x2", EUR, USD, sold_minor=96_00, bought_minor=100_00)
        sale = buy(conn, books, "x3", USD, EUR, sold_minor=50_00, bought_minor=49_00)
        assert sale.realised_minor == 49_00 - 47_00
        assert posted(conn, books)[COST] == 141_00 and posted(conn, books)[GAIN] == -2_00
        # The rest and 50 more: what is closed is realised, what is opened stands at its own price.
        turned = buy(conn, books, "x4", USD, EUR, sold_minor=200_00, bought_minor=180_00)
        assert turned.realised_minor == 135_00 - 141_00
        assert (posted(conn, books)[POSITION], posted(conn, books)[COST]) == (50_00, -45_00)
        closed = buy(conn, books, "x5", EUR, USD, sold_minor=46_00, bought_minor=50_00)
        assert closed.realised_minor == -1_00
        found = posted(conn, books)
        assert POSITION not in found and COST not in found and found[GAIN] == 5_00
        assert [e.key for e in exchanges(conn, book_id=books.book)] == ["x1", "x2", "x3", "x4", "x5"]
        assert verify(conn, book_id=books.book) == ()


def test_an_amount_from_a_rate_is_rounded_half_to_even_and_says_by_how_much(books: Books) -> None:
    with books.db.app() as conn:
        for key, sold, text, bought, residue in (
            ("down", 1_00, "1.085", 1_08, "-0.5"),
            ("up", 1_00, "1.095", 1_10, "0.5"),
            ("exact", 2_00, "1.085", 2_17, "0"),
            ("third", 1_00, "0.333333333333333333", 33, "-0.3333333333333333"),
        ):
            done = buy(conn, books, key, EUR, USD, sold_minor=sold, rate=Decimal(text), rate_base="EUR")
            assert (done.bought_minor, done.residue_minor) == (bought, Decimal(residue))
        other_way = buy(conn, books, "inverse", EUR, USD, bought_minor=100_00, rate=Decimal("1.0850"), rate_base="EUR")
        assert other_way.sold_minor == 92_17
        quoted = buy(conn, books, "quoted", USD, EUR, sold_minor=100_00, rate=Decimal("1.0850"), rate_base="EUR")
        assert quoted.bought_minor == 92_17
        satoshi = buy(conn, books, "btc", EUR, BTC, sold_minor=100_00, rate=Decimal("84000"), rate_base="BTC")
        assert satoshi.bought_minor == 119_048  # 0.00119047619… BTC
        yen = buy(conn, books, "yen", EUR, JPY, sold_minor=1_00, rate=Decimal("162.5"), rate_base="EUR")
        assert (yen.bought_minor, yen.residue_minor) == (162, Decimal("-0.5"))
        assert verify(conn, book_id=books.book) == ()


def test_amounts_a_cent_off_their_rate_put_the_cent_on_the_rounding_account(books: Books) -> None:
    with books.db.app() as conn:
        given = {"sold_minor": 100_00, "rate": Decimal("1.085"), "rate_base": "EUR"}
        done = buy(conn, books, "more", EUR, USD, bought_minor=108_51, **given)
        assert done.rounding_minor == 1
        assert posted(conn, books) == {
            EUR: -100_00, USD: 108_51, POSITION: -108_50, COST: 100_00, "expenses:rounding:usd": -1
        }  # fmt: skip
        buy(conn, books, "less", EUR, USD, bought_minor=108_49, **given)
        assert "expenses:rounding:usd" not in posted(conn, books)
        with pytest.raises(RateError, match="more than rounding") as refused:
            buy(conn, books, "far", EUR, USD, bought_minor=108_60, **given)
        assert refused.value.constraint == "exchange_rounding"
        buy(conn, books, "allowed", EUR, USD, bought_minor=108_60, max_rounding_minor=10, **given)


def test_a_recorded_rate_is_used_and_cited(books: Books) -> None:
    with books.db.app() as conn:
        with pytest.raises(RateError, match="no rate for EUR/USD"):
            buy(conn, books, "x", EUR, USD, sold_minor=1_00, at_market=True)
        rate(conn, books, "EUR", "USD", "1.0850")
        (row,) = rates_on(conn, book_id=books.book)
        done = buy(conn, books, "x", EUR, USD, sold_minor=100_00, at_market=True)
        assert (done.bought_minor, done.rate_ids) == (108_50, (row.rate_id,))
        # A correction changes what comes later, not what was posted; a retry gets the original.
        rate(conn, books, "EUR", "USD", "1.2000")
        assert buy(conn, books, "x", EUR, USD, sold_minor=100_00, at_market=True) == done
        assert buy(conn, books, "y", EUR, USD, sold_minor=100_00, at_market=True).bought_minor == 120_00
        with pytest.raises(RateError, match="older than 5 days"):
            buy(conn, books, "z", EUR, USD, sold_minor=1_00, at_market=True, effective_date=DAY + dt.timedelta(days=6))


def test_two_foreign_currencies_are_valued_in_the_functional_one(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "usd", EUR, USD, sold_minor=900_00, bought_minor=1000_00)
        with pytest.raises(RateError, match="no rate for USD/EUR"):
            buy(conn, books, "btc", USD, BTC, sold_minor=1000_00, bought_minor=1_000_000)
        rate(conn, books, "EUR", "USD", "1.0000")
        done = buy(conn, books, "btc", USD, BTC, sold_minor=1000_00, bought_minor=1_000_000)
        assert done.realised_minor == 100_00 and len(done.rate_ids) == 1
        assert posted(conn, books) == {
            EUR: -900_00,
            BTC: 1_000_000,
            "equity:trading:btc-eur:position": -1_000_000,
            "equity:trading:btc-eur:cost": 1000_00,
            GAIN: -100_00,
        }
        assert verify(conn, book_id=books.book) == ()


def test_a_key_means_one_exchange(books: Books) -> None:
    with books.db.app() as conn:
        done = buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        buy(conn, books, "y", USD, EUR, sold_minor=10_00, bought_minor=10_00)
        assert buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00) == done
        for more in ({"sold_minor": 93_00}, {"description": "other"}, {"effective_date": NEXT}):
            with pytest.raises(IdempotencyConflictError) as refused:
                buy(conn, books, "x", EUR, USD, **({"sold_minor": 92_00, "bought_minor": 100_00} | more))
            assert refused.value.constraint == "exchange_conflict"
        post_batch(conn, book_id=books.book, entries=[entry("taken", EUR, "income:sales", 5)])
        with pytest.raises(IdempotencyConflictError):
            buy(conn, books, "taken", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        assert len(exchanges(conn, book_id=books.book)) == 2


@pytest.mark.parametrize(
    ("more", "constraint"),
    [
        ({"sold_minor": 1_00}, "exchange_amounts"),
        ({"rate": Decimal(1), "rate_base": "EUR"}, "exchange_amounts"),
        ({"sold_minor": 0, "bought_minor": 1}, "exchange_amounts"),
        ({"sold_minor": 1, "bought_minor": -1}, "exchange_amounts"),
        ({"sold_minor": 1, "rate": Decimal("0.001"), "rate_base": "EUR"}, "exchange_amounts"),
        ({"sold_minor": 1_00, "rate": Decimal(1), "rate_base": "JPY"}, "exchange_rate"),
        ({"sold_minor": 1_00, "rate": Decimal(1)}, "exchange_rate"),
        ({"sold_minor": 1_00, "rate": Decimal(1), "rate_base": "EUR", "at_market": True}, "exchange_rate"),
        ({"sold_minor": 1_00, "rate": Decimal(-1), "rate_base": "EUR"}, "rate_positive"),
        ({"sold_minor": 1_00, "rate": Decimal("NaN"), "rate_base": "EUR"}, "rate_positive"),
        ({"sold_minor": 1_00, "bought_minor": 1, "sold": "income:sales"}, "exchange_pair"),
        ({"sold_minor": 1_00, "bought_minor": 1, "sold": "assets:none"}, "posting_account"),
        ({"sold_minor": 1_00, "bought_minor": 1, "sold": "assets:bank:main"}, "posting_control_account"),
        ({"sold_minor": 2**62, "rate": Decimal(9), "rate_base": "EUR"}, None),
    ],
)
def test_what_is_no_exchange(books: Books, more: dict[str, object], constraint: str | None) -> None:
    sold, bought = str(more.pop("sold", EUR)), USD
    bought = EUR if sold == "income:sales" else USD
    with books.db.app() as conn:
        with pytest.raises((AmountError, RateError, UnknownAccountError, ControlAccountError, RefusedError)) as refused:
            buy(conn, books, "x", sold, bought, **more)
        assert refused.value.constraint == constraint
        assert constraint is not None or isinstance(refused.value, AmountError)
        assert exchanges(conn, book_id=books.book) == () and posted(conn, books) == {}


def test_trading_accounts_are_moved_by_exchanges_alone(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        with pytest.raises(ControlAccountError):
            post_batch(conn, book_id=books.book, entries=[entry("direct", EUR, COST, 1_00)])
        with pytest.raises(ControlAccountError):
            reverse(conn, book_id=books.book, key="x", effective_date=DAY, reason="wrong")
        with pytest.raises(RefusedError, match="no exchange with key nothing"):
            reverse_exchange(conn, book_id=books.book, key="nothing", effective_date=DAY, reason="wrong")
        taken_back = reverse_exchange(conn, book_id=books.book, key="x", effective_date=NEXT, reason="wrong")
        assert reverse_exchange(conn, book_id=books.book, key="x", effective_date=NEXT, reason="wrong") == taken_back
        assert posted(conn, books) == {} and exchanges(conn, book_id=books.book)[0].is_reversed
        assert verify(conn, book_id=books.book) == ()


def test_rows_of_exchanges_by_raw_sql(books: Books) -> None:
    with books.db.app() as conn:
        done = buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
    with books.db.owner() as conn:
        for statement, constraint in (
            ("INSERT INTO ledger.exchange SELECT entry_id + 1, book_id, idempotency_key, sold_account_id,"
             " bought_account_id, asked, 1, 1, 0 FROM ledger.exchange WHERE entry_id = %s", "exchange_once"),
            ("INSERT INTO ledger.exchange SELECT entry_id, book_id, 'y', sold_account_id,"
             " bought_account_id, asked, 0, 1, 0 FROM ledger.exchange WHERE entry_id = %s", "exchange_amounts"),
            ("INSERT INTO ledger.exchange_position VALUES (%s, 392, 1, 1, 1, 5)", "exchange_realised"),
        ):  # fmt: skip
            with pytest.raises(RefusedError) as refused, translate_errors(), conn.transaction():
                conn.execute(statement, (done.entry_id,))
            assert refused.value.constraint == constraint


def test_many_exchange_at_once_and_the_position_is_their_sum(books: Books) -> None:
    def one(n: int) -> int:
        with books.db.app() as conn:
            sold, bought = (EUR, USD) if n % 3 else (USD, EUR)
            for _ in range(5):
                buy(conn, books, f"x{n}-{_}", sold, bought, sold_minor=100 + n, bought_minor=110 + n)
            return buy(conn, books, "all the same", EUR, USD, sold_minor=7, bought_minor=8).entry_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(8)))) == 1
    with books.db.app() as conn:
        assert len(exchanges(conn, book_id=books.book)) == 41
        assert verify(conn, book_id=books.book) == ()


def test_a_soft_closed_period_takes_exchanges_of_approvers_only(books: Books) -> None:
    with books.db.login("bob") as bob, books.db.login("alice") as alice:
        soft_close_period(bob, book_id=books.book, through=DAY)
        with pytest.raises(ClosedPeriodError):
            buy(alice, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        buy(bob, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)


# --- revaluation ---------------------------------------------------------------------------------------------------


def test_a_revaluation_is_posted_once_and_taken_back_the_day_after(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        with pytest.raises(RateError, match="no rate for USD/EUR"):
            revalue(conn, book_id=books.book, on=DAY)
        rate(conn, books, "EUR", "USD", "1.0000")
        (row,) = rates_on(conn, book_id=books.book)
        (told,) = revaluation(conn, book_id=books.book, on=DAY).positions
        assert (told.position_minor, told.book_value_minor, told.market_value_minor) == (100_00, 92_00, 100_00)
        assert (told.gain_minor, told.posted_minor, told.rate_ids) == (8_00, 0, (row.rate_id,))
        assert REVALUATION not in posted(conn, books)

        done = revalue(conn, book_id=books.book, on=DAY)
        assert (done.entries_posted, done.positions[0].posted_minor) == (1, 8_00)
        on_day = posted(conn, books, DAY)
        assert (on_day[REVALUATION], on_day[UNREALISED]) == (8_00, -8_00)
        assert REVALUATION not in posted(conn, books, NEXT) and UNREALISED not in posted(conn, books)
        again = revalue(conn, book_id=books.book, on=DAY)
        assert (again.entries_posted, again.positions) == (0, done.positions)
        assert verify(conn, book_id=books.book) == ()


def test_each_date_stands_alone_and_later_facts_add_their_difference(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        rate(conn, books, "EUR", "USD", "1.0000")
        rate(conn, books, "EUR", "USD", "1.2500", NEXT)
        for day in (NEXT, DAY):  # in any order
            assert revalue(conn, book_id=books.book, on=day).entries_posted == 1
        assert posted(conn, books, DAY)[UNREALISED] == -8_00
        assert posted(conn, books, NEXT)[UNREALISED] == 12_00
        rate(conn, books, "EUR", "USD", "0.8000")  # the first day's rate was wrong
        corrected = revalue(conn, book_id=books.book, on=DAY)
        assert (corrected.entries_posted, corrected.positions[0].gain_minor) == (1, 33_00)
        assert posted(conn, books, DAY)[UNREALISED] == -33_00
        assert revalue(conn, book_id=books.book, on=NEXT).entries_posted == 0
        buy(conn, books, "late", EUR, USD, sold_minor=10_00, bought_minor=10_00)
        assert revalue(conn, book_id=books.book, on=DAY).entries_posted == 1
        assert posted(conn, books, DAY)[UNREALISED] == -35_50
        rows = conn.execute(
            "SELECT e.idempotency_key, r.change_minor,"
            "       (SELECT count(*) FROM ledger.entry_rate WHERE entry_id = r.entry_id)"
            "  FROM ledger.revaluation r JOIN ledger.entry e USING (entry_id) WHERE revalued_on = %s ORDER BY ordinal",
            (DAY,),
        ).fetchall()
        assert rows == [
            ("revalue:2026-11-02:usd", 8_00, 1),
            ("revalue:2026-11-02:usd:2", 25_00, 1),
            ("revalue:2026-11-02:usd:3", 2_50, 1),
        ]
        # A position that is closed needs no rate and has no result.
        buy(conn, books, "out", USD, EUR, sold_minor=110_00, bought_minor=110_00, effective_date=NEXT)
        assert revalue(conn, book_id=books.book, on=NEXT + dt.timedelta(days=90)).positions == ()
        assert verify(conn, book_id=books.book) == ()


def test_revaluing_at_once_posts_once(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        rate(conn, books, "EUR", "USD", "1.0000")

    def one(_: int) -> int:
        with books.db.app() as conn:
            return revalue(conn, book_id=books.book, on=DAY).entries_posted

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 1


def test_a_revaluation_once_by_raw_sql(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "x", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        rate(conn, books, "EUR", "USD", "1.0000")
        revalue(conn, book_id=books.book, on=DAY)
    with books.db.owner() as conn, pytest.raises(RefusedError) as refused, translate_errors():
        conn.execute(
            "INSERT INTO ledger.revaluation SELECT reversal_entry_id, entry_id, book_id, currency_id, revalued_on,"
            " ordinal, 0, 0, 0, 0 FROM ledger.revaluation"
        )
    assert refused.value.constraint == "revaluation_once"


def test_the_trial_balance_in_the_functional_currency(books: Books) -> None:
    with books.db.app() as conn:
        buy(conn, books, "usd", EUR, USD, sold_minor=92_00, bought_minor=100_00)
        buy(conn, books, "yen", EUR, JPY, sold_minor=1_00, bought_minor=163)
        post_batch(conn, book_id=books.book, entries=[entry("sale", USD, "income:sales-usd", 33)])
        rate(conn, books, "EUR", "USD", "1.1000")
        rate(conn, books, "EUR", "JPY", "160")
        told = functional_trial_balance(conn, book_id=books.book, as_of=DAY)
        value = {row.code: row.functional_minor for row in told.rows}
        assert value[USD] == 91_21 and value["income:sales-usd"] == -30 and value[JPY] == 1_02
        # Each balance is rounded for itself: 100.33 USD are 91.21, 100.00 are 90.91, 0.33 are 0.30.
        assert (told.translation_difference_minor, told.trading_minor) == (0, 1_07)
        revalue(conn, book_id=books.book, on=DAY)
        after = functional_trial_balance(conn, book_id=books.book, as_of=DAY)
        assert (after.trading_minor, after.translation_difference_minor) == (0, 0)
        with pytest.raises(RateError):
            functional_trial_balance(conn, book_id=books.book, as_of=DAY + dt.timedelta(days=30))


def test_the_commands(books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Role names are the template's: settings alone would derive them from the database's name.
    monkeypatch.setattr("nostro.cli.common.locate", lambda _settings: books.db)

    def run(*words: str, status: int = 0) -> str:
        assert main(words[0].split() + list(words[1:])) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    with books.db.app() as conn:
        rate(conn, books, "EUR", "USD", "1.0850")
    post = f"exchange post fx-1 {EUR} {USD} --sold 100.00 --on {DAY}"
    for _ in range(2):
        assert "100.00 EUR for 108.50 USD" in run(f"{post} --at-market")
    assert "is taken by exchange" in run(f"{post} --bought 1", status=1)
    assert "two positive amounts" in run(f"exchange post fx-2 {EUR} {USD} --sold 1", status=1)
    assert "not a positive rate" in run(f"exchange post fx-2 {EUR} {USD} --sold 1 --rate NaN --of EUR", status=2)
    exact = run(f"exchange post fx-3 {EUR} {BTC} --sold 1 --bought 0.00001191 --on {DAY} --json")
    assert json.loads(exact)["bought_minor"] == 1191
    assert "no rate for BTC/EUR" in run(f"revalue --date {DAY} --dry-run", status=1)
    run("exchange reverse fx-3", "--reason", "no such deal", "--on", str(DAY))
    dry = json.loads(run(f"revalue --date {NEXT} --dry-run --json"))
    assert (dry["entries_posted"], dry["positions"][0]["posted_minor"]) == (0, 0)
    assert "0 entries posted" in run(f"revalue --date {DAY}")  # bought at that very rate
    assert [line.split()[1] for line in run("exchange list").splitlines()[1:]] == ["fx-1", "fx-3"]
    told = run(f"trial-balance --functional --as-of {DAY}")
    assert "translation difference (rounding): 0.00 EUR" in told
    assert json.loads(run(f"trial-balance --functional --as-of {DAY} --json"))["trial_balance"]["trading_minor"] == 0
    assert "--functional needs --as-of" in run("trial-balance --functional", status=2)
