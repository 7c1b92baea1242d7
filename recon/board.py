"""The breaks of a day as people work on them: state, owner, severity, age; one break with its history.

Lives here: reading them, filters, their text. Must not live here: changing them (`recon.workflow`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from psycopg.rows import class_row

from ledger import Connection, currency, format_amount, transaction, translate_errors
from recon.errors import BreakUnknownError
from recon.knowledge import IS_KNOWN, KnownAt, known_seq
from recon.report import run_of


class Severity(StrEnum):
    """How much a break matters, most first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


BUCKETS = ("0-1", "2-5", "6-10", "11-30", "over 30")  # business days open


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One break of a run and where it stands. `amount_minor` is what its items leave on T, debit +; `sha256` names
    just this content of the break; `note` is the last one; `bucket` of `BUCKETS`."""

    break_id: str
    code: str
    item_ref: str
    bank_account: str
    currency: str
    amount_minor: int
    item_count: int
    first_date: dt.date | None
    age_days: int
    explanation: str
    proposal: str
    severity: str
    bucket: str
    state: str
    owner: str | None
    due_date: dt.date | None
    note: str | None
    adjustment_id: int | None
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which breaks are wanted; None: all. `owner` '' means nobody's; `min_age_days` in business days."""

    code: str | None = None
    bank_account: str | None = None
    owner: str | None = None
    severity: str | None = None
    state: str | None = None
    min_age_days: int | None = None

    def take(self, row: BoardRow) -> bool:
        """Whether a break is among the wanted ones."""
        return (
            (self.code is None or row.code == self.code)
            and (self.bank_account is None or row.bank_account == self.bank_account)
            and (self.owner is None or (row.owner or "") == self.owner)
            and (self.severity is None or row.severity == self.severity)
            and (self.state is None or row.state == self.state)
            and (self.min_age_days is None or row.age_days >= self.min_age_days)
        )


@dataclass(frozen=True, slots=True)
class OpenItemRow:
    """One item of a break. `amount_minor` in T's sign, debit +."""

    posting_id: int
    kind: str
    bank_account: str
    currency: str
    reference: str
    item_date: dt.date
    age_days: int
    amount_minor: int

    @property
    def account(self) -> str:
        """The bank account's code, as the compiler of entries calls it."""
        return self.bank_account


@dataclass(frozen=True, slots=True)
class ProposedLeg:
    """One leg of a proposed adjusting entry, debit +."""

    account: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class BreakEvent:
    """One event in the life of a break."""

    at: dt.datetime
    by: str
    action: str
    state: str
    owner: str | None
    due_date: dt.date | None
    note: str | None
    adjustment_id: int | None


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """What somebody proposed to close a break with, and what became of it: the entry, the cleared set."""

    adjustment_id: int
    kind: str
    template: str
    state: str
    effective_date: dt.date
    reason: str
    proposed_by: str
    approved_by: str | None
    policy_id: int | None
    entry_key: str | None
    match_set_id: int | None
    legs: tuple[ProposedLeg, ...]


@dataclass(frozen=True, slots=True)
class BreakDetail:
    """A break with its items, the usual entry that would close it, what was proposed, and its history.

    A break that the run no longer has shows with its last row, `is_open` False. `run_id`: the run that has this row.
    """

    head: BoardRow
    run_id: int
    business_date: dt.date
    is_open: bool
    items: tuple[OpenItemRow, ...]
    legs: tuple[ProposedLeg, ...]
    proposals: tuple[ProposalRow, ...]
    history: tuple[BreakEvent, ...]

    def render(self) -> Iterator[str]:
        """The break as text lines: what it is, its items, what to do, what was done."""
        head = self.head
        left = _money(head.amount_minor, head.currency)
        yield f"{head.break_id} {head.code} {head.item_ref} {left} ({self.business_date})"
        owned = f", {head.owner}" if head.owner else ", nobody's"
        due = f", due {head.due_date}" if head.due_date else ""
        yield f"{head.state}, {head.severity}, {head.age_days} business days old{owned}{due}"
        yield head.explanation
        for item in self.items[:_ITEMS_SHOWN]:
            amount = _money(item.amount_minor, item.currency)
            yield f"  {item.posting_id:<12} {item.kind:<12} {item.reference:<36} {item.item_date} {amount:>18}"
        if len(self.items) > _ITEMS_SHOWN:
            yield f"  … and {len(self.items) - _ITEMS_SHOWN} more"
        yield f"Usual way: {head.proposal}"
        yield from _leg_lines(self.legs, head.currency)
        for made in self.proposals:
            yield f"Proposal {made.adjustment_id} ({made.kind} {made.template}, {made.state}) of {made.proposed_by}"
            yield f"  {made.reason}"
            yield from _leg_lines(made.legs, head.currency)
            if made.entry_key:
                yield f"  posted as {made.entry_key} on {made.effective_date}, approved by {made.approved_by}"
            if made.match_set_id:
                yield f"  cleared in set {made.match_set_id}"
        for event in self.history:
            said = f": {event.note}" if event.note else ""
            owner = f" to {event.owner}" if event.action == "assigned" else ""
            yield f"{event.at:%Y-%m-%d %H:%M} {event.by} {event.action}{owner}{said}"


_ITEMS_SHOWN = 20


def _leg_lines(legs: tuple[ProposedLeg, ...], code: str) -> Iterator[str]:
    for leg in legs:
        side = "Dr" if leg.amount_minor > 0 else "Cr"
        yield f"  {side} {leg.account:<40} {_money(abs(leg.amount_minor), code)}"


def age_buckets(conn: Connection, ages_days: Sequence[int]) -> list[str]:
    """The class of `BUCKETS` that each age in business days is in."""
    with translate_errors():
        rows = conn.execute(
            "SELECT recon.age_bucket(a.days) FROM unnest(%s::int[]) WITH ORDINALITY a (days, n) ORDER BY n",
            (list(ages_days),),
        ).fetchall()
    return [str(bucket) for (bucket,) in rows]


def breaks_list(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date | None = None,
    code: str | None = None,
    filters: Filters | None = None,
    known_at: KnownAt | None = None,
) -> list[BoardRow]:
    """The breaks of a day's latest run, the wanted ones, by account and reference.

    `known_at`: the latest run known by then, and breaks as they stood then; the answer of then, to the byte.
    """
    wanted = filters or Filters(code=code)
    with transaction(conn):
        seq = known_seq(conn, book_id=book_id, at=known_at)
        run_id, _, _ = run_of(conn, book_id, business_date, seq)
        return [row for row in _board(conn, book_id, run_id, seq) if wanted.take(row)]


def break_show(
    conn: Connection,
    *,
    book_id: int,
    break_id: str,
    business_date: dt.date | None = None,
    known_at: KnownAt | None = None,
) -> BreakDetail:
    """One break with its items, proposals and history; one that closed, as its last run had it.

    Raises `BreakUnknownError` when no run has such a break.
    """
    with transaction(conn):
        seq = known_seq(conn, book_id=book_id, at=known_at)
        run_id, date, _ = run_of(conn, book_id, business_date, seq)
        wanted: dict[str, object] = {"book": book_id, "break": break_id, "seq": seq}
        found = _row(conn, book_id, run_id, break_id, seq)
        is_open = found is not None
        if found is None:
            earlier = conn.execute(_LAST_RUN_WITH, wanted | {"date": date}).fetchone()
            if earlier is not None:
                run_id, date = int(str(earlier[0])), earlier[1]  # type: ignore[assignment]
                found = _row(conn, book_id, run_id, break_id, seq)
        if found is None:
            raise BreakUnknownError(f"the run for {date} has no break {break_id!r}; see `nostro breaks list`.")
        items = conn.execute(_ITEMS, (run_id, break_id)).fetchall()
        legs = conn.execute(_LEGS, (run_id, break_id)).fetchall()
        return BreakDetail(
            head=found,
            run_id=run_id,
            business_date=date,
            is_open=is_open,
            items=tuple(OpenItemRow(*row) for row in items),  # type: ignore[arg-type]
            legs=tuple(ProposedLeg(*row) for row in legs),  # type: ignore[arg-type]
            proposals=tuple(_proposals(conn, book_id, break_id, seq)),
            history=tuple(
                BreakEvent(*row)  # type: ignore[arg-type]
                for row in conn.execute(_HISTORY, wanted).fetchall()
            ),
        )


def break_explain(
    conn: Connection,
    *,
    book_id: int,
    break_id: str,
    business_date: dt.date | None = None,
    known_at: KnownAt | None = None,
) -> str:
    """Why the break is open, the smallest change that would close it, and what to do, as one paragraph."""
    head = break_show(conn, book_id=book_id, break_id=break_id, business_date=business_date, known_at=known_at).head
    return f"{head.code}: {head.explanation} {head.proposal}"


_LAST_RUN_WITH = (
    "SELECT r.run_id, r.business_date FROM recon.run r JOIN recon.break_run b USING (run_id)"
    " WHERE r.book_id = %(book)s AND b.break_id = %(break)s AND r.business_date <= %(date)s"
    " AND " + IS_KNOWN + " ORDER BY r.business_date DESC, r.run_id DESC LIMIT 1"
)
_ITEMS = """
SELECT o.posting_id, o.kind, a.code, c.code, coalesce(o.reference, ''), o.item_date, o.age_days, o.amount_minor
  FROM recon.open_item o JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN ledger.currency c USING (currency_id)
 WHERE o.run_id = %s AND o.break_id = %s ORDER BY o.kind DESC, o.reference, o.posting_id
"""
_LEGS = """
SELECT l ->> 'account', (l ->> 'amount_minor')::bigint FROM recon.break_run b, jsonb_array_elements(b.proposal_legs) l
 WHERE b.run_id = %s AND b.break_id = %s
"""
_HISTORY = (
    "SELECT recorded_at, settlement.person(recorded_by), action, state, owner, due_date, note, adjustment_id"
    " FROM recon.break_event r WHERE book_id = %(book)s AND break_id = %(break)s AND " + IS_KNOWN + " ORDER BY ordinal"
)


def _board(conn: Connection, book_id: int, run_id: int, seq: int | None) -> list[BoardRow]:
    with conn.cursor(row_factory=class_row(BoardRow)) as cursor:
        return cursor.execute("SELECT * FROM recon.break_board(%s, %s, %s)", (book_id, run_id, seq)).fetchall()


def _row(conn: Connection, book_id: int, run_id: int, break_id: str, seq: int | None) -> BoardRow | None:
    return next((row for row in _board(conn, book_id, run_id, seq) if row.break_id == break_id), None)


def _proposals(conn: Connection, book_id: int, break_id: str, seq: int | None) -> Iterator[ProposalRow]:
    rows = conn.execute("SELECT * FROM recon.break_proposals(%s, %s, %s)", (book_id, break_id, seq)).fetchall()
    for *head, legs in rows:
        assert isinstance(legs, list)
        pairs = (leg.rsplit(" ", 1) for leg in legs)
        yield ProposalRow(*head, tuple(ProposedLeg(account, int(amount)) for account, amount in pairs))  # type: ignore


def _money(amount_minor: int, code: str) -> str:
    return f"{format_amount(amount_minor, currency(code).exponent)} {code}"
