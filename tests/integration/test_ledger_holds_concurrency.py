"""Holds and floors under real threads: one connection each, released together, on a real Postgres."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from ledger import (
    Connection,
    EntryStatus,
    FloorError,
    HoldError,
    HoldPosting,
    HoldState,
    NewHold,
    RefusedError,
    expire_due,
    list_holds,
    place_holds,
    post_batch,
    post_holds,
    post_independent,
    verify,
    void_holds,
)
from nostro.database import Database
from tests.ledger_books import Books, entry, fresh_database, open_account, open_books, wait_until

T = TypeVar("T")
WALLET = "liabilities:wallet:W1"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_holds_threads") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Books whose wallet (floor 0) has 1000; whatever the threads did, every invariant holds at the end."""
    opened = open_books(database)
    with database.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[entry("fund", "assets:cash", WALLET, 1000)])
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def together(books: Books, work: Callable[[Connection, int], T], workers: int) -> list[T]:
    """Run `work(conn, number)` in threads that start at the same moment; results in worker order."""
    start = threading.Barrier(workers)

    def run(number: int) -> T:
        with books.db.app() as conn:
            start.wait(timeout=60)
            return work(conn, number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def standing(books: Books) -> tuple[int, int]:
    """The wallet's balance and what is held of it."""
    with books.db.app() as conn:
        row = conn.execute(
            "SELECT -posted_minor, held_minor FROM ledger.balance WHERE account_id = %s", (books[WALLET],)
        ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def test_64_threads_drain_one_account_to_its_floor_and_no_further(books: Books) -> None:
    """Half post one entry, half batches of three that stand each for itself; what is paid is what was there."""

    def work(conn: Connection, number: int) -> int:
        paid = 0
        for n in range(3):
            if number % 2:
                try:
                    post_batch(conn, book_id=books.book, entries=[entry(f"{number}-{n}", WALLET, "assets:cash", 7)])
                    paid += 7
                except FloorError:
                    continue
            else:
                batch = [entry(f"{number}-{n}-{m}", WALLET, "assets:cash", 3) for m in range(3)]
                outcomes = post_independent(conn, book_id=books.book, entries=batch)
                assert {o.constraint for o in outcomes} <= {None, "balance_floor"}
                paid += 3 * sum(o.status is EntryStatus.POSTED for o in outcomes)
        return paid

    paid = sum(together(books, work, 64))
    assert standing(books) == (1000 - paid, 0)
    assert 0 <= 1000 - paid < 3


def test_holds_and_posts_race_for_the_same_money(books: Books) -> None:
    def work(conn: Connection, number: int) -> tuple[int, int]:
        paid = held = 0
        for n in range(12):
            key = f"{number}-{n}"
            try:
                if number % 2:
                    post_batch(conn, book_id=books.book, entries=[entry(key, WALLET, "assets:cash", 11)])
                    paid += 11
                else:
                    place_holds(conn, book_id=books.book, holds=[NewHold(key, WALLET, 13)])
                    held += 13
                    if n % 3 == 0:
                        draw = HoldPosting(key, entry(f"p{key}", WALLET, "assets:cash", 5), 5)
                        post_holds(conn, book_id=books.book, postings=[draw], at=NOON)
                        held, paid = held - 13, paid + 5
                    elif n % 3 == 1:
                        void_holds(conn, book_id=books.book, keys=[key], at=NOON)
                        held -= 13
            except FloorError:
                continue
        return paid, held

    outcomes = together(books, work, 12)
    paid, held = sum(p for p, _ in outcomes), sum(h for _, h in outcomes)
    assert standing(books) == (1000 - paid, held)
    assert 1000 - paid - held >= 0


def test_post_void_and_expiry_race_and_one_wins(books: Books) -> None:
    keys = [f"h{n:02}" for n in range(40)]
    with books.db.app() as conn:
        holds = [NewHold(key, WALLET, 10, NOON + timedelta(hours=1)) for key in keys]
        place_holds(conn, book_id=books.book, holds=holds)

    def work(conn: Connection, number: int) -> set[str]:
        won: set[str] = set()
        mine = keys.copy()
        random.Random(number).shuffle(mine)
        if number % 3 == 0:
            for _ in range(20):
                won |= set(expire_due(conn, book_id=books.book, now=NOON + timedelta(hours=2), limit=3))
            return won
        for key in mine:
            try:
                if number % 3 == 1:
                    draw = HoldPosting(key, entry(f"{number}-{key}", WALLET, "assets:cash", 10))
                    post_holds(conn, book_id=books.book, postings=[draw], at=NOON)
                    won.add(key)
                elif void_holds(conn, book_id=books.book, keys=[key], at=NOON):
                    won.add(key)
            except HoldError as error:
                assert error.constraint == "hold_resolved_once"
        return won

    winners = together(books, work, 9)
    assert sorted(key for won in winners for key in won) == keys
    with books.db.app() as conn:
        ended = {h.key: h.state for h in list_holds(conn, book_id=books.book, state=None)}
    posted = sum(state is HoldState.POSTED for state in ended.values())
    assert set(ended) == set(keys) and HoldState.OPEN not in ended.values()
    assert standing(books) == (1000 - 10 * posted, 0)


def test_batches_of_holds_in_reversed_orders_never_deadlock(books: Books) -> None:
    accounts = [WALLET, "assets:cash", "liabilities:payable:P1", "income:sales"]

    def work(conn: Connection, number: int) -> int:
        order = accounts if number % 2 else accounts[::-1]
        for n in range(15):
            holds = [NewHold(f"{number}-{n}-{m}", account, 1) for m, account in enumerate(order)]
            place_holds(conn, book_id=books.book, holds=holds)
            ways = {WALLET: "assets:cash", "assets:cash": WALLET, "income:sales": "assets:cash"}
            draws = []
            for m, account in enumerate(order):
                other = ways.get(account, "income:sales")
                pair = (other, account) if account.startswith("assets") else (account, other)
                draws.append(HoldPosting(f"{number}-{n}-{m}", entry(f"e{number}-{n}-{m}", *pair, 1)))
            post_holds(conn, book_id=books.book, postings=draws, at=NOON)
        return 15

    assert sum(together(books, work, 8)) == 120


def test_the_same_batch_of_holds_from_many_is_placed_once(books: Books) -> None:
    holds = [NewHold(f"h{n}", WALLET, 9) for n in range(100)]

    def work(conn: Connection, number: int) -> int:
        mine = holds.copy()
        random.Random(number).shuffle(mine)
        return sum(p.is_new for p in place_holds(conn, book_id=books.book, holds=mine))

    assert sum(together(books, work, 8)) == 100
    assert standing(books) == (1000, 900)


def test_a_hold_and_an_entry_of_one_key_do_not_wait_for_each_other_in_a_ring(books: Books) -> None:
    """The entry has the key and comes to the held account last; the hold's own entry wants both, the key first."""
    cash, sales, payable = "assets:cash", "income:sales", "liabilities:payable:P1"
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"

    def run(name: str, work: Callable[[Connection], T]) -> T:
        with books.db.app() as conn:
            conn.execute("SELECT set_config('application_name', %s, false)", (name,))
            conn.commit()
            return work(conn)

    assert books[cash] < books[sales]  # balances are taken in this order
    with books.db.app() as other, books.db.admin() as admin, ThreadPoolExecutor(2) as pool:
        with other.transaction():
            open_account(other, books.book, "expenses:fees", "expense")
        place_holds(other, book_id=books.book, holds=[NewHold("h", sales, 5)])
        with other.transaction():  # keeps cash, so that the entry stops between its two accounts
            post_batch(other, book_id=books.book, entries=[entry("other", cash, payable, 1)])
            plain = pool.submit(
                run, "plain", lambda conn: post_batch(conn, book_id=books.book, entries=[entry("k", cash, sales, 5)])
            )
            wait_until(admin, waiting, "plain")
            draw = HoldPosting("h", entry("k", sales, "expenses:fees", 5))
            held = pool.submit(run, "held", lambda conn: post_holds(conn, book_id=books.book, postings=[draw], at=NOON))
            wait_until(admin, waiting, "held")
        assert [one.is_new for one in plain.result(timeout=30)] == [True]
        with pytest.raises(RefusedError) as caught:
            held.result(timeout=30)
    assert caught.value.constraint in {"idempotency_conflict", "hold_posting"}


def test_holds_of_limited_and_other_accounts_are_posted_by_one_batch(books: Books) -> None:
    """The wallet's is released before its entry, which needs the room; the other's after it."""
    with books.db.app() as conn:
        sales = "income:sales"
        place_holds(conn, book_id=books.book, holds=[NewHold("w", WALLET, 1000), NewHold("s", sales, 7)])
        draws = [
            HoldPosting("w", entry("pw", WALLET, "assets:cash", 1000)),
            HoldPosting("s", entry("ps", sales, "assets:cash", 4), 4),
        ]
        assert [one.is_new for one in post_holds(conn, book_id=books.book, postings=draws, at=NOON)] == [True, True]
        assert [one.is_new for one in post_holds(conn, book_id=books.book, postings=draws, at=NOON)] == [False, False]
        ended = {hold.key: hold.posted_minor for hold in list_holds(conn, book_id=books.book, state=HoldState.POSTED)}
    assert ended == {"w": 1000, "s": 4}
    assert standing(books) == (0, 0)
