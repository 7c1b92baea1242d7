"""Rules that stand behind others: each refuses by itself when the first to look is switched off."""

from __future__ import annotations

import psycopg
import pytest

from ledger import NewHold, UnavailableError, committed, place_holds, post_batch, transaction
from nostro.database import Database
from tests.ledger_books import Books, as_role, entry, open_books

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
