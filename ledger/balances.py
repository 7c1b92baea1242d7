"""What the books say: balances, account statements, trial balance; as of a date, as known at a moment.

Lives here: reads. Must not live here: anything that posts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ledger.db import Connection
from ledger.errors import RefusedError, UnknownAccountError, translate_errors
from ledger.money import format_amount
from ledger.transactions import transaction


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A point of knowledge order: everything committed up to `seq`, published at `published_at`."""

    seq: int
    published_at: datetime


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One account's balance. `posted_minor` is debit-positive; `balance_minor` positive on the normal side.

    `held_minor` is what open holds keep of it now; None where a date or a point of knowledge was asked for.
    """

    code: str
    type: str
    currency: str
    exponent: int
    posted_minor: int
    balance_minor: int
    held_minor: int | None = None

    @property
    def text(self) -> str:
        """The balance on its normal side, as decimal text."""
        return format_amount(self.balance_minor, self.exponent)


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One posting of an account statement with the running balance after it (normal side)."""

    effective_date: date
    key: str
    amount_minor: int
    balance_minor: int
    description: str | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class StatementCursor:
    """Where a page ended: the date and id of its last posting, and the balance after it (normal side)."""

    day: date
    posting_id: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Postings of a statement from some point on; `more` is where the next page begins, None at the end."""

    opening_minor: int
    rows: tuple[StatementRow, ...]
    more: StatementCursor | None


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Every account with postings, and the sums that must be zero, one a currency (debit positive)."""

    rows: tuple[AccountBalance, ...]
    totals_minor: dict[str, int]

    @property
    def is_zero(self) -> bool:
        """Whether debits equal credits in every currency."""
        return all(total == 0 for total in self.totals_minor.values())


_TRIAL_BALANCE = """
SELECT a.code, a.type, c.code, c.exponent, b.posted_minor, a.normal_side
  FROM ledger.balances_at(%s, %s, %s) b
  JOIN ledger.account a USING (account_id) JOIN ledger.currency c USING (currency_id) ORDER BY a.code
"""
_BALANCE_AT = """
SELECT a.code, a.type, c.code, c.exponent, coalesce(ledger.balance_at(a.account_id, %s, %s), 0), a.normal_side
  FROM ledger.account a JOIN ledger.currency c USING (currency_id)
 WHERE a.book_id = %s AND (a.code = %s OR starts_with(a.code, %s)) ORDER BY a.code
"""
_PAGE = """
SELECT effective_date, posting_id, idempotency_key, amount_minor, description, reference
  FROM ledger.statement_page(%s, %s, %s, %s, %s, %s)
"""


def publish(conn: Connection) -> int:
    """Run the sequencer: number what has committed since the last run, roll it up, fold it. Returns the last number."""
    with transaction(conn):
        row = conn.execute("SELECT ledger.publish_and_roll_up()").fetchone()
        conn.execute("SELECT ledger.fold_deferred()")
    assert row is not None
    return int(str(row[0]))


def knowledge_at(conn: Connection, moment: datetime) -> Knowledge:
    """The last point published at or before ``moment`` (which needs a time zone).

    Raises `RefusedError` when nothing was published by then.
    """
    if moment.tzinfo is None:
        raise RefusedError(f"the moment {moment.isoformat()} has no time zone; add one, e.g. +00:00.")
    publish(conn)
    row = conn.execute(
        "SELECT last_seq, published_at FROM ledger.publication"
        " WHERE published_at <= %s ORDER BY publication_id DESC LIMIT 1",
        (moment,),
    ).fetchone()
    if row is None:
        raise RefusedError(f"nothing was known at {moment.isoformat()}; the books begin later.")
    return Knowledge(seq=int(str(row[0])), published_at=row[1])  # type: ignore[arg-type]


def _accounts(rows: Iterable[tuple[object, ...]]) -> tuple[AccountBalance, ...]:
    """Rows of code, type, currency, exponent, posted and normal side."""
    return tuple(
        AccountBalance(*facts, posted, posted * side)  # type: ignore[arg-type, operator, call-arg]
        for *facts, posted, side in rows
    )


def trial_balance(
    conn: Connection, *, book_id: int, as_of: date | None = None, known: Knowledge | None = None
) -> TrialBalance:
    """All accounts with postings, by code; from the rollup of published postings and the tail not yet rolled up."""
    with translate_errors():
        found = conn.execute(_TRIAL_BALANCE, (book_id, as_of, None if known is None else known.seq)).fetchall()
    rows = _accounts(found)
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.currency] = totals.get(row.currency, 0) + row.posted_minor
    return TrialBalance(rows=rows, totals_minor=totals)


def balance(
    conn: Connection, *, book_id: int, account: str, as_of: date | None = None, known: Knowledge | None = None
) -> tuple[AccountBalance, ...]:
    """The balance of an account, or of every account below a prefix of its code (``liabilities:payable``).

    Without ``as_of`` and ``known`` this reads the running balance rows. Raises `UnknownAccountError`.
    """
    if as_of is None and known is None:
        rows = conn.execute(
            "SELECT code, type, currency, exponent, posted_minor, balance_minor, held_minor FROM ledger.account_balance"
            " WHERE book_id = %s AND (code = %s OR starts_with(code, %s)) ORDER BY code",
            (book_id, account, account.rstrip(":") + ":"),
        ).fetchall()
        found = tuple(AccountBalance(*row) for row in rows)  # type: ignore[arg-type]
    else:
        with translate_errors():
            cut = (as_of, None if known is None else known.seq, book_id, account, account.rstrip(":") + ":")
            found = _accounts(conn.execute(_BALANCE_AT, cut).fetchall())
    if not found:
        raise UnknownAccountError(f"there is no account {account!r}; see `nostro trial-balance` for the codes.")
    return found


def _account_side(conn: Connection, book_id: int, account: str) -> tuple[int, int]:
    """(id, normal side) of an account."""
    found = conn.execute(
        "SELECT account_id, normal_side FROM ledger.account WHERE book_id = %s AND code = %s",
        (book_id, account),
    ).fetchone()
    if found is None:
        raise UnknownAccountError(f"there is no account {account!r}; see `nostro trial-balance` for the codes.")
    return int(str(found[0])), int(str(found[1]))


def statement(
    conn: Connection, *, book_id: int, account: str, as_of: date | None = None, known: Knowledge | None = None
) -> Iterator[StatementRow]:
    """An account's postings in effective order with the running balance on the normal side.

    Raises `UnknownAccountError`.
    """
    from ledger.statement_query import statement_query  # SQLAlchemy takes longer to load than a statement to read

    account_id, side = _account_side(conn, book_id, account)
    query, parameters = statement_query(account_id, as_of, None if known is None else known.seq)
    with translate_errors():
        found = conn.execute(query, parameters).fetchall()
    running = 0
    for day, key, amount, description, reference in found:
        running += side * int(str(amount))
        yield StatementRow(day, str(key), side * int(str(amount)), running, description, reference)  # type: ignore[arg-type]


def statement_page(
    conn: Connection,
    *,
    book_id: int,
    account: str,
    start: date | StatementCursor,
    limit: int,
    as_of: date | None = None,
    known: Knowledge | None = None,
) -> StatementPage:
    """At most ``limit`` postings of a statement, from a date or from where the page before ended.

    The cost is that of the page, not of the account: the opening balance comes from the rollup.
    Raises `UnknownAccountError`.
    """
    account_id, side = _account_side(conn, book_id, account)
    seq = None if known is None else known.seq
    with translate_errors():
        if isinstance(start, StatementCursor):
            day, after, opening = start.day, start.posting_id, start.balance_minor
        else:
            day, after = start, None
            eve = None if start == date.min else start - timedelta(days=1)
            row = conn.execute("SELECT ledger.balance_at(%s, %s, %s)", (account_id, eve, seq)).fetchone()
            opening = 0 if eve is None or row is None or row[0] is None else side * int(str(row[0]))
        found = conn.execute(_PAGE, (account_id, day, after, as_of or date.max, seq, limit)).fetchall()
    running, rows = opening, []
    for when, _, key, amount, description, reference in found:
        running += side * int(str(amount))
        rows.append(StatementRow(when, str(key), side * int(str(amount)), running, description, reference))  # type: ignore[arg-type]
    more = StatementCursor(*found[-1][:2], running) if 0 < limit == len(rows) else None  # type: ignore[arg-type, call-arg]
    return StatementPage(opening, tuple(rows), more)
