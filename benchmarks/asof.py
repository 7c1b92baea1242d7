"""What a balance as of a date and a statement page read, in large books, and how long they take against summing.

Lives here: the measurement behind `nostro bench asof`. Must not live here: printing, defaults, the reads themselves.

The books: 10,000 accounts of a uniform business; `hot`, a leg of every fifth entry; `scattered`, a leg of every
twenty-fifth, whose entries are dated anywhere in the year; one entry in twenty is backdated by up to a year. Batches of
8,190 entries with texts advance through a year, each published by itself.

Buffers are what EXPLAIN (ANALYZE, BUFFERS) counts for the call, hits and reads, in a session that has called it before:
every page the answer needs, cached or not. The most of several dates counts.

Reference: the sum over the account's postings with the same conditions, by the account's index.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from psycopg import sql

from benchmarks.asof_plans import BALANCE, plans
from benchmarks.asof_plans import PAGE as PAGE_QUERY
from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import settings_of, throw_away
from ledger import Connection, publish
from nostro.cli.history import PAGE

ACCOUNTS, BATCH, DAYS = 10_000, 8_190, 365
_FIRST = date(2026, 1, 1)
_MIDDAY = _FIRST + timedelta(days=181)
_SETTINGS = ("server_version", "fsync", "shared_buffers", "work_mem")
_TABLES = ("posting", "entry", "entry_text", "batch", "batch_seq", "posting_day", "rollup", "rollup_run", "rollup_step")
_WHOSE = ("hot", "scattered", "uniform")

_POST = """
WITH chance AS MATERIALIZED (
    SELECT k, k - %(start)s AS n, hashint8extended(k, 1) & 1048575 AS kind, hashint8extended(k, 2) & 1048575 AS back,
           (hashint8extended(k, 3) & 1048575)::int %% 365 AS year,
           (hashint8extended(k, 4) & 1048575)::int %% 10000 AS debit,
           (hashint8extended(k, 5) & 1048575)::int %% 10000 AS credit, 1 + (hashint8extended(k, 6) & 65535) AS amount
      FROM generate_series(%(start)s + 1, %(start)s + %(count)s::bigint) AS k),
entry AS MATERIALIZED (
    SELECT n, 'asof:' || k AS key, amount,
           CASE WHEN kind %% 100 < 4 THEN %(first)s::date + year
                WHEN back %% 20 = 0 THEN %(today)s::date - year ELSE %(today)s::date END AS day,
           CASE WHEN kind %% 100 < 4 THEN %(scattered)s WHEN kind %% 100 < 24 THEN %(hot)s
                ELSE %(uniform)s + debit END AS debit,
           %(uniform)s + credit AS credit
      FROM chance)
SELECT ledger.post_counted(%(book)s, NULL, e.keys, e.days, e.texts, NULL, NULL, l.entries, l.accounts, l.amounts)
  FROM (SELECT array_agg(key ORDER BY n) AS keys, array_agg(day ORDER BY n) AS days,
               array_agg('Order ' || key ORDER BY n) AS texts FROM entry) e,
       (SELECT array_agg(n::int ORDER BY n, side) AS entries, array_agg(account ORDER BY n, side) AS accounts,
               array_agg(side * amount ORDER BY n, side) AS amounts
          FROM entry CROSS JOIN LATERAL (VALUES (1, debit), (-1, credit)) AS leg (side, account)) l
"""
_SUM = """
SELECT sum(p.amount_minor)::bigint FROM ledger.account_posting p
 WHERE p.account_id = %s AND p.effective_date <= %s
   AND (%s::bigint IS NULL OR EXISTS (SELECT FROM ledger.batch_seq s
                                       WHERE s.batch_id = p.batch_id AND s.last_seq <= %s))
"""
_SIZES = """
SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'ledger' AND c.relname IN ('posting', 'posting_day', 'rollup', 'rollup_run') ORDER BY 1
"""


def run(
    *,
    postings: int,
    repeats: int,
    keep_plans: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> BenchResult:
    """Load so many postings, then measure; ``on_progress`` hears (entries posted, of how many).

    ``keep_plans``: a file for the plans of the hot account's balance and page, after VACUUM.
    """
    entries = max(postings // 2, 1)
    with throw_away() as database:
        with database.app() as conn:
            ids, seqs, posting_s, publishing_s = load(conn, entries, on_progress)
            middle = seqs[len(seqs) // 2]
            before = _buffers(conn, ids, middle)
            with database.owner() as owner:
                owner.commit()
                owner.autocommit = True
                for table in _TABLES:
                    owner.execute(sql.SQL("VACUUM (ANALYZE) ledger.{}").format(sql.Identifier(table)))
                if keep_plans is not None:
                    shown = plans(owner, account=ids[0], day=_MIDDAY, seq=middle, limit=PAGE)
                    head = f"-- {entries * 2:,} postings, {entries * 2 // 10:,} of them of this account\n\n"
                    keep_plans.write_text(head + shown, encoding="utf-8")
            after = _buffers(conn, ids, middle)
            ours, summed = _times(conn, ids[0], middle, repeats)
            sizes = conn.execute(_SIZES).fetchall()
        settings = settings_of(database, _SETTINGS)
    others: list[tuple[str, Figure]] = [(f"buffers_{name}_unvacuumed", value) for name, value in before]
    others += [(f"buffers_{name}", value) for name, value in after]
    others += [("buffers_most", max(value for _, value in (*before, *after)))]
    others += [(f"{name}_mb", round(int(str(size)) / 1024**2)) for name, size in sizes]
    others += [("posting_s", round(posting_s, 1)), ("publishing_s", round(publishing_s, 1)), ("page_lines", PAGE)]
    return BenchResult(
        bench="asof",
        rows=entries * 2,
        ours=f"balances of the hot account as of a date, known at a point, over {entries * 2} postings",
        ours_per_s=1 / statistics.median(ours),
        reference="the same by summing the account's postings through its index",
        reference_per_s=1 / statistics.median(summed),
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
        settings=settings,
    )


def load(
    conn: Connection, entries: int, on_progress: Callable[[int, int], None] | None
) -> tuple[list[int], list[int], float, float]:
    """Post and publish; (ids of hot, scattered and the others, last seq of each publication, seconds of both)."""
    book = _int(conn, "SELECT ledger.define_book('Benchmark', 'EUR')", ())
    codes = ["assets:hot", "assets:scattered", *(f"assets:bench:{number:05}" for number in range(ACCOUNTS))]
    many = len(codes)
    row = conn.execute(
        "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
        (book, codes, ["asset"] * many, ["EUR"] * many, [False] * many, [None] * many, [None] * many),
    ).fetchone()
    assert row is not None
    ids: list[int] = row[0]  # type: ignore[assignment]
    conn.commit()
    hot, scattered, *uniform = ids
    assert uniform == list(range(uniform[0], uniform[0] + ACCOUNTS))  # so the server finds them by arithmetic
    accounts = {"hot": hot, "scattered": scattered, "uniform": uniform[0]}
    seqs, spent = [], [0.0, 0.0]
    for start in range(0, entries, BATCH):
        begun = time.perf_counter()
        today = _FIRST + timedelta(days=DAYS * start // entries)
        count = min(BATCH, entries - start)
        conn.execute(_POST, {"start": start, "count": count, "first": _FIRST, "today": today, "book": book, **accounts})
        conn.commit()
        posted = time.perf_counter()
        seqs.append(publish(conn))
        spent[0] += posted - begun
        spent[1] += time.perf_counter() - posted
        if on_progress is not None:
            on_progress(start + count, entries)
    return ids, seqs, spent[0], spent[1]


def _buffers(conn: Connection, ids: list[int], middle: int) -> list[tuple[str, int]]:
    """The most buffers each kind of question read, over dates through the year and several uniform accounts."""
    found: dict[str, int] = {}
    dates = [_FIRST + timedelta(days=days) for days in (20, 100, 181, 250, 364)]
    accounts = {"hot": ids[:1], "scattered": ids[1:2], "uniform": ids[2 :: ACCOUNTS // 5]}
    asked = [
        (f"{kind}_{whose}{known}", query, (account, day, seq, *limit))
        for whose in _WHOSE
        for account in accounts[whose]
        for seq, known in ((None, ""), (middle, "_known_then"))
        for day in dates
        for kind, query, limit in (("balance", BALANCE, ()), ("page", PAGE_QUERY, (PAGE,)))
    ]
    for _, query, cut in asked:  # so that the session knows the catalogue, and has planned whatever they need
        conn.execute(query.encode(), cut)
    for name, query, cut in asked:
        found[name] = max(found.get(name, 0), _read(conn, query, cut))
    conn.rollback()
    return sorted(found.items())


def _read(conn: Connection, query: str, parameters: tuple[object, ...]) -> int:
    row = conn.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query.encode(), parameters).fetchone()
    assert row is not None
    plan: dict[str, int] = row[0][0]["Plan"]  # type: ignore[index]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def _times(conn: Connection, account: int, middle: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of ours and of the sum, in turns; both must say the same."""
    ours, summed = [], []
    cut = (account, _MIDDAY)
    for _ in range(max(repeats, 3)):
        begun = time.perf_counter()
        mine = _int(conn, BALANCE, (*cut, middle))
        between = time.perf_counter()
        theirs = _int(conn, _SUM, (*cut, middle, middle))
        ours.append(between - begun)
        summed.append(time.perf_counter() - between)
        if mine != theirs:
            raise RuntimeError(f"the balance is {mine}, the postings sum to {theirs}")
    return ours, summed


def _int(conn: Connection, query: str, parameters: tuple[object, ...]) -> int:
    row = conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(str(row[0]))
