"""Large batches: a shorter way for postings in order of their entries; other orders are posted or refused alike."""

from __future__ import annotations

import psycopg
import pytest

from ledger import Connection, verify
from nostro.database import Database
from tests.ledger_books import DAY, Books, open_books

SIZE = 70  # above what goes the careful way anyhow
POST = """
SELECT new_count FROM ledger.post_counted(%s, NULL, %s, %s, NULL, NULL, NULL, %s::int[], %s::int[], %s::bigint[])
"""
Leg = tuple[int | None, int | None, int | None]


def post(conn: Connection, books: Books, name: str, legs: list[Leg]) -> int:
    keys = [f"{name}-{number * 37 % SIZE:03}" for number in range(SIZE)]  # not in the order of the entries
    row = conn.execute(POST, (books.book, keys, [DAY] * SIZE, *map(list, zip(*legs, strict=True)))).fetchone()
    assert row is not None
    return int(str(row[0]))


def legs_of(books: Books) -> list[list[Leg]]:
    """Entries of two and of three postings, in both currencies."""
    euro, dollar = (books["assets:cash"], books["income:sales"]), (books["assets:cash-usd"], books["income:sales-usd"])
    made: list[list[Leg]] = []
    for n in range(1, SIZE + 1):
        debit, credit = dollar if n % 5 == 0 else euro
        made.append(
            [(n, debit, n), (n, credit, -n)] if n % 3 else [(n, debit, n + 1), (n, credit, -n), (n, credit, -1)]
        )
    return made


def test_order_of_the_postings(db: Database) -> None:
    books = open_books(db)
    entries = legs_of(books)
    with db.app() as conn:
        assert post(conn, books, "up", [leg for legs in entries for leg in legs]) == SIZE
        assert post(conn, books, "down", [leg for legs in reversed(entries) for leg in legs]) == SIZE
        conn.commit()
        found = conn.execute(
            """SELECT left(idempotency_key, 2), count(*), sum(posting_count), min(posting_count), max(posting_count),
                      bool_and((SELECT array_agg(p.entry_id) FROM ledger.posting p
                                 WHERE p.posting_id >= e.first_posting_id
                                   AND p.posting_id < e.first_posting_id + e.posting_count)
                               = array_fill(entry_id, ARRAY[posting_count]))
                 FROM ledger.entry e GROUP BY 1 ORDER BY 1"""
        ).fetchall()
        legs = sum(map(len, entries))
        assert found == [("do", SIZE, legs, 2, 3, True), ("up", SIZE, legs, 2, 3, True)]
        assert verify(conn, book_id=books.book) == ()


@pytest.mark.parametrize("position", range(3))
def test_a_null_is_refused(db: Database, position: int) -> None:
    books = open_books(db)
    legs = [leg for of_entry in legs_of(books) for leg in of_entry]
    values = list(legs[9])
    values[position] = None
    legs[9] = (values[0], values[1], values[2])
    with db.app() as conn, pytest.raises(psycopg.Error):
        post(conn, books, "null", legs)


def test_debits_before_credits_are_refused(db: Database) -> None:
    books = open_books(db)
    legs = legs_of(books)
    with db.app() as conn, pytest.raises(psycopg.errors.CheckViolation, match="do not belong to entry"):
        post(
            conn,
            books,
            "apart",
            [of_entry[0] for of_entry in legs] + [leg for of_entry in legs for leg in of_entry[1:]],
        )
