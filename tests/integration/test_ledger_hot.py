"""Hot accounts: sharded and deferred accounts keep every invariant, under concurrency and by raw SQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ledger import (
    AccountMode,
    AppendOnlyError,
    ModeOf,
    NostroError,
    RefusedError,
    UnknownAccountError,
    balance,
    fold_deferred,
    hot_accounts,
    post_batch,
    publish,
    set_account_modes,
    translate_errors,
    trial_balance,
    verify,
)
from nostro.database import Database
from tests.ledger_books import POWERS, Books, as_role, entry, fresh_database, open_books

SALES, CASH = "income:sales", "assets:cash"
MODES = (AccountMode.SHARDED, AccountMode.DEFERRED)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_hot") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Empty books; whatever happened, every invariant holds at the end."""
    opened = open_books(database)
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def turn(books: Books, mode: AccountMode, code: str = SALES) -> int:
    with books.db.app() as conn:
        return set_account_modes(conn, book_id=books.book, modes=[ModeOf(code, mode, 4)])


def post(books: Books, key: str, amount_minor: int) -> None:
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry(key, CASH, SALES, amount_minor)])


def sales(books: Books) -> int:
    with books.db.app() as conn:
        (found,) = balance(conn, book_id=books.book, account=SALES)
        rows = trial_balance(conn, book_id=books.book).rows
    assert [row.balance_minor for row in rows if row.code == SALES] == [found.balance_minor]
    return found.balance_minor


def stored(books: Books, code: str = SALES) -> tuple[object, ...]:
    """Balance row, shards, pending rows."""
    with books.db.app() as conn:
        row = conn.execute(
            "SELECT posted_minor,"
            " (SELECT sum(posted_minor) FROM ledger.balance_shard s WHERE s.account_id = b.account_id),"
            " (SELECT count(*) FROM ledger.balance_pending p WHERE p.account_id = b.account_id)"
            " FROM ledger.balance b WHERE account_id = %s",
            (books[code],),
        ).fetchone()
    assert row is not None
    return row


def test_a_sharded_account_leaves_its_balance_row_alone(books: Books) -> None:
    post(books, "a", 100)
    assert turn(books, AccountMode.SHARDED) == 1
    post(books, "b", 20)
    post(books, "c", 3)
    assert stored(books) == (-100, -23, 0)
    assert sales(books) == 123
    assert turn(books, AccountMode.SHARDED) == 0


def test_a_deferred_account_is_folded_up_to_the_published_seq(books: Books) -> None:
    turn(books, AccountMode.DEFERRED)
    post(books, "a", 100)
    post(books, "b", 20)
    assert stored(books) == (0, None, 2)
    with books.db.app() as conn:
        fold_deferred(conn)  # nothing of this is published yet
        assert stored(books) == (0, None, 2)
        through = publish(conn)
        assert stored(books) == (-120, None, 0)
        post(books, "c", 3)
        assert sales(books) == 123
        (hot,) = hot_accounts(conn, book_id=books.book)
    assert (hot.folded_minor, hot.outside_minor, hot.pending_batches, hot.folded_through_seq) == (-120, -3, 1, through)


@pytest.mark.parametrize("mode", MODES)
def test_strict_again_takes_everything_into_the_row(books: Books, mode: AccountMode) -> None:
    turn(books, mode)
    post(books, "a", 100)
    turn(books, AccountMode.STRICT)
    assert stored(books) == (-100, None, 0)
    post(books, "b", 1)
    assert sales(books) == 101
    with books.db.app() as conn:
        assert hot_accounts(conn, book_id=books.book) == ()


@pytest.mark.parametrize(
    "code", ["liabilities:wallet:W1", "liabilities:payable:P1", "assets:bank:main", "assets:transit:main"]
)
def test_constrained_and_control_accounts_stay_strict(books: Books, code: str) -> None:
    with pytest.raises(RefusedError, match=f"{code} has a floor or a ceiling, is settleable or") as caught:
        turn(books, AccountMode.SHARDED, code)
    assert caught.value.constraint == "balance_hot_unconstrained"
    for role in POWERS:
        with as_role(books.db, role) as conn, pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(
                "INSERT INTO ledger.account_mode (account_id, mode, shards) VALUES (%s, 'deferred', 0)", (books[code],)
            )


def test_an_account_or_a_number_of_shards_that_does_not_exist(books: Books) -> None:
    with pytest.raises(UnknownAccountError):
        turn(books, AccountMode.SHARDED, "income:nothing")
    with books.db.app() as conn, pytest.raises(RefusedError) as caught:
        set_account_modes(conn, book_id=books.book, modes=[ModeOf(SALES, AccountMode.SHARDED, 65)])
    assert caught.value.constraint == "account_mode_shards"


@pytest.mark.parametrize("role", POWERS)
def test_nothing_outside_moves_by_raw_sql(books: Books, role: str) -> None:
    turn(books, AccountMode.SHARDED)
    post(books, "a", 100)
    for statement in (
        "UPDATE ledger.balance_shard SET posted_minor = 0",
        "DELETE FROM ledger.balance_shard",
        "INSERT INTO ledger.balance_pending VALUES (1, 1, 1, 5)",
        "TRUNCATE ledger.balance_pending",
        "UPDATE ledger.balance SET mode = 'strict'",
    ):
        with as_role(books.db, role) as conn, pytest.raises(AppendOnlyError) as caught, translate_errors():
            conn.execute(statement)
        assert caught.value.constraint == "balance_by_posting"


def test_verification_finds_what_a_superuser_did(books: Books) -> None:
    turn(books, AccountMode.SHARDED)
    post(books, "a", 100)
    with as_role(books.db, "replica") as conn:
        for table in ("balance", "balance_shard"):
            conn.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER balance_by_posting")
        conn.execute(
            "UPDATE ledger.balance_shard SET posted_minor = posted_minor + 1 WHERE account_id = %s", (books[SALES],)
        )
        conn.execute("UPDATE ledger.balance SET account_currency_id = 840 WHERE account_id = %s", (books[CASH],))
        found = verify(conn, book_id=books.book)
        with pytest.raises(NostroError) as caught, translate_errors():
            post_batch(conn, book_id=books.book, entries=[entry("b", CASH, SALES, 1)])
        conn.rollback()
    assert caught.value.constraint == "balance_row"
    assert {(fault.invariant, fault.place) for fault in found} >= {
        (4, f"account {SALES}"),
        (4, "currency 978"),
        (5, f"account {CASH}"),
    }


@pytest.mark.parametrize("mode", MODES)
def test_posts_of_many_meet_changes_of_mode_and_folds(books: Books, mode: AccountMode) -> None:
    """Six threads post while one changes the mode back and forth and one publishes: nothing is lost or doubled."""
    writers, each = 6, 25
    start, done = threading.Barrier(writers + 2), threading.Event()

    def write(number: int) -> None:
        with books.db.app() as conn:
            start.wait(timeout=20)
            for n in range(each):
                legs = (CASH, SALES) if n % 2 else (SALES, CASH)
                post_batch(conn, book_id=books.book, entries=[entry(f"{number}-{n}", *legs, 1 + n % 2)])

    def change() -> None:
        start.wait(timeout=20)
        while not done.is_set():
            turn(books, mode)
            turn(books, AccountMode.STRICT)
            turn(books, MODES[0] if mode is MODES[1] else MODES[1])

    def fold() -> None:
        with books.db.app() as conn:
            start.wait(timeout=20)
            while not done.is_set():
                publish(conn)

    with ThreadPoolExecutor(writers + 2) as pool:
        others = [pool.submit(change), pool.submit(fold)]
        posts = [pool.submit(write, number) for number in range(writers)]
        try:
            for one in posts:
                one.result()
        finally:
            done.set()
        for one in others:
            one.result()
    assert sales(books) == writers * (12 * 2 - 13)


def test_a_change_of_mode_at_once_is_made_once(books: Books) -> None:
    start = threading.Barrier(4)

    def change(number: int) -> int:
        start.wait(timeout=20)
        return turn(books, AccountMode.SHARDED)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, range(4))) == [0, 0, 0, 1]


def test_posts_on_a_deferred_account_do_not_wait_for_each_other(books: Books) -> None:
    turn(books, AccountMode.DEFERRED)
    turn(books, AccountMode.DEFERRED, CASH)
    with books.db.app() as first, books.db.app() as second:
        second.execute("SET lock_timeout = '2s'")
        second.commit()
        with first.transaction():
            post_batch(first, book_id=books.book, entries=[entry("a", CASH, SALES, 100)])
            post_batch(second, book_id=books.book, entries=[entry("b", CASH, SALES, 20)])
            second.commit()
    assert sales(books) == 120
