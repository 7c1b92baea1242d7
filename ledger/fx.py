"""Exchange between currencies, its realised and unrealised result, and the books in the functional currency.

Lives here: Python's side of `ledger.exchange` and `ledger.revalue`. Must not live here: arithmetic on rates (it is in
Postgres, in exact fractions), rates themselves (`ledger.currencies`). docs/accounting.md shows the entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ledger.balances import Knowledge
from ledger.db import Connection
from ledger.errors import RefusedError, translate_errors
from ledger.transactions import transaction

MAX_AGE_DAYS = 5  # Maundy Thursday's rate still serves on Easter Monday, and one day more
MAX_ROUNDING_MINOR = 1


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange in the books; amounts positive, in minor units of their currency.

    ``rounding_minor``: bought beyond what the rate gives, on the rounding account. ``residue_minor``: what rounding to
    whole minor units added to the exact amount (None without a rate). ``realised_minor``: gain in the functional
    currency, loss negative. ``rate_ids``: the recorded rates that were used.
    """

    entry_id: int
    key: str
    effective_date: date
    sold_account: str
    sold_minor: int
    sold_currency: str
    sold_exponent: int
    bought_account: str
    bought_minor: int
    bought_currency: str
    bought_exponent: int
    rounding_minor: int
    residue_minor: Decimal | None
    realised_minor: int
    rate_ids: tuple[int, ...]
    is_reversed: bool


@dataclass(frozen=True, slots=True)
class Position:
    """What a book holds of a foreign currency by exchange, on a date.

    ``book_value_minor`` is its average cost and ``market_value_minor`` its value at the rate, in the functional
    currency; of their difference, ``posted_minor`` is in the books for that date.
    """

    currency: str
    exponent: int
    position_minor: int
    rate_ids: tuple[int, ...]
    numerator: Decimal | None
    denominator: Decimal | None
    rate_date: date | None
    book_value_minor: int
    market_value_minor: int
    posted_minor: int

    @property
    def gain_minor(self) -> int:
        """The unrealised gain, loss negative."""
        return self.market_value_minor - self.book_value_minor


@dataclass(frozen=True, slots=True)
class Revaluation:
    """The positions of a date in the functional currency, and how many entries this call posted for it."""

    revalued_on: date
    currency: str
    exponent: int
    positions: tuple[Position, ...]
    entries_posted: int


@dataclass(frozen=True, slots=True)
class FunctionalBalance:
    """One account's balance, debit positive: in its own currency and in the functional one."""

    code: str
    type: str
    currency: str
    exponent: int
    posted_minor: int
    functional_minor: int
    rate_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FunctionalTrialBalance:
    """Every account in the functional currency. Debits and credits differ by the translation difference alone.

    That is what rounding every balance leaves. ``trading_minor`` is the sum of the trading accounts, so the unrealised
    result that is not in income (gains negative): near zero on a date that was revalued.
    """

    as_of: date
    currency: str
    exponent: int
    rows: tuple[FunctionalBalance, ...]
    translation_difference_minor: int
    trading_minor: int


# --- exchange ------------------------------------------------------------------------------------------------------

_EXCHANGES = """
SELECT entry_id, idempotency_key, effective_date, sold_account, sold_minor, sold_currency, sold_exponent,
       bought_account, bought_minor, bought_currency, bought_exponent, rounding_minor, residue_minor, realised_minor,
       rate_ids, is_reversed
  FROM ledger.exchange_current WHERE book_id = %s AND (%s::bigint IS NULL OR entry_id = %s) ORDER BY entry_id
"""


def exchange(
    conn: Connection,
    *,
    book_id: int,
    key: str,
    effective_date: date,
    sold_account: str,
    bought_account: str,
    sold_minor: int | None = None,
    bought_minor: int | None = None,
    rate: Decimal | None = None,
    rate_base: str | None = None,
    at_market: bool = False,
    max_age_days: int = MAX_AGE_DAYS,
    max_rounding_minor: int = MAX_ROUNDING_MINOR,
    description: str | None = None,
) -> Exchange:
    """Sell money from one account for money of another currency on another, by one entry through trading accounts.

    Give both amounts; or one and ``rate``, what one unit of ``rate_base`` (one of the two currencies) costs in the
    other; or one and ``at_market``, the recorded rate of the date. An amount from a rate is rounded half to even. Both
    amounts and a rate: the difference is posted to the rounding account, up to ``max_rounding_minor``. What closes a
    position is realised at weighted average cost, in the order of posting. Again with the same key: the original.

    Raises `RateError` (none, too old, or far from the amounts), `AmountError`, `UnknownAccountError`,
    `IdempotencyConflictError`, and what `post_batch` raises.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT ledger.exchange(%s, %s, %s, %s, %s, %s, %s::bigint, %s::bigint, %s::numeric, %s::text, %s, %s, %s)",
            (
                *(book_id, key, effective_date, description, sold_account, bought_account),
                *(sold_minor, bought_minor, rate, rate_base, at_market, max_age_days, max_rounding_minor),
            ),
        ).fetchone()
        assert row is not None
        (found,) = _exchanges(conn.execute(_EXCHANGES, (book_id, row[0], row[0])).fetchall())
    return found


def exchanges(conn: Connection, *, book_id: int) -> tuple[Exchange, ...]:
    """Every exchange of a book in the order of posting."""
    with translate_errors():
        return _exchanges(conn.execute(_EXCHANGES, (book_id, None, None)).fetchall())


def _exchanges(rows: Iterable[tuple[object, ...]]) -> tuple[Exchange, ...]:
    return tuple(Exchange(*facts, tuple(ids), reversed_) for *facts, ids, reversed_ in rows)  # type: ignore[arg-type, call-arg]


def reverse_exchange(conn: Connection, *, book_id: int, key: str, effective_date: date, reason: str) -> int:
    """Take an exchange back whole, with its cost and realised result as posted; gives the reversal's entry id.

    Results of later exchanges stay as they are: average cost goes on from what the books then hold.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT ledger.reverse_exchange(%s, %s, %s, %s)", (book_id, key, effective_date, reason)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


# --- revaluation ---------------------------------------------------------------------------------------------------

_FUNCTIONAL = """
SELECT c.code, c.exponent FROM ledger.book b JOIN ledger.currency c ON c.currency_id = b.functional_currency_id
 WHERE b.book_id = %s
"""
_POSITIONS = """
SELECT c.code, c.exponent, p.position_minor, p.rate_ids, p.numerator, p.denominator, p.rate_date, p.book_value_minor,
       p.market_value_minor, p.posted_minor
  FROM ledger.positions_at(%s, %s, %s, %s, %s) p JOIN ledger.currency c USING (currency_id) ORDER BY c.code
"""


def revaluation(
    conn: Connection,
    *,
    book_id: int,
    on: date,
    max_age_days: int = MAX_AGE_DAYS,
    known_at: datetime | None = None,
    source: str | None = None,
) -> Revaluation:
    """Every position on a date at that date's rates: what `revalue` would post, and what is posted already.

    ``known_at`` takes rates as recorded then, ``source`` of one source only. Raises `RateError`.
    """
    with transaction(conn):
        return _revaluation(conn, book_id, on, max_age_days, known_at, source, posted=0)


def revalue(
    conn: Connection,
    *,
    book_id: int,
    on: date,
    max_age_days: int = MAX_AGE_DAYS,
    known_at: datetime | None = None,
    source: str | None = None,
) -> Revaluation:
    """Post the unrealised result of every position on a date, each taken back the day after; again: nothing.

    When a late exchange or a corrected rate has changed a position or its value since, the difference is posted.
    Raises `RateError`, `ClosedPeriodError`.
    """
    with transaction(conn):
        row = conn.execute(
            "SELECT ledger.revalue(%s, %s, %s, %s, %s)", (book_id, on, max_age_days, known_at, source)
        ).fetchone()
        assert row is not None
        return _revaluation(conn, book_id, on, max_age_days, known_at, source, posted=int(str(row[0])))


def _revaluation(
    conn: Connection,
    book_id: int,
    on: date,
    max_age_days: int,
    known_at: datetime | None,
    source: str | None,
    *,
    posted: int,
) -> Revaluation:
    code, exponent = _functional(conn, book_id)
    rows = conn.execute(_POSITIONS, (book_id, on, max_age_days, known_at, source)).fetchall()
    positions = tuple(Position(*row[:3], tuple(row[3]), *row[4:]) for row in rows)  # type: ignore[arg-type, call-arg]
    return Revaluation(on, code, exponent, positions, posted)


def _functional(conn: Connection, book_id: int) -> tuple[str, int]:
    row = conn.execute(_FUNCTIONAL, (book_id,)).fetchone()
    if row is None:
        raise RefusedError(f"there is no book {book_id}; run `nostro setup FILE.yaml` first.")
    return str(row[0]), int(str(row[1]))


# --- the books in the functional currency --------------------------------------------------------------------------

_TRANSLATED = """
SELECT a.code, a.type, c.code, c.exponent, t.posted_minor, t.functional_minor, t.rate_ids,
       a.control IS NOT DISTINCT FROM 'trading'
  FROM ledger.translated_balances(%s, %s, %s, %s, %s, %s) t JOIN ledger.account a USING (account_id)
  JOIN ledger.currency c USING (currency_id) ORDER BY a.code
"""


def functional_trial_balance(
    conn: Connection,
    *,
    book_id: int,
    as_of: date,
    known: Knowledge | None = None,
    max_age_days: int = MAX_AGE_DAYS,
    known_at: datetime | None = None,
    source: str | None = None,
) -> FunctionalTrialBalance:
    """All accounts with postings as of a date, translated at that date's rates (half to even), by code.

    ``known`` cuts postings by knowledge, ``known_at`` rates. Raises `RateError`.
    """
    with transaction(conn):
        code, exponent = _functional(conn, book_id)
        seq = None if known is None else known.seq
        found = conn.execute(_TRANSLATED, (book_id, as_of, seq, max_age_days, known_at, source)).fetchall()
    rows = tuple(FunctionalBalance(*row[:6], tuple(row[6])) for row in found)  # type: ignore[arg-type, call-arg]
    trading = sum(row.functional_minor for row, (*_, is_trading) in zip(rows, found, strict=True) if is_trading)
    return FunctionalTrialBalance(as_of, code, exponent, rows, sum(r.functional_minor for r in rows), trading)
