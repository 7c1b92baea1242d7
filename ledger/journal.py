"""The write path: post a batch of journal entries, reverse one.

Lives here: Python's side of `ledger.post_batch`. Must not live here: rules (they are in Postgres), files
(`ledger.importing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.arrays import amount_array, date_array, int4_array, nullable_text_array, text_array
from ledger.db import Connection
from ledger.errors import UnknownAccountError, translate_errors
from ledger.transactions import transaction


@dataclass(frozen=True, slots=True)
class NewPosting:
    """One leg of an entry: debit positive, credit negative, minor units of the account's currency."""

    account: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A journal entry to post. `key` makes a retry harmless: it means this entry, for ever."""

    key: str
    effective_date: date
    postings: tuple[NewPosting, ...]
    description: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """An entry in the books. `is_new` is false when the key was posted before with the same content."""

    key: str
    entry_id: int
    first_posting_id: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Legs:
    """A batch as columns: what the set-based functions of the books take. All lists of a kind are equally long.

    `leg_entry` holds 1-based positions in `keys`, ascending.
    """

    keys: list[str]
    dates: list[date]
    descriptions: list[str | None]
    references: list[str | None]
    source_lines: list[int] | None
    leg_entry: list[int]
    leg_account: list[int]
    leg_amount: list[int]


_POST = "SELECT batch_id, new_count FROM ledger.post_counted(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_KNOWN = """
SELECT k.n, e.entry_id, e.first_posting_id
  FROM unnest(%s::text[]) WITH ORDINALITY AS k (key, n)
  JOIN ledger.entry e ON e.book_id = %s AND e.idempotency_key = k.key ORDER BY k.n
"""
BATCH_BITS = 20  # an id is (batch_id << BATCH_BITS) + position in the batch


def post_columns(conn: Connection, *, book_id: int, source_id: int | None, legs: Legs) -> tuple[int, int]:
    """Post a batch given as columns; returns (batch id, number of new entries)."""
    parameters = (
        book_id,
        source_id,
        text_array(legs.keys),
        date_array(legs.dates),
        nullable_text_array(legs.descriptions),
        nullable_text_array(legs.references),
        None if legs.source_lines is None else int4_array(legs.source_lines),
        int4_array(legs.leg_entry),
        int4_array(legs.leg_account),
        amount_array(legs.leg_amount),
    )
    with translate_errors():
        row: tuple[int, int] | None = conn.execute(_POST, parameters).fetchone()  # type: ignore[assignment]
    assert row is not None
    return row


def _posted(conn: Connection, book_id: int, legs: Legs, batch_id: int, new_count: int) -> tuple[PostedEntry, ...]:
    """The entry of every key, from the ids' arithmetic when all are new, else from the books."""
    base = batch_id << BATCH_BITS
    if new_count == len(legs.keys):
        first: dict[int, int] = {}
        for ordinal, position in enumerate(legs.leg_entry):
            first.setdefault(position, base + ordinal)
        return tuple(PostedEntry(key, base + n, first[n + 1], True) for n, key in enumerate(legs.keys))
    with translate_errors():
        rows = conn.execute(_KNOWN, (text_array(legs.keys), book_id)).fetchall()
    found: list[tuple[int, int, int]] = rows  # type: ignore[assignment]
    return tuple(
        PostedEntry(legs.keys[n - 1], entry_id, posting_id, entry_id == base + n - 1)
        for n, entry_id, posting_id in found
    )


def post_batch(
    conn: Connection, *, book_id: int, entries: Sequence[NewEntry], source_id: int | None = None
) -> tuple[PostedEntry, ...]:
    """Post all entries or none, in one transaction of its own (or inside the caller's).

    Raises the errors of `ledger.errors`: unbalanced, unknown or control account, closed period, floor,
    idempotency conflict. Posting the same entries again returns the originals and changes nothing.
    """
    with transaction(conn):
        accounts = account_ids(conn, book_id=book_id, codes=sorted({p.account for e in entries for p in e.postings}))
        legs = Legs([], [], [], [], None, [], [], [])
        for position, entry in enumerate(entries, start=1):
            legs.keys.append(entry.key)
            legs.dates.append(entry.effective_date)
            legs.descriptions.append(entry.description)
            legs.references.append(entry.reference)
            for posting in entry.postings:
                legs.leg_entry.append(position)
                legs.leg_account.append(accounts[posting.account])
                legs.leg_amount.append(posting.amount_minor)
        batch_id, new_count = post_columns(conn, book_id=book_id, source_id=source_id, legs=legs)
        return _posted(conn, book_id, legs, batch_id, new_count)


def account_ids(conn: Connection, *, book_id: int, codes: Sequence[str]) -> dict[str, int]:
    """Ids by code.

    Raises `UnknownAccountError` naming every code that does not exist.
    """
    rows = conn.execute(
        "SELECT code, account_id FROM ledger.account WHERE book_id = %s AND code = ANY(%s)",
        (book_id, list(codes)),
    ).fetchall()
    found = {str(code): int(str(account_id)) for code, account_id in rows}
    missing = [code for code in codes if code not in found]
    if missing:
        raise UnknownAccountError(f"unknown account {', '.join(missing[:10])}; open it or declare a rule for it.")
    return found


def reverse(conn: Connection, *, book_id: int, key: str, effective_date: date, reason: str) -> int:
    """Reverse the entry with this key whole and return the reversal's entry id; again: the same one.

    Raises `ClosedPeriodError`, `ControlAccountError` (only the owning module reverses its entries),
    `RefusedError` (no such entry).
    """
    with transaction(conn):
        row = conn.execute("SELECT ledger.reverse(%s, %s, %s, %s)", (book_id, key, effective_date, reason)).fetchone()
    assert row is not None
    return int(str(row[0]))
