"""Knowledge order of reconciliation: which number a moment means, and what was recorded under each number.

Lives here: resolving `--known-at`, the log. Must not live here: what is read at a number (`recon.board`,
`recon.report`, `recon.sets`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, RefusedError, transaction

KnownAt = int | dt.datetime  # a number of the knowledge order, or a moment with a time zone


# A row `r` was known at the number %(seq)s; without one, every row is.
IS_KNOWN = (
    "(%(seq)s::bigint IS NULL OR EXISTS"
    " (SELECT FROM recon.event_number n WHERE n.event_id = r.event_id AND n.seq <= %(seq)s))"
)


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """A number of the knowledge order and when it was given."""

    seq: int
    numbered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One thing that became known: its number, when, who recorded it, what it was about."""

    seq: int
    numbered_at: dt.datetime
    by: str
    what: str
    subject: str


def known_point(conn: Connection, *, book_id: int, at: KnownAt | None = None) -> KnownPoint:
    """The number itself, the last one given by a moment, or (None) the last of all.

    Raises `RefusedError` when nothing was recorded by then or the number was not given yet.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT seq, numbered_at FROM recon.event_number WHERE book_id = %(book)s"
            " AND (%(moment)s::timestamptz IS NULL OR numbered_at <= %(moment)s)"
            " AND (%(seq)s::bigint IS NULL OR seq = %(seq)s) ORDER BY seq DESC LIMIT 1",
            {
                "book": book_id,
                "moment": at if isinstance(at, dt.datetime) else None,
                "seq": None if isinstance(at, dt.datetime) else at,
            },
        ).fetchone()
    if row is None and isinstance(at, int):
        raise RefusedError(f"nothing has the number {at}; see `nostro recon events` for the numbers.")
    if row is None:
        when = f" at {at.isoformat()}" if isinstance(at, dt.datetime) else ""
        raise RefusedError(f"reconciliation knew nothing{when}; its first run came later.")
    assert isinstance(row[1], dt.datetime)
    return KnownPoint(int(str(row[0])), row[1])


def known_seq(conn: Connection, *, book_id: int, at: KnownAt | None) -> int | None:
    """The number that a question is asked at; None: now."""
    return None if at is None else known_point(conn, book_id=book_id, at=at).seq


def recorded_events(
    conn: Connection, *, book_id: int, subject: str | None = None, limit: int = 50
) -> list[RecordedEvent]:
    """What was recorded last, newest first; `subject`: only about this break, set or rule."""
    with transaction(conn), conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        return cursor.execute(
            "SELECT seq, numbered_at, settlement.person(recorded_by) AS by, what, subject FROM recon.event_log"
            " WHERE book_id = %(book)s AND (%(subject)s::text IS NULL OR subject = %(subject)s)"
            " ORDER BY seq DESC, what, subject LIMIT %(limit)s",
            {"book": book_id, "subject": subject, "limit": limit},
        ).fetchall()
