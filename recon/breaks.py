"""Breaks: every open item gets exactly one code, and the items that belong together form one break.

Lives here: the ordered classification (pure: frames in, records out). Must not live here: databases, how a
code reads to people (`recon.explain`), clearing (`recon.matching`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from recon.codes import BreakCode
from recon.explain import Proposal, explain
from recon.matching.coding import code_groups, components, taxonomy_digest_parts
from recon.matching.engine import Engine
from recon.matching.items import ITEM_SCHEMA, LINE, Item, Tolerances, items_from_frame

CLEARED_LINE_SCHEMA: dict[str, pl.DataType] = {
    name: ITEM_SCHEMA[name]
    for name in (
        "item_id",
        "account",
        "currency",
        "amount_minor",
        "end_to_end_id",
        "uetr",
        "servicer_ref",
        "payment_information_id",
        "batch_count",
    )
}
__all__ = ["Break", "Classification", "classify", "components", "taxonomy_digest_parts"]
CLEARED_EXPECTED_SCHEMA: dict[str, pl.DataType] = {
    name: ITEM_SCHEMA[name] for name in ("item_id", "account", "currency", "amount_minor", "end_to_end_id")
}
ACQUIRER_SCHEMA: dict[str, pl.DataType] = {"name": pl.String(), "iban": pl.String()}
OPEN_SCHEMA: dict[str, pl.DataType] = {
    "item_id": pl.Int64(),
    "kind": pl.String(),
    "reference": pl.String(),
    "date": pl.Date(),
    "age_days": pl.Int32(),
    "code": pl.String(),
    "break_id": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that is wrong. `amount_minor` is what its items leave on T (debit +; of items on several accounts: on
    that of the one that names it, because what two accounts are off by would look like nothing); `item_ref` how people
    name it; `break_id` the same in every run while the anchor posting stays the same; `suggested_rule` the rule
    that would clear its items if it did more than suggest."""

    break_id: str
    code: BreakCode
    item_ref: str
    account: str
    currency: str
    amount_minor: int
    item_ids: tuple[int, ...]
    first_date: date | None
    age_days: int
    explanation: str
    proposal: Proposal
    finding_id: int | None = None
    suggested_rule: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """Breaks in order of anchor, and one row (`OPEN_SCHEMA`) for every open item, in order of id."""

    breaks: tuple[Break, ...]
    open_items: pl.DataFrame


def classify(
    open_items: pl.DataFrame,
    *,
    cleared_lines: pl.DataFrame,
    acquirers: pl.DataFrame,
    cleared_expected: pl.DataFrame | None = None,
    tolerances: Tolerances,
    threads: int = 1,
) -> Classification:
    """Give each open item its code.

    `open_items` has `ITEM_SCHEMA`; `cleared_lines` (`CLEARED_LINE_SCHEMA`) are lines that cleared, in this run
    or before, and may be repeated by an open one; `cleared_expected` (`CLEARED_EXPECTED_SCHEMA`) the same of
    instructions; `acquirers` has `ACQUIRER_SCHEMA`. Row order is irrelevant.
    """
    if open_items.is_empty():
        return Classification(breaks=(), open_items=_open_rows(open_items, ()))
    engine = Engine.of_frame(open_items, tolerances=tolerances, threads=threads)
    try:
        engine.without_first_pass()
        engine.add_table("cleared_line", cleared_lines.select(list(CLEARED_LINE_SCHEMA)))
        engine.add_table(
            "cleared_expected",
            pl.DataFrame(schema=CLEARED_EXPECTED_SCHEMA)
            if cleared_expected is None
            else cleared_expected.select(list(CLEARED_EXPECTED_SCHEMA)),
        )
        engine.add_table("acquirer", acquirers.select(list(ACQUIRER_SCHEMA)))
        groups = code_groups(engine)
    finally:
        engine.close()
    breaks = tuple(sorted(_breaks(open_items, groups, tolerances), key=_anchor_order))
    return Classification(breaks=breaks, open_items=_open_rows(open_items, breaks))


def _breaks(open_items: pl.DataFrame, groups: pl.DataFrame, tolerances: Tolerances) -> Iterable[Break]:
    rows = groups.join(open_items, on="item_id", how="inner").sort("code", "group_id", "item_id")
    grouped: dict[tuple[str, int], list[Item]] = {}
    for item, code, group in zip(
        items_from_frame(rows), rows["code"].to_list(), rows["group_id"].to_list(), strict=True
    ):
        grouped.setdefault((code, group), []).append(item)
    for (code, _), items in grouped.items():
        yield _break(BreakCode(code), items, tolerances)


def _break(code: BreakCode, items: list[Item], tolerances: Tolerances) -> Break:
    anchor = anchor_of(items)
    explanation, proposal = explain(code, items, anchor, tolerances)
    return Break(
        break_id=f"B{anchor.item_id}",
        code=code,
        item_ref=anchor.reference,
        account=anchor.account,
        currency=anchor.currency,
        amount_minor=sum(item.amount_minor for item in items if _is_counted(item, anchor, code)),
        item_ids=tuple(item.item_id for item in items),
        first_date=min(item.date for item in items),
        age_days=max(item.age_days for item in items),
        explanation=explanation,
        proposal=proposal,
    )


_ACROSS = frozenset({BreakCode.WRONG_ACCOUNT, BreakCode.CURRENCY_MISMATCH})  # items on several accounts


def _is_counted(item: Item, anchor: Item, code: BreakCode) -> bool:
    return code not in _ACROSS or (item.account, item.currency) == (anchor.account, anchor.currency)


def anchor_of(items: Iterable[Item]) -> Item:
    """The item that names a break: the bank line with the smallest reference, else the smallest item."""
    return min(items, key=lambda item: (item.kind != LINE, item.reference, item.item_id))


def _anchor_order(item: Break) -> tuple[str, str, str]:
    return item.account, item.item_ref, item.break_id


def _open_rows(open_items: pl.DataFrame, breaks: tuple[Break, ...]) -> pl.DataFrame:
    places: Mapping[str, list[object]] = {
        "item_id": [item for found in breaks for item in found.item_ids],
        "code": [found.code.value for found in breaks for _ in found.item_ids],
        "break_id": [found.break_id for found in breaks for _ in found.item_ids],
    }
    coded = pl.DataFrame(places, schema={name: OPEN_SCHEMA[name] for name in places})
    return (
        open_items.join(coded, on="item_id", how="left", validate="1:1")
        .with_columns(pl.col("code").fill_null(BreakCode.TIMING.value))
        .select([pl.col(name).cast(kind) for name, kind in OPEN_SCHEMA.items()])
        .sort("item_id")
    )
