"""The deterministic cascade: items in, cleared sets and open items out.

Lives here: running the rules in order. Must not live here: databases, files, clocks. What is not unique
stays open; a person decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recon.matching.engine import Engine
from recon.matching.items import Tolerances
from recon.matching.rules import RULES, Rule

SET_SCHEMA: dict[str, pl.DataType] = {
    "set_ordinal": pl.Int32(),  # from 1, in rule order, then by the set's smallest item
    "rule": pl.String(),
    "rule_version": pl.Int32(),
    "item_id": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Cascade:
    """Cleared sets (`SET_SCHEMA`, one row a leg) and the items that stay open (`ITEM_SCHEMA`)."""

    sets: pl.DataFrame
    open_items: pl.DataFrame


def clear(items: pl.DataFrame, *, tolerances: Tolerances, threads: int = 1) -> Cascade:
    """Clear what the rules can prove.

    `items` has `ITEM_SCHEMA`, one row a posting, in any order. The result depends on its rows alone.
    """
    engine = Engine(items, tolerances=tolerances, threads=threads)
    try:
        found: list[pl.DataFrame] = []
        for rule in RULES:
            parameters = {"rule": rule.code} if rule.is_routine else None
            groups = engine.groups(rule.query, parameters)
            if groups.height:
                engine.take(groups)
                found.append(_sets(groups, rule))
        return Cascade(sets=_numbered(found), open_items=engine.open_items())
    finally:
        engine.close()


def _sets(groups: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    return groups.with_columns(
        pl.lit(rule.code).alias("rule"),
        pl.lit(rule.version, dtype=pl.Int32).alias("rule_version"),
        pl.col("item_id").min().over("group_id").alias("first_item"),
    )


def _numbered(found: list[pl.DataFrame]) -> pl.DataFrame:
    if not found:
        return pl.DataFrame(schema=SET_SCHEMA)
    ranked = [
        frame.with_columns(pl.lit(position, dtype=pl.Int32).alias("position")) for position, frame in enumerate(found)
    ]
    return (
        pl.concat(ranked)
        .sort("position", "first_item", "item_id")
        .with_columns(pl.struct("position", "first_item").rle_id().cast(pl.Int32).alias("set_ordinal") + 1)
        .select(list(SET_SCHEMA))
        .cast(dict(SET_SCHEMA))  # type: ignore[arg-type]
    )
