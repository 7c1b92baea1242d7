"""The smallest changes that would close a break, each proved by running the real rules with it.

Lives here: candidates by relaxing one thing at a time (the window, a reference, an amount, the account, a missing
counterpart, an entry), and their proof. Must not live here: databases, the rules (`recon.matching`), accounts of
entries (`recon.templates`).

A candidate counts when the cascade, given everything that was open in the run with just this change, clears every item
of the break. So "closes with" is a fact about the rules, not a sentence about them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from ledger import currency, format_amount
from recon.codes import BreakCode
from recon.matching import ITEM_SCHEMA, Tolerances, clear
from recon.matching.items import INSTRUCTION, LINE, Item, items_from_frame
from recon.templates import templates_for

_COUNTERPARTS_MAX = 12  # candidates looked at where several items could be meant


class Relaxed(StrEnum):
    """What a change relaxes."""

    WINDOW = "window"
    REFERENCE = "reference"
    AMOUNT = "amount"
    ACCOUNT = "account"
    COUNTERPART = "counterpart"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """One change that would close the break: what it relaxes, by how much (days or minor units), in words."""

    kind: Relaxed
    amount: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """The break's items, everything open beside them, and what is still equal enough."""

    items: Sequence[Item]
    context: pl.DataFrame
    tolerances: Tolerances

    @property
    def lines(self) -> list[Item]:
        return [item for item in self.items if item.kind == LINE]

    @property
    def expected(self) -> list[Item]:
        return [item for item in self.items if item.kind != LINE]

    def clears(self, frame: pl.DataFrame, tolerances: Tolerances | None = None, *, added: int = 0) -> bool:
        """Whether the cascade clears every item of the break (and `added` ones) in this frame."""
        found = clear(frame, tolerances=tolerances or self.tolerances)
        wanted = {item.item_id for item in self.items}
        return wanted <= set(found.sets["item_id"].to_list()) and (added == 0 or _took_all_new(found.sets, frame, self))

    def changed(self, item: Item, **values: object) -> pl.DataFrame:
        """The context with some columns of one item changed."""
        mine = pl.col("item_id") == item.item_id
        return self.context.with_columns(
            pl.when(mine).then(pl.lit(value, dtype=ITEM_SCHEMA[name])).otherwise(pl.col(name)).alias(name)
            for name, value in values.items()
        )


def _took_all_new(sets: pl.DataFrame, frame: pl.DataFrame, case: _Case) -> bool:
    new = frame.join(case.context.select("item_id"), on="item_id", how="anti")
    return new.join(sets, on="item_id", how="anti").is_empty()


def counterfactuals(
    code: BreakCode, item_ids: Sequence[int], context: pl.DataFrame, tolerances: Tolerances
) -> tuple[Counterfactual, ...]:
    """Every single change that would close the break. `context` (`ITEM_SCHEMA`) is all that was open in the run."""
    frame = context.filter(pl.col("item_id").is_in(list(item_ids))).sort("item_id")
    case = _Case(tuple(items_from_frame(frame)), context, tolerances)
    if not case.items:
        return ()
    found = [*_windows(case), *_references(case), *_amounts(case), *_accounts(case), *_counterparts(case)]
    return (*found, *_entries(code, case))


def _money(amount_minor: int, code: str) -> str:
    return f"{format_amount(abs(amount_minor), currency(code).exponent)} {code}"


def _windows(case: _Case) -> Iterator[Counterfactual]:
    """The narrowest wider window, found by trying each that could matter."""
    own = case.tolerances.window_days
    gaps = sorted({abs(line.day - item.day) for line in case.lines for item in case.expected})
    for window in (gap for gap in gaps if gap > own):
        if case.clears(case.context, dataclasses.replace(case.tolerances, window_days=window)):
            more = window - own
            yield Counterfactual(Relaxed.WINDOW, more, f"with window +{more} business day{'s' if more != 1 else ''}")
            return


def _references(case: _Case) -> Iterator[Counterfactual]:
    for line in case.lines[:_COUNTERPARTS_MAX]:
        for item in case.expected[:_COUNTERPARTS_MAX]:
            if not item.end_to_end_id or line.end_to_end_id == item.end_to_end_id:
                continue
            known = case.changed(line, end_to_end_id=item.end_to_end_id)
            both = {line.item_id, item.item_id}
            cleared = clear(known, tolerances=case.tolerances).sets
            if both <= set(cleared["item_id"].to_list()):
                text = f"with reference {item.end_to_end_id} on line {line.reference}"
                yield Counterfactual(Relaxed.REFERENCE, 0, text)


def _amounts(case: _Case) -> Iterator[Counterfactual]:
    if len(case.lines) != 1 or len(case.expected) != 1:
        return
    line, item = case.lines[0], case.expected[0]
    off = line.amount_minor + item.amount_minor
    if off and line.currency == item.currency and case.clears(case.changed(line, amount_minor=-item.amount_minor)):
        right, wrong = (_money(each.amount_minor, line.currency) for each in (item, line))
        text = f"with amount {right} instead of {wrong}"
        yield Counterfactual(Relaxed.AMOUNT, abs(off), text)


def _accounts(case: _Case) -> Iterator[Counterfactual]:
    if len(case.lines) != 1 or len(case.expected) != 1:
        return
    line, item = case.lines[0], case.expected[0]
    if line.account != item.account and line.currency == item.currency:
        moved = case.changed(line, account=item.account, day=item.day)
        if case.clears(moved):
            text = f"with {_money(line.amount_minor, line.currency)} moved from {line.account} to {item.account}"
            yield Counterfactual(Relaxed.ACCOUNT, abs(line.amount_minor), text)


def _counterparts(case: _Case) -> Iterator[Counterfactual]:
    """One more posting that answers what is left: a line for what we expect, an expectation for a line."""
    residual = sum(item.amount_minor for item in case.items)
    accounts = {(item.account, item.currency) for item in case.items}
    if residual == 0 or len(accounts) != 1 or len(case.items) > _COUNTERPARTS_MAX:
        return
    anchor = case.expected[0] if case.expected else case.lines[0]
    reference = anchor.end_to_end_id or f"REF-{anchor.item_id}"
    highest = case.context["item_id"].max()
    new_id = int(str(highest or 0)) + 1
    mirror = case.context.filter(pl.col("item_id") == anchor.item_id).with_columns(
        pl.lit(new_id, dtype=pl.Int64()).alias("item_id"),
        pl.lit(-residual, dtype=pl.Int64()).alias("amount_minor"),
        pl.lit(LINE if case.expected else INSTRUCTION).alias("kind"),
        pl.lit(reference).alias("end_to_end_id"),
    )
    frame = case.context if anchor.end_to_end_id else case.changed(anchor, end_to_end_id=reference)
    if case.clears(pl.concat([frame, mirror]), added=1):
        what = "a booked line" if case.expected else "an instruction or receipt"
        text = f"with {what} of {_money(residual, anchor.currency)} for {reference}"
        yield Counterfactual(Relaxed.COUNTERPART, abs(residual), text)


def _entries(code: BreakCode, case: _Case) -> Iterator[Counterfactual]:
    """Entries close by decision, and exactly: they bring each cash-in-transit account to zero."""
    residual = sum(item.amount_minor for item in case.items)
    currencies = {item.currency for item in case.items}
    if residual == 0 or len(currencies) != 1:
        return
    for template in templates_for(code, residual):
        amount = _money(residual, case.items[0].currency)
        yield Counterfactual(Relaxed.ENTRY, abs(residual), f"with {template.name} {amount}")
