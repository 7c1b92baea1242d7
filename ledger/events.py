"""Events: every committed entry exactly once, in knowledge order, and how far each consumer has read.

Lives here: reading published entries and moving consumers. Must not live here: numbering (the sequencer,
`ledger.publish`), transports (`nostro.kafka`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

from ledger.db import Connection
from ledger.errors import translate_errors
from ledger.money import format_amount
from ledger.transactions import transaction

PAGE = 1000  # events read by one query


@dataclass(frozen=True, slots=True)
class EventPosting:
    """A leg: debit positive, credit negative, minor units."""

    posting_id: int
    account: str
    amount_minor: int
    currency: str
    exponent: int


@dataclass(frozen=True, slots=True)
class Event:
    """A committed entry. `seq` counts from 1 without a gap and never changes, here or in a restored copy."""

    seq: int
    published_at: datetime
    entry_id: int
    book_id: int
    key: str
    effective_date: date
    module: str | None
    recorded_at: datetime
    recorded_by: str
    reverses_entry_id: int | None
    description: str | None
    reference: str | None
    postings: tuple[EventPosting, ...]

    def json(self) -> str:
        """The event as one line of JSON; ids are numbers, amounts exact decimal text, debit positive."""
        body = {
            "seq": self.seq,
            "published_at": self.published_at.isoformat(),
            "entry_id": self.entry_id,
            "book_id": self.book_id,
            "key": self.key,
            "effective_date": self.effective_date.isoformat(),
            "module": self.module,
            "recorded_at": self.recorded_at.isoformat(),
            "recorded_by": self.recorded_by,
            "reverses_entry_id": self.reverses_entry_id,
            "description": self.description,
            "reference": self.reference,
            "postings": [
                {"account": p.account, "amount": format_amount(p.amount_minor, p.exponent), "currency": p.currency}
                for p in self.postings
            ],
        }
        return json.dumps(body, ensure_ascii=False)


_PUBLISHED = "SELECT coalesce(max(last_seq), 0) FROM ledger.publication"
_EVENTS = "SELECT * FROM ledger.event_page(%s, %s, %s)"
_OFFSET = "SELECT coalesce(max(seq), 0) FROM ledger.event_offset WHERE consumer = %s"


def _number(conn: Connection, query: LiteralString, *parameters: object) -> int:
    with translate_errors():
        row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return int(str(row[0]))


def published_through(conn: Connection) -> int:
    """The number of the last published event; 0 when there is none."""
    return _number(conn, _PUBLISHED)


def _event(row: tuple[object, ...]) -> Event:
    *head, posting_ids, accounts, amounts, currencies, exponents = row
    legs = zip(posting_ids, accounts, amounts, currencies, exponents, strict=True)  # type: ignore[call-overload]
    return Event(*head, tuple(EventPosting(*leg) for leg in legs))  # type: ignore[arg-type, call-arg]


def _page(conn: Connection, after_seq: int, upto_seq: int, book_id: int | None) -> list[Event]:
    with translate_errors():
        rows = conn.execute(_EVENTS, (after_seq, upto_seq, book_id)).fetchall()
    return [_event(row) for row in rows]


def events(
    conn: Connection, *, after_seq: int = 0, limit: int | None = None, book_id: int | None = None
) -> Iterator[Event]:
    """Published entries with a number above ``after_seq``, in order, of one book or of all; at most ``limit``.

    Without ``book_id`` the numbers have no gap. Ends at the last published entry: call `publish` first for what has
    just been committed. Reading changes nothing; pages of `PAGE` are read as the iterator is consumed.
    """
    last, given = published_through(conn), 0
    while after_seq < last and (limit is None or given < limit):
        wanted = PAGE if limit is None or book_id is not None else min(PAGE, limit - given)
        upto = min(last, after_seq + wanted)
        for event in _page(conn, after_seq, upto, book_id):
            yield event
            given += 1
            if given == limit:
                return
        after_seq = upto


def consumer_offset(conn: Connection, *, consumer: str) -> int:
    """The number of the last event this consumer has handled; 0 for one that has not begun."""
    return _number(conn, _OFFSET, consumer)


def advance_consumer(conn: Connection, *, consumer: str, after_seq: int, seq: int) -> None:
    """Move a consumer from ``after_seq``, where the caller read it to be, to ``seq``.

    Raises `RefusedError`: it is elsewhere (another process moved it), ``seq`` lies behind it or is not published.
    """
    with transaction(conn):
        conn.execute("SELECT ledger.advance_consumer(%s, %s, %s)", (consumer, after_seq, seq))


def take_events(conn: Connection, *, consumer: str, limit: int = PAGE) -> tuple[Event, ...]:
    """The consumer's next events, and move it past them.

    Call it inside your own ``with transaction(conn)``: the consumer stays locked, and what you write there commits
    together with its position or not at all, so each event takes effect exactly once.
    """
    with transaction(conn):
        after = _number(conn, "SELECT ledger.lock_consumer(%s)", consumer)
        taken = tuple(_page(conn, after, min(published_through(conn), after + limit), None))
        if taken:
            advance_consumer(conn, consumer=consumer, after_seq=after, seq=taken[-1].seq)
    return taken
