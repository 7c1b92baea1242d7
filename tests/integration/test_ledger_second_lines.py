"""Rules that stand behind others: each refuses by itself when the first to look is switched off."""

from __future__ import annotations

import psycopg
import pytest

from ledger import (
    NewEntry,
    NewHold,
    NewPosting,
    UnavailableError,
    UnbalancedEntryError,
    close_period,
    committed,
    place_holds,
    post_batch,
    reopen_period,
    request_close_override,
    request_reopen,
    transaction,
)
from nostro.database import Database
from tests.ledger_books import (
    DAY,
    POWERS,
    Books,
    RawEntry,
    RawPosting,
    as_role,
    entry,
    honest,
    open_books,
    refused,
    write_raw,
)

WALLET, CASH = "liabilities:wallet:W1", "assets:cash"


@pytest.fixture
def books(db: Database) -> Books:
    """Books whose wallet (floor 0) has 1000, of which 300 are held."""
    opened = open_books(db)
    with db.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[entry("fund", CASH, WALLET, 1000)])
        place_holds(conn, book_id=opened.book, holds=[NewHold("h1", WALLET, 300)])
    return opened


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("posted_minor = posted_minor + 701", "balance_floor"),
        ("held_minor = held_minor + 701", "balance_floor"),
        ("ceiling_minor = 999", "balance_ceiling"),
        ("held_minor = -1", "balance_held_minor_check"),
    ],
)
def test_the_checks_of_a_balance_refuse_without_any_trigger(books: Books, change: str, constraint: str) -> None:
    with as_role(books.db, "replica") as conn:
        conn.execute("ALTER TABLE ledger.balance DISABLE TRIGGER balance_by_posting")
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            conn.execute(b"UPDATE ledger.balance SET " + change.encode() + b" WHERE account_id = %s", (books[WALLET],))
        assert refused.value.diag.constraint_name == constraint
        conn.rollback()


FOUR_LEGS = ((CASH, 500), ("income:sales", -500), (CASH, 700), ("liabilities:payable:P1", -700))


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    "legs",
    [
        FOUR_LEGS[:2],  # half of it
        (*FOUR_LEGS[:2], *FOUR_LEGS[:2]),  # half of it, twice
    ],
)
def test_a_reversal_takes_every_leg_back_just_as_often(
    books: Books, role: str, legs: tuple[tuple[str, int], ...]
) -> None:
    with books.db.app() as conn:
        original = NewEntry("four", DAY, tuple(NewPosting(code, amount) for code, amount in FOUR_LEGS))
        (posted,) = post_batch(conn, book_id=books.book, entries=[original])
    postings = tuple(RawPosting(n, 0, books[code], -amount) for n, (code, amount) in enumerate(legs))
    undo = RawEntry(0, "undo", first=0, count=len(legs), reverses=posted.entry_id)
    batch = honest(books).but(entries=(undo,), postings=postings)
    refused(books, role, batch, UnbalancedEntryError, "entry_reversal_negates")


@pytest.mark.parametrize("role", POWERS)
def test_an_entry_does_not_live_on_the_postings_of_another(books: Books, role: str) -> None:
    """A batch of before had just so many entries and postings: it takes no other entry for them."""
    batch = honest(books)
    with as_role(books.db, role) as conn:
        write_raw(conn, batch)
        conn.commit()
    ghost = batch.but(new_batch=False, entries=(RawEntry(5, "ghost", first=0),), postings=())
    refused(books, role, ghost, UnbalancedEntryError, "entry_postings")


@pytest.mark.parametrize("role", POWERS)
def test_postings_of_no_entry_beside_sound_ones(books: Books, role: str) -> None:
    batch = honest(books)
    stray = (RawPosting(2, 5, books[CASH], 7), RawPosting(3, 5, books["income:sales"], -7))
    refused(books, role, batch.but(postings=(*batch.postings, *stray)), UnbalancedEntryError, "posting_entry")


@pytest.mark.parametrize("role", POWERS)
def test_a_hold_is_not_posted_by_an_entry_of_before(books: Books, role: str) -> None:
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("draw", WALLET, CASH, 300)])
    with as_role(books.db, role) as conn:
        conn.execute(
            "INSERT INTO ledger.hold_resolution (hold_id, book_id, kind, held_minor, posted_minor, entry_key, at)"
            " SELECT hold_id, book_id, 'posted', 300, 300, 'draw', now() FROM ledger.hold WHERE book_id = %s",
            (books.book,),
        )
        with pytest.raises(psycopg.errors.CheckViolation) as refused_in_commit:
            conn.commit()
        assert refused_in_commit.value.diag.constraint_name == "hold_posting"


def test_an_override_of_before_a_reopening_does_not_close_again_by_raw_sql(books: Books) -> None:
    with books.db.login("alice") as alice, books.db.login("bob") as bob:
        request_close_override(alice, book_id=books.book, through=DAY, reason="the bank is not live")
        close_period(bob, book_id=books.book, through=DAY)
        request_reopen(alice, book_id=books.book, from_date=DAY, reason="an invoice came late")
        reopen_period(bob, book_id=books.book, from_date=DAY)
    with books.db.owner() as conn, pytest.raises(psycopg.errors.CheckViolation) as stale:
        conn.execute(
            "INSERT INTO ledger.period_close (book_id, through_date, override_reason, override_by)"
            " SELECT book_id, through_date, reason, requested_by FROM ledger.period_override WHERE book_id = %s",
            (books.book,),
        )
    assert stale.value.diag.constraint_name == "period_certified"


def test_a_connection_that_is_lost_already_says_it_is_safe_to_retry(books: Books) -> None:
    for begin in (transaction, committed):
        conn = books.db.app()
        conn.execute("SELECT 1")
        with books.db.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
        with pytest.raises(UnavailableError), begin(conn):
            pytest.fail("the block began")
        with pytest.raises(UnavailableError), begin(conn):  # and again, now that the loss is known
            pytest.fail("the block began")
        conn.close()
