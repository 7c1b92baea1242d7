"""Holds: reserve money on an account, then post it in full or part, void it, or let it expire.

Lives here: Python's side of the two-phase functions. Must not live here: rules (they are in Postgres).
Business time (`at`, `now`, `expires_at`) is given by the caller, with a time zone; the clock is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ledger.arrays import amount_array, int4_array, nullable_text_array, text_array
from ledger.db import Connection
from ledger.errors import HoldError, translate_errors
from ledger.journal import NewEntry, PostedEntry, account_ids, entry_legs, entry_parameters
from ledger.transactions import transaction


class HoldState(Enum):
    """What became of a hold; an open one counts against its account's floor."""

    OPEN = "open"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class NewHold:
    """A reservation to place: minor units of the account's normal side. `key` makes a retry harmless."""

    key: str
    account: str
    amount_minor: int
    expires_at: datetime | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """A hold in the books. `is_new` is false when the key was placed before with the same content."""

    key: str
    hold_id: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class HoldPosting:
    """Post the hold `key` by `entry`, which draws just this amount from the held account.

    `amount_minor` None: all of it. What is not posted is released. Several holds may share one entry (the same key).
    """

    key: str
    entry: NewEntry
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it stands. Amounts in minor units of `currency`."""

    hold_id: int
    key: str
    account: str
    currency: str
    exponent: int
    amount_minor: int
    state: HoldState
    posted_minor: int
    entry_key: str | None
    expires_at: datetime | None
    reference: str | None


def place_holds(conn: Connection, *, book_id: int, holds: Sequence[NewHold]) -> tuple[PlacedHold, ...]:
    """Reserve all holds or none. Placing the same holds again returns them and changes nothing.

    Raises `FloorError` when an account has too little left above its floor, `UnknownAccountError`,
    `IdempotencyConflictError`, `HoldError` (no amount, a control account).
    """
    _require_zones(*(h.expires_at for h in holds))
    with transaction(conn):
        accounts = account_ids(conn, book_id=book_id, codes=sorted({h.account for h in holds}))
        rows = conn.execute(
            "SELECT hold_id, is_new FROM ledger.place_holds(%s, %s, %s, %s, %s::timestamptz[], %s)"
            " ORDER BY hold_ordinal",
            (
                book_id,
                text_array([h.key for h in holds]),
                int4_array([accounts[h.account] for h in holds]),
                amount_array([h.amount_minor for h in holds]),
                [h.expires_at for h in holds],
                nullable_text_array([h.reference for h in holds]),
            ),
        ).fetchall()
    placed: list[tuple[int, bool]] = rows  # type: ignore[assignment]
    return tuple(PlacedHold(h.key, hold_id, is_new) for h, (hold_id, is_new) in zip(holds, placed, strict=True))


def post_holds(
    conn: Connection, *, book_id: int, postings: Sequence[HoldPosting], at: datetime, source_id: int | None = None
) -> tuple[PostedEntry, ...]:
    """Post holds at a business time, all or none; returns the entries in order of first appearance.

    Doing the same again returns the same entries. Raises `HoldError` (no such hold, already resolved otherwise,
    expired at that time, an entry that does not draw what its holds post) and whatever posting an entry raises.
    """
    _require_zones(at)
    entries = list({p.entry.key: p.entry for p in postings}.values())
    place = {entry.key: n for n, entry in enumerate(entries, start=1)}
    for posting in postings:
        if entries[place[posting.entry.key] - 1] != posting.entry:
            raise HoldError(f"entry {posting.entry.key} is given twice with different content.")
    with transaction(conn):
        parameters = entry_parameters(entry_legs(conn, book_id=book_id, entries=entries))
        rows = conn.execute(
            "SELECT entry_id, first_posting_id, is_new FROM ledger.post_holds("
            "%s, %s, %s, %s, %s::bigint[], %s, %s, %s, %s, %s, %s, %s, %s) ORDER BY entry_ordinal",
            (
                book_id,
                source_id,
                at,
                text_array([p.key for p in postings]),
                [p.amount_minor for p in postings],
                int4_array([place[p.entry.key] for p in postings]),
                *parameters,
            ),
        ).fetchall()
    found: list[tuple[int, int, bool]] = rows  # type: ignore[assignment]
    return tuple(PostedEntry(entry.key, *row) for entry, row in zip(entries, found, strict=True))


def void_holds(conn: Connection, *, book_id: int, keys: Sequence[str], at: datetime) -> int:
    """Give holds up, all or none; returns how many this call voided (a repeat: 0).

    Raises `HoldError` when one does not exist or was posted or has expired.
    """
    _require_zones(at)
    with transaction(conn):
        row = conn.execute("SELECT ledger.void_holds(%s, %s, %s)", (book_id, text_array(list(keys)), at)).fetchone()
    assert row is not None
    return int(str(row[0]))


def expire_due(conn: Connection, *, book_id: int, now: datetime, limit: int = 10_000) -> tuple[str, ...]:
    """Expire what is due at business time `now`, the earliest first; returns the keys of at most `limit` holds.

    Holds that somebody resolves at this moment are left to them; call again until nothing comes back.
    """
    _require_zones(now)
    with transaction(conn):
        rows = conn.execute(
            "SELECT idempotency_key FROM ledger.expire_due(%s, %s, %s)", (book_id, now, limit)
        ).fetchall()
    return tuple(str(key) for (key,) in rows)


_LIST = """
SELECT hold_id, idempotency_key, account, currency, exponent, amount_minor, state, posted_minor, entry_key, expires_at,
       reference
  FROM ledger.hold_current
 WHERE book_id = %s AND (%s::text IS NULL OR state = %s) AND (%s::text IS NULL OR account = %s)
   AND (%s::text IS NULL OR idempotency_key = %s) ORDER BY hold_id
"""


def list_holds(
    conn: Connection,
    *,
    book_id: int,
    state: HoldState | None = HoldState.OPEN,
    account: str | None = None,
    key: str | None = None,
) -> tuple[Hold, ...]:
    """Holds of a book in the order they were placed; `state` None: all. `account` and `key` narrow it."""
    wanted = None if state is None else state.value
    with translate_errors():
        rows = conn.execute(_LIST, (book_id, wanted, wanted, account, account, key, key)).fetchall()
    return tuple(Hold(*row[:6], HoldState(row[6]), *row[7:]) for row in rows)  # type: ignore[arg-type, call-arg]


def _require_zones(*moments: datetime | None) -> None:
    for moment in moments:
        if moment is not None and moment.tzinfo is None:
            raise HoldError(f"business time {moment.isoformat()} has no time zone; add one, e.g. +00:00.")
