"""The write path: post a batch of journal entries whole or each for itself, reverse one.

Lives here: Python's side of `ledger.post_batch`. Must not live here: rules (they are in Postgres), files
(`ledger.importing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum

from ledger.arrays import (
    BinaryArray,
    amount_array,
    date_array,
    int4_array,
    nullable_text_array,
    text_array,
)
from ledger.db import Connection
from ledger.errors import RefusedError, UnknownAccountError, constraint_errors, translate_errors
from ledger.transactions import transaction
from ledger.wire import PreparedCall


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


class EntryStatus(Enum):
    """What became of one entry of a batch whose entries stand for themselves."""

    POSTED = "posted"
    REPLAYED = "replayed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """One entry's result: ids when it is in the books, else the broken rule and a sentence."""

    key: str
    status: EntryStatus
    entry_id: int | None
    first_posting_id: int | None
    constraint: str | None
    message: str | None

    @property
    def error(self) -> RefusedError | None:
        """The refusal as the exception that a whole batch would have raised."""
        if self.status is not EntryStatus.REFUSED:
            return None
        cls = constraint_errors().get(self.constraint or "", RefusedError)
        said = f"entry {self.key} is refused: {self.message}"
        found = cls(said, constraint=self.constraint)
        return found if isinstance(found, RefusedError) else RefusedError(said, constraint=self.constraint)


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


_POST = "SELECT batch_id, new_count, by_key FROM ledger.post_counted(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_KNOWN = """
SELECT k.n, e.entry_id, e.first_posting_id
  FROM unnest(%s::text[]) WITH ORDINALITY AS k (key, n)
  JOIN ledger.entry e ON e.book_id = %s AND e.idempotency_key = k.key ORDER BY k.n
"""
_POST_LEGS = (
    "SELECT entry_id, first_posting_id, status, constraint_name, message"
    " FROM ledger.post_batch(%s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s) ORDER BY entry_ordinal"
)
_POST_EACH = (
    b"SELECT first_id, entry_id, first_posting_id, status, constraint_name, message"
    b" FROM ledger.post_each($1, $2, $3, $4, $5, $6, $7, $8)"
)
_POST_EACH_TYPES = (
    23,
    1009,
    1182,
    1009,
    1009,
    1007,
    1007,
    1016,
)  # int, text[], date[], text[] twice, int[] twice, bigint[]
_STATUS = {status.value: status for status in EntryStatus}
_NO_ACCOUNT = 0
BATCH_BITS = 20  # an id is (batch_id << BATCH_BITS) + position (or place by key) in the batch


def post_columns(conn: Connection, *, book_id: int, source_id: int | None, legs: Legs) -> tuple[int, int, bool]:
    """Post a batch given as columns; returns (batch id, number of new entries, whether numbered in order of keys)."""
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
        row: tuple[int, int, bool] | None = conn.execute(_POST, parameters).fetchone()  # type: ignore[assignment]
    assert row is not None
    return row


def _posted(
    conn: Connection, book_id: int, legs: Legs, batch_id: int, new_count: int, by_key: bool
) -> tuple[PostedEntry, ...]:
    """The entry of every key, from the ids' arithmetic when all are new, else from the books."""
    base = batch_id << BATCH_BITS
    if new_count == len(legs.keys):
        first: dict[int, int] = {}
        for ordinal, position in enumerate(legs.leg_entry):
            first.setdefault(position, base + ordinal)
        places = list(range(new_count))
        if by_key:  # code points order as the bytes of UTF-8 do
            for place, n in enumerate(sorted(range(new_count), key=legs.keys.__getitem__)):
                places[n] = place
        return tuple(PostedEntry(key, base + places[n], first[n + 1], True) for n, key in enumerate(legs.keys))
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

    Raises the errors of `ledger.errors`: unbalanced, unknown or control account, closed period, floor or ceiling,
    idempotency conflict; of a batch, the message names the first entry at fault. Posting the same entries again
    returns the originals and changes nothing.
    """
    try:
        with transaction(conn):
            legs = entry_legs(conn, book_id=book_id, entries=entries)
            batch_id, new_count, by_key = post_columns(conn, book_id=book_id, source_id=source_id, legs=legs)
            return _posted(conn, book_id, legs, batch_id, new_count, by_key)
    except RefusedError as refused:
        if len(entries) < 2 or refused.constraint not in _WITHOUT_A_NAME:
            raise
    outcomes = _post(conn, book_id=book_id, entries=entries, source_id=source_id, mode="atomic")
    return tuple(
        PostedEntry(o.key, o.entry_id or 0, o.first_posting_id or 0, o.status is EntryStatus.POSTED) for o in outcomes
    )


# What the fast path says of an account or a batch only; posting again, slower, finds the entry.
_WITHOUT_A_NAME = frozenset(
    {
        "balance_floor",
        "balance_ceiling",
        "posting_account",
        "posting_control_account",
        "posting_currency",
        "posting_amount_not_zero",
        "entry_posting_count",
        "posting_entry",
        "entry_postings",
    }
)


def post_independent(
    conn: Connection, *, book_id: int, entries: Sequence[NewEntry], source_id: int | None = None
) -> tuple[EntryOutcome, ...]:
    """Post every entry that keeps the rules, applied in the order given; one outcome an entry, in that order.

    Nothing an entry does wrong raises; a batch that cannot be read, or a database that does not answer, does.
    A key that comes twice is judged at its first place.
    """
    return _post(conn, book_id=book_id, entries=entries, source_id=source_id, mode="independent")


def _post(
    conn: Connection, *, book_id: int, entries: Sequence[NewEntry], source_id: int | None, mode: str
) -> tuple[EntryOutcome, ...]:
    with transaction(conn):
        legs = entry_legs(conn, book_id=book_id, entries=entries, refuse_unknown=mode == "atomic")
        return post_legs(conn, book_id=book_id, source_id=source_id, entries=entries, legs=legs, mode=mode)


def post_legs(
    conn: Connection, *, book_id: int, source_id: int | None, entries: Sequence[NewEntry], legs: Legs, mode: str
) -> tuple[EntryOutcome, ...]:
    """Post entries whose columns are ready, ``atomic`` or ``independent``, in the transaction that is open.

    Raises psycopg's errors as they come.
    """
    keys, dates, descriptions, references, *columns = entry_parameters(legs)
    rows = conn.execute(
        _POST_LEGS, (book_id, source_id, keys, dates, descriptions, references, *columns, mode)
    ).fetchall()
    return _outcomes(entries, legs, rows)  # type: ignore[arg-type]


def prepare_post_each(conn: Connection) -> PreparedCall:
    """What `post_each` calls, once a connection."""
    return PreparedCall(conn, name=b"nostro_post_each", statement=_POST_EACH, types=_POST_EACH_TYPES)


def post_each(call: PreparedCall, *, book_id: int, entries: Sequence[NewEntry], legs: Legs) -> tuple[EntryOutcome, ...]:
    """Like `post_legs` with ``independent``, and cheaper when all entries are new. The caller commits.

    Raises psycopg's errors as they come.
    """
    columns = [None if column is None else column.data for column in entry_parameters(legs)]
    rows = call.rows([book_id.to_bytes(4, "big"), *columns])
    if rows[0][0] is None:
        return _outcomes(entries, legs, [_from_binary(row) for row in rows])
    base = int.from_bytes(rows[0][0], "big")
    first = dict(zip(reversed(legs.leg_entry), range(base + len(legs.leg_entry) - 1, base - 1, -1), strict=True))
    return tuple(
        EntryOutcome(entry.key, EntryStatus.POSTED, base + n, first[n + 1], None, None)
        for n, entry in enumerate(entries)
    )


def _from_binary(row: tuple[bytes | None, ...]) -> tuple[int | None, int | None, str, str | None, str | None]:
    _, entry_id, posting_id, status, constraint, message = row
    return (
        None if entry_id is None else int.from_bytes(entry_id, "big"),
        None if posting_id is None else int.from_bytes(posting_id, "big"),
        (status or b"").decode(),
        None if constraint is None else constraint.decode(),
        None if message is None else message.decode(),
    )


def _outcomes(
    entries: Sequence[NewEntry],
    legs: Legs,
    rows: Sequence[tuple[int | None, int | None, str, str | None, str | None]],
) -> tuple[EntryOutcome, ...]:
    """From rows of (entry id, first posting id, status, constraint, message), one an entry, in order."""
    unknown: dict[int, str] = {}
    if _NO_ACCOUNT in legs.leg_account:
        legs_of = zip(legs.leg_entry, legs.leg_account, (p.account for e in entries for p in e.postings), strict=True)
        unknown = {position: code for position, account, code in legs_of if account == _NO_ACCOUNT}
    return tuple(
        EntryOutcome(
            entry.key,
            _STATUS[status],
            entry_id,
            posting_id,
            constraint,
            f"There is no account {unknown[n]}." if n in unknown and constraint == "posting_account" else message,
        )
        for n, (entry, (entry_id, posting_id, status, constraint, message)) in enumerate(
            zip(entries, rows, strict=True), start=1
        )
    )


def entry_legs(conn: Connection, *, book_id: int, entries: Sequence[NewEntry], refuse_unknown: bool = True) -> Legs:
    """Entries as columns.

    An account code that does not exist raises `UnknownAccountError`, or becomes an id that no account has.
    """
    codes = sorted({p.account for e in entries for p in e.postings})
    find = account_ids if refuse_unknown else known_accounts
    return columns_of(entries, find(conn, book_id=book_id, codes=codes))


def columns_of(entries: Sequence[NewEntry], accounts: Mapping[str, int]) -> Legs:
    """Entries as columns; an account code that is not among ``accounts`` becomes an id that no account has."""
    legs = Legs([], [], [], [], None, [], [], [])
    for position, entry in enumerate(entries, start=1):
        legs.keys.append(entry.key)
        legs.dates.append(entry.effective_date)
        legs.descriptions.append(entry.description)
        legs.references.append(entry.reference)
        for posting in entry.postings:
            legs.leg_entry.append(position)
            legs.leg_account.append(accounts.get(posting.account, _NO_ACCOUNT))
            legs.leg_amount.append(posting.amount_minor)
    return legs


def entry_parameters(legs: Legs) -> tuple[BinaryArray | None, ...]:
    """Keys, dates, descriptions, references, leg entries, leg accounts, leg amounts as array parameters."""
    return (
        text_array(legs.keys),
        date_array(legs.dates),
        nullable_text_array(legs.descriptions),
        nullable_text_array(legs.references),
        int4_array(legs.leg_entry),
        int4_array(legs.leg_account),
        amount_array(legs.leg_amount),
    )


def account_ids(conn: Connection, *, book_id: int, codes: Sequence[str]) -> dict[str, int]:
    """Ids by code.

    Raises `UnknownAccountError` naming every code that does not exist.
    """
    found = known_accounts(conn, book_id=book_id, codes=codes)
    missing = [code for code in codes if code not in found]
    if missing:
        raise UnknownAccountError(f"unknown account {', '.join(missing[:10])}; open it or declare a rule for it.")
    return found


def known_accounts(conn: Connection, *, book_id: int, codes: Sequence[str]) -> dict[str, int]:
    """Ids of those codes that exist."""
    rows = conn.execute(
        "SELECT code, account_id FROM ledger.account WHERE book_id = %s AND code = ANY(%s)",
        (book_id, list(codes)),
    ).fetchall()
    return {str(code): int(str(account_id)) for code, account_id in rows}


def first_accounts(conn: Connection, *, book_id: int, limit: int) -> dict[str, int]:
    """Ids by code of the book's first accounts."""
    rows = conn.execute(
        "SELECT code, account_id FROM ledger.account WHERE book_id = %s ORDER BY code LIMIT %s", (book_id, limit)
    ).fetchall()
    return {str(code): int(str(account_id)) for code, account_id in rows}


def reverse(conn: Connection, *, book_id: int, key: str, effective_date: date, reason: str) -> int:
    """Reverse the entry with this key whole and return the reversal's entry id; again: the same one.

    Raises `ClosedPeriodError`, `ControlAccountError` (only the owning module reverses its entries),
    `RefusedError` (no such entry).
    """
    with transaction(conn):
        row = conn.execute("SELECT ledger.reverse(%s, %s, %s, %s)", (book_id, key, effective_date, reason)).fetchone()
    assert row is not None
    return int(str(row[0]))
