"""What people do with breaks: give them away, note, resolve, re-open, take cleared sets back, set the thresholds.

Lives here: calls of the database's functions, one Python function each. Must not live here: what is legal (the
database refuses), proposals and their entries (`recon.adjustments`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from ledger import Connection, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From what a break is `severity` (critical, high, medium): an amount in minor units of `currency`, or an age in
    business days, or its code alone."""

    severity: str
    code: str | None = None
    currency: str | None = None
    amount_minor: int | None = None
    age_days: int | None = None


def assign_break(
    conn: Connection, *, book_id: int, break_id: str, owner: str, due: dt.date | None = None, note: str | None = None
) -> str:
    """Give a break to a person; its state. Raises `BreakStateError`, `RefusedError` (no such person)."""
    return _call(conn, "SELECT recon.assign_break(%s, %s, %s, %s, %s)", book_id, break_id, owner, due, note)


def note_break(conn: Connection, *, book_id: int, break_id: str, note: str, due: dt.date | None = None) -> str:
    """Add a note to a break (and a due date); its state."""
    return _call(conn, "SELECT recon.note_break(%s, %s, %s, %s)", book_id, break_id, note, due)


def resolve_break(conn: Connection, *, book_id: int, break_id: str, note: str) -> str:
    """Say that a break is over, which the last run must bear out. Raises `BreakStateError`."""
    return _call(conn, "SELECT recon.resolve_break(%s, %s, %s)", book_id, break_id, note)


def reopen_break(conn: Connection, *, book_id: int, break_id: str, reason: str) -> str:
    """Take a break up again that is still there, or an accepted finding. Raises `BreakStateError`."""
    return _call(conn, "SELECT recon.reopen_break(%s, %s, %s)", book_id, break_id, reason)


def request_unmatch(conn: Connection, *, match_set_id: int, reason: str) -> int:
    """Ask that a cleared set be taken back; the number of the request. Another person does it by `unmatch_set`."""
    return int(_call(conn, "SELECT recon.request_unmatch(%s, %s)", match_set_id, reason))


def unmatch_set(conn: Connection, *, match_set_id: int) -> int:
    """Take a cleared set back, as another person asked; how many postings are open again (0: it was back already).

    A set that an approved proposal made is taken back with its entry, which is reversed. Raises `FourEyesError`.
    """
    return int(_call(conn, "SELECT recon.unmatch_set(%s)", match_set_id))


def set_severity(conn: Connection, *, book_id: int, thresholds: Sequence[Threshold]) -> int:
    """Declare the book's severity thresholds anew, whole; the version they got."""
    columns = zip(*((t.severity, t.code, t.currency, t.amount_minor, t.age_days) for t in thresholds), strict=True)
    arrays = [list(column) for column in columns]
    return int(
        _call(
            conn,
            "SELECT recon.set_severity(%s, %s::text[], %s::text[], %s::text[], %s::bigint[], %s::int[])",
            book_id,
            *arrays,
        )
    )


def severity_thresholds(conn: Connection, *, book_id: int) -> list[Threshold]:
    """The book's thresholds in force; empty when the built-in ones hold."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT severity, code, currency, amount_minor, age_days FROM recon.severity_threshold"
            " WHERE book_id = %(b)s AND version ="
            " (SELECT max(version) FROM recon.severity_threshold WHERE book_id = %(b)s) ORDER BY ordinal",
            {"b": book_id},
        ).fetchall()
    return [
        Threshold(severity=str(s), code=c, currency=y, amount_minor=a, age_days=g)  # type: ignore[arg-type]
        for s, c, y, a, g in rows
    ]


def _call(conn: Connection, query: str, *values: object) -> str:
    with transaction(conn):
        row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return str(row[0])
