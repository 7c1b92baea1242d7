"""A book to fill for the posting benchmark, and the two ways to fill it: ours, and bare COPY.

Lives here: batches of entries of a given shape, connections side by side, clocks. Must not live here: which shapes are
measured and what is reported (`benchmarks.posting`).

Making the Python rows is not measured for either way; encoding and sending them is, for both.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from itertools import accumulate

from benchmarks.result import Figure
from benchmarks.server import settings_of
from ledger import AccountMode, Connection, ModeOf, set_account_modes
from ledger.journal import Legs, post_columns
from nostro.database import Database

ACCOUNTS = 10_000
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "work_mem",
    "max_wal_size",
    "min_wal_size",
    "checkpoint_timeout",
)
_DAY = date(2026, 11, 2)
_HOT = "income:hot"

_REFERENCE_TABLE = """
CREATE TABLE public.bench_reference (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text, debit int, credit int, amount bigint)
"""
_REFERENCE_COPY = "COPY public.bench_reference (key, debit, credit, amount) FROM STDIN (FORMAT binary)"
_SIZES = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'ledger' AND c.relname IN ('entry', 'posting', 'posting_block', 'batch', 'entry_text', 'balance')
"""
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


class Keys(Enum):
    """Idempotency keys of 36 characters."""

    RANDOM = "random"  # like UUIDv4
    TIME_ORDERED = "time_ordered"  # like UUIDv7: ascending from batch to batch


class Spread(Enum):
    """Which accounts the entries touch."""

    UNIFORM = "uniform"  # both legs anywhere in 10,000 accounts
    ZIPF = "zipf"  # the n-th account 1/n as often as the first
    ONE_HOT = "one_hot"  # debits anywhere, every credit on one account


@dataclass(frozen=True, slots=True)
class Shape:
    """How entries reach the books: so many a batch, over so many connections, on which accounts, by which keys."""

    batch: int
    connections: int
    spread: Spread = Spread.UNIFORM
    keys: Keys = Keys.RANDOM
    hot_mode: AccountMode = AccountMode.STRICT

    @property
    def name(self) -> str:
        """As in the result's `others`."""
        words = [f"batch_{self.batch}", f"connections_{self.connections}"]
        if self.spread is not Spread.UNIFORM:
            words.insert(0, self.spread.value)
        if self.spread is Spread.ONE_HOT:
            words.insert(1, self.hot_mode.value)
        if self.keys is not Keys.RANDOM:
            words.insert(0, self.keys.value)
        return "_".join([*words, "per_s"])


class Load:
    """One book with its accounts, the reference table, and the two ways to fill them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._random = random.Random(1)
        self._made = 0
        codes = [*(f"assets:bench:{number:05}" for number in range(ACCOUNTS)), _HOT]
        types = ["asset"] * ACCOUNTS + ["income"]
        size = len(codes)
        with database.app() as conn:
            self._book = as_int(conn, "SELECT ledger.define_book('Benchmark', 'EUR')")
            row = conn.execute(
                "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
                (self._book, codes, types, ["EUR"] * size, [False] * size, [None] * size, [None] * size),
            ).fetchone()
            assert row is not None
            ids: list[int] = row[0]  # type: ignore[assignment]
        self._accounts, self._hot = ids[:-1], ids[-1]
        self._zipf = list(accumulate(1 / rank for rank in range(1, ACCOUNTS + 1)))
        with database.owner() as conn:
            conn.execute("DROP TABLE IF EXISTS public.bench_reference")
            conn.execute(_REFERENCE_TABLE)

    def _key(self, keys: Keys) -> str:
        self._made += 1
        if keys is Keys.TIME_ORDERED:
            return f"{self._made:019}-{self._random.getrandbits(64):016x}"
        text = f"{self._random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _picked(self, spread: Spread, entries: int) -> tuple[list[int], list[int]]:
        weights = self._zipf if spread is Spread.ZIPF else None
        debits, credits = (self._random.choices(self._accounts, cum_weights=weights, k=entries) for _ in range(2))
        return debits, [self._hot] * entries if spread is Spread.ONE_HOT else credits

    def legs(self, entries: int, shape: Shape) -> Legs:
        """One batch, as columns."""
        debits, credits = self._picked(shape.spread, entries)
        amounts = [self._random.randrange(1, 1_000_000) for _ in range(entries)]
        legs = Legs([], [_DAY] * entries, [None] * entries, [None] * entries, None, [0] * (2 * entries), [], [])
        legs.keys.extend(self._key(shape.keys) for _ in range(entries))
        legs.leg_entry[0::2] = legs.leg_entry[1::2] = range(1, entries + 1)
        legs.leg_account.extend(account for pair in zip(debits, credits, strict=True) for account in pair)
        legs.leg_amount.extend(leg for amount in amounts for leg in (amount, -amount))
        return legs

    def copy(self, entries: int) -> float:
        """Rows a second of the reference."""
        legs = self.legs(entries, Shape(entries, 1))
        rows = list(zip(legs.keys, legs.leg_account[0::2], legs.leg_account[1::2], legs.leg_amount[0::2], strict=True))
        with self._database.owner() as conn, conn.cursor() as cursor:
            start = time.perf_counter()
            with cursor.copy(_REFERENCE_COPY) as copy:
                copy.set_types(["text", "int4", "int4", "int8"])
                for row in rows:
                    copy.write_row(row)
            conn.commit()
            return entries / (time.perf_counter() - start)

    def set_mode(self, mode: AccountMode) -> None:
        """The mode of the hot account."""
        with self._database.app() as conn:
            set_account_modes(conn, book_id=self._book, modes=[ModeOf(_HOT, mode, 16)])

    def post(self, shape: Shape, entries: int) -> float:
        """Entries a second of ours; connections work side by side and take batches in turn, each its own commit."""
        if shape.spread is Spread.ONE_HOT:
            self.set_mode(shape.hot_mode)
        share = max(entries // shape.connections, 1)
        sizes = [min(shape.batch, share - start) for start in range(0, share, shape.batch)]
        work: list[list[Legs]] = [[] for _ in range(shape.connections)]
        for size in sizes:
            for mine in work:
                mine.append(self.legs(size, shape))
        return share * shape.connections / self._together([self._poster(batches) for batches in work])

    def _poster(self, batches: Sequence[Legs]) -> Callable[[Connection], None]:
        def post(conn: Connection) -> None:
            for legs in batches:
                _, new, _ = post_columns(conn, book_id=self._book, source_id=None, legs=legs)
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

    def footprint(self, shape: Shape, entries: int) -> list[tuple[str, Figure]]:
        """Bytes of tables and indexes, and of write-ahead log, for one entry of a large batch."""
        with self._database.owner() as conn:
            before = as_int(conn, _SIZES), as_int(conn, _WAL)
            conn.commit()
            self.post(replace(shape, connections=1), entries)
            after = as_int(conn, _SIZES), as_int(conn, _WAL)
        prefix = "" if shape.keys is Keys.RANDOM else f"{shape.keys.value}_"
        return [
            (f"{prefix}bytes_per_entry", round((after[0] - before[0]) / entries)),
            (f"{prefix}wal_bytes_per_entry", round((after[1] - before[1]) / entries)),
        ]

    def settings(self) -> tuple[tuple[str, str], ...]:
        """The server settings that decide durability and speed."""
        return settings_of(self._database, SETTINGS)


def as_int(conn: Connection, query: str) -> int:
    """One whole number."""
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))
