"""What later knowledge changed: the balances as of a date, as known then and as known now.

Lives here: the report between two points of knowledge order. Must not live here: balances themselves
(`ledger.balances`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ledger.balances import Knowledge
from ledger.db import Connection
from ledger.errors import RefusedError, translate_errors


@dataclass(frozen=True, slots=True)
class RestatedBalance:
    """An account whose balance as of the date changed; amounts on the normal side, minor units."""

    code: str
    currency: str
    exponent: int
    before_minor: int
    after_minor: int

    @property
    def change_minor(self) -> int:
        """After minus before."""
        return self.after_minor - self.before_minor


@dataclass(frozen=True, slots=True)
class RestatingPosting:
    """A posting that came to be known between the two points; debit positive, minor units."""

    key: str
    effective_date: date
    account: str
    amount_minor: int
    currency: str
    exponent: int
    description: str | None


@dataclass(frozen=True, slots=True)
class Restatement:
    """The difference between two views of one date: accounts that changed, and the postings that changed them."""

    as_of: date
    before: Knowledge
    after: Knowledge
    balances: tuple[RestatedBalance, ...]
    postings: tuple[RestatingPosting, ...]


_BALANCES = """
SELECT a.code, c.code, c.exponent, a.normal_side * r.before_minor, a.normal_side * r.after_minor
  FROM ledger.restated(%s, %s, %s, %s) r
  JOIN ledger.account a USING (account_id) JOIN ledger.currency c USING (currency_id) ORDER BY a.code
"""
_POSTINGS = """
SELECT p.idempotency_key, p.effective_date, a.code, p.amount_minor, c.code, c.exponent, p.description
  FROM ledger.restating_postings(%s, %s, %s, %s) WITH ORDINALITY p
  JOIN ledger.account a USING (account_id) JOIN ledger.currency c USING (currency_id) ORDER BY p.ordinality
"""


def restatement(conn: Connection, *, book_id: int, as_of: date, before: Knowledge, after: Knowledge) -> Restatement:
    """What the books say of a date at ``after`` and did not at ``before``.

    Postings that cancel out (an entry and its reversal) are listed although no balance changed. The postings of an
    account add up to its change. Raises `RefusedError` when ``after`` lies before ``before``.
    """
    if after.seq < before.seq:
        raise RefusedError(f"the second point ({after.seq}) lies before the first ({before.seq}); swap them.")
    cut = (book_id, as_of, before.seq, after.seq)
    with translate_errors():
        balances = conn.execute(_BALANCES, cut).fetchall()
        postings = conn.execute(_POSTINGS, cut).fetchall()
    return Restatement(
        as_of=as_of,
        before=before,
        after=after,
        balances=tuple(RestatedBalance(*row) for row in balances),  # type: ignore[arg-type]
        postings=tuple(RestatingPosting(*row) for row in postings),  # type: ignore[arg-type]
    )
