"""The plans of the statements inside a balance and a page, as the server carries them out.

Lives here: cutting each statement out of its function in the catalogue, and running it as the function does (prepared,
with the function's settings and its variables' values) under EXPLAIN (ANALYZE, BUFFERS). Must not live here: loading,
counting over many dates (`benchmarks.asof`).

EXPLAIN of a call shows one line only, its buffers in all; so each question gives that line first, then its statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from ledger import Connection

BALANCE = "SELECT ledger.balance_at(%s, %s, %s)"
PAGE = "SELECT count(*) FROM ledger.statement_page(%s, %s, NULL, 'infinity', %s, %s)"
_EXPLAIN = b"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) "

# The values that the functions' variables have, found as they find them; p_seq NULL: all that is known.
_RUNS = """
SELECT coalesce(max(high_batch_id), 0), (array_agg(level ORDER BY last_seq))[1],
       (array_agg(last_seq ORDER BY last_seq DESC) FILTER (WHERE low_date <= %(day)s AND high_date > %(day)s))[1],
       (array_agg(level ORDER BY last_seq DESC) FILTER (WHERE low_date <= %(day)s AND high_date > %(day)s))[1],
       count(*)
  FROM ledger.live_runs(%(account)s, %(seq)s)
"""
_CEILING = (
    "SELECT high_batch_id + 1 FROM ledger.rollup_step WHERE last_seq >= %(seq)s::bigint ORDER BY last_seq LIMIT 1"
)
_LAST_DAY = """
SELECT furthest_date FROM ledger.rollup_run
 WHERE account_id = %(account)s AND level = 0 AND last_seq >= %(seq)s::bigint ORDER BY last_seq LIMIT 1
"""
_TYPES = {
    "p_account_id": "int", "p_from": "date", "p_to": "date", "p_limit": "int", "p_known_seq": "bigint",
    "v_as_of": "date", "v_high": "bigint", "v_ceiling": "bigint", "v_level": "int", "v_done": "bigint",
    "v_upto": "bigint", "v_tail": "bigint[]", "v_after": "bigint", "v_last": "date",
    "v_run.level": "int", "v_run.last_seq": "bigint",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of a function: what it is for, where it begins in the function's text and what follows its end."""

    title: str
    function: str
    begins: str
    ends: str


_LEVEL = _Statement("the runs, the highest level of them", "live_runs", "SELECT * FROM ledger.rollup_run r", " LOOP")
_IN_RUN = _Statement("within a run: through the day", "net_at", "SELECT r.net_minor FROM ledger.rollup r", ");")
_LATEST = _Statement(
    "the latest postings", "net_at", "SELECT sum(p.amount_minor) FROM ledger.account_posting p", "));\n    ELSE"
)
_LATE = _Statement("the latest postings known by then", "net_at", "WITH late AS", "));\n    END IF")
_LINES = _Statement("the lines of the page", "statement_page", "WITH page AS", ";\nEND")


def plans(conn: Connection, *, account: int, day: date, seq: int, limit: int) -> str:
    """Plans of a balance and of a page, of all that is known and as known at ``seq``; ``conn`` is the owner's.

    Times and costs are left out: only what is read can be compared with another machine's.
    """
    parts = [
        "\n\n".join(_question(conn, kind, account, day, known, limit))
        for kind in ("balance", "page")
        for known in (None, seq)
    ]
    conn.rollback()
    return "\n\n".join(parts) + "\n"


def _question(conn: Connection, kind: str, account: int, day: date, seq: int | None, limit: int) -> Iterator[str]:
    known = "" if seq is None else f", known at sequence {seq:,}"
    runs = conn.execute(_RUNS.encode(), {"account": account, "day": day, "seq": seq}).fetchone()
    assert runs is not None
    high, level, run_seq, run_level, count = runs
    ceiling = (conn.execute(_CEILING.encode(), {"seq": seq}).fetchone() or (None,))[0]
    last = (conn.execute(_LAST_DAY.encode(), {"account": account, "seq": seq}).fetchone() or (None,))[0]
    values = {
        "p_account_id": account, "p_from": day, "p_to": "infinity", "p_limit": limit, "p_known_seq": seq,
        "v_as_of": day, "v_high": high, "v_ceiling": ceiling, "v_level": level, "v_done": 0,
        "v_upto": 2**63 - 1 if seq is None else seq, "v_tail": None, "v_after": -1, "v_last": last or "infinity",
        "v_run.level": run_level, "v_run.last_seq": run_seq,
    }  # fmt: skip
    if kind == "balance":
        yield f"-- a balance as of {day}{known}: {count} runs and the latest postings\n" + _call(
            conn, BALANCE, (account, day, seq)
        )
        inside = [_LEVEL, _IN_RUN, _LATEST if seq is None else _LATE]
    else:
        yield f"-- a page of {limit} lines from {day}{known}\n" + _call(conn, PAGE, (account, day, seq, limit))
        inside = [_LINES]
    for statement in inside:
        yield f"-- {statement.title}\n" + _explained(conn, statement, values)


def _call(conn: Connection, query: str, parameters: tuple[object, ...]) -> str:
    for _ in range(6):  # what a session's first calls read of the catalogue, until plans are kept, is not the answer's
        conn.execute(query.encode(), parameters)
    return _text(conn.execute(_EXPLAIN + query.encode(), parameters).fetchall())


def _explained(conn: Connection, statement: _Statement, values: Mapping[str, object]) -> str:
    """The statement's plan, prepared under its function's settings as PL/pgSQL prepares it."""
    row = conn.execute(
        "SELECT prosrc, proconfig FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND proname = %s",
        (statement.function,),
    ).fetchone()
    assert row is not None
    source, settings = str(row[0]), row[1]
    start = source.index(statement.begins)
    text = source[start : source.index(statement.ends, start)]
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        if match[0] not in names:
            names.append(match[0])
        return f"${names.index(match[0]) + 1}"

    text = re.sub(r"\b[pv]_\w+\b(\.\w+)?", numbered, text)
    with conn.transaction(force_rollback=True):
        for setting in settings or ():  # type: ignore[attr-defined]
            conn.execute("SELECT set_config(%s, %s, true)", tuple(setting.split("=", 1)))
        types = ", ".join(_TYPES[name] for name in names)
        conn.execute(b"PREPARE inside (" + types.encode() + b") AS " + text.encode())
        given = sql.SQL(", ").join(sql.Literal(values[name]) for name in names).as_bytes(conn)
        conn.execute(b"EXECUTE inside (" + given + b")")
        plan = _text(conn.execute(_EXPLAIN + b"EXECUTE inside (" + given + b")").fetchall())
        conn.execute("DEALLOCATE inside")
    return plan


def _text(rows: list[tuple[object, ...]]) -> str:
    lines = [str(row[0]) for row in rows]
    planning = next((at for at, line in enumerate(lines) if line.startswith("Planning")), len(lines))
    return "\n".join(lines[:planning])
