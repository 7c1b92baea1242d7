"""Codes for what stays open: the ordered taxonomy over an engine, as groups of items.

Lives here: running the queries of `recon.codes` in order, components. Must not live here: what a code means to a
person (`recon.explain`), records of breaks (`recon.breaks`).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from recon.codes import ITEM_CODES, BreakCode, CodeRule
from recon.matching.differences import prepare_breaks
from recon.matching.engine import GROUP_SCHEMA, Engine
from recon.matching.rules import rule_sql
from recon.matching.stock import Stock


def code_groups(engine: Engine) -> pl.DataFrame:
    """Every break among what an engine has open, as (group_id, item_id, code), an item once; the items are taken.

    The engine has the tables `cleared_line` and `acquirer`. What is left open afterwards is in flight.
    """
    if engine.offers([Stock.LINE]):
        prepare_breaks(engine)
    return pl.concat([_coded(engine, rule) for rule in ITEM_CODES])


def taxonomy_digest_parts() -> tuple[str, ...]:
    """What the digest of a run's rules covers besides the passes: every code with its query."""
    shared = tuple(rule_sql(name) for name in ("reference_pair", "stated_texts", "views_breaks"))
    return shared + tuple(f"{rule.code}\x1f{rule_sql(rule.query)}" for rule in ITEM_CODES if rule.query)


def _coded(engine: Engine, rule: CodeRule) -> pl.DataFrame:
    assert rule.query is not None
    if not engine.offers(Stock(word) for word in rule.needs.split()):
        return pl.DataFrame(schema=GROUP_SCHEMA | {"code": pl.String()})
    if "reference_" in rule_sql(rule.query):
        engine.refresh("reference_pair")
    if rule.code is BreakCode.AMBIGUOUS:
        from recon.matching.search import forks  # loads scipy, which most commands do not need

        groups = components([*engine.pairs(rule.query), *forks(engine)])
    else:
        groups = engine.groups(rule.query, merge=True)
    engine.take(groups)
    return groups.with_columns(pl.lit(rule.code.value).alias("code"))


def components(pairs: Iterable[tuple[int, int]]) -> pl.DataFrame:
    """Connected components of a graph, as (group_id, item_id); a group is named by its smallest item."""
    parent: dict[int, int] = {}

    def root(item: int) -> int:
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for left, right in pairs:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    rows = sorted((root(item), item) for item in parent)
    return pl.DataFrame(rows, schema={"group_id": pl.Int64(), "item_id": pl.Int64()}, orient="row")
