"""What waits on suspense accounts: each open item with its age and the break it came from.

Lives here: which accounts these are and reading their items. Must not live here: what an item is (Postgres), closing
one (an entry with the item's reference takes it on).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, translate_errors
from recon.templates import TEMPLATES


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """Everything that a suspense account has under one reference, where it does not sum to zero.

    `reference`: the number of the break whose entry put it there, else the entry's own. `code` and `reason`: of that
    break's approved proposal. `amount_minor`: minor units of `currency`, positive where it is owed to us. `age_days`:
    Mondays to Fridays since its first posting; `bucket` of it as breaks have.
    """

    account: str
    currency: str
    exponent: int
    reference: str
    code: str | None
    reason: str | None
    amount_minor: int
    posting_count: int
    since: dt.date
    age_days: int
    bucket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseBucket:
    """Items of one account and age; `amount_minor` is their sum."""

    account: str
    bucket: str
    item_count: int
    currency: str
    exponent: int
    amount_minor: int


def suspense_items(conn: Connection, *, book_id: int, as_of: dt.date) -> list[SuspenseItem]:
    """Open items of every account of a template that waits, up to an accounting day, the oldest first."""
    prefixes = [template.account_prefix for template in TEMPLATES.values() if template.waits]
    with translate_errors(), conn.cursor(row_factory=class_row(SuspenseItem)) as cursor:
        return cursor.execute("SELECT * FROM recon.suspense_items(%s, %s, %s)", (book_id, prefixes, as_of)).fetchall()


def suspense_buckets(items: Iterable[SuspenseItem]) -> list[SuspenseBucket]:
    """What each account has of each age, the oldest first."""
    found: dict[tuple[str, str], list[SuspenseItem]] = {}
    for item in items:
        found.setdefault((item.account, item.bucket), []).append(item)
    return [
        SuspenseBucket(
            account=account,
            bucket=bucket,
            item_count=len(inside),
            currency=inside[0].currency,
            exponent=inside[0].exponent,
            amount_minor=sum(item.amount_minor for item in inside),
        )
        for (account, bucket), inside in found.items()
    ]
