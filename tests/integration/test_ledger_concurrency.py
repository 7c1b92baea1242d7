"""The books under real threads: one connection each, released by a barrier, on a real Postgres."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import psycopg
import pytest

from ledger import (
    ClosedPeriodError,
    Connection,
    EntryStatus,
    FloorError,
    IdempotencyConflictError,
    NewEntry,
    NostroError,
    close_period,
    post_batch,
    post_independent,
    request_close_override,
    reverse,
    soft_close_period,
    verify,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, fresh_database, open_books, wait_until

T = TypeVar("T")
WORKERS = 6


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_concurrency") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Empty books; whatever the threads did, every invariant holds at the end."""
    opened = open_books(database)
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def together(books: Books, work: Callable[[Connection, int], T], workers: int = WORKERS) -> list[T]:
    """Run `work(conn, number)` in threads that start at the same moment; results in worker order."""
    start = threading.Barrier(workers)

    def run(number: int) -> T:
        with books.db.app() as conn:
            start.wait(timeout=20)
            return work(conn, number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


@pytest.mark.parametrize("size", [1, 15, 80])
def test_same_keys_in_different_orders_make_each_entry_once(books: Books, size: int) -> None:
    entries = [entry(f"k{n:03}", "assets:cash", "income:sales", n + 1, description=f"sale {n}") for n in range(240)]

    def work(conn: Connection, number: int) -> list[str]:
        mine = entries.copy()
        random.Random(number).shuffle(mine)
        new: list[str] = []
        for start in range(0, len(mine), size):
            posted = post_batch(conn, book_id=books.book, entries=mine[start : start + size])
            new += [one.key for one in posted if one.is_new]
        return new

    first_makers = sorted(key for new in together(books, work) for key in new)
    assert first_makers == [one.key for one in entries]
    with books.db.app() as conn:
        assert conn.execute(
            "SELECT posted_minor FROM ledger.balance WHERE account_id = %s", (books["assets:cash"],)
        ).fetchone() == (sum(range(1, 241)),)


def test_reversed_account_pairs_never_deadlock(books: Books) -> None:
    """Batches lock accounts in account order whatever the order of their legs: no ring of waiting."""
    pairs = [
        ("assets:cash", "income:sales"),
        ("income:sales", "assets:cash"),
        ("liabilities:payable:P1", "assets:cash"),
    ]

    def work(conn: Connection, number: int) -> int:
        order = pairs if number % 2 else pairs[::-1]
        for n in range(40):
            batch = [entry(f"{number}-{n}-{leg}", *pair, 5) for leg, pair in enumerate(order)]
            post_batch(conn, book_id=books.book, entries=batch)
        return 40 * len(order)

    assert sum(together(books, work)) == WORKERS * 40 * 3


def test_long_transactions_that_do_deadlock_say_it_is_safe_to_retry(books: Books) -> None:
    """Two posts in one caller's transaction can meet in a ring; Postgres breaks it and the error is retryable."""
    ways = [("assets:cash", "income:sales"), ("assets:cash-usd", "income:sales-usd")]

    def work(conn: Connection, number: int) -> int:
        order = ways if number % 2 else ways[::-1]
        retries = 0
        for n in range(2):
            while True:
                try:
                    with conn.transaction():
                        for leg, pair in enumerate(order):
                            post_batch(conn, book_id=books.book, entries=[entry(f"{number}-{n}-{leg}", *pair, 5)])
                    break
                except NostroError as error:
                    assert error.retryable, error
                    retries += 1
        return retries

    together(books, work, workers=2)
    with books.db.app() as conn:
        found = conn.execute("SELECT count(*) FROM ledger.entry WHERE book_id = %s", (books.book,)).fetchone()
        assert found == (2 * 2 * 2,)


def test_one_key_and_one_limited_account_at_once_never_deadlock(books: Books) -> None:
    """The first holds its key and waits for the book before it moves the wallet; the second wants both."""
    sale = entry("sale", "assets:cash", "income:sales", 5)
    fund = entry("fund", "assets:cash", "liabilities:wallet:W1", 100)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"

    def post(name: str, work: Callable[[Connection], T]) -> T:
        with books.db.app() as conn:
            conn.execute("SELECT set_config('application_name', %s, false)", (name,))
            conn.commit()
            return work(conn)

    with books.db.owner() as closing, books.db.admin() as admin, ThreadPoolExecutor(2) as pool:
        closing.execute("SELECT FROM ledger.book WHERE book_id = %s FOR UPDATE", (books.book,))
        whole = pool.submit(post, "whole", lambda conn: post_batch(conn, book_id=books.book, entries=[sale, fund]))
        wait_until(admin, waiting, "whole")
        each = pool.submit(post, "each", lambda conn: post_independent(conn, book_id=books.book, entries=[fund]))
        wait_until(admin, waiting, "each")
        closing.rollback()
        assert [one.is_new for one in whole.result(timeout=30)] == [True, True]
        assert [one.status for one in each.result(timeout=30)] == [EntryStatus.REPLAYED]


def test_a_wallet_drained_by_many_never_crosses_its_floor(books: Books) -> None:
    wallet = "liabilities:wallet:W1"
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("fund", "assets:cash", wallet, 1000)])

    def work(conn: Connection, number: int) -> tuple[int, int]:
        paid = refused = 0
        for n in range(20):
            try:
                post_batch(conn, book_id=books.book, entries=[entry(f"{number}-{n}", wallet, "assets:cash", 30)])
                paid += 1
            except FloorError:
                refused += 1
        return paid, refused

    outcomes = together(books, work)
    assert sum(paid for paid, _ in outcomes) == 1000 // 30
    assert sum(refused for _, refused in outcomes) == WORKERS * 20 - 1000 // 30
    with books.db.app() as conn:
        assert conn.execute(
            "SELECT balance_minor FROM ledger.account_balance WHERE account_id = %s", (books[wallet],)
        ).fetchone() == (1000 % 30,)


def test_same_key_other_content_has_one_winner(books: Books) -> None:
    def work(conn: Connection, number: int) -> list[bool]:
        won = []
        for n in range(15):
            try:
                post_batch(
                    conn, book_id=books.book, entries=[entry(f"k{n}", "assets:cash", "income:sales", number + 1)]
                )
                won.append(True)
            except IdempotencyConflictError:
                won.append(False)
        return won

    rounds = list(zip(*together(books, work), strict=True))
    assert [sum(wins) for wins in rounds] == [1] * 15


def test_one_reversal_among_many(books: Books) -> None:
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("sale", "assets:cash", "income:sales", 700)])
    ids = together(
        books, lambda conn, _: reverse(conn, book_id=books.book, key="sale", effective_date=DAY, reason="typing error")
    )
    assert len(set(ids)) == 1


# --- close and post share a lock -----------------------------------------------------------------------------------


def ask_override(books: Books) -> None:
    with books.db.login("alice") as conn:
        request_close_override(conn, book_id=books.book, through=DAY, reason="no bank account is live yet")


def waits(conn: Connection, statement: str, *parameters: object) -> bool:
    """Whether the statement waits for a lock."""
    conn.execute("SET lock_timeout = '300ms'")
    try:
        conn.execute(statement, parameters)
    except psycopg.errors.LockNotAvailable:
        return True
    finally:
        conn.rollback()
    return False


def test_a_close_waits_for_a_running_post(books: Books) -> None:
    ask_override(books)
    with books.db.app() as posting, books.db.login("bob") as closing:
        with posting.transaction():
            post_batch(posting, book_id=books.book, entries=[entry("early", "assets:cash", "income:sales", 1)])
            assert waits(closing, "SELECT ledger.close_period(%s, %s)", books.book, DAY)
        close_period(closing, book_id=books.book, through=DAY)


def test_a_raw_close_waits_for_a_running_post(books: Books) -> None:
    ask_override(books)
    with books.db.app() as posting, books.db.owner() as closing, posting.transaction():
        post_batch(posting, book_id=books.book, entries=[entry("early", "assets:cash", "income:sales", 1)])
        assert waits(
            closing,
            "INSERT INTO ledger.period_close (book_id, through_date, override_reason, override_by)"
            " SELECT book_id, through_date, reason, requested_by FROM ledger.period_override WHERE book_id = %s",
            books.book,
        )


def test_a_post_that_waited_for_a_close_is_refused(books: Books) -> None:
    ask_override(books)
    outcome: list[type[Exception] | None] = []

    def post() -> None:
        with books.db.app() as conn:
            try:
                post_batch(conn, book_id=books.book, entries=[entry("late", "assets:cash", "income:sales", 1)])
                outcome.append(None)
            except ClosedPeriodError as error:
                outcome.append(type(error))

    thread = threading.Thread(target=post)
    with books.db.login("bob") as closing:
        with closing.transaction():
            close_period(closing, book_id=books.book, through=DAY)
            thread.start()
            thread.join(timeout=0.5)
            assert thread.is_alive() and outcome == []
        thread.join(timeout=20)
    assert outcome == [ClosedPeriodError]


def test_nothing_becomes_effective_in_a_period_after_its_close_returned(books: Books) -> None:
    ask_override(books)
    in_period = "SELECT count(*) FROM ledger.entry WHERE book_id = %s AND effective_date <= %s"
    closed = threading.Event()
    counted: list[object] = []

    def work(conn: Connection, number: int) -> int:
        if number == 0:
            with books.db.login("bob") as closer:
                closed.wait(timeout=0.15)
                close_period(closer, book_id=books.book, through=DAY)
            counted.append(conn.execute(in_period, (books.book, DAY)).fetchone())
            return 0
        posted = 0
        for n in range(80):
            day = DAY + timedelta(days=n % 3 - 1)
            one: NewEntry = entry(f"{number}-{n}", "assets:cash", "income:sales", 1, day=day)
            try:
                post_batch(conn, book_id=books.book, entries=[one])
                posted += 1
            except ClosedPeriodError:
                assert day <= DAY
        return posted

    posted = sum(together(books, work))
    with books.db.app() as conn:
        assert counted == [conn.execute(in_period, (books.book, DAY)).fetchone()]
        found = conn.execute("SELECT count(*) FROM ledger.entry WHERE book_id = %s", (books.book,)).fetchone()
    assert found == (posted,)


def test_a_close_gets_its_turn_between_posts_that_never_pause(books: Books) -> None:
    """Posts share the book's lock; a close that only waited for a moment without any would wait for ever."""
    ask_override(books)
    closed = threading.Event()

    def work(conn: Connection, number: int) -> bool:
        if number == 0:
            with books.db.login("bob") as closer:
                close_period(closer, book_id=books.book, through=DAY)
            closed.set()
            return True
        for n in range(600):
            one = entry(f"{number}-{n}", "assets:cash", "income:sales", 1, day=DAY + timedelta(days=1))
            post_batch(conn, book_id=books.book, entries=[one])
            if closed.is_set():
                return True
        return False

    assert all(together(books, work, workers=9))


def test_an_independent_batch_stands_after_the_batch_it_waited_for_with_all_its_entries(books: Books) -> None:
    """Who finds one of its keys taken by a batch of somebody else finds them all: none is refused that is there."""
    with books.db.login("bob") as bob:
        soft_close_period(bob, book_id=books.book, through=DAY)

    rounds = 25
    start = threading.Barrier(2)
    morrow = DAY + timedelta(days=1)
    batches = [
        (entry(f"a{n}", "assets:cash", "income:sales", 5), entry(f"z{n}", "assets:cash", "income:sales", 5, day=morrow))
        for n in range(rounds)
    ]

    def whole() -> None:
        with books.db.login("bob") as conn:
            for early, late in batches:
                start.wait(timeout=30)
                post_batch(conn, book_id=books.book, entries=[early, late])

    def each() -> list[list[EntryStatus]]:
        with books.db.app() as conn:
            said = []
            for early, late in batches:
                start.wait(timeout=30)
                told = post_independent(conn, book_id=books.book, entries=[late, early, late])
                said.append([one.status for one in told])
            return said

    with ThreadPoolExecutor(2) as pool:
        posting, answers = pool.submit(whole), pool.submit(each)
        posting.result(timeout=60)
    posted, replayed, refused = EntryStatus.POSTED, EntryStatus.REPLAYED, EntryStatus.REFUSED
    assert {tuple(said) for said in answers.result()} <= {(posted, refused, replayed), (replayed, replayed, replayed)}
