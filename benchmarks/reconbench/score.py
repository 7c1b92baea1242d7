"""What a matcher's answer is worth, given the truth.

Lives here: comparing sets and codes with the truth, in frames. Must not live here: running matchers, printing.

An answer is two frames: `sets` (set_ordinal, item_id) and `codes` (item_id, code, break_id). A set is right when it is
a truth group, or several groups of interchangeable items at once; a set with an item of which nobody can know is a
guess and counts as wrong even if the guess hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.reconbench.spec import EURO_WEIGHT_E6

CLEARED: Final = "(cleared)"
NOWHERE: Final = "(nowhere)"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Sets (`set_ordinal`, `item_id`) and codes of open items (`item_id`, `code`, `break_id`)."""

    sets: pl.DataFrame
    codes: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """`figures` by name (shares 0..1 unless the name says otherwise); tables for the page."""

    figures: dict[str, float]
    confusion: pl.DataFrame  # truth, found, items
    codes: pl.DataFrame  # code, support, precision, recall, f1
    coverage: pl.DataFrame  # cls, evidence, items, cleared, share
    wrong: pl.DataFrame  # cls, sets, items: where the wrong sets come from


def read_answer(folder: Path) -> Answer:
    """What the matcher wrote under `folder`."""
    return Answer(
        sets=pl.read_parquet(folder / "matches.parquet", columns=["set_ordinal", "item_id"]),
        codes=pl.read_parquet(folder / "breaks.parquet", columns=["item_id", "code", "break_id"]),
    )


def read_truth(folder: Path) -> pl.DataFrame:
    """Every item with what is true about it, and its `weight` in euro cents."""
    truth = pl.concat([pl.read_parquet(folder / f"truth_{name}.parquet") for name in ("groups", "breaks")])
    weight_e6 = pl.col("currency").replace_strict(EURO_WEIGHT_E6, return_dtype=pl.Int64)
    return truth.with_columns((pl.col("amount_minor").abs() * weight_e6 // 1_000_000).alias("weight"))


def read_amounts(folder: Path) -> pl.DataFrame:
    """Account, currency and amount of every input item: what conservation is checked against."""
    names = ["item_id", "account", "currency", "amount_minor"]
    return pl.concat([pl.read_parquet(folder / f"{side}.parquet", columns=names) for side in ("bank", "ledger")])


def score(truth: pl.DataFrame, amounts: pl.DataFrame, answer: Answer) -> Scores:
    """Every figure of section 5 that needs no clock."""
    rated = _rated_sets(truth, answer.sets)
    legs = answer.sets.join(rated, on="set_ordinal", how="left").join(truth, on="item_id", how="left")
    clearable = truth.filter(pl.col("group_id").is_not_null() & ~pl.col("ambiguous"))
    good = legs.filter("right")
    coverage = _coverage(clearable, good)
    labels = _labels(truth, answer)
    per_code = _per_code(labels.filter(pl.col("truth") != CLEARED))
    figures = (
        _clearing_figures(truth, clearable, legs, rated)
        | _pair_figures(clearable, legs)
        | _break_figures(per_code, labels)
        | _refusal_figures(truth, answer, legs)
        | _conservation(amounts, answer)
        | {"exposure_retired_by_top_10_percent": _exposure_retired(truth, answer.codes)}
    )
    confusion = labels.group_by("truth", "found").agg(pl.col("items").sum()).sort("truth", "found")
    wrong = (
        legs.filter(~pl.col("right"))
        .group_by("cls")
        .agg(pl.col("set_ordinal").n_unique().alias("sets"), pl.len().alias("items"))
    )
    return Scores(figures, confusion, per_code, coverage, wrong.sort("items", descending=True))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _rated_sets(truth: pl.DataFrame, sets: pl.DataFrame) -> pl.DataFrame:
    """One row a set: `right`, `exact`, `size`, `guess`, `unknown`.

    Exact: its klasses are those of a truth group. Right: exact, or several whole groups of one block at once, or a
    part of one group that is zero by itself (what it clears belongs together, only the set is finer than the truth).
    """
    grouped = truth.filter(pl.col("group_id").is_not_null())
    known = ["item_id", "is_line", "block", "klass", "ambiguous", "cls", "group_id", "amount_minor"]
    legs = sets.join(truth.select(known), on="item_id", how="left")
    exact = _klasses(legs, "set_ordinal").join(
        _klasses(grouped, "group_id").drop("group_id").unique(), on=["one", "two", "size"], how="semi"
    )
    kinds = legs.group_by("set_ordinal").agg(
        pl.len().alias("size"),
        pl.col("ambiguous").fill_null(value=False).any().alias("guess"),
        (pl.col("cls").str.starts_with("unknown:") & pl.col("is_line")).fill_null(value=False).any().alias("unknown"),
        (
            (pl.col("group_id").n_unique() == 1)
            & pl.col("group_id").is_not_null().all()
            & (pl.col("amount_minor").sum() == 0)
        ).alias("inside"),
    )
    whole_or_part = pl.col("exact") | pl.col("several").fill_null(value=False) | pl.col("inside")
    return (
        kinds.join(exact.select("set_ordinal", pl.lit(value=True).alias("exact")), on="set_ordinal", how="left")
        .join(_several_at_once(grouped, legs), on="set_ordinal", how="left")
        .with_columns((pl.col("exact").fill_null(value=False) & ~pl.col("guess")).alias("exact"))
        .with_columns((whole_or_part & ~pl.col("guess")).alias("right"))
        .select("set_ordinal", "right", "exact", "size", "guess", "unknown")
        .sort("set_ordinal")
    )


def _klasses(legs: pl.DataFrame, by: str) -> pl.DataFrame:
    """A fingerprint (`one`, `two`, `size`) of the multiset of klasses of each group."""
    klass = pl.col("klass").fill_null(-1)
    return legs.group_by(by).agg(
        (klass.hash(seed=1) % (1 << 40)).sum().alias("one"),
        (klass.hash(seed=2) % (1 << 40)).sum().alias("two"),
        pl.len().alias("size"),
    )


def _several_at_once(grouped: pl.DataFrame, legs: pl.DataFrame) -> pl.DataFrame:
    """Sets (`set_ordinal`, `several`) that are the same multiple of every klass of the groups of one block."""
    groups = grouped.group_by("block").agg(pl.col("group_id").n_unique().alias("groups"))
    wanted = (
        grouped.group_by("block", "klass")
        .agg(pl.len().alias("in_block"))
        .join(groups, on="block")
        .select("block", "klass", pl.col("in_block") // pl.col("groups"), pl.len().over("block").alias("klasses"))
    )
    got = legs.group_by("set_ordinal", "block", "klass").agg(pl.len().alias("got"))
    times = (
        got.join(wanted, on=["block", "klass"], how="left")
        .filter(pl.col("block").n_unique().over("set_ordinal") == 1)
        .with_columns(
            (pl.col("got") // pl.col("in_block")).alias("times"),
            (pl.col("got") % pl.col("in_block")).alias("rest"),
        )
    )
    shape = times.group_by("set_ordinal").agg(
        (pl.col("times").n_unique() == 1).alias("same"),
        (pl.col("rest").fill_null(1) == 0).all().alias("even"),
        (pl.len() == pl.col("klasses").first()).alias("whole"),
    )
    return shape.select("set_ordinal", (pl.col("same") & pl.col("even") & pl.col("whole")).alias("several"))


def _clearing_figures(
    truth: pl.DataFrame, clearable: pl.DataFrame, legs: pl.DataFrame, rated: pl.DataFrame
) -> dict[str, float]:
    good = legs.filter("right")
    reachable = clearable.filter(pl.col("evidence") != "none")
    exact, found, groups = int(rated["exact"].sum()), rated.height, clearable["group_id"].n_unique()
    precision, recall = _share(exact, found), _share(exact, groups)
    right_sets, right_items = _share(int(rated["right"].sum()), found), _share(good.height, legs.height)
    false_value = int(legs.filter(~pl.col("right"))["weight"].sum())
    return {
        "coverage": _share(good.height, clearable.height),
        "coverage_of_reachable": _share(good.height, reachable.height),
        "coverage_of_lines": _share(good.filter("is_line").height, clearable.filter("is_line").height),
        "coverage_of_value": _share(int(good["weight"].sum()), int(clearable["weight"].sum())),
        "coverage_of_all_items": _share(good.height, truth.height),
        "reachable_ceiling": _share(reachable.height, clearable.height),
        "precision": min(right_sets, right_items),
        "precision_of_sets": right_sets,
        "precision_of_items": right_items,
        "wrong_sets": float(found - int(rated["right"].sum())),
        "wrong_sets_of_knowable": float(rated.filter(~pl.col("right") & ~pl.col("guess") & ~pl.col("unknown")).height),
        "false_clear_value_bp": 10_000 * _share(false_value, int(truth["weight"].sum())) if legs.height else 0.0,
        "group_precision": precision,
        "group_recall": recall,
        "group_f1": _f1(precision, recall),
        "ambiguous_wrongly_cleared": float(int(rated["guess"].sum())),
        "unknown_wrongly_cleared": float(int(rated["unknown"].sum())),
    }


def _pair_figures(clearable: pl.DataFrame, legs: pl.DataFrame) -> dict[str, float]:
    """Pairs of items that are in one set; a lump of 200 weighs 19,900 of them."""

    def pairs(frame: pl.DataFrame, by: list[str]) -> int:
        sizes = frame.group_by(by).len()["len"].cast(pl.Int64)
        return int((sizes * (sizes - 1) // 2).sum())

    wrong = legs.filter(~pl.col("right") & pl.col("group_id").is_not_null())
    hits = pairs(legs.filter("right"), ["set_ordinal"]) + pairs(wrong, ["set_ordinal", "group_id"])
    precision = _share(hits, pairs(legs, ["set_ordinal"]))
    recall = min(1.0, _share(hits, pairs(clearable, ["group_id"])))
    return {"pair_precision": precision, "pair_recall": recall, "pair_f1": _f1(precision, recall)}


def _coverage(clearable: pl.DataFrame, good: pl.DataFrame) -> pl.DataFrame:
    """Share cleared by class and by the evidence there is; of interchangeable items, so many as were cleared."""
    taken = good.group_by("klass").agg(pl.len().alias("taken"))
    place = pl.int_range(pl.len()).over("klass")
    return (
        clearable.sort("item_id")
        .join(taken, on="klass", how="left")
        .with_columns((place < pl.col("taken").fill_null(0)).alias("cleared"))
        .group_by("cls", "evidence")
        .agg(pl.len().alias("items"), pl.col("cleared").sum())
        .with_columns((pl.col("cleared") / pl.col("items")).alias("share"))
        .sort("cls", "evidence")
    )


def _labels(truth: pl.DataFrame, answer: Answer) -> pl.DataFrame:
    """Counts of (truth, found) over scored items; interchangeable items are compared as multisets."""
    found = pl.concat(
        [
            answer.sets.select("item_id", pl.lit(CLEARED).alias("found")),
            answer.codes.select("item_id", pl.col("code").alias("found")),
        ]
    ).unique("item_id", keep="first", maintain_order=True)
    silent = pl.col("group_id").is_not_null() & (pl.col("ambiguous") | (pl.col("evidence") == "none"))
    labelled = truth.join(found, on="item_id", how="left").select(
        "klass",
        pl.when(silent)
        .then(pl.lit(None, dtype=pl.String))
        .when(pl.col("group_id").is_not_null())
        .then(pl.lit(CLEARED))
        .otherwise("code")
        .alias("truth"),
        pl.col("found").fill_null(NOWHERE),
    )
    several = pl.len().over("klass") > 1
    alone = labelled.filter(~several).select("truth", "found")
    paired = _aligned(labelled.filter(several))
    both = pl.concat([alone, paired]).filter(pl.col("truth").is_not_null())
    return both.group_by("truth", "found").agg(pl.len().cast(pl.Int64).alias("items")).sort("truth", "found")


def _aligned(labelled: pl.DataFrame) -> pl.DataFrame:
    """Pairs (truth, found) within each klass: what both sides have in common first, the rest in order."""

    def numbered(name: str) -> pl.DataFrame:
        side = labelled.select("klass", pl.col(name).alias("label")).sort("klass", "label")
        return side.with_columns(pl.int_range(pl.len()).over("klass", "label").alias("n"))

    truth, found = numbered("truth"), numbered("found")
    keys = ["klass", "label", "n"]
    common = truth.join(found, on=keys, how="semi").select(
        pl.col("label").alias("truth"), pl.col("label").alias("found")
    )
    rest = [
        side.join(other, on=keys, how="anti", nulls_equal=True)
        .sort(keys)
        .with_columns(pl.int_range(pl.len()).over("klass").alias("place"))
        for side, other in ((truth, found), (found, truth))
    ]
    left = rest[0].join(rest[1], on=["klass", "place"], how="inner", suffix="_found")
    return pl.concat([common, left.select(pl.col("label").alias("truth"), pl.col("label_found").alias("found"))])


def _per_code(labels: pl.DataFrame) -> pl.DataFrame:
    """Precision, recall and F1 of every code that some item truly has."""
    rows = []
    for code in sorted(set(labels["truth"].to_list())):
        support = int(labels.filter(pl.col("truth") == code)["items"].sum())
        given = int(labels.filter(pl.col("found") == code)["items"].sum())
        hits = int(labels.filter((pl.col("truth") == code) & (pl.col("found") == code))["items"].sum())
        precision, recall = (_share(hits, given) if given else 0.0), _share(hits, support)
        rows.append((code, support, given, precision, recall, _f1(precision, recall)))
    return pl.DataFrame(rows, schema=["code", "support", "given", "precision", "recall", "f1"], orient="row")


def _break_figures(per_code: pl.DataFrame, labels: pl.DataFrame) -> dict[str, float]:
    strict = _per_code(labels).filter(pl.col("code") != CLEARED)
    return {
        "break_macro_f1": _mean(per_code["f1"]),
        "break_min_f1": _low(per_code["f1"]),
        "break_macro_f1_strict": _mean(strict["f1"]),
    }


def _mean(values: pl.Series) -> float:
    return sum(values.to_list()) / len(values) if len(values) else 1.0


def _low(values: pl.Series) -> float:
    return min(values.to_list(), default=1.0)


def _refusal_figures(truth: pl.DataFrame, answer: Answer, legs: pl.DataFrame) -> dict[str, float]:
    """Items of ambiguous truth that stayed open, and of unknown anomalies."""
    unclear = truth.filter("ambiguous")
    odd = truth.filter(pl.col("cls").str.starts_with("unknown:"))
    named = answer.codes.filter(pl.col("code") == "AMBIGUOUS")
    designed = unclear.filter(pl.col("code") == "AMBIGUOUS")
    return {
        "ambiguous_items": float(unclear.height),
        "ambiguous_refused": _share(unclear.join(legs, on="item_id", how="anti").height, unclear.height),
        "ambiguous_named": _share(designed.join(named, on="item_id", how="semi").height, designed.height),
        "unknown_items": float(odd.height),
        # An expectation of an anomaly may stand in for an equal one; its line may be in no set at all.
        "unknown_contained": _share(
            odd.join(legs.filter(pl.col("is_line") | ~pl.col("right")), on="item_id", how="anti").height, odd.height
        ),
    }


def _conservation(amounts: pl.DataFrame, answer: Answer) -> dict[str, float]:
    """Every item once, every set zero on one account, and both sides = what is open: computed from the inputs alone."""
    places = pl.concat([answer.sets.select("item_id"), answer.codes.select("item_id")])
    once = places.group_by("item_id").len()
    misplaced = (
        amounts.join(once.filter(pl.col("len") == 1), on="item_id", how="anti").height
        + once.join(amounts, on="item_id", how="anti").height
    )
    sets = answer.sets.join(amounts, on="item_id", how="left").group_by("set_ordinal").agg(
        pl.col("amount_minor").sum().alias("minor"), pl.struct("account", "currency").n_unique().alias("places")
    )  # fmt: skip
    keys = ["account", "currency"]
    total = amounts.group_by(keys).agg(pl.col("amount_minor").sum().alias("total"))
    left = (
        answer.codes.join(amounts, on="item_id", how="inner")
        .group_by(keys)
        .agg(pl.col("amount_minor").sum().alias("open"))
    )
    rest = total.join(left, on=keys, how="left").select((pl.col("total") - pl.col("open").fill_null(0)).abs().sum())
    return {
        "conservation_residual_minor": float(int(rest.item()) + int(sets["minor"].abs().sum())),
        "items_not_in_one_place": float(misplaced),
        "sets_across_accounts": float(sets.filter(pl.col("places") > 1).height),
    }


def _exposure_retired(truth: pl.DataFrame, codes: pl.DataFrame) -> float:
    """Share of the open value that a person has seen after the largest tenth of the breaks (in flight left out)."""
    open_value = codes.filter(pl.col("code") != "TIMING").join(
        truth.select("item_id", "weight"), on="item_id", how="inner"
    )
    per_break = open_value.group_by("break_id").agg(pl.col("weight").sum()).sort("weight", descending=True)
    if per_break.is_empty():
        return 1.0
    top = per_break.head(max(1, -(-per_break.height // 10)))
    return _share(int(top["weight"].sum()), int(per_break["weight"].sum()))
