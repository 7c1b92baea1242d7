"""Cleared sets of a day: what matched with what, by which rule or whose word, now or as known at a point.

Lives here: reading them. Must not live here: clearing (`recon.matching`), taking back (`recon.workflow`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, transaction
from recon.knowledge import KnownAt, known_seq
from recon.report import run_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedSet:
    """A set that stands. `value_minor`: its debits on T; `rivals` and `margin` as its proof has them (None: people
    decided); `decided_by`: who approved it, where people did; `posting_ids` ascending."""

    match_set_id: int
    run_id: int
    rule: str
    rule_version: int
    bank_account: str
    currency: str
    leg_count: int
    value_minor: int
    rivals: int | None
    margin: int | None
    decided_by: str | None
    posting_ids: list[int]


def cleared_sets(
    conn: Connection, *, book_id: int, business_date: dt.date | None = None, known_at: KnownAt | None = None
) -> list[ClearedSet]:
    """The sets that count on a day (default: the last reconciled) and stand, by number.

    Raises `NoRunError` when nothing was reconciled, `RefusedError` when `known_at` is before everything.
    """
    with transaction(conn):
        seq = known_seq(conn, book_id=book_id, at=known_at)
        day = business_date or run_of(conn, book_id, None, seq)[1]
        with conn.cursor(row_factory=class_row(ClearedSet)) as cursor:
            return cursor.execute("SELECT * FROM recon.sets_at(%s, %s, %s)", (book_id, day, seq)).fetchall()
