"""Lineage: from a posting to the cent on the bank statement, and back.

Lives here: asking for it. The answer is `recon.trace` and `recon.payout_bank_entry` in the database. Must not live
here: anything that writes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, translate_errors
from recon.errors import TraceUnknownError

_TRACE = """
SELECT chain, step, kind, reference, day, amount_minor, currency, exponent, posting_id, account, detail, sha256
  FROM recon.trace(%s, %s, %s)
"""
_BANK_ENTRIES = """
SELECT instruction_id, kind, booking_date, bank_reference, line_minor, stmt_id, line_ordinal, detail_ordinal,
       file_sha256
  FROM recon.payout_bank_entry WHERE book_id = %s AND instruction_id = ANY (%s)
 ORDER BY instruction_id, kind, booking_date, stmt_id, line_ordinal, detail_ordinal
"""
PAYMENTS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One step between a posting and the bank. `chain` is the payment's number, None beside payments.

    `amount_minor` of a posting is debit +; of a statement line the bank's view, credit +. `step` orders a chain; from
    120 on it tells how a payment came back. `sha256` is the hash of the file the step is from.
    """

    chain: int | None
    step: int
    kind: str
    reference: str | None
    day: dt.date | None
    amount_minor: int | None
    currency: str | None
    exponent: int | None
    posting_id: int | None
    account: str | None
    detail: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Every step that a key leads to, chain by chain."""

    key: str
    steps: tuple[TraceStep, ...]

    @property
    def payments(self) -> tuple[int, ...]:
        """The payments it leads to."""
        return tuple(sorted({step.chain for step in self.steps if step.chain is not None}))


@dataclass(frozen=True, slots=True, kw_only=True)
class BankEntry:
    """The statement line that showed a payment (`kind` payout) or brought it back. `line_minor`: credit +, and of all
    the payments of a batch."""

    instruction_id: int
    kind: str
    booking_date: dt.date
    bank_reference: str | None
    line_minor: int
    stmt_id: str
    line_ordinal: int
    detail_ordinal: int
    file_sha256: str


def trace(conn: Connection, *, book_id: int, key: str, payments_max: int = PAYMENTS_MAX) -> Trace:
    """Follow a posting, a payment or a bank line both ways.

    `key`: a posting's number, an entry's key, an EndToEndId, UETR or MsgId, an acquirer's payout, or a bank line by its
    reference or as statement/entry[/detail]. At most `payments_max` payments (a bank line may be a whole file).
    Raises `TraceUnknownError` when the book knows nothing of that name.
    """
    with translate_errors(), conn.cursor(row_factory=class_row(TraceStep)) as cursor:
        steps = cursor.execute(_TRACE, (book_id, key, payments_max)).fetchall()
    if not steps:
        raise TraceUnknownError(
            f"nothing that was paid or that a bank showed is called {key!r}; give a posting's number, an entry's key, "
            "an EndToEndId, a MsgId, or a bank line's reference."
        )
    return Trace(key=key, steps=tuple(steps))


def bank_entries(conn: Connection, *, book_id: int, instruction_ids: Sequence[int]) -> dict[int, list[BankEntry]]:
    """The statement lines of payments, by payment; a payment that no statement has cleared is not there."""
    with translate_errors(), conn.cursor(row_factory=class_row(BankEntry)) as cursor:
        rows = cursor.execute(_BANK_ENTRIES, (book_id, list(instruction_ids))).fetchall()
    found: dict[int, list[BankEntry]] = {}
    for row in rows:
        found.setdefault(row.instruction_id, []).append(row)
    return found
