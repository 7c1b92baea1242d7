"""Closing periods, and proving the books from their rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

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


def verify(conn: Connection, *, book_id: int) -> tuple[Fault, ...]:
    """Recompute every invariant of the books from entries and postings; an empty answer means all hold."""
    with translate_errors():
        rows = conn.execute(
            "SELECT invariant, place, fault FROM ledger.verify(%s) ORDER BY 1, 2, 3", (book_id,)
        ).fetchall()
    return tuple(Fault(*row) for row in rows)  # type: ignore[arg-type]
