"""Closing, soft-closing and re-opening periods, and proving the books from their rows.

Must not live here: who may do what and when (the triggers of the period tables decide).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ledger.db import Connection
from ledger.errors import RefusedError, translate_errors
from ledger.transactions import transaction

_REASON_MIN = 10  # as the table has it


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken invariant found by `verify`: its number in docs/invariants.md, where, and what."""

    invariant: int
    place: str
    fault: str


def close_period(conn: Connection, *, book_id: int, through: date) -> None:
    """Close the books through a day; nothing can become effective on or before it afterwards.

    Raises `NotCertifiedError` when a bank account is not certified through that day and nobody has requested
    an override, `AccessError` when the person closing is the one who requested it.
    """
    with transaction(conn):
        conn.execute("SELECT ledger.close_period(%s, %s)", (book_id, through))


def request_close_override(conn: Connection, *, book_id: int, through: date, reason: str) -> None:
    """Ask, as one person, that another may close a period whose bank accounts are not certified.

    Raises `RefusedError` for a reason shorter than ten characters.
    """
    if len(reason) < _REASON_MIN:
        raise RefusedError(
            f"the reason {reason!r} is too short to be kept; say it in {_REASON_MIN} characters or more."
        )
    with transaction(conn):
        conn.execute("SELECT ledger.request_close_override(%s, %s, %s)", (book_id, through, reason))


@dataclass(frozen=True, slots=True)
class PeriodEvent:
    """One step in the life of a book's periods.

    `event`: closed, soft-closed, re-opened, re-opening requested, override requested. `day`: the last day closed, or
    the first day re-opened.
    """

    event: str
    day: date
    reason: str | None
    requested_by: str | None
    recorded_by: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class PeriodStatus:
    """Through which day the books are closed and soft-closed now (None: nothing is), and how it came."""

    closed_through: date | None
    soft_closed_through: date | None
    events: tuple[PeriodEvent, ...]


def soft_close_period(conn: Connection, *, book_id: int, through: date) -> None:
    """From now on only approvers post journal entries effective through that day; modules still do their work.

    Raises `ClosedPeriodError` when the books are closed, or soft-closed further, already.
    """
    with transaction(conn):
        conn.execute("SELECT ledger.soft_close_period(%s, %s)", (book_id, through))


def request_reopen(conn: Connection, *, book_id: int, from_date: date, reason: str) -> None:
    """Ask, as one person, that another may re-open the books from a day on. The reason takes ten characters."""
    with transaction(conn):
        conn.execute("SELECT ledger.request_reopen(%s, %s, %s)", (book_id, from_date, reason))


def reopen_period(conn: Connection, *, book_id: int, from_date: date) -> None:
    """Open the books from a day on, closed and soft-closed alike, as requested by another person.

    Raises `AccessError` when nobody requested it, or the same person did, or this login is no approver.
    """
    with transaction(conn):
        conn.execute("SELECT ledger.reopen_period(%s, %s)", (book_id, from_date))


def period_status(conn: Connection, *, book_id: int) -> PeriodStatus:
    """What is closed now, and every event of the book's periods, oldest first."""
    with translate_errors():
        now = conn.execute("SELECT ledger.closed_through(%s), ledger.soft_closed_through(%s)", (book_id, book_id))
        closed, soft = now.fetchone() or (None, None)
        rows = conn.execute(
            "SELECT event, day, reason, requested_by::text, recorded_by::text, recorded_at"
            " FROM ledger.period_event WHERE book_id = %s ORDER BY event_no",
            (book_id,),
        ).fetchall()
    events = tuple(PeriodEvent(*row) for row in rows)  # type: ignore[arg-type]
    return PeriodStatus(closed, soft, events)  # type: ignore[arg-type]


def verify(conn: Connection, *, book_id: int) -> tuple[Fault, ...]:
    """Recompute every invariant of the books from entries and postings; an empty answer means all hold."""
    with translate_errors():
        rows = conn.execute(
            "SELECT invariant, place, fault FROM ledger.verify(%s)"
            " UNION ALL SELECT invariant, place, fault FROM ledger.verify_holds(%s)"
            " UNION ALL SELECT invariant, place, fault FROM ledger.verify_trading(%s)"
            " UNION ALL SELECT invariant, place, fault FROM ledger.verify_rollup(%s) ORDER BY 1, 2, 3",
            (book_id, book_id, book_id, book_id),
        ).fetchall()
    return tuple(Fault(*row) for row in rows)  # type: ignore[arg-type]


def verify_after(conn: Connection, *, book_id: int, after_seq: int) -> tuple[Fault, ...]:
    """Recompute invariants 1 and 2 over the entries that became known after a sequence number."""
    with translate_errors():
        rows = conn.execute(
            "SELECT invariant, place, fault FROM ledger.verify_after(%s, %s) ORDER BY 1, 2, 3", (book_id, after_seq)
        ).fetchall()
    return tuple(Fault(*row) for row in rows)  # type: ignore[arg-type]
