"""Postings found by account in blocks: large batches, whoever reads by account, and nobody's hand on them."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from ledger import AppendOnlyError, NewEntry, balance, post_batch, statement, translate_errors, verify
from nostro.database import Database
from tests.ledger_books import DAY, Books, as_role, entry, open_books

CASH, SALES = "assets:cash", "income:sales"
SIZE = 600  # with two postings each, so many for each account that a batch is marked
_PLACES = "SELECT count(*) FILTER (WHERE in_block), count(*) FILTER (WHERE NOT in_block) FROM ledger.posting"
_DIFFERENCE = """
(SELECT account_id, posting_id, entry_id, amount_minor, effective_date, book_id, posting_id >> 20 FROM ledger.posting
 EXCEPT ALL
 SELECT account_id, posting_id, entry_id, amount_minor, effective_date, book_id, batch_id FROM ledger.account_posting)
UNION ALL
(SELECT account_id, posting_id, entry_id, amount_minor, effective_date, book_id, batch_id FROM ledger.account_posting
 EXCEPT ALL
 SELECT account_id, posting_id, entry_id, amount_minor, effective_date, book_id, posting_id >> 20 FROM ledger.posting)
"""


def large(name: str, size: int = SIZE) -> list[NewEntry]:
    """Entries on two days, all on two accounts."""
    days = (DAY, date(2026, 11, 3))
    return [entry(f"{name}-{n:05}", CASH, SALES, n + 1, day=days[n % 2]) for n in range(size)]


@pytest.fixture
def books(db: Database) -> Books:
    """Books with a large batch, a small one and one that repeats a key, so that it goes the careful way."""
    opened = open_books(db)
    with db.app() as conn:
        post_batch(conn, book_id=opened.book, entries=large("a"))
        post_batch(conn, book_id=opened.book, entries=large("b", 3))
        post_batch(conn, book_id=opened.book, entries=[*large("a", 1), *large("c")])
    return opened


def test_readers_by_account_find_every_posting_once(books: Books) -> None:
    total = SIZE * (SIZE + 1)
    with books.db.app() as conn:
        assert conn.execute(_PLACES).fetchall() == [(2 * SIZE, 2 * SIZE + 6)]
        assert conn.execute(_DIFFERENCE).fetchall() == []
        assert conn.execute("SELECT max(cardinality(posting_nos)) FROM ledger.posting_block").fetchall() == [(64,)]
        rows = list(statement(conn, book_id=books.book, account=CASH))
        assert (len(rows), rows[-1].balance_minor) == (2 * SIZE + 3, total + 6)
        for known in (False, True):
            if known:
                conn.execute("SELECT ledger.publish_and_roll_up()")
            (there,) = balance(conn, book_id=books.book, account=CASH, as_of=DAY)
            assert there.balance_minor == sum(row.amount_minor for row in rows if row.effective_date == DAY)
        assert verify(conn, book_id=books.book) == ()


def test_a_block_whose_total_does_not_fit_in_64_bits_does_not_keep_a_batch_out(db: Database) -> None:
    """Each block of 64 would sum to 2^63 and more, up and then down; the balance fits at the end."""
    books = open_books(db)
    entries = [entry(f"v-{n:05}", CASH, SALES, (1 if n < SIZE // 2 else -1) * (1 << 58), day=DAY) for n in range(SIZE)]
    with db.app() as conn:
        post_batch(conn, book_id=books.book, entries=entries)
        assert conn.execute(_PLACES).fetchall() == [(0, 2 * SIZE)]
        (there,) = balance(conn, book_id=books.book, account=CASH)
        assert there.balance_minor == 0
        assert verify(conn, book_id=books.book) == ()


@pytest.mark.parametrize("role", ["owner", "replica"])
def test_blocks_change_by_nobodys_hand(books: Books, role: str) -> None:
    for statement_, constraint in (
        ("UPDATE ledger.posting_block SET amounts[1] = 0", "append_only"),
        ("DELETE FROM ledger.posting_block", "append_only"),
        ("TRUNCATE ledger.posting_block", "append_only"),
        ("INSERT INTO ledger.posting_block SELECT account_id, batch_id, 99, book_id, first_date, last_date,"
         " total_minor, posting_nos, entry_nos, amounts, dates FROM ledger.posting_block", "block_by_posting"),
    ):  # fmt: skip
        with as_role(books.db, role) as conn, pytest.raises(AppendOnlyError) as caught, translate_errors():
            conn.execute(statement_)
        assert caught.value.constraint == constraint


_IN_PART = """
WITH b AS (INSERT INTO ledger.batch (batch_id, book_id, entry_count, posting_count, system_identifier)
           VALUES (990001, %(book)s, 1, 2, 1)),
e AS (INSERT INTO ledger.entry (entry_id, book_id, effective_date, posting_count, first_posting_id, idempotency_key)
      VALUES (990001::bigint << 20, %(book)s, %(day)s, 2, 990001::bigint << 20, 'raw'))
INSERT INTO ledger.posting (posting_id, entry_id, amount_minor, account_id, book_id, effective_date, currency_id,
                            in_block)
SELECT (990001::bigint << 20) + n, 990001::bigint << 20, amount, account, %(book)s, %(day)s, 978, marked
  FROM (VALUES (0, 500, %(cash)s, %(first)s), (1, -500, %(sales)s, %(second)s)) AS v (n, amount, account, marked)
"""


@pytest.mark.parametrize("marks", [(True, False), (False, True)])
def test_a_batch_marked_in_part_is_refused(books: Books, marks: tuple[bool, bool]) -> None:
    values = {"book": books.book, "day": DAY, "cash": books[CASH], "sales": books[SALES]}
    with as_role(books.db, "owner") as conn:
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute(_IN_PART, values | {"first": marks[0], "second": marks[1]})
        conn.execute(_IN_PART, values | {"first": True, "second": True})  # the same, whole
        assert conn.execute(_DIFFERENCE).fetchall() == []


@pytest.mark.parametrize(
    "theft",
    [
        "UPDATE ledger.posting_block SET amounts[2] = amounts[2] + 1",
        "UPDATE ledger.posting_block SET dates[1] = dates[1] + 1",
        "UPDATE ledger.posting_block SET total_minor = total_minor + 1",
        "UPDATE ledger.posting_block SET first_date = first_date - 1",
        "UPDATE ledger.posting_block SET last_date = last_date + 1",
        "DELETE FROM ledger.posting_block WHERE block_no = 1",
        "UPDATE ledger.posting SET in_block = false WHERE in_block",
        "UPDATE ledger.posting SET in_block = true WHERE NOT in_block",
    ],
)
def test_verification_finds_what_a_superuser_did(books: Books, theft: str) -> None:
    with as_role(books.db, "replica") as conn:
        for table in ("posting", "posting_block"):
            conn.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER append_only")
        conn.execute(theft)
        found = {fault.place for fault in verify(conn, book_id=books.book)}
        assert {f"account {CASH}", f"account {SALES}"} <= found
        conn.rollback()
