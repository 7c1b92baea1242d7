"""How long verification takes against a bare COPY … TO of the rows it vouches for, and sealing, and only what is new.

Lives here: the measurement behind `nostro bench verify`. Must not live here: printing, defaults, verification itself.

Ours: `verify_seals` over every seal (hash of every entry, Merkle roots, chain, stored leaves, strays), read by two
connections in turns, and beside it on a third `ledger.verify` (all other invariants): what `nostro verify --full` does.
Reference: text COPY … TO of entry, posting, entry_text, batch and batch_seq, one after the other, read and thrown away
by one connection. They take turns.
"""

from __future__ import annotations

import random
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from psycopg import sql

from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import settings_of, throw_away
from ledger import Connection, publish, seal, verify, verify_after, verify_seals
from ledger.journal import Legs, post_columns
from nostro.database import Database

ACCOUNTS = 10_000
_TABLES = ("entry", "posting", "entry_text", "batch", "batch_seq")
_NEW = 10_000
_DAY = date(2026, 11, 2)
_SETTINGS = ("server_version", "fsync", "shared_buffers", "work_mem", "max_parallel_workers_per_gather")


def run(*, entries: int, repeats: int, batch: int = 10_000) -> BenchResult:
    """Measure over ``entries`` two-leg entries with texts, posted in batches of ``batch``; medians of ``repeats``."""
    with throw_away() as database, database.app() as conn, database.app() as beside, database.app() as third:
        books = _Books(conn)
        books.post(entries, batch)
        sealing = _seconds(lambda: seal(conn, book_id=books.book_id))
        _analyse(database)
        copies, checks, sealed = [], [], []
        for _ in range(max(repeats, 3)):
            copies.append(_seconds(lambda: _copy(conn)))
            sealed.append(_seconds(lambda: _expect_sound(conn, beside, books.book_id)))
            checks.append(_seconds(lambda: _expect_all(conn, beside, third, books.book_id)))
        books.post(_NEW, batch)
        seal(conn, book_id=books.book_id)
        incremental = _seconds(lambda: _expect_new(conn, books.book_id))
        size = _int(conn, "SELECT pg_total_relation_size('ledger.seal') + pg_total_relation_size('ledger.seal_leaves')")
        settings = settings_of(database, _SETTINGS)
    copied, checked = statistics.median(copies), statistics.median(checks)
    others: list[tuple[str, Figure]] = [
        ("verify_over_copy", round(checked / copied, 2)),
        ("seals_only_over_copy", round(statistics.median(sealed) / copied, 2)),
        ("copy_s", round(copied, 2)),
        ("verify_full_s", round(checked, 2)),
        (f"verify_incremental_{_NEW}_new_s", round(incremental, 3)),
        ("seal_entries_per_s", round(entries / sealing)),
        ("seal_bytes_per_entry", round(size / (entries + _NEW), 1)),
    ]
    return BenchResult(
        bench="verify",
        rows=entries,
        ours=f"entries verified (batches of {batch}): every seal from its entries, and every other invariant",
        ours_per_s=entries / checked,
        reference="entries of a bare COPY … TO of the same rows (entry, posting, entry_text, batch, batch_seq)",
        reference_per_s=entries / copied,
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
        settings=settings,
    )


class _Books:
    """One book with its accounts, filled with entries that carry texts."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._random = random.Random(1)
        self.book_id = _int(conn, "SELECT ledger.define_book('Benchmark', 'EUR')")
        codes = [f"assets:bench:{number:05}" for number in range(ACCOUNTS)]
        row = conn.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
            (self.book_id, codes, ["asset"] * ACCOUNTS, ["EUR"] * ACCOUNTS, [False] * ACCOUNTS)
            + ([None] * ACCOUNTS,) * 2,
        ).fetchone()
        assert row is not None
        self._accounts: list[int] = row[0]  # type: ignore[assignment]
        conn.commit()

    def post(self, entries: int, batch: int) -> None:
        """Post so many new entries and publish them."""
        for start in range(0, entries, batch):
            post_columns(self._conn, book_id=self.book_id, source_id=None, legs=self._legs(min(batch, entries - start)))
            self._conn.commit()
        publish(self._conn)

    def _legs(self, entries: int) -> Legs:
        legs, pick = Legs([], [_DAY] * entries, [], [], None, [], [], []), self._random
        for position in range(1, entries + 1):
            key = str(uuid.UUID(int=pick.getrandbits(128), version=4))
            legs.keys.append(key)
            legs.descriptions.append(f"Order {key[:13]}")
            legs.references.append(f"R-{key[14:]}")
            amount = pick.randrange(1, 1_000_000)
            legs.leg_entry.extend((position, position))
            legs.leg_account.extend((pick.choice(self._accounts), pick.choice(self._accounts)))
            legs.leg_amount.extend((amount, -amount))
        return legs


def _analyse(database: Database) -> None:
    with database.owner() as conn:
        conn.execute("ANALYZE")


def _copy(conn: Connection) -> None:
    with conn.cursor() as cursor:
        for table in _TABLES:
            with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier("ledger", table))) as copy:
                for _ in copy:
                    pass
    conn.rollback()


def _expect_sound(conn: Connection, beside: Connection, book_id: int) -> None:
    if verify_seals(conn, book_id=book_id, beside=beside).faults:
        raise RuntimeError("the benchmark's own books do not verify")


def _expect_all(conn: Connection, beside: Connection, third: Connection, book_id: int) -> None:
    """Seals and the other invariants at once, as `nostro verify` does."""
    with ThreadPoolExecutor(max_workers=1) as second:
        rest = second.submit(verify, third, book_id=book_id)
        _expect_sound(conn, beside, book_id)
        if rest.result():
            raise RuntimeError("the benchmark's own books break an invariant")
    third.rollback()


def _expect_new(conn: Connection, book_id: int) -> None:
    report = verify_seals(conn, book_id=book_id, incremental=True)
    if report.checked_entries != _NEW or verify_after(conn, book_id=book_id, after_seq=report.checked_from_seq):
        raise RuntimeError("incremental verification did not look at exactly what is new")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _int(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))
