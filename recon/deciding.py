"""One run's decisions from its inputs: frames in, sets and breaks out.

Lives here: the order in which people's decisions, the cascade, what is held back, and the classification come; so a
run, its replay and a dry run ("what if this were posted") decide by the same lines. Must not live here: databases,
files, clocks, any rule (`recon.matching`, `recon.breaks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from recon.breaks import CLEARED_LINE_SCHEMA, OPEN_SCHEMA, Break, anchor_of, classify
from recon.codes import BreakCode
from recon.explain import Proposal
from recon.matching import SET_SCHEMA, Tolerances, clear
from recon.matching.items import INSTRUCTION, LINE, items_from_frame

DECIDED_SCHEMA: dict[str, pl.DataType] = {
    "decision": pl.String(),  # what people decided, e.g. "adjustment:12"
    "rule": pl.String(),  # adjustment, manual-match, adjustment-undone
    "account_id": pl.Int64(),
    "item_id": pl.Int64(),
}
DECIDED_VERSION = 1
DECIDED_RULES: tuple[str, ...] = ("adjustment", "manual-match", "adjustment-undone")
_GIVEN = ("set_ordinal", "rule_version", "is_fungible")

# A set as its sorted items: what makes two sets the same.
Members = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunInputs:
    """Everything that a run's decisions follow from.

    `items` (`ITEM_SCHEMA`) may be matched; `later` are open on the day, but a later day's set took them. `decided`
    (`DECIDED_SCHEMA`) are sets of people. A rule that finds a set of `denied` (members → why) or is in `suggested`
    (rule → why) only suggests. `acquirers` has `ACQUIRER_SCHEMA`.
    """

    items: pl.DataFrame
    later: pl.DataFrame
    decided: pl.DataFrame
    denied: Mapping[Members, str]
    suggested: Mapping[str, str]
    acquirers: pl.DataFrame
    tolerances: Tolerances


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Cleared sets (`SET_SCHEMA`), breaks of items, and every open item with its code (`OPEN_SCHEMA`).

    `exact_keys`: what either engine counted (`recon.matching.Cascade`).
    """

    sets: pl.DataFrame
    breaks: tuple[Break, ...]
    open_rows: pl.DataFrame
    exact_keys: tuple[int, int]


# Lines of earlier sets that carry a reference of these open items (`CLEARED_LINE_SCHEMA`): an open line may repeat one.
ClearedBefore = Callable[[pl.DataFrame], pl.DataFrame]


class Remembered:
    """A look-up that remembers what it found, so that a run can keep it."""

    def __init__(self, look_up: ClearedBefore) -> None:
        self._look_up = look_up
        self.found = pl.DataFrame(schema=CLEARED_LINE_SCHEMA)

    def __call__(self, still_open: pl.DataFrame) -> pl.DataFrame:
        self.found = self._look_up(still_open)
        return self.found


def decide(inputs: RunInputs, cleared_before: ClearedBefore, *, threads: int = 1) -> Decisions:
    """Decide every item: people's sets first, then the cascade, then a code for what stays open.

    A suggestion is one AMBIGUOUS break of the set's items. The result depends on the inputs alone.
    """
    decided = inputs.decided.join(inputs.items, on="item_id", how="semi")
    free = inputs.items.join(decided, on="item_id", how="anti")
    cascade = clear(free, tolerances=inputs.tolerances, threads=threads)
    held = _held_back(cascade.sets, inputs)
    kept = cascade.sets.filter(~pl.col("set_ordinal").is_in(list(held)))
    sets = pl.concat([_renumbered(kept), _decided_sets(decided, kept["set_ordinal"].n_unique())], how="diagonal")
    still_open = pl.concat([cascade.open_items, inputs.later])
    found = classify(
        still_open,
        cleared_lines=pl.concat([_cleared_now(inputs.items, sets), cleared_before(still_open)]),
        cleared_expected=inputs.items.filter(pl.col("kind") == INSTRUCTION).join(sets, on="item_id", how="semi"),
        acquirers=inputs.acquirers,
        tolerances=inputs.tolerances,
        threads=threads,
    )
    suggested = _suggestions(cascade.sets, held, inputs.items)
    rows = [found.open_items, *(_open_rows(inputs.items, each) for each in suggested)]
    breaks = sorted((*found.breaks, *suggested), key=lambda b: (b.account, b.item_ref, b.break_id))
    return Decisions(
        sets=sets,
        breaks=tuple(breaks),
        open_rows=pl.concat(rows).sort("item_id"),
        exact_keys=cascade.exact_keys,
    )


def _cleared_now(items: pl.DataFrame, sets: pl.DataFrame) -> pl.DataFrame:
    lines = items.join(sets.select("item_id"), on="item_id", how="semi").filter(pl.col("kind") == LINE)
    return lines.select(list(CLEARED_LINE_SCHEMA))


def _held_back(sets: pl.DataFrame, inputs: RunInputs) -> dict[int, str]:
    """Ordinals of sets that must not clear by themselves, and why."""
    if sets.is_empty() or not (inputs.denied or inputs.suggested):
        return {}
    why: dict[int, str] = {}
    grouped = sets.group_by("set_ordinal").agg(pl.col("rule").first(), pl.col("item_id").sort()).sort("set_ordinal")
    for ordinal, rule, members in grouped.select("set_ordinal", "rule", "item_id").rows():
        reason = inputs.denied.get(tuple(members)) or inputs.suggested.get(rule)
        if reason is not None:
            why[ordinal] = f"Rule {rule} would clear these items. {reason}"
    return why


def _renumbered(kept: pl.DataFrame) -> pl.DataFrame:
    return kept.with_columns(pl.col("set_ordinal").rank("dense").cast(pl.Int32))


def _decided_sets(decided: pl.DataFrame, before: int) -> pl.DataFrame:
    """People's sets in the shape of the cascade's, numbered after them."""
    if decided.is_empty():
        return pl.DataFrame(schema=SET_SCHEMA)
    return (
        decided.sort("decision", "account_id", "item_id")
        .with_columns(
            (pl.struct("decision", "account_id").rle_id().cast(pl.Int32) + before + 1).alias("set_ordinal"),
            pl.lit(DECIDED_VERSION, dtype=pl.Int32).alias("rule_version"),
            pl.lit(value=False).alias("is_fungible"),
        )
        .with_columns(pl.lit(None).alias(name) for name in SET_SCHEMA if name not in {*DECIDED_SCHEMA, *_GIVEN})
        .select([pl.col(name).cast(kind) for name, kind in SET_SCHEMA.items()])
    )


def _suggestions(sets: pl.DataFrame, held: Mapping[int, str], items: pl.DataFrame) -> list[Break]:
    found = []
    for ordinal, why in sorted(held.items()):
        legs = sets.filter(pl.col("set_ordinal") == ordinal)
        ids = legs["item_id"].sort()
        members = list(items_from_frame(items.filter(pl.col("item_id").is_in(ids.to_list())).sort("item_id")))
        anchor = anchor_of(members)
        text = f"{why} One word of a person would close it: `nostro breaks propose B{anchor.item_id} --match`."
        found.append(
            Break(
                break_id=f"B{anchor.item_id}",
                code=BreakCode.AMBIGUOUS,
                item_ref=anchor.reference,
                account=anchor.account,
                currency=anchor.currency,
                amount_minor=sum(item.amount_minor for item in members),
                item_ids=tuple(item.item_id for item in members),
                first_date=min(item.date for item in members),
                age_days=max(item.age_days for item in members),
                explanation=text,
                proposal=Proposal("No entry: look at the items, then match them by hand or leave them open."),
                suggested_rule=legs["rule"][0],
            )
        )
    return found


def _open_rows(items: pl.DataFrame, suggested: Break) -> pl.DataFrame:
    return (
        items.filter(pl.col("item_id").is_in(list(suggested.item_ids)))
        .with_columns(pl.lit(suggested.code.value).alias("code"), pl.lit(suggested.break_id).alias("break_id"))
        .select([pl.col(name).cast(kind) for name, kind in OPEN_SCHEMA.items()])
    )
