"""How many journal entries a second the books take, against bare COPY on the same server.

Lives here: the measurement behind `nostro bench posting`. Must not live here: printing, defaults, the write path.

Ours: two-leg entries through `ledger.post_counted` (the SQL function that `ledger.post_batch` calls), all rules on,
each batch committed durably; uniform over 10,000 accounts, keys unique and random. Reference: binary COPY of the
same entries, one row an entry (key, debit account, credit account, amount), one connection, one transaction, into
a logged table with nothing but a bigint identity primary key. Both take turns in one run; figures are medians.
Making the Python rows is not measured for either; encoding and sending them is, for both.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.result import BenchResult, Figure, peak_rss_mb
from ledger import Connection
from ledger.journal import Legs, post_columns
from nostro.database import Database, initialise
from nostro.postgres import start_embedded

ACCOUNTS = 10_000
BATCH_SIZES = (1, 100, 8_190, 50_000)
CONNECTIONS = (1, 2)
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "work_mem",
    "max_wal_size",
    "checkpoint_timeout",
)
_DAY = date(2026, 11, 2)
_SLOW_BATCHES = 400  # a batch of one or a hundred is bound by the disk's flush; so many tell its rate

_REFERENCE_TABLE = """
CREATE TABLE public.bench_reference (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text, debit int, credit int, amount bigint)
"""
_REFERENCE_COPY = "COPY public.bench_reference (key, debit, credit, amount) FROM STDIN (FORMAT binary)"
_SIZES = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'ledger' AND c.relname IN ('entry', 'posting', 'batch', 'entry_text', 'balance')
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How entries reach the books: so many a batch, over so many connections."""

    batch: int
    connections: int

    @property
    def name(self) -> str:
        """As in the result's `others`."""
        return f"batch_{self.batch}_connections_{self.connections}_per_s"


def run(*, entries: int, repeats: int) -> BenchResult:
    """Measure on a throw-away embedded server with the settings of a real deployment.

    ``entries`` a round and shape (fewer for the smallest batches), ``repeats`` rounds, three at least.
    """
    with _throw_away() as database:
        return run_on(database, entries=entries, repeats=repeats)


def run_on(database: Database, *, entries: int, repeats: int) -> BenchResult:
    """Measure in a migrated database of its own (a book and a table are left there)."""
    bench = _Bench(database)
    shapes = [Shape(batch, connections) for batch in BATCH_SIZES for connections in CONNECTIONS]
    rates: dict[Shape, list[float]] = {shape: [] for shape in shapes}
    reference: list[float] = []
    bench.post(Shape(BATCH_SIZES[-1], 1), min(entries, 20_000))  # warm: plans, first pages of every table
    bench.copy(min(entries, 20_000))
    for _ in range(max(repeats, 3)):
        reference.append(bench.copy(entries))
        for shape in shapes:
            rates[shape].append(bench.post(shape, min(entries, shape.batch * shape.connections * _SLOW_BATCHES)))
    medians = {shape: statistics.median(found) for shape, found in rates.items()}
    best = max(medians, key=lambda shape: medians[shape])
    others: list[tuple[str, Figure]] = [(shape.name, round(rate)) for shape, rate in medians.items()]
    others += [("best_batch", best.batch), ("best_connections", best.connections), *bench.footprint(entries)]
    return BenchResult(
        bench="posting",
        rows=entries,
        ours=f"durable two-leg entries, batches of {best.batch}, connections: {best.connections}",
        ours_per_s=medians[best],
        reference="rows of binary COPY, one row an entry (key, debit account, credit account, amount), one connection,"
        " into a table with a bigint identity primary key",
        reference_per_s=statistics.median(reference),
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
        settings=bench.settings(),
    )


@contextmanager
def _throw_away() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="nostro-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)
        database = Database(admin_conninfo=start_embedded(home), name="nostro_bench", role_prefix="nostro_bench")
        initialise(database)
        yield database


class _Bench:
    """One book with its accounts, the reference table, and the two ways to fill them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._random = random.Random(1)
        codes = [f"assets:bench:{number:05}" for number in range(ACCOUNTS)]
        with database.app() as conn:
            self._book = _int(conn, "SELECT ledger.define_book('Benchmark', 'EUR')")
            row = conn.execute(
                "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
                (self._book, codes, ["asset"] * ACCOUNTS, ["EUR"] * ACCOUNTS, [False] * ACCOUNTS)
                + ([None] * ACCOUNTS,) * 2,
            ).fetchone()
            assert row is not None
            self._accounts: list[int] = row[0]  # type: ignore[assignment]
        with database.owner() as conn:
            conn.execute("DROP TABLE IF EXISTS public.bench_reference")
            conn.execute(_REFERENCE_TABLE)

    def _legs(self, entries: int) -> Legs:
        legs = Legs([], [_DAY] * entries, [None] * entries, [None] * entries, None, [], [], [])
        pick = self._random
        for position in range(1, entries + 1):
            legs.keys.append(str(uuid.UUID(int=pick.getrandbits(128), version=4)))
            amount = pick.randrange(1, 1_000_000)
            legs.leg_entry.extend((position, position))
            legs.leg_account.extend((pick.choice(self._accounts), pick.choice(self._accounts)))
            legs.leg_amount.extend((amount, -amount))
        return legs

    def copy(self, entries: int) -> float:
        """Rows a second of the reference."""
        legs = self._legs(entries)
        rows = list(zip(legs.keys, legs.leg_account[0::2], legs.leg_account[1::2], legs.leg_amount[0::2], strict=True))
        with self._database.owner() as conn, conn.cursor() as cursor:
            start = time.perf_counter()
            with cursor.copy(_REFERENCE_COPY) as copy:
                copy.set_types(["text", "int4", "int4", "int8"])
                for row in rows:
                    copy.write_row(row)
            conn.commit()
            return entries / (time.perf_counter() - start)

    def post(self, shape: Shape, entries: int) -> float:
        """Entries a second of ours; connections work side by side, each batch is one transaction."""
        share = max(entries // shape.connections, 1)
        sizes = [min(shape.batch, share - start) for start in range(0, share, shape.batch)]
        work = [[self._legs(size) for size in sizes] for _ in range(shape.connections)]
        return share * shape.connections / self._together([self._poster(batches) for batches in work])

    def _poster(self, batches: Sequence[Legs]) -> Callable[[Connection], None]:
        def post(conn: Connection) -> None:
            for legs in batches:
                _, new = post_columns(conn, book_id=self._book, source_id=None, legs=legs)
                conn.commit()
                if new != len(legs.keys):
                    raise RuntimeError(f"{len(legs.keys) - new} entries of the benchmark were in the books already")

        return post

    def _together(self, jobs: Sequence[Callable[[Connection], None]]) -> float:
        """Seconds from the common start until the last job has committed."""
        gate = threading.Barrier(len(jobs) + 1)
        failures: list[BaseException] = []

        def work(job: Callable[[Connection], None]) -> None:
            with self._database.app() as conn:
                conn.execute("SELECT 1")
                conn.commit()
                gate.wait()
                try:
                    job(conn)
                except BaseException as failure:
                    failures.append(failure)

        threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        gate.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return time.perf_counter() - start

    def footprint(self, entries: int) -> list[tuple[str, Figure]]:
        """Bytes of tables and indexes, and of write-ahead log, for one entry of a large batch."""
        with self._database.owner() as conn:
            before = _int(conn, _SIZES), _int(conn, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
            conn.commit()
            self.post(Shape(BATCH_SIZES[-1], 1), entries)
            after = _int(conn, _SIZES), _int(conn, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        return [
            ("bytes_per_entry", round((after[0] - before[0]) / entries)),
            ("wal_bytes_per_entry", round((after[1] - before[1]) / entries)),
        ]

    def settings(self) -> tuple[tuple[str, str], ...]:
        """The server settings that decide durability and speed."""
        with self._database.app() as conn:
            rows = conn.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
                (list(SETTINGS),),
            ).fetchall()
        return tuple((str(name), str(value)) for name, value in rows)


def _int(conn: Connection, query: str) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))
