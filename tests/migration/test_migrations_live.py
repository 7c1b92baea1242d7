"""Migrations of books in use: writers go on, nothing acknowledged is lost, what would change books is taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from psycopg import sql

import nostro.database
import nostro.migrations.run_sql as migrations_sql
from ledger import CheckFailedError, Connection, NostroError, UnavailableError, post_batch, verify
from nostro.database import Database, migrate
from nostro.migrations.live import look, require_unchanged
from tests.ledger_books import entry, open_books
from tests.migration.test_migrations import REVISIONS, empty_database, shape, version

BEFORE_LAST = REVISIONS[-2]


@dataclass(slots=True)
class Writer:
    """Posts until told to stop; a transaction may hold several batches. What is in `acknowledged` was committed."""

    database: Database
    book: int
    name: str
    batches: int
    acknowledged: list[str] = field(default_factory=list)
    refused: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    done_one: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        turn = 0
        while not self.stop.is_set():
            keys = [f"{self.name}-{turn}-{number}" for number in range(self.batches)]
            try:
                with self.database.app() as conn, conn.transaction():
                    for key in keys:
                        post_batch(conn, book_id=self.book, entries=[entry(key, "assets:cash", "income:sales", 7)])
            except NostroError as error:
                if not error.retryable:
                    self.refused.append(error)
                    return
                continue
            except BaseException as error:
                self.refused.append(error)
                return
            self.acknowledged += keys
            self.done_one.set()
            turn += 1


@pytest.fixture
def at_start(template: Database) -> Iterator[Database]:
    with empty_database(template, "nostro_test_live") as database:
        migrate(database, REVISIONS[0])
        yield database


@pytest.fixture
def before_last(template: Database) -> Iterator[Database]:
    with empty_database(template, "nostro_test_live") as database:
        migrate(database, BEFORE_LAST)
        yield database


def test_writers_go_on_through_every_step(at_start: Database, template: Database) -> None:
    book = open_books(at_start).book
    writers = [Writer(at_start, book, f"w{number}", batches=1 + 4 * number) for number in range(3)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        for revision in REVISIONS[1:]:
            for writer in writers:  # each step meets writers at work
                writer.done_one.clear()
                assert writer.done_one.wait(30), writer.refused
            migrate(at_start, revision)
            assert version(at_start) == revision
    finally:
        for writer in writers:
            writer.stop.set()
        for thread in threads:
            thread.join(30)
    assert [writer.refused for writer in writers] == [[], [], []]
    acknowledged = [key for writer in writers for key in writer.acknowledged]
    with at_start.app() as conn:
        rows = conn.execute("SELECT idempotency_key FROM ledger.entry WHERE book_id = %s", (book,)).fetchall()
        stored = [str(key) for (key,) in rows]
        assert verify(conn, book_id=book) == ()
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert shape(at_start) == shape(template)


def test_an_upgrade_gives_way_to_long_transactions(before_last: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of its locks again and again; when no moment comes it says so, and nothing has changed."""
    book = open_books(before_last).book
    monkeypatch.setattr(nostro.database, "_ATTEMPTS", 2)
    monkeypatch.setattr(nostro.database, "_LOCK_TIMEOUT", "20ms")
    with before_last.app() as holder:
        post_batch(holder, book_id=book, entries=[entry("long", "assets:cash", "income:sales", 7)])
        holder.execute("SELECT 1 FROM ledger.entry LIMIT 1")
        with holder.transaction(), pytest.raises(UnavailableError):
            migrate(before_last)
        holder.rollback()
        assert version(before_last) == BEFORE_LAST
    migrate(before_last)
    assert version(before_last) == REVISIONS[-1]


# what a migration does to the books → what the refusal says
CHANGES = {
    "an amount": ("UPDATE ledger.posting SET amount_minor = amount_minor * 2", "deleted 2 rows of ledger.posting"),
    "a row less": ("DELETE FROM ledger.entry_text", "changed or deleted 1 rows of ledger.entry_text"),
    "all of it": ("TRUNCATE ledger.entry_text", "emptied or rewrote ledger.entry_text"),
    "all of it, and back": (
        "CREATE TEMP TABLE kept AS TABLE ledger.entry_text; TRUNCATE ledger.entry_text;"
        " INSERT INTO ledger.entry_text SELECT * FROM kept",
        "emptied or rewrote ledger.entry_text",
    ),
    "a column's type": (
        "ALTER TABLE recon.finding_resolution ALTER reason TYPE varchar(99)",
        "recon.finding_resolution lost or changed the column reason text",
    ),
    "a rewrite": (
        "ALTER TABLE recon.finding_resolution ALTER reason TYPE text USING upper(reason)",
        "emptied or rewrote recon.finding_resolution",
    ),
    "a lost column": ("ALTER TABLE ledger.batch DROP COLUMN module CASCADE", "lost or changed the column module text"),
    "a lost table": ("ALTER TABLE ledger.entry_text RENAME TO old_text", "ledger.entry_text is gone"),
    "a rule less": ("DROP TRIGGER append_only ON ledger.entry", "ledger.entry is gone, or no longer append-only"),
}


def _books(database: Database) -> None:
    book = open_books(database).book
    with database.app() as conn:
        post_batch(conn, book_id=book, entries=[entry("a", "assets:cash", "income:sales", 7, description="eins")])


@pytest.mark.parametrize("change", CHANGES)
def test_an_upgrade_that_changes_books_is_taken_back(db: Database, change: str) -> None:
    statement, sentence = CHANGES[change]
    _books(db)
    with db.owner() as conn:
        before = look(conn)
        if statement.startswith(("UPDATE", "DELETE", "TRUNCATE", "CREATE")):
            for table in ("posting", "entry_text"):
                conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier("ledger", table)))
        conn.execute(statement.encode())
        with pytest.raises(CheckFailedError, match="taken back") as caught:
            require_unchanged(conn, before)
        assert sentence in str(caught.value)
        conn.rollback()


def test_an_upgrade_that_moves_a_balance_is_taken_back(db: Database) -> None:
    _books(db)
    with db.owner() as conn:
        before = look(conn)
        conn.execute("ALTER TABLE ledger.balance DISABLE TRIGGER USER")
        conn.execute("UPDATE ledger.balance SET posted_minor = posted_minor + 1 WHERE posted_minor > 0")
        with pytest.raises(CheckFailedError, match="balances of book"):
            require_unchanged(conn, before)
        conn.rollback()


def test_rows_that_come_meanwhile_and_columns_that_are_added_are_no_change(db: Database) -> None:
    _books(db)
    with db.owner() as conn:
        before = look(conn)
        _books(db)
        conn.execute("ALTER TABLE ledger.entry_text ADD COLUMN note text NOT NULL DEFAULT ''")
        conn.execute("INSERT INTO ledger.control VALUES ('vault', '{setup}')")
        require_unchanged(conn, before)
        conn.rollback()


def test_a_refused_upgrade_leaves_nothing(before_last: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a last migration that also edits an amount is rolled back with everything else it did."""
    _books(before_last)
    good: Callable[..., None] = migrations_sql.run_sql

    def evil(package: str, *names: str) -> None:
        good(package, *names)
        raw: Connection = migrations_sql.op.get_bind().connection.driver_connection  # type: ignore[assignment]
        raw.execute("ALTER TABLE ledger.posting DISABLE TRIGGER USER")
        raw.execute("UPDATE ledger.posting SET amount_minor = amount_minor * 2")

    before = shape(before_last)
    with monkeypatch.context() as patch, pytest.raises(CheckFailedError, match=r"[24] rows of ledger\.posting"):
        patch.setattr(migrations_sql, "run_sql", evil)
        migrate(before_last)
    assert version(before_last) == BEFORE_LAST
    assert shape(before_last) == before
    migrate(before_last)
