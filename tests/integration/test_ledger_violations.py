"""Every rule of the books, broken by raw SQL: as the app, as the owner, and as a superuser in replica mode.

The rows are written by one plain INSERT (`ledger_books.write_raw`); each test changes one thing of an honest batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import (
    AccessError,
    ControlAccountError,
    FloorError,
    IdempotencyConflictError,
    NewEntry,
    NewPosting,
    NostroError,
    RefusedError,
    UnbalancedEntryError,
    UnknownAccountError,
    UnknownCurrencyError,
    post_batch,
    translate_errors,
    verify,
)
from nostro.database import Database
from tests.ledger_books import (
    DAY,
    POWERS,
    USD,
    Books,
    RawEntry,
    RawPosting,
    as_role,
    books_with_an_entry,
    entry,
    fresh_database,
    honest,
    open_books,
    refused,
    write_raw,
)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_violations") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Books:
    """Books with one posted entry, key ``first``."""
    return books_with_an_entry(database)


@pytest.mark.parametrize("role", POWERS)
def test_honest_raw_rows_are_accepted_and_move_the_balances(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn:
        write_raw(conn, honest(books))
        conn.commit()
    with books.db.app() as conn:
        assert conn.execute(
            "SELECT posted_minor FROM ledger.balance WHERE account_id = %s", (books["assets:cash"],)
        ).fetchone() == (1500,)
        assert verify(conn, book_id=books.book) == ()


def test_app_writes_no_row_of_the_books(books: Books) -> None:
    with as_role(books.db, "app") as conn, pytest.raises(AccessError), translate_errors():
        write_raw(conn, honest(books))


# --- invariant 1: balanced, two legs, no zero, own currency, whole -------------------------------------------------


@pytest.mark.parametrize("role", POWERS)
def test_unbalanced(books: Books, role: str) -> None:
    batch = honest(books)
    one, two = batch.postings
    refused(
        books,
        role,
        batch.but(postings=(one, replace(two, amount_minor=-499))),
        UnbalancedEntryError,
        "posting_balances",
    )


@pytest.mark.parametrize("role", POWERS)
def test_balanced_in_total_but_not_per_currency(books: Books, role: str) -> None:
    batch = honest(books)
    other = RawPosting(1, 0, books["income:sales-usd"], -500, currency_id=USD)
    refused(books, role, batch.but(postings=(batch.postings[0], other)), UnbalancedEntryError, "posting_balances")


@pytest.mark.parametrize("role", POWERS)
def test_unbalanced_entries_that_cancel_each_other(books: Books, role: str) -> None:
    cash, sales = books["assets:cash"], books["income:sales"]
    batch = honest(books).but(
        entries=(RawEntry(0, "raw", first=0), RawEntry(1, "raw2", first=2)),
        postings=(
            RawPosting(0, 0, cash, 500),
            RawPosting(1, 0, sales, -400),
            RawPosting(2, 1, cash, 500),
            RawPosting(3, 1, sales, -600),
        ),
    )
    refused(books, role, batch, UnbalancedEntryError, "posting_balances")


@pytest.mark.parametrize("role", POWERS)
def test_one_leg(books: Books, role: str) -> None:
    batch = honest(books).but(entries=(RawEntry(0, "raw", first=0, count=1),))
    refused(books, role, batch, UnbalancedEntryError, "entry_posting_count")


@pytest.mark.parametrize("role", POWERS)
def test_zero_posting(books: Books, role: str) -> None:
    batch = honest(books)
    zeros = tuple(replace(posting, amount_minor=0) for posting in batch.postings)
    refused(books, role, batch.but(postings=zeros), UnbalancedEntryError, "posting_amount_not_zero")


@pytest.mark.parametrize("role", POWERS)
def test_currency_other_than_the_accounts(books: Books, role: str) -> None:
    batch = honest(books)
    dollars = tuple(replace(posting, currency_id=USD) for posting in batch.postings)
    refused(books, role, batch.but(postings=dollars), UnknownCurrencyError, "posting_currency")


@pytest.mark.parametrize("role", POWERS)
def test_unknown_account(books: Books, role: str) -> None:
    batch = honest(books)
    lost = (batch.postings[0], replace(batch.postings[1], account_id=999_999))
    refused(books, role, batch.but(postings=lost), UnknownAccountError, "posting_account")


@pytest.mark.parametrize("role", POWERS)
def test_account_of_another_book(books: Books, role: str) -> None:
    other = open_books(books.db)
    batch = honest(books)
    foreign = (batch.postings[0], replace(batch.postings[1], account_id=other["income:sales"]))
    refused(books, role, batch.but(postings=foreign), UnknownAccountError, "posting_account")


@pytest.mark.parametrize("role", POWERS)
def test_entry_without_postings(books: Books, role: str) -> None:
    refused(books, role, honest(books).but(postings=()), UnbalancedEntryError, "entry_postings")


@pytest.mark.parametrize("role", POWERS)
def test_postings_without_entry(books: Books, role: str) -> None:
    refused(books, role, honest(books).but(entries=()), UnbalancedEntryError, "posting_entry")


@pytest.mark.parametrize("role", POWERS)
def test_more_postings_than_the_entry_declares(books: Books, role: str) -> None:
    batch = honest(books)
    more = (
        *batch.postings,
        RawPosting(2, 0, books["assets:cash"], 7),
        RawPosting(3, 0, books["income:sales"], -7),
    )
    refused(books, role, batch.but(postings=more), UnbalancedEntryError, "posting_entry")


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"day": DAY + timedelta(days=1)}, "posting_entry"),
        ({"ordinal": 5}, "posting_entry"),
        ({"book": 77}, "posting_entry"),
    ],
)
def test_posting_that_differs_from_its_entry(
    books: Books, role: str, change: dict[str, object], constraint: str
) -> None:
    batch = honest(books)
    odd = replace(batch.postings[1], **change)  # type: ignore[arg-type]
    refused(books, role, batch.but(postings=(batch.postings[0], odd)), UnbalancedEntryError, constraint)


@pytest.mark.parametrize("role", POWERS)
def test_postings_of_another_batch_than_their_entry(books: Books, role: str) -> None:
    batch = honest(books)
    far = tuple(replace(posting, ordinal=posting.ordinal + (1 << 20)) for posting in batch.postings)
    refused(books, role, batch.but(postings=far), RefusedError, "posting_batch")


@pytest.mark.parametrize("role", POWERS)
def test_late_legs_on_an_entry_of_the_books(books: Books, role: str) -> None:
    """Balanced legs appended later to a committed entry, and to one of the same transaction."""
    with as_role(books.db, role) as conn:
        write_raw(conn, honest(books))
        late = honest(books).but(
            entries=(),
            new_batch=False,
            postings=(RawPosting(2, 0, books["assets:cash"], 7), RawPosting(3, 0, books["income:sales"], -7)),
        )
        with pytest.raises(UnbalancedEntryError) as caught, translate_errors(), conn.transaction():
            write_raw(conn, late)
        assert caught.value.constraint == "posting_entry"
        conn.commit()
    refused(books, role, late, UnbalancedEntryError, "posting_entry")


@pytest.mark.parametrize("role", POWERS)
def test_new_entry_in_a_batch_of_an_earlier_transaction(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn:
        write_raw(conn, honest(books))
        conn.commit()
    late = honest(books).but(
        new_batch=False,
        entries=(RawEntry(2, "late", first=2),),
        postings=(RawPosting(2, 2, books["assets:cash"], 7), RawPosting(3, 2, books["income:sales"], -7)),
    )
    refused(books, role, late, UnbalancedEntryError, "posting_entry")


@pytest.mark.parametrize(
    ("postings", "error", "constraint"),
    [
        ((NewPosting("assets:cash", 5),), UnbalancedEntryError, "posting_balances"),
        ((), UnbalancedEntryError, "entry_posting_count"),
        ((NewPosting("assets:cash", 5), NewPosting("income:sales", -4)), UnbalancedEntryError, "posting_balances"),
        (
            (NewPosting("assets:cash", 0), NewPosting("income:sales", 0)),
            UnbalancedEntryError,
            "posting_amount_not_zero",
        ),
        (
            (NewPosting("assets:cash", 5), NewPosting("income:sales-usd", -5)),
            UnbalancedEntryError,
            "posting_balances",
        ),
        ((NewPosting("assets:cash", 5), NewPosting("income:nothing", -5)), UnknownAccountError, None),
        (
            (NewPosting("assets:bank:main", 5), NewPosting("income:sales", -5)),
            ControlAccountError,
            "posting_control_account",
        ),
        (
            (NewPosting("liabilities:wallet:W1", 5), NewPosting("income:sales", -5)),
            FloorError,
            "balance_floor",
        ),
    ],
)
def test_the_app_through_post_batch(
    books: Books, postings: tuple[NewPosting, ...], error: type[NostroError], constraint: str | None
) -> None:
    good = entry("good", "assets:cash", "income:sales", 3)
    with books.db.app() as conn:
        with pytest.raises(error) as caught:
            post_batch(conn, book_id=books.book, entries=[good, NewEntry("bad", DAY, postings)])
        assert caught.value.constraint in {constraint, "entry_posting_count"}
        assert conn.execute("SELECT count(*) FROM ledger.entry WHERE book_id = %s", (books.book,)).fetchone() == (1,)
        assert verify(conn, book_id=books.book) == ()


@pytest.mark.parametrize(
    "legs",
    [
        ([1, 1, 9], [1, 1, 1], [5, -5, 5]),  # a posting of an entry that is not there
        ([1, 1, 0], [1, 1, 1], [5, -5, 5]),
        ([1, 1], [1, 1, 1], [5, -5]),
        ([1, 1], [1, 1], [5, -5, 5]),
        (None, [1, 1], [5, -5]),
    ],
)
def test_columns_of_a_batch_that_do_not_fit_together(
    books: Books, legs: tuple[list[int] | None, list[int], list[int]]
) -> None:
    with books.db.app() as conn, pytest.raises(RefusedError) as caught, translate_errors():
        conn.execute(
            "SELECT * FROM ledger.post_batch(%s, NULL, %s, %s, NULL, NULL, NULL, %s, %s, %s)",
            (books.book, ["k"], [DAY], *legs),
        )
    assert caught.value.constraint == "batch_shape"


# --- invariant 3: one key, one entry -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", POWERS)
def test_duplicate_key(books: Books, role: str) -> None:
    batch = honest(books).but(entries=(RawEntry(0, "first", first=0),))
    refused(books, role, batch, IdempotencyConflictError, "entry_book_key")


def test_a_retry_is_the_original_and_other_content_a_conflict(books: Books) -> None:
    first = entry("first", "assets:cash", "income:sales", 1000)
    others = (
        entry("first", "assets:cash", "income:sales", 1001),
        entry("first", "income:sales", "assets:cash", 1000),
        entry("first", "assets:cash", "income:sales", 1000, day=DAY + timedelta(days=1)),
        entry("first", "assets:cash", "income:sales", 1000, description="other"),
        entry("first", "assets:cash", "income:sales", 1000, reference="other"),
    )
    with books.db.app() as conn:
        (again,) = post_batch(conn, book_id=books.book, entries=[first])
        assert not again.is_new
        for other in others:
            with pytest.raises(IdempotencyConflictError) as caught:
                post_batch(conn, book_id=books.book, entries=[entry("n", "assets:cash", "income:sales", 1), other])
            assert caught.value.constraint == "idempotency_conflict"
        twice = post_batch(conn, book_id=books.book, entries=[entry("t", "assets:cash", "income:sales", 1)] * 2)
        assert [posted.is_new for posted in twice] in ([True, False], [False, True])
        assert twice[0].entry_id == twice[1].entry_id
        with pytest.raises(IdempotencyConflictError):
            post_batch(conn, book_id=books.book, entries=[entry("u", "assets:cash", "income:sales", n) for n in (1, 2)])
        assert verify(conn, book_id=books.book) == ()


# --- invariant 5: floors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", POWERS)
def test_floor(books: Books, role: str) -> None:
    batch = honest(books)
    postings = (
        RawPosting(0, 0, books["liabilities:wallet:W1"], 1),
        RawPosting(1, 0, books["assets:cash"], -1),
    )
    refused(books, role, batch.but(postings=postings), FloorError, "balance_floor")
