"""Ceilings, and batches whose entries stand for themselves: which entry fails, why, and that the rest is posted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from ledger import (
    AmountError,
    CeilingError,
    ControlAccountError,
    EntryOutcome,
    EntryStatus,
    FloorError,
    IdempotencyConflictError,
    NewEntry,
    NewHold,
    NewPosting,
    NostroError,
    UnbalancedEntryError,
    close_period,
    place_holds,
    post_batch,
    post_independent,
    request_close_override,
    translate_errors,
    verify,
)
from nostro.database import Database
from tests.ledger_books import (
    DAY,
    POWERS,
    Books,
    RawPosting,
    as_role,
    entry,
    fresh_database,
    honest,
    open_books,
    refused,
)

CASH, SALES, WALLET = "assets:cash", "income:sales", "liabilities:wallet:W1"
CAPPED = "liabilities:wallet:C1"  # floor 0, ceiling 500


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_rules") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Books with a wallet (floor 0) of 100 and an empty one that takes at most 500."""
    opened = open_books(database)
    with database.app() as conn:
        row = conn.execute(
            "SELECT (ledger.open_accounts(%s, %s, %s, %s, %s, '{NULL}', %s::bigint[], %s::bigint[]))[1]",
            (opened.book, [CAPPED], ["liability"], ["EUR"], [False], [0], [500]),
        ).fetchone()
        assert row is not None
        opened.accounts[CAPPED] = int(str(row[0]))
        conn.commit()
        post_batch(conn, book_id=opened.book, entries=[entry("fund", CASH, WALLET, 100)])
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def independent(books: Books, *entries: NewEntry) -> tuple[EntryOutcome, ...]:
    """Post each entry for itself."""
    with books.db.app() as conn:
        return post_independent(conn, book_id=books.book, entries=entries)


def said(outcomes: tuple[EntryOutcome, ...]) -> list[str | None]:
    """For each entry the broken rule, or what became of it."""
    return [o.constraint or o.status.value for o in outcomes]


def balance(books: Books, code: str) -> int:
    """An account's balance, debit positive."""
    with books.db.app() as conn:
        row = conn.execute("SELECT posted_minor FROM ledger.balance WHERE account_id = %s", (books[code],)).fetchone()
    assert row is not None
    return int(str(row[0]))


# --- ceilings ------------------------------------------------------------------------------------------------------


def test_a_ceiling_is_reached_and_not_crossed(books: Books) -> None:
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("full", CASH, CAPPED, 500)])
        with pytest.raises(CeilingError) as caught:
            post_batch(conn, book_id=books.book, entries=[entry("more", CASH, CAPPED, 1)])
    assert caught.value.constraint == "balance_ceiling"
    assert "ceiling of 500" in str(caught.value)


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("amount", "error", "rule"), [(-501, CeilingError, "balance_ceiling"), (1, FloorError, "balance_floor")]
)
def test_limits_by_raw_sql(books: Books, role: str, amount: int, error: type[NostroError], rule: str) -> None:
    postings = (RawPosting(0, 0, books[CAPPED], amount), RawPosting(1, 0, books[CASH], -amount))
    refused(books, role, honest(books).but(postings=postings), error, rule)


@pytest.mark.parametrize("role", POWERS)
def test_limits_of_a_balance_are_not_moved(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn, pytest.raises(NostroError), translate_errors():
        conn.execute("UPDATE ledger.balance SET ceiling_minor = NULL WHERE account_id = %s", (books[CAPPED],))


def test_an_account_keeps_its_limits(books: Books) -> None:
    with books.db.app() as conn:
        for floor, ceiling, constraint in ((0, 500, None), (0, 501, "account_same"), (9, 8, "account_limits")):
            code = CAPPED if constraint != "account_limits" else "liabilities:wallet:X"
            try:
                with translate_errors():
                    conn.execute(
                        "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, '{NULL}', %s::bigint[], %s::bigint[])",
                        (books.book, [code], ["liability"], ["EUR"], [False], [floor], [ceiling]),
                    )
                assert constraint is None
            except NostroError as caught:
                assert caught.constraint == constraint
            conn.rollback()


def test_a_ceiling_under_threads(books: Books) -> None:
    start = threading.Barrier(16)

    def work(number: int) -> int:
        with books.db.app() as conn:
            start.wait(timeout=60)
            batch = [entry(f"{number}-{n}", CASH, CAPPED, 30) for n in range(4)]
            return sum(
                o.status is EntryStatus.POSTED for o in post_independent(conn, book_id=books.book, entries=batch)
            )

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 500 // 30
    assert balance(books, CAPPED) == -30 * (500 // 30)


# --- a whole batch refused, and the entry named --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (entry("bad", WALLET, CASH, 101), FloorError),
        (entry("bad", CASH, CAPPED, 501), CeilingError),
        (entry("bad", "assets:bank:main", CASH, 1), ControlAccountError),
        (NewEntry("bad", DAY, (NewPosting(CASH, 5), NewPosting(SALES, -4))), UnbalancedEntryError),
        (NewEntry("bad", DAY, (NewPosting(CASH, 0), NewPosting(SALES, 0))), UnbalancedEntryError),
        (NewEntry("bad", DAY, ()), UnbalancedEntryError),
        (entry("fund", CASH, WALLET, 7), IdempotencyConflictError),
    ],
)
def test_atomic_names_the_first_entry_at_fault(books: Books, bad: NewEntry, error: type[NostroError]) -> None:
    batch = [
        entry("good", CASH, SALES, 1),
        bad,
        replace(bad, key="worse") if bad.key == "bad" else entry("x", CASH, SALES, 2),
    ]
    with books.db.app() as conn:
        with pytest.raises(error) as caught:
            post_batch(conn, book_id=books.book, entries=batch)
        assert bad.key in str(caught.value)
        assert "worse" not in str(caught.value)
        assert conn.execute("SELECT count(*) FROM ledger.entry WHERE book_id = %s", (books.book,)).fetchone() == (1,)


def test_a_batch_that_dips_and_recovers_is_whole(books: Books) -> None:
    """All or nothing looks at the end; each for itself looks after each entry."""
    batch = [entry("out", WALLET, CASH, 150), entry("in", CASH, WALLET, 60)]
    assert said(independent(books, *batch)) == ["balance_floor", "posted"]
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[replace(e, key=f"{e.key}2") for e in batch])
    assert balance(books, WALLET) == -70


# --- each entry for itself -----------------------------------------------------------------------------------------


def test_each_fault_is_named_and_the_rest_is_posted(books: Books) -> None:
    outcomes = independent(
        books,
        entry("a", CASH, SALES, 10, description="fine"),
        NewEntry("unbalanced", DAY, (NewPosting(CASH, 5), NewPosting(SALES, -4))),
        NewEntry("one-leg", DAY, (NewPosting(CASH, 5),)),
        NewEntry("zero", DAY, (NewPosting(CASH, 0), NewPosting(SALES, 0))),
        NewEntry("currencies", DAY, (NewPosting(CASH, 5), NewPosting("income:sales-usd", -5))),
        entry("control", "assets:bank:main", CASH, 1),
        entry("nowhere", "assets:nowhere", CASH, 1),
        entry("fund", CASH, WALLET, 100),
        entry("fund", CASH, WALLET, 99),
        entry("poor", WALLET, CASH, 101),
        entry("rich", CASH, CAPPED, 501),
        entry("", CASH, SALES, 1),
        entry("b", WALLET, CASH, 100, reference="ref"),
    )
    assert said(outcomes) == [
        "posted",
        "posting_balances",
        "entry_posting_count",
        "posting_amount_not_zero",
        "posting_balances",
        "posting_control_account",
        "posting_account",
        "replayed",
        "idempotency_conflict",
        "balance_floor",
        "balance_ceiling",
        "entry_idempotency_key_check",
        "posted",
    ]
    assert "assets:nowhere" in str(outcomes[6].error)
    assert isinstance(outcomes[9].error, FloorError) and outcomes[0].error is None
    assert isinstance(outcomes[1].error, UnbalancedEntryError)
    with books.db.app() as conn:
        rows = conn.execute(
            "SELECT idempotency_key, description, reference FROM ledger.journal WHERE book_id = %s"
            " AND amount_minor > 0 ORDER BY posting_id",
            (books.book,),
        ).fetchall()
    assert rows == [("fund", None, None), ("a", "fine", None), ("b", None, "ref")]
    for outcome, key in ((outcomes[0], "a"), (outcomes[12], "b")):
        with books.db.app() as conn:
            found = conn.execute(
                "SELECT entry_id, first_posting_id FROM ledger.entry WHERE book_id = %s AND idempotency_key = %s",
                (books.book, key),
            ).fetchone()
        assert found == (outcome.entry_id, outcome.first_posting_id)


def test_entries_are_applied_in_the_order_given(books: Books) -> None:
    outcomes = independent(
        books,
        entry("1", WALLET, CASH, 60),
        entry("2", WALLET, CASH, 60),  # 40 left
        entry("3", WALLET, CASH, 40),
        entry("4", WALLET, CASH, 1),  # nothing left
        entry("5", CASH, WALLET, 30),
        entry("6", WALLET, CAPPED, 30),
        NewEntry("bad", DAY, (NewPosting(CASH, 1), NewPosting(SALES, -2))),
    )
    assert said(outcomes) == [
        "posted",
        "balance_floor",
        "posted",
        "balance_floor",
        "posted",
        "posted",
        "posting_balances",
    ]
    assert (balance(books, WALLET), balance(books, CAPPED)) == (0, -30)


def test_what_is_held_is_not_there(books: Books) -> None:
    with books.db.app() as conn:
        place_holds(conn, book_id=books.book, holds=[NewHold("h", WALLET, 70)])
    assert said(independent(books, entry("1", WALLET, CASH, 31), entry("2", WALLET, CASH, 30))) == [
        "balance_floor",
        "posted",
    ]


def test_an_entry_of_the_books_does_not_count_again(books: Books) -> None:
    first = entry("1", WALLET, CASH, 100)
    assert said(independent(books, first, entry("2", WALLET, CASH, 1))) == ["posted", "balance_floor"]
    assert said(independent(books, first, entry("2", WALLET, CASH, 1))) == ["replayed", "balance_floor"]


def test_a_key_that_comes_twice_is_judged_at_its_first_place(books: Books) -> None:
    poor = entry("poor", WALLET, CASH, 150)
    outcomes = independent(
        books, entry("a", CASH, SALES, 1), entry("a", CASH, SALES, 1), entry("a", CASH, SALES, 2), poor,
        entry("in", CASH, WALLET, 100), poor,
    )  # fmt: skip
    assert said(outcomes) == ["posted", "replayed", "idempotency_conflict", "balance_floor", "posted", "balance_floor"]


def test_closed_days_are_faults_of_single_entries(books: Books) -> None:
    with books.db.login("alice") as conn:
        request_close_override(conn, book_id=books.book, through=DAY, reason="no bank account is live yet")
    with books.db.login("bob") as conn:
        close_period(conn, book_id=books.book, through=DAY)
    late, open_day = entry("late", CASH, SALES, 1), entry("open", CASH, SALES, 1, day=DAY + timedelta(days=1))
    assert said(independent(books, entry("fund", CASH, WALLET, 100), late, open_day)) == [
        "replayed",
        "entry_period_open",
        "posted",
    ]


def test_faults_that_no_rule_foresees_are_found_one_by_one(books: Books) -> None:
    huge = 2**62
    outcomes = independent(
        books, *(entry(f"h{n}", CASH, SALES, huge) for n in range(3)), entry("small", CASH, SALES, 1)
    )
    assert said(outcomes) == ["posted", "balance_range", "balance_range", "posted"]
    assert isinstance(outcomes[1].error, AmountError) and CASH in str(outcomes[1].error)


def test_a_large_batch_with_a_few_faults(books: Books) -> None:
    batch = [entry(f"k{n:05}", CASH, SALES, 1) for n in range(5000)]
    for n in (7, 2500, 4999):
        batch[n] = entry(f"k{n:05}", WALLET, CASH, 101)
    outcomes = independent(books, *batch)
    assert [n for n, o in enumerate(outcomes) if o.status is EntryStatus.REFUSED] == [7, 2500, 4999]
    assert balance(books, SALES) == -4997
    assert {o.status for o in independent(books, *batch)} == {EntryStatus.REPLAYED, EntryStatus.REFUSED}


def test_a_mode_that_does_not_exist(books: Books) -> None:
    with books.db.app() as conn, pytest.raises(psycopg.errors.InvalidParameterValue):
        conn.execute(
            "SELECT * FROM ledger.post_batch(%s, NULL, '{}', '{}', NULL, NULL, NULL, '{}', '{}', '{}', 'mostly')",
            (books.book,),
        )


def test_nothing_to_post(books: Books) -> None:
    assert independent(books) == ()
