"""Hot accounts: where posts write when many write on one account at once.

Lives here: Python's side of modes (`strict`, `sharded`, `deferred`) and the fold. Must not live here: rules
(`ledger/sql/032_hot.sql`), posting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.db import Connection
from ledger.transactions import transaction


class AccountMode(Enum):
    """Where a post writes: the balance row, one of some rows by connection, or a row a batch that is folded later."""

    STRICT = "strict"
    SHARDED = "sharded"
    DEFERRED = "deferred"


DEFAULT_SHARDS = 8


@dataclass(frozen=True, slots=True)
class ModeOf:
    """An account code and the mode it shall have; `shards` (2 to 64) counts for a sharded account alone."""

    code: str
    mode: AccountMode
    shards: int = DEFAULT_SHARDS


@dataclass(frozen=True, slots=True)
class HotAccount:
    """An account that is not strict: its balance is `folded_minor + outside_minor`, debit positive, minor units."""

    code: str
    mode: AccountMode
    shards: int
    folded_minor: int
    outside_minor: int
    pending_batches: int
    folded_through_seq: int | None


def set_account_modes(conn: Connection, *, book_id: int, modes: Sequence[ModeOf]) -> int:
    """Give accounts their modes; waits for posts under way in the book. Returns the number that changed.

    Raises `RefusedError` for an account with a floor or a ceiling and for a control account (they stay strict),
    `UnknownAccountError`.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT ledger.set_account_modes(%s, %s, %s, %s::int[])",
            (
                book_id,
                [m.code for m in modes],
                [m.mode.value for m in modes],
                [m.shards if m.mode is AccountMode.SHARDED else None for m in modes],
            ),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def hot_accounts(conn: Connection, *, book_id: int) -> tuple[HotAccount, ...]:
    """The accounts of a book that are not strict, by code."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT code, mode, shards, folded_minor, outside_minor, pending_batches, folded_through_seq"
            " FROM ledger.hot_account WHERE book_id = %s ORDER BY code",
            (book_id,),
        ).fetchall()
    return tuple(HotAccount(str(code), AccountMode(mode), *rest) for code, mode, *rest in rows)  # type: ignore[arg-type]


def fold_deferred(conn: Connection) -> int:
    """Take what is pending of published batches into the balance rows; the seq through which they are folded now."""
    with transaction(conn):
        row = conn.execute("SELECT ledger.fold_deferred()").fetchone()
    assert row is not None
    return int(str(row[0]))
