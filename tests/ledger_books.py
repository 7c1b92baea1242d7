"""A small set of books for ledger tests, and a way to write rows of the books by raw SQL.

Lives here: what several ledger test files share. Must not live here: tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count

import psycopg
import pytest
from psycopg import sql

from ledger import Connection, NewEntry, NewPosting, NostroError, post_batch, translate_errors, verify
from nostro.database import Database

POWERS = ("owner", "replica")
DAY = date(2026, 11, 2)
EUR, USD = 978, 840

# code, type, currency, settleable, control, floor_minor
ACCOUNTS = (
    ("assets:cash", "asset", "EUR", False, None, None),
    ("assets:bank:main", "asset", "EUR", False, "nostro", None),
    ("assets:transit:main", "asset", "EUR", False, "cash_in_transit", None),
    ("assets:cash-usd", "asset", "USD", False, None, None),
    ("income:sales", "income", "EUR", False, None, None),
    ("income:sales-usd", "income", "USD", False, None, None),
    ("liabilities:payable:P1", "liability", "EUR", True, None, None),
    ("liabilities:wallet:W1", "liability", "EUR", False, None, 0),
)


def open_account(
    conn: Connection, book: int, code: str, type_: str, *, currency: str = "EUR", floor_minor: int | None = None
) -> int:
    """Open one plain account and return its id."""
    row = conn.execute(
        "SELECT (ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[]))[1]",
        (book, [code], [type_], [currency], [False], [None], [floor_minor]),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


@contextmanager
def fresh_database(template: Database, name: str) -> Iterator[Database]:
    """A database of its own for a whole test module, copied from the migrated template (or another nobody uses)."""
    with psycopg.connect(template.admin_conninfo, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template.name)
            )
        )
        try:
            yield replace(template, name=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class Books:
    """A book with accounts, and the database it lives in."""

    db: Database
    book: int
    accounts: dict[str, int]

    def __getitem__(self, code: str) -> int:
        return self.accounts[code]


_numbers = count(1)


def books_with_an_entry(db: Database) -> Books:
    """Books with one posted entry: key ``first``, 10.00 EUR from sales to cash."""
    opened = open_books(db)
    with db.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[entry("first", "assets:cash", "income:sales", 1000)])
    return opened


def open_books(db: Database) -> Books:
    """Define another book with `ACCOUNTS` as the app and commit; books of one database do not touch each other."""
    with db.app() as conn:
        row = conn.execute("SELECT ledger.define_book(%s, 'EUR')", (f"Marktplatz {next(_numbers)}",)).fetchone()
        assert row is not None
        book = int(str(row[0]))
        columns = [list(column) for column in zip(*ACCOUNTS, strict=True)]
        row = conn.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])", (book, *columns)
        ).fetchone()
        assert row is not None
        ids: list[int] = row[0]  # type: ignore[assignment]
    return Books(db, book, {account[0]: number for account, number in zip(ACCOUNTS, ids, strict=True)})


def entry(
    key: str,
    debit: str,
    credit: str,
    amount_minor: int,
    *,
    day: date = DAY,
    description: str | None = None,
    reference: str | None = None,
) -> NewEntry:
    """A two-leg entry."""
    postings = (NewPosting(debit, amount_minor), NewPosting(credit, -amount_minor))
    return NewEntry(key, day, postings, description=description, reference=reference)


@contextmanager
def as_role(db: Database, role: str) -> Iterator[Connection]:
    """A connection as ``app``, ``owner``, or ``replica``: a superuser who has switched ordinary triggers off."""
    if role == "app":
        conn = db.app()
    elif role == "owner":
        conn = db.owner()
    else:
        conn = psycopg.connect(psycopg.conninfo.make_conninfo(db.admin_conninfo, dbname=db.name))
        conn.execute("SET session_replication_role = replica")
        conn.commit()
    try:
        yield conn
    finally:
        conn.close()


@dataclass(frozen=True, slots=True)
class RawPosting:
    """A posting row; ids are ordinals in the batch, from 0."""

    ordinal: int
    entry_ordinal: int
    account_id: int
    amount_minor: int
    currency_id: int = EUR
    day: date = DAY
    book: int | None = None


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry row; `first` is the ordinal of its first posting in the batch."""

    ordinal: int
    key: str
    first: int
    count: int = 2
    day: date = DAY
    reverses: int | None = None


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Rows to insert by one raw statement, the way `post_internal` does but without its care."""

    book: int
    entries: tuple[RawEntry, ...]
    postings: tuple[RawPosting, ...]
    module: str | None = None
    batch_id: int = field(default_factory=lambda: 900_000 + next(_numbers))
    new_batch: bool = True

    def but(self, **changes: object) -> RawBatch:
        """The same with other rows."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def base(self) -> int:
        """The id of ordinal 0."""
        return self.batch_id << 20


_RAW = """
WITH b AS (
    INSERT INTO ledger.batch (batch_id, book_id, module, entry_count, posting_count, system_identifier)
    SELECT %(batch_id)s, %(book)s, %(module)s, greatest(cardinality(%(e_key)s::text[]), 1), %(postings)s, 1
     WHERE %(new_batch)s),
e AS (
    INSERT INTO ledger.entry (entry_id, book_id, effective_date, posting_count, first_posting_id, reverses_entry_id,
                              idempotency_key)
    SELECT %(base)s + id, %(book)s, day, count, %(base)s + first, reverses, key
      FROM unnest(%(e_id)s::bigint[], %(e_day)s::date[], %(e_count)s::int[], %(e_first)s::bigint[],
                  %(e_reverses)s::bigint[], %(e_key)s::text[]) AS u (id, day, count, first, reverses, key))
INSERT INTO ledger.posting (posting_id, entry_id, amount_minor, account_id, book_id, effective_date, currency_id)
SELECT %(base)s + id, %(base)s + entry, amount, account, book, day, currency
  FROM unnest(%(p_id)s::bigint[], %(p_entry)s::bigint[], %(p_amount)s::bigint[], %(p_account)s::int[],
              %(p_book)s::int[], %(p_day)s::date[], %(p_currency)s::smallint[])
       AS u (id, entry, amount, account, book, day, currency)
"""


def write_raw(conn: Connection, batch: RawBatch) -> None:
    """Insert the rows by one plain statement; no function of the books is called."""
    entries, postings = batch.entries, batch.postings
    conn.execute(
        _RAW,
        {
            "batch_id": batch.batch_id,
            "base": batch.base,
            "book": batch.book,
            "module": batch.module,
            "new_batch": batch.new_batch,
            "postings": max(sum(e.count for e in entries), 2 * len(entries), 2),
            "e_id": [e.ordinal for e in entries],
            "e_day": [e.day for e in entries],
            "e_count": [e.count for e in entries],
            "e_first": [e.first for e in entries],
            "e_reverses": [e.reverses for e in entries],
            "e_key": [e.key for e in entries],
            "p_id": [p.ordinal for p in postings],
            "p_entry": [p.entry_ordinal for p in postings],
            "p_amount": [p.amount_minor for p in postings],
            "p_account": [p.account_id for p in postings],
            "p_book": [batch.book if p.book is None else p.book for p in postings],
            "p_day": [p.day for p in postings],
            "p_currency": [p.currency_id for p in postings],
        },
    )


def honest(books: Books) -> RawBatch:
    """A batch that breaks no rule."""
    return RawBatch(
        books.book,
        entries=(RawEntry(0, "raw", first=0),),
        postings=(
            RawPosting(0, 0, books["assets:cash"], 500),
            RawPosting(1, 0, books["income:sales"], -500),
        ),
    )


_JOURNAL = "SELECT * FROM ledger.journal WHERE book_id = %s ORDER BY posting_id"


def refused(books: Books, role: str, batch: RawBatch, error: type[NostroError], constraint: str) -> None:
    """The batch is refused for the expected reason, and the books stand as before."""
    with as_role(books.db, role) as conn:
        before = conn.execute(
            "SELECT * FROM ledger.journal WHERE book_id = %s ORDER BY posting_id", (books.book,)
        ).fetchall()
        with pytest.raises(error) as caught, translate_errors():
            write_raw(conn, batch)
        assert caught.value.constraint == constraint
        assert not caught.value.retryable
        conn.rollback()
        assert (
            conn.execute(
                "SELECT * FROM ledger.journal WHERE book_id = %s ORDER BY posting_id", (books.book,)
            ).fetchall()
            == before
        )
    with books.db.app() as conn:
        assert verify(conn, book_id=books.book) == ()


def wait_until(conn: Connection, statement: str, *parameters: object) -> None:
    """Until that statement finds something."""
    deadline = time.monotonic() + 20
    while conn.execute(statement.encode(), parameters).fetchone() is None:
        assert time.monotonic() < deadline, "it does not come about"
        conn.rollback()
        time.sleep(0.01)
