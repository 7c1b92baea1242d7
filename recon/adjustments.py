"""Proposals that close a break: compiled, tried out on the real reconciliation, approved by a second person, posted.

Lives here: composing a proposal and its dry run, approvals, policies. Must not live here: who may and what balances
(Postgres refuses), the accounts of a code (`recon.templates`), deciding (`recon.deciding`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ledger import Connection, transaction
from recon.board import BoardRow, BreakDetail, OpenItemRow, break_show
from recon.codes import BreakCode
from recon.deciding import DECIDED_SCHEMA, Decisions, RunInputs, decide
from recon.errors import AdjustmentError, BreakStateError
from recon.matching.items import ITEM_SCHEMA, OTHER
from recon.report import run_of
from recon.runs import cleared_before, read_inputs
from recon.templates import TEMPLATES, TRANSIT, EntryLeg, compile_entry, off_balance, templates_for, transit_legs

MATCH, ACCEPT, CUSTOM, RETURNED = "match", "accept", "custom", "returned-payment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How somebody wants to close a break; nothing given: by the usual template of its code.

    `template` of `TEMPLATES`; `legs` of an entry of their own (accounts other than cash in transit: those legs
    follow); `match` clears the items with each other; `items` only these postings of the break; `payment`: its one line
    is the return of this payment (EndToEndId), which is owed again and held.
    """

    template: str | None = None
    legs: tuple[EntryLeg, ...] = ()
    match: bool = False
    items: tuple[int, ...] = ()
    payment: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A composed proposal: kind (entry, match, accept), template, what it closes, its legs, its day, its payment."""

    break_id: str
    sha256: str
    kind: str
    template: str
    effective_date: dt.date
    item_ids: tuple[int, ...]
    legs: tuple[EntryLeg, ...]
    payment: str | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the reconciliation of the plan's day would find with the plan carried out.

    `closes`: every item it names clears, and the entry balances. `still_open`: items of the break that stay open, with
    their code; `new_breaks`: breaks that are there only with the plan; `off_balance`: minor units a currency.
    """

    closes: bool
    still_open: tuple[tuple[int, str], ...]
    new_breaks: tuple[str, ...]
    off_balance: dict[str, int]

    def sentence(self) -> str:
        """The answer to "will this close it?"."""
        if self.off_balance:
            off = ", ".join(f"{amount} minor units of {code}" for code, amount in self.off_balance.items())
            return f"It does not balance: it is off by {off}."
        if not self.closes:
            left = ", ".join(f"{item} ({code})" for item, code in self.still_open[:5])
            return f"It would not close it; still open would be: {left}."
        more = f" New breaks: {', '.join(self.new_breaks)}." if self.new_breaks else ""
        rest = f" {len(self.still_open)} other items of the break stay open." if self.still_open else ""
        return f"It closes {'what it names' if self.still_open else 'it'}.{rest}{more}"


@dataclass(frozen=True, slots=True)
class Proposed:
    """A plan with its dry run, and the number it got (None: it was only tried out)."""

    plan: Plan
    dry_run: DryRun
    adjustment_id: int | None
    state: str
    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A routine class: breaks of `code` up to `maximum_minor` are closed whole by `template`, to its `account` alone,
    without a person each time: in `daily_count` breaks and for `daily_minor` a business date at most. `used_*`: of the
    last reconciled one, `used_date`."""

    policy_id: int
    code: str
    template: str
    account: str
    currency: str
    maximum_minor: int
    reason: str
    declared_by: str
    approved_by: str | None
    state: str
    daily_minor: int
    daily_count: int
    used_date: dt.date | None
    used_minor: int
    used_count: int


# A policy's limits of a day, where it is declared without: breaks, and times the limit of one.
DAILY_COUNT, DAILY_TIMES = 20, 10


def propose(
    conn: Connection,
    *,
    book_id: int,
    break_id: str,
    wish: Wish,
    reason: str,
    day: dt.date | None = None,
    only_try: bool = False,
) -> Proposed:
    """Compose a proposal, try it out, and record it for a second person.

    Raises `AdjustmentError` when it does not balance or would not close what it names (nothing is recorded then),
    `BreakStateError` when the break is not open in the last run.
    """
    with transaction(conn):
        detail = break_show(conn, book_id=book_id, break_id=break_id)
        if not detail.is_open:
            raise BreakStateError(f"break {break_id} is not in the last run; there is nothing to propose.")
        plan = _plan(conn, book_id, detail, wish, day)
        tried = dry_run(conn, book_id=book_id, plan=plan, detail=detail)
        if only_try:
            return Proposed(plan, tried, None, "tried")
        if not tried.closes:
            raise AdjustmentError(tried.sentence())
        return Proposed(plan, tried, _record(conn, book_id, plan, reason), "proposed")


def _record(conn: Connection, book_id: int, plan: Plan, reason: str) -> int:
    row = conn.execute(
        "SELECT recon.propose_adjustment(%s, %s, %s, %s, %s, %s, %s,"
        " %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s)",
        (
            book_id,
            plan.break_id,
            plan.sha256,
            plan.kind,
            plan.template,
            plan.effective_date,
            reason,
            list(plan.item_ids),
            [leg.account for leg in plan.legs],
            [leg.currency for leg in plan.legs],
            [leg.amount_minor for leg in plan.legs],
            plan.payment,
        ),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _plan(conn: Connection, book_id: int, detail: BreakDetail, wish: Wish, day: dt.date | None) -> Plan:
    head = detail.head
    if head.break_id.startswith("S"):
        if wish != Wish():
            raise AdjustmentError(f"{head.break_id} is about a statement, not a posting; it can only be accepted.")
        return Plan(head.break_id, head.sha256, ACCEPT, ACCEPT, day or detail.business_date, (), ())
    items = _chosen(detail, wish.items)
    free = _free_day(conn, book_id, items)
    effective = max(day or free, free, max(item.item_date for item in items))
    if day is not None and effective > day:
        raise AdjustmentError(f"{day} is certified, closed, or before its items; the first free day is {effective}.")
    if wish.payment is None:
        kind, template, legs = _legs(head, items, wish)
    else:
        kind, template, legs = "entry", RETURNED, _returned_legs(conn, book_id, items, wish)
    return Plan(
        break_id=head.break_id,
        sha256=head.sha256,
        kind=kind,
        template=template,
        effective_date=effective,
        item_ids=tuple(sorted(item.posting_id for item in items)),
        legs=legs,
        payment=wish.payment,
    )


def _chosen(detail: BreakDetail, wanted: Sequence[int]) -> tuple[OpenItemRow, ...]:
    if not wanted:
        return detail.items
    unknown = sorted(set(wanted) - {item.posting_id for item in detail.items})
    if unknown:
        raise AdjustmentError(f"break {detail.head.break_id} has no posting {unknown[0]}.")
    return tuple(item for item in detail.items if item.posting_id in set(wanted))


_PAYMENT = """
SELECT a.code, b.code, c.code, (i.amount_minor - i.back_minor) * CASE i.direction WHEN 'pay' THEN -1 ELSE 1 END
  FROM settlement.instruction_current i
  JOIN ledger.account a ON a.account_id = i.payable_account_id
  JOIN settlement.bank_account_root b ON b.bank_account_id = i.bank_account_id
  JOIN ledger.currency c ON c.currency_id = i.currency_id
 WHERE i.book_id = %s AND i.end_to_end_id = %s AND i.transit_posting_id IS NOT NULL
"""


def _returned_legs(conn: Connection, book_id: int, items: Sequence[OpenItemRow], wish: Wish) -> tuple[EntryLeg, ...]:
    """The entry of a return: what came leaves cash in transit and is owed to the payment's payee again."""
    if wish.match or wish.legs or wish.template:
        raise AdjustmentError("a returned payment has an entry of its own; leave out template, legs and match.")
    row = conn.execute(_PAYMENT, (book_id, wish.payment)).fetchone()
    if row is None:
        raise AdjustmentError(f"there is no sealed payment {wish.payment}.")
    payable, account, currency, rest = str(row[0]), str(row[1]), str(row[2]), int(str(row[3]))
    if len(items) != 1 or (items[0].account, items[0].currency) != (account, currency):
        raise AdjustmentError(f"a return of {wish.payment} is one line of bank account {account}; name it with --item.")
    came = items[0].amount_minor
    if came * rest <= 0 or abs(came) > abs(rest):
        raise AdjustmentError(f"of {wish.payment} only {abs(rest)} minor units can come back, and not {abs(came)}.")
    return (*transit_legs(items), EntryLeg(payable, currency, came))


def _legs(head: BoardRow, items: Sequence[OpenItemRow], wish: Wish) -> tuple[str, str, tuple[EntryLeg, ...]]:
    """Kind, template name and legs of what is wished for."""
    if wish.match:
        return MATCH, MATCH, ()
    if wish.legs:
        control = [leg.account for leg in wish.legs if leg.account.startswith((TRANSIT, "assets:bank:"))]
        if control:
            raise AdjustmentError(f"{control[0]} is a control account; its leg follows from the items.")
        return "entry", CUSTOM, (*transit_legs(items), *wish.legs)
    code = BreakCode(head.code)
    usual = templates_for(code, sum(item.amount_minor for item in items))
    if wish.template is None and (not usual or not transit_legs(items)):
        return MATCH, MATCH, ()
    name = wish.template or usual[0].name
    if name not in TEMPLATES:
        raise AdjustmentError(f"there is no template {name!r}; there are {', '.join(sorted(TEMPLATES))}.")
    return "entry", name, compile_entry(items, TEMPLATES[name])


def _free_day(conn: Connection, book_id: int, items: Sequence[OpenItemRow]) -> dt.date:
    row = conn.execute(
        "SELECT nullif(recon.first_free_day(%s, array(SELECT DISTINCT account_id FROM ledger.posting"
        " WHERE posting_id = ANY (%s))), '-infinity')",
        (book_id, [item.posting_id for item in items]),
    ).fetchone()
    assert row is not None
    return row[0] if isinstance(row[0], dt.date) else dt.date.min


def dry_run(conn: Connection, *, book_id: int, plan: Plan, detail: BreakDetail) -> DryRun:
    """Reconcile the plan's day in memory, without and with the plan; nothing is written."""
    if plan.kind == ACCEPT:
        return DryRun(True, (), (), {})
    with transaction(conn):
        inputs = read_inputs(conn, book_id, plan.effective_date)
        look_up = cleared_before(conn, book_id, plan.effective_date)
        before = decide(inputs, look_up)
        after = decide(_carried_out(inputs, plan), look_up)
    return _compared(before, after, plan, detail)


def _compared(before: Decisions, after: Decisions, plan: Plan, detail: BreakDetail) -> DryRun:
    cleared = set(after.sets["item_id"].to_list())
    codes = dict(after.open_rows.select("item_id", "code").rows())
    mine = [item.posting_id for item in detail.items]
    off = off_balance(plan.legs)
    known = {found.break_id for found in before.breaks}
    return DryRun(
        closes=set(plan.item_ids) <= cleared and not off,
        still_open=tuple((item, codes.get(item, "gone")) for item in mine if item not in cleared),
        new_breaks=tuple(found.break_id for found in after.breaks if found.break_id not in known),
        off_balance=off,
    )


def _carried_out(inputs: RunInputs, plan: Plan) -> RunInputs:
    """The same inputs with the plan's postings on cash in transit, decided as approval would decide them.

    A set that does not add up to zero on its account is not one: it is left out, as the database would refuse it.
    """
    highest = inputs.items["item_id"].max()
    first = int(str(highest or 0)) + 1
    posted = [leg for leg in plan.legs if leg.account.startswith(TRANSIT)]
    rows = [
        {
            "item_id": first + n,
            "kind": OTHER,
            "account": leg.account.removeprefix(TRANSIT),
            "currency": leg.currency,
            "amount_minor": leg.amount_minor,
            "date": plan.effective_date,
            "day": 0,
            "age_days": 0,
            "sla_days": 0,
            "reference": plan.break_id,
            "is_reversal": False,
        }
        for n, leg in enumerate(posted)
    ]
    items = pl.concat([inputs.items, pl.DataFrame(rows, schema=ITEM_SCHEMA)]) if rows else inputs.items
    members = items.filter(pl.col("item_id").is_in([*plan.item_ids, *range(first, first + len(rows))])).with_columns(
        pl.col("amount_minor").sum().over("account", "currency").alias("left")
    )
    accounts = {code: n for n, code in enumerate(sorted(members["account"].unique().to_list()))}
    decided = members.filter(pl.col("left") == 0).select(
        pl.lit("tried").alias("decision"),
        pl.lit(plan.kind).alias("rule"),
        pl.col("account").replace_strict(accounts, return_dtype=pl.Int64()).alias("account_id"),
        pl.col("item_id"),
    )
    shaped = decided.select([pl.col(name).cast(kind) for name, kind in DECIDED_SCHEMA.items()])
    return dataclasses.replace(inputs, items=items, decided=pl.concat([inputs.decided, shaped]))


def approve_proposal(conn: Connection, *, book_id: int, adjustment_id: int) -> int | None:
    """Approve what another person proposed: its entry is posted, in the same transaction; the entry's id.

    Again: the same entry. Raises `FourEyesError`, `BreakStateError` (the break changed), `AdjustmentError`.
    """
    with transaction(conn):
        row = conn.execute("SELECT recon.approve_adjustment(%s, %s)", (book_id, adjustment_id)).fetchone()
    return None if row is None or row[0] is None else int(str(row[0]))


def end_proposal(conn: Connection, *, book_id: int, adjustment_id: int, reason: str) -> str:
    """Withdraw one's own proposal or reject another person's: `withdrawn` or `rejected`."""
    with transaction(conn):
        row = conn.execute("SELECT recon.end_adjustment(%s, %s, %s)", (book_id, adjustment_id, reason)).fetchone()
    assert row is not None
    return str(row[0])


def open_proposal(conn: Connection, *, book_id: int, break_id: str) -> int:
    """The number of the proposal that waits for a decision about a break. Raises `BreakStateError` when none does."""
    with transaction(conn):
        row = conn.execute(
            "SELECT max(adjustment_id) FROM recon.adjustment_current"
            " WHERE book_id = %s AND break_id = %s AND state IN ('proposed', 'approved')",
            (book_id, break_id),
        ).fetchone()
    if row is None or row[0] is None:
        raise BreakStateError(f"nothing is proposed for break {break_id}; propose with `nostro breaks propose`.")
    return int(str(row[0]))


def declare_policy(
    conn: Connection,
    *,
    book_id: int,
    code: BreakCode,
    template: str,
    currency: str,
    maximum_minor: int,
    reason: str,
    daily_minor: int | None = None,
    daily_count: int = DAILY_COUNT,
) -> int:
    """Declare a routine class; it is in force once another person approved it. Its number.

    `daily_minor` (default: ten times the limit of a break) and `daily_count`: what it closes on one business date.
    Raises `RefusedError` for limits of a day below one break's.
    """
    if template not in {t.name for sign in (1, -1) for t in templates_for(code, sign)}:
        raise AdjustmentError(f"template {template!r} does not fit breaks of code {code}.")
    with transaction(conn):
        row = conn.execute(
            "SELECT recon.declare_policy(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(book_id, code.value, template, TEMPLATES[template].account(currency), currency, maximum_minor),
                *(DAILY_TIMES * maximum_minor if daily_minor is None else daily_minor, daily_count, reason),
            ),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def approve_policy(conn: Connection, *, book_id: int, policy_id: int) -> bool:
    """Put a policy that another person declared in force; False when it was. Raises `FourEyesError`."""
    return _flag(conn, "SELECT recon.approve_policy(%s, %s)", book_id, policy_id)


def end_policy(conn: Connection, *, book_id: int, policy_id: int, reason: str) -> bool:
    """End a policy; False when it had ended."""
    return _flag(conn, "SELECT recon.end_policy(%s, %s, %s)", book_id, policy_id, reason)


def policies(conn: Connection, *, book_id: int) -> list[Policy]:
    """Every policy of the book, by number."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT policy_id, code, template, account, currency, maximum_minor, reason,"
            " settlement.person(declared_by), settlement.person(approved_by), state,"
            " daily_minor, daily_count, used_date, used_minor, used_count"
            " FROM recon.policy_current WHERE book_id = %s ORDER BY policy_id",
            (book_id,),
        ).fetchall()
    return [Policy(*row) for row in rows]  # type: ignore[arg-type]


def post_routine_breaks(conn: Connection, *, book_id: int) -> list[Proposed]:
    """Close every break of the last run that a policy in force covers; each in a transaction of its own.

    Again: nothing, because such breaks are approved then. What would not close is left for a person. What a policy's
    limit of the day leaves is only proposed (`state`), for a second person to approve.
    """
    in_force = [policy for policy in policies(conn, book_id=book_id) if policy.state == "in force"]
    if not in_force:
        return []
    with transaction(conn):
        run_id, _, _ = run_of(conn, book_id, None)
        rows = conn.execute(
            "SELECT break_id, code, currency, amount_minor FROM recon.break_board(%s, %s)"
            " WHERE state IN ('open', 'assigned', 'reopened')",
            (book_id, run_id),
        ).fetchall()
    posted = []
    for break_id, code, currency, amount in rows:
        fitting = [
            policy
            for policy in in_force
            if (policy.code, policy.currency) == (code, currency) and abs(int(str(amount))) <= policy.maximum_minor
        ]
        done = _close_by_policy(conn, book_id, str(break_id), fitting)
        if done is not None:
            posted.append(done)
    return posted


def _close_by_policy(conn: Connection, book_id: int, break_id: str, fitting: Sequence[Policy]) -> Proposed | None:
    """The entry of the first policy that closes the break; a proposal where only their limits of the day forbid it."""
    full: Policy | None = None
    for policy in fitting:
        try:
            return _by_policy(conn, book_id, break_id, policy)
        except AdjustmentError as error:
            if error.constraint == "adjustment_policy_daily":
                full = full or policy
        except BreakStateError:
            return None
    if full is None:
        return None
    why = f"{full.reason} (policy {full.policy_id} has reached its limit of the day)"
    with transaction(conn):
        return propose(conn, book_id=book_id, break_id=break_id, wish=Wish(template=full.template), reason=why)


def _by_policy(conn: Connection, book_id: int, break_id: str, policy: Policy) -> Proposed:
    with transaction(conn):
        wish = Wish(template=policy.template)
        made = propose(conn, book_id=book_id, break_id=break_id, wish=wish, reason=policy.reason)
        row = conn.execute(
            "SELECT recon.post_by_policy(%s, %s, %s)", (book_id, made.adjustment_id, policy.policy_id)
        ).fetchone()
    entry = None if row is None or row[0] is None else int(str(row[0]))
    return dataclasses.replace(made, state="approved", entry_id=entry)


def _flag(conn: Connection, query: str, *values: object) -> bool:
    with transaction(conn):
        row = conn.execute(query.encode(), values).fetchone()
    return row is not None and bool(row[0])
