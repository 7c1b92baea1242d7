"""The posting benchmark, small: every shape posts, nothing is lost, and the answer says what was asked for."""

from __future__ import annotations

import psycopg
from psycopg import sql

from benchmarks.posting import HEADLINE, run_on, shapes
from ledger import verify
from nostro.database import Database
from tests.ledger_books import fresh_database


def test_a_small_round_of_every_shape(template: Database) -> None:
    with fresh_database(template, "nostro_test_bench_posting") as database:
        with psycopg.connect(database.admin_conninfo, autocommit=True) as admin:  # the reference table is the owner's
            names = (sql.Identifier(database.name), sql.Identifier(database.role("owner")))
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
        result = run_on(database, entries=200, repeats=1)
        with database.app() as conn:
            row = conn.execute("SELECT book_id, (SELECT count(*) FROM ledger.entry) FROM ledger.book").fetchone()
            assert row is not None
            assert verify(conn, book_id=int(str(row[0]))) == ()
    said = dict(result.others)
    assert {shape.name for shape in shapes()} <= set(said)
    assert {"bytes_per_entry", "wal_bytes_per_entry", "time_ordered_bytes_per_entry", "best_batch"} <= set(said)
    assert result.ratio > 0
    sizes = {shape: 200 if shape == HEADLINE else 50 for shape in shapes()}
    shared = sum(size // shape.connections * shape.connections for shape, size in sizes.items())  # even shares
    assert int(str(row[1])) == 200 + 3 * shared + 2 * 50
    assert {"fsync", "synchronous_commit"} <= set(dict(result.settings))  # the answer says how durable it was
