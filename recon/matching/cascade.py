"""The deterministic cascade: items in, cleared sets and open items out.

Lives here: running the rules in order over an engine, and what each set proves. Must not live here: databases,
files, clocks. What is not unique stays open; a person decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recon.errors import ReconCheckError
from recon.matching.engine import Engine
from recon.matching.items import ITEM_SCHEMA, Tolerances
from recon.matching.rules import RULES, Rule

SET_SCHEMA: dict[str, pl.DataType] = {
    "set_ordinal": pl.Int32(),  # from 1, in rule order, then by the set's smallest item
    "rule": pl.String(),
    "rule_version": pl.Int32(),
    "item_id": pl.Int64(),
    "rivals": pl.Int32(),  # open items that could have stood in for a member; none: nobody counted, people decided
    "margin": pl.Int32(),  # as in LEG_SCHEMA
    "is_fungible": pl.Boolean(),
}
LEG_SCHEMA: dict[str, pl.DataType] = {
    "position": pl.Int32(),  # of the rule, from 0
    "group_id": pl.Int64(),
    "item_id": pl.Int64(),
    "margin": pl.Int32(),  # points between this set and the next best, where sets are scored
    "explained_code": pl.String(),  # what the difference is that policy lets clear with the set
}


@dataclass(frozen=True, slots=True)
class Cascade:
    """Cleared sets (`SET_SCHEMA`, one row a leg) and the items that stay open (`ITEM_SCHEMA`).

    `exact_keys`: how many keys one line and one expectation carry, nobody else, as either engine counted them.
    """

    sets: pl.DataFrame
    open_items: pl.DataFrame
    exact_keys: tuple[int, int]


def clear(items: pl.DataFrame, *, tolerances: Tolerances, threads: int = 1) -> Cascade:
    """Clear what the rules can prove.

    `items` has `ITEM_SCHEMA`, one row a posting, in any order. The result depends on its rows alone. Raises
    `ReconCheckError` when the engines disagree about the exact keys.
    """
    if items.is_empty():
        return Cascade(pl.DataFrame(schema=SET_SCHEMA), items.select(list(ITEM_SCHEMA)), (0, 0))
    engine = Engine.of_frame(items, tolerances=tolerances, threads=threads)
    try:
        engine.first_pass()
        from recon.matching.crosscheck import exact_keys_of  # loads numpy, which most commands do not need

        counted = exact_keys_of(items.lazy())
        refuse_other_count(engine, counted)
        late = run_rules(engine)
        sets = _numbered(pl.concat([_first_pass_legs(engine), late]), _rivals(engine, late))
        return Cascade(sets, engine.open_items(), (engine.exact_key_count, counted))
    finally:
        engine.close()


def _rivals(engine: Engine, late: pl.DataFrame) -> pl.DataFrame:
    """Rivals of each set (by its smallest item) that has any; only sets of the later passes can."""
    if late.is_empty():
        return pl.DataFrame(schema={"set_ordinal": pl.Int64(), "rivals": pl.Int32()})
    declare_rules(engine)
    load_sets(engine, late)
    return engine.rows("rival_counts")


def refuse_other_count(engine: Engine, counted: int) -> None:
    """Raises `ReconCheckError` unless the other engine counted as many exact keys as this one."""
    if counted != engine.exact_key_count:
        raise ReconCheckError(
            f"two engines count the exact keys differently, {engine.exact_key_count} and {counted};"
            " nothing was written."
        )


def run_rules(engine: Engine) -> pl.DataFrame:
    """Every rule in order over what is open: legs (`LEG_SCHEMA`) of the sets, which are taken from the engine."""
    found = [pl.DataFrame(schema=LEG_SCHEMA)]
    for position, rule in enumerate(RULES):
        if not engine.offers(rule.needs):
            continue
        groups = _groups(engine, rule)
        if groups.height:
            found.append(_legs(position, groups))
            engine.take(groups)
    return pl.concat(found)


def declare_rules(engine: Engine) -> None:
    """The table `rule`, which results and rivals are told by."""
    engine.add_table(
        "rule",
        pl.DataFrame(
            {
                "position": list(range(len(RULES))),
                "code": [rule.code for rule in RULES],
                "version": [rule.version for rule in RULES],
                "key": [rule.key for rule in RULES],
                "wide": [rule.wide for rule in RULES],
                "is_fungible": [rule.is_fungible for rule in RULES],
            },
            schema_overrides={"position": pl.Int32, "version": pl.Int32, "key": pl.String},
        ),
    )


def load_sets(engine: Engine, legs: pl.DataFrame) -> None:
    """The sets of the later passes as table `leg`, each named by its smallest item, and their rivals as `rival`."""
    begins = pl.struct("position", "group_id").ne_missing(pl.struct("position", "group_id").shift())
    smallest = pl.when(begins).then("item_id").forward_fill()  # the legs come set by set, each in order of its items
    engine.add_table("leg", legs.with_columns(smallest.alias("set_ordinal")))
    engine.run("rivals")


def _groups(engine: Engine, rule: Rule) -> pl.DataFrame:
    if not rule.is_search:
        return engine.groups(rule.query, rule.parameters)
    from recon.matching.search import SEARCHES  # loads scipy, which most commands do not need

    found = SEARCHES[rule.query](engine)
    kept = engine.provable(found, explained=rule.is_explained)
    facts = found.select("group_id", pl.col("^(margin|explained_code)$")).unique()
    return kept.join(facts, on="group_id", how="left", maintain_order="left")


def _legs(position: int, groups: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None).alias(name) for name in ("margin", "explained_code") if name not in groups.columns]
    return (
        groups.with_columns(missing)
        .with_columns(pl.lit(position, dtype=pl.Int32).alias("position"))
        .select([pl.col(name).cast(kind) for name, kind in LEG_SCHEMA.items()])
    )


def _first_pass_legs(engine: Engine) -> pl.DataFrame:
    """What the first pass cleared, as legs of the rules that it works for."""
    pairs = engine.rows("exact_sets")
    places = {rule.wide: position for position, rule in enumerate(RULES) if rule.wide is not None}
    is_receipt = pl.col("is_receipt")
    position = pl.when(is_receipt).then(pl.lit(places["RECEIPT"])).otherwise(pl.lit(places["INSTRUCTION"]))
    shaped = pairs.with_columns(
        position.cast(pl.Int32).alias("position"),
        pl.lit(None, dtype=pl.Int32).alias("margin"),
        pl.lit(None, dtype=pl.String).alias("explained_code"),
        pl.col("expected_id").alias("group_id"),
    )
    sides = [
        shaped.with_columns(pl.col(side).alias("item_id")).select(list(LEG_SCHEMA))
        for side in ("line_id", "expected_id")
    ]
    return pl.concat(sides)


def _numbered(legs: pl.DataFrame, rivals: pl.DataFrame) -> pl.DataFrame:
    rules = pl.DataFrame(
        {
            "position": range(len(RULES)),
            "rule": [rule.code for rule in RULES],
            "rule_version": [rule.version for rule in RULES],
            "is_fungible": [rule.is_fungible for rule in RULES],
        },
        schema_overrides={"position": pl.Int32(), "rule_version": pl.Int32()},
    )
    return (
        legs.with_columns(pl.col("item_id").min().over("position", "group_id").alias("first_item"))
        .join(rivals.rename({"set_ordinal": "first_item"}), on="first_item", how="left")
        .with_columns(pl.col("rivals").fill_null(0))
        .sort("position", "first_item", "item_id")
        .with_columns(pl.struct("position", "first_item").rle_id().cast(pl.Int32).alias("set_ordinal") + 1)
        .join(rules, on="position", how="left", maintain_order="left")
        .select(list(SET_SCHEMA))
        .cast(dict(SET_SCHEMA))  # type: ignore[arg-type]
    )
