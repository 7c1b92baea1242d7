"""Closed periods, reversals and control accounts, broken by raw SQL (see test_ledger_violations.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import pytest

from ledger import (
    AccessError,
    AlreadyReversedError,
    AppendOnlyError,
    ClosedPeriodError,
    ControlAccountError,
    NostroError,
    NotCertifiedError,
    RefusedError,
    UnbalancedEntryError,
    close_period,
    post_batch,
    request_close_override,
    reverse,
    translate_errors,
    verify,
)
from nostro.database import Database
from tests.ledger_books import (
    DAY,
    EUR,
    POWERS,
    Books,
    RawEntry,
    RawPosting,
    as_role,
    books_with_an_entry,
    entry,
    fresh_database,
    honest,
    refused,
)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_violations_control") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Books:
    """Books with one posted entry, key ``first``."""
    return books_with_an_entry(database)


# --- invariant 7: periods and reversals ----------------------------------------------------------------------------


def close(books: Books, through: date = DAY) -> None:
    """Close by override: alice asks, bob closes."""
    with books.db.login("alice") as conn:
        request_close_override(conn, book_id=books.book, through=through, reason="no bank account is live yet")
    with books.db.login("bob") as conn:
        close_period(conn, book_id=books.book, through=through)


@pytest.mark.parametrize("role", POWERS)
def test_closed_period(books: Books, role: str) -> None:
    close(books)
    refused(books, role, honest(books), ClosedPeriodError, "entry_period_open")
    with books.db.app() as conn, pytest.raises(ClosedPeriodError):
        post_batch(conn, book_id=books.book, entries=[entry("late", "assets:cash", "income:sales", 1)])


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("reason", "by", "error", "constraint"),
    [
        (None, None, NotCertifiedError, "period_certified"),
        ("made up afterwards", "somebody", NotCertifiedError, "period_certified"),
    ],
)
def test_period_that_nobody_certified(
    books: Books, role: str, reason: str | None, by: str | None, error: type[NostroError], constraint: str
) -> None:
    with as_role(books.db, role) as conn:
        with pytest.raises(error) as caught, translate_errors():
            conn.execute(
                "INSERT INTO ledger.period_close (book_id, through_date, override_reason, override_by)"
                " VALUES (%s, %s, %s, %s)",
                (books.book, DAY, reason, by),
            )
        assert caught.value.constraint == constraint


def test_the_person_who_asks_for_an_override_does_not_close(books: Books) -> None:
    with books.db.login("alice") as conn:
        with pytest.raises(NotCertifiedError):
            close_period(conn, book_id=books.book, through=DAY)
        request_close_override(conn, book_id=books.book, through=DAY, reason="no bank account is live yet")
        with pytest.raises(AccessError) as caught:
            close_period(conn, book_id=books.book, through=DAY)
        assert caught.value.constraint == "period_second_person"
    close(books)
    close(books)  # again: harmless
    with books.db.login("bob") as conn, pytest.raises(ClosedPeriodError) as order:
        close_period(conn, book_id=books.book, through=DAY - timedelta(days=1))
    assert order.value.constraint == "period_order"


@pytest.mark.parametrize("role", POWERS)
def test_periods_do_not_close_backwards_by_raw_sql(books: Books, role: str) -> None:
    close(books)
    with as_role(books.db, role) as conn:
        with pytest.raises(ClosedPeriodError) as caught, translate_errors():
            conn.execute(
                "INSERT INTO ledger.period_close (book_id, through_date) VALUES (%s, %s)",
                (books.book, DAY - timedelta(days=3)),
            )
        assert caught.value.constraint == "period_order"


def entry_id(books: Books, key: str) -> int:
    """The id of the entry with this key."""
    with books.db.app() as conn:
        row = conn.execute(
            "SELECT entry_id FROM ledger.entry WHERE book_id = %s AND idempotency_key = %s", (books.book, key)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize("amounts", [(-999, 999), (1000, -1000)])
def test_dishonest_reversal(books: Books, role: str, amounts: tuple[int, int]) -> None:
    batch = honest(books).but(
        entries=(RawEntry(0, "undo", first=0, reverses=entry_id(books, "first")),),
        postings=(
            RawPosting(0, 0, books["assets:cash"], amounts[0]),
            RawPosting(1, 0, books["income:sales"], amounts[1]),
        ),
    )
    refused(books, role, batch, UnbalancedEntryError, "entry_reversal_negates")


@pytest.mark.parametrize("role", POWERS)
def test_an_entry_does_not_reverse_itself(books: Books, role: str) -> None:
    cash = books["assets:cash"]
    batch = honest(books)
    batch = batch.but(
        entries=(RawEntry(0, "self", first=0, reverses=batch.base),),
        postings=(RawPosting(0, 0, cash, 5), RawPosting(1, 0, cash, -5)),
    )
    refused(books, role, batch, RefusedError, "entry_reverses_earlier")


@pytest.mark.parametrize("role", POWERS)
def test_second_reversal(books: Books, role: str) -> None:
    with books.db.app() as conn:
        one = reverse(conn, book_id=books.book, key="first", effective_date=DAY, reason="typing error")
        assert reverse(conn, book_id=books.book, key="first", effective_date=DAY, reason="typing error") == one
    batch = honest(books).but(
        entries=(RawEntry(0, "undo", first=0, reverses=entry_id(books, "first")),),
        postings=(
            RawPosting(0, 0, books["assets:cash"], -1000),
            RawPosting(1, 0, books["income:sales"], 1000),
        ),
    )
    refused(books, role, batch, AlreadyReversedError, "entry_reverses_once")


# --- invariant 11: control accounts --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize("module", [None, "settlement", "journal"])
def test_control_account_without_its_module(books: Books, role: str, module: str | None) -> None:
    batch = honest(books)
    postings = (replace(batch.postings[0], account_id=books["assets:bank:main"]), batch.postings[1])
    refused(books, role, batch.but(postings=postings, module=module), ControlAccountError, "posting_control_account")


def test_control_account_by_reversal(books: Books) -> None:
    nostro, transit = books["assets:bank:main"], books["assets:transit:main"]
    with books.db.owner() as conn:
        conn.execute(
            "SELECT * FROM ledger.post_internal(%s, 'recon', NULL, %s, %s, NULL, NULL, NULL, NULL, %s, %s, %s)",
            (books.book, ["line:1"], [DAY], [1, 1], [nostro, transit], [500, -500]),
        )
    with books.db.app() as conn:
        with pytest.raises(ControlAccountError) as caught:
            reverse(conn, book_id=books.book, key="line:1", effective_date=DAY, reason="by hand")
        assert caught.value.constraint == "posting_control_account"
        for function in ("post_internal", "reverse_internal"):
            found = conn.execute(
                "SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc"
                " WHERE proname = %s AND pronamespace = 'ledger'::regnamespace",
                (function,),
            ).fetchone()
            assert found == (False,)
    with books.db.owner() as conn:
        done = conn.execute(
            "SELECT ledger.reverse_internal(%s, 'recon', 'line:1', %s, 'bank recalled')", (books.book, DAY)
        )
        assert done.fetchone() is not None
        conn.commit()
        assert verify(conn, book_id=books.book) == ()


# --- one isolation level -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_stale_snapshot_does_not_post(books: Books, level: str) -> None:
    """At REPEATABLE READ a post would not see the close it waited for; so the books refuse other levels."""
    with books.db.app() as conn:
        conn.execute("SET default_transaction_isolation = '" + level.lower() + "'")
        conn.commit()
        with pytest.raises(RefusedError) as caught:
            post_batch(conn, book_id=books.book, entries=[entry("x", "assets:cash", "income:sales", 1)])
        assert caught.value.constraint == "read_committed"


@pytest.mark.parametrize("role", POWERS)
def test_an_entry_is_not_worded_later(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn:
        with pytest.raises(AppendOnlyError) as caught, translate_errors():
            conn.execute(
                "INSERT INTO ledger.entry_text (entry_id, description) VALUES (%s, 'afterwards')",
                (entry_id(books, "first"),),
            )
        assert caught.value.constraint == "entry_text_with_entry"


def test_currency_ids_are_iso_numbers(books: Books) -> None:
    with books.db.app() as conn:
        assert conn.execute("SELECT code FROM ledger.currency WHERE currency_id = %s", (EUR,)).fetchone() == ("EUR",)
