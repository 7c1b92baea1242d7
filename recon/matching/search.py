"""Searches: what no single query can decide. Scored pairs by optimal assignment, repeats, sums of a party.

Lives here: points for evidence, the assignment, margins, what is interchangeable. Must not live here: SQL, money
arithmetic beyond sums. Points are integers; rows come sorted, so equal inputs give equal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from recon.matching.differences import ONE_NAME, prepare_breaks
from recon.matching.engine import GROUP_SCHEMA, Engine
from recon.matching.likeness import (
    ALIKE,
    ends_early,
    is_end_of,
    is_swapped,
    misspelt,
    name_likeness,
    stands_free,
    stands_in_word,
)
from recon.matching.parties import named_parties
from recon.matching.rules import MARGIN
from recon.matching.subsets import Outcome, SubsetSum, find_subset

CROWD: Final = 60  # partners by amount alone beyond which only one party's pairs are rated
PAIRS_BUDGET: Final = 20_000_000
ENOUGH: Final = 45  # points of evidence beyond the amount
WHOLE_MIN: Final = 6  # characters of a reference that one word has
LONG: Final = 8  # characters of a reference that a text has, whatever its words
PREFIXES: Final = (28, 24, 20, 18, 16, 14, 13)  # characters left of a reference that was cut, longest first
CHANCE: Final = 1_000  # minor units of the total for each subset as simple as the one found: no accident

Points = npt.NDArray[np.int64]

_FOUND: Final = GROUP_SCHEMA | {"margin": pl.Int32()}


def scored(engine: Engine) -> pl.DataFrame:
    """Pairs (group_id, item_id, margin) whose evidence is enough and clearly ahead of every rival's."""
    pairs = _rated(engine)
    if pairs.is_empty():
        return pl.DataFrame(schema=_FOUND)
    # Who has one partner only is settled; so is a component in which nobody is clearly ahead. The rest is assigned.
    pairs = pairs.with_columns(
        pl.Series("component", _components(pairs)),
        (~pl.col("is_held") & (pl.col("margin") >= MARGIN)).alias("is_ahead"),
    )
    alone = (pl.len().over("component") == 1) & pl.col("is_ahead")
    rivals = pairs.filter((pl.len().over("component") > 1) & pl.col("is_ahead").any().over("component"))
    assigned = rivals.filter(_assigned(rivals) & pl.col("is_ahead")) if rivals.height else rivals
    return _as_groups(pl.concat([pairs.filter(alone), assigned]))


def repeats(engine: Engine) -> pl.DataFrame:
    """As many lines as expectations of one party and amount that nothing tells apart: paired in date order."""
    pairs = _rated(engine)
    if pairs.is_empty():
        return pl.DataFrame(schema=_FOUND)
    component = _components(pairs)
    pairs = pairs.with_columns(pl.Series("component", component))
    alike = (
        pairs.group_by("component")
        .agg(
            pl.col("line_id").n_unique().alias("lines"),
            pl.col("expected_id").n_unique().alias("expectations"),
            pl.col("party_account").n_unique().alias("parties"),
            pl.col("party_account").null_count().alias("nameless"),
            (~pl.col("is_held") & pl.col("same_party") & (pl.col("points") - pl.col("near") == _SAME_PARTY))
            .all()
            .alias("is_alike"),
        )
        .filter(
            (pl.col("lines") == pl.col("expectations"))
            & (pl.col("lines") > 1)
            & (pl.col("parties") == 1)
            & (pl.col("nameless") == 0)
            & pl.col("is_alike")
        )
    )
    inside = pairs.join(alike, on="component", how="semi")
    lines = _ranked(inside, "line")
    matched = lines.join(_ranked(inside, "expected"), on=["component", "rank"])
    known = inside.select("line_id", "expected_id")
    proper = matched.join(known, on=["line_id", "expected_id"], how="semi")
    whole = proper.group_by("component").len().join(alike, on="component").filter(pl.col("len") == pl.col("lines"))
    return _as_groups(
        proper.join(whole, on="component", how="semi").with_columns(pl.lit(0, dtype=pl.Int32).alias("margin"))
    )


def _ranked(pairs: pl.DataFrame, side: str) -> pl.DataFrame:
    return (
        pairs.select("component", f"{side}_id", f"{side}_day")
        .unique()
        .sort("component", f"{side}_day", f"{side}_id")
        .with_columns(pl.int_range(pl.len()).over("component").alias("rank"))
        .select("component", "rank", f"{side}_id")
    )


def subset_sum(engine: Engine) -> pl.DataFrame:
    """One item against the only choice of the other side's items of its party that adds up to it."""
    found: list[tuple[int, int, None]] = []
    for target_id, target, parts, answer in _sums(engine):
        if answer.outcome is Outcome.EXHAUSTED:
            engine.exhausted["subset-sum"] += 1
        is_no_accident = answer.as_simple * CHANCE <= abs(target)
        if answer.outcome is Outcome.UNIQUE and len(answer.chosen) > 1 and is_no_accident:
            found += [(target_id, member, None) for member in (target_id, *(parts[at] for at in answer.chosen))]
    return pl.DataFrame(found, schema=_FOUND, orient="row")


def forks(engine: Engine) -> list[tuple[int, int]]:
    """Pairs of an item and those that it could be the sum of, where several choices fit."""
    return [
        (target_id, parts[at])
        for target_id, _, parts, answer in _sums(engine)
        if answer.outcome is Outcome.FORK
        for at in answer.chosen
    ]


def _sums(engine: Engine) -> Iterator[tuple[int, int, list[int], SubsetSum]]:
    """Each item with open items of its party on the other side: id, wanted total, their ids, what a search finds."""
    named = named_parties(engine.asked("party_names", {}))
    for side in ("LINE", "EXPECTED"):
        rows = engine.asked("subset_pools", {"of": side}, named_party=named).rows()
        for (target_id, target), pool in groupby(rows, key=lambda row: (row[0], row[1])):
            of_target = list(pool)
            free, held = ([row for row in of_target if row[4] is is_held] for is_held in (False, True))
            answer = find_subset([int(row[3]) for row in free], int(target), [int(row[3]) for row in held])
            yield int(target_id), int(target), [int(row[2]) for row in (*free, *held)], answer


EXPLAINED: Final = ("FX_DIFF", "FEE_DIFF", "RESERVE_HELD", "CHARGEBACK", "ROUNDING")


def explained(engine: Engine) -> pl.DataFrame:
    """Sets whose difference one of the codes explains that policy lets clear; by default policy permits none."""
    found = [pl.DataFrame(schema=_FOUND | {"explained_code": pl.String()})]
    permitted = [code for code in EXPLAINED if code in engine.tolerances.may_clear]
    if permitted:
        prepare_breaks(engine)
    for code in permitted:
        groups = engine.rows(f"break_{code.lower()}").with_columns(
            pl.lit(None, dtype=pl.Int32).alias("margin"), pl.lit(code).alias("explained_code")
        )
        taken = pl.concat(found)["item_id"].implode()
        clash = groups.filter(pl.col("item_id").is_in(taken)).select("group_id")
        found.append(groups.join(clash, on="group_id", how="anti").select(found[0].columns))
    return pl.concat(found)


SEARCHES: Final[dict[str, Callable[[Engine], pl.DataFrame]]] = {
    "search_scored": scored,
    "search_repeats": repeats,
    "search_subset_sum": subset_sum,
    "search_explained": explained,
}

_SAME_PARTY: Final = 60
_UNLIKE: Final = 40
_WHOLE: Final = 1000


def _rated(engine: Engine) -> pl.DataFrame:
    """Candidate pairs with enough evidence: points, and the margin over the best rival of either member."""
    pairs = engine.asked("scored_candidates", {"crowd": CROWD})
    if pairs.height > PAIRS_BUDGET:
        engine.exhausted["scored"] += 1
        pairs = pairs.filter("same_party")
    by_reference = _reference_points(pairs, engine.references())
    unlike = _states_another(pairs, by_reference)
    points = (
        np.where(pairs["same_party"].to_numpy(), _SAME_PARTY, 0)
        + by_reference
        - np.where(unlike, _UNLIKE, 0)
        + _name_points(pairs)
        - np.where(pairs["other_party"].to_numpy(), 15, 0)
    )
    near = np.where(pairs["days"].to_numpy() == 0, 3, 0)
    held = pairs["is_held"].to_numpy() | _is_others(pairs, by_reference > 0)
    rated = pairs.with_columns(
        pl.Series("points", points + near),
        pl.Series("near", near),
        pl.Series("is_held", held & (by_reference == 0)),  # a line that says nothing of it never takes it
    ).filter(pl.col("points") - pl.col("near") >= ENOUGH)
    return rated.with_columns(_margin("line_id"), _margin("expected_id").alias("margin_expected")).with_columns(
        pl.min_horizontal("margin", "margin_expected").cast(pl.Int32).alias("margin")
    )


def _states_another(pairs: pl.DataFrame, by_reference: Points) -> npt.NDArray[np.bool_]:
    """For each pair whether its line states a reference that is nothing like this one: it is about something else.

    The end of it, or two figures that changed places, are like it, also where they are too short to prove anything.
    """
    another: npt.NDArray[np.bool_] = pairs["states_reference"].to_numpy() & (by_reference == 0)
    for at in np.flatnonzero(another & (pairs["reference"].str.len_chars().to_numpy() >= WHOLE_MIN)).tolist():
        reference = pairs["reference"][at]
        another[at] = not (is_swapped(reference, pairs["text"][at]) or is_end_of(reference, pairs["words"][at]))
    return another


def _is_others(pairs: pl.DataFrame, speaks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each pair whether a line has the expectation's reference, or something of it."""
    marked = pairs.select("expected_id", pl.Series("speaks", speaks))
    return marked.select(pl.col("speaks").any().over("expected_id"))["speaks"].to_numpy()


def _margin(side: str) -> pl.Expr:
    """Points ahead of the best other pair of this member; all points when there is none."""
    best = pl.col("points").max().over(side)
    second = pl.col("points").sort(descending=True).slice(1, 1).first().over(side).fill_null(0)
    return (pl.col("points") - pl.when(pl.col("points") == best).then(second).otherwise(best)).alias("margin")


def _reference_points(pairs: pl.DataFrame, references: pl.DataFrame) -> Points:
    """The expectation's reference in the line's text: whole, its beginning, or with a letter or two wrong.

    A beginning counts fully only when no other open reference of the account begins so.
    """
    text, reference = pairs["text"], pairs["reference"]
    left = _left_of_references(pairs)
    points = _beginning_points(pairs.select("account", "reference", left), references)
    # A text that is a part of the reference is a beginning (or nothing), not a reference with a letter wrong.
    is_part = pairs.select(pl.col("reference").str.contains(pl.col("text"), literal=True))["reference"].to_numpy()
    long_enough = text.str.len_chars().to_numpy() >= np.maximum(reference.str.len_chars().to_numpy() - 2, 9)
    fuzzy = np.flatnonzero((points < 80) & ~is_part & long_enough & (reference.str.len_chars().to_numpy() >= 10))
    if len(fuzzy):
        ratio = np.array(misspelt(reference.gather(fuzzy).to_list(), text.gather(fuzzy).to_list()), dtype=np.int64)
        points[fuzzy] = np.maximum(points[fuzzy], np.where(ratio >= ALIKE, 45 + (ratio - ALIKE) * 3, 0))
    return points


def _left_of_references(pairs: pl.DataFrame) -> pl.Series:
    """`left`: characters of each reference that its text has, or `_WHOLE`; none where the word goes on otherwise."""
    length = pl.col("reference").str.len_chars()
    has_whole = (length >= WHOLE_MIN) & pl.col("text").str.contains(pl.col("reference"), literal=True)
    left = pl.when(has_whole).then(_WHOLE)
    for size in PREFIXES:
        begins = pl.col("text").str.contains(pl.col("reference").str.slice(0, size), literal=True)
        left = left.when((length > size) & begins).then(size)  # type: ignore[assignment]
    seen = pairs.select(left.otherwise(0).cast(pl.Int64).alias("left"))["left"].to_numpy(writable=True)
    for at in np.flatnonzero(seen).tolist():
        reference, text = pairs["reference"][at], pairs["text"][at]
        if seen[at] != _WHOLE:
            proves = ends_early(reference, pairs["words"][at])
        elif len(reference) < LONG:
            proves = stands_in_word(reference, pairs["words"][at])
        else:
            proves = stands_free(reference, text)
        seen[at] = seen[at] if proves else 0
    return pl.Series("left", seen)


def _beginning_points(seen: pl.DataFrame, references: pl.DataFrame) -> Points:
    """80 for a whole reference; for `left` characters of one 40 + left when they begin no other, else left."""
    points = np.where(seen["left"].to_numpy() == _WHOLE, 80, 0).astype(np.int64)
    for size in PREFIXES:
        here = np.flatnonzero(seen["left"].to_numpy() == size)
        if len(here) == 0:
            continue
        beginning = pl.col("reference").str.slice(0, size).alias("beginning")
        shared = references.select("account", beginning).group_by("account", "beginning").len()
        rows = (
            seen[here]
            .select("account", beginning)
            .join(shared, on=["account", "beginning"], how="left", maintain_order="left")
        )
        points[here] = np.where(rows["len"].fill_null(1).to_numpy() == 1, 40 + size, size)
    return points


def _name_points(pairs: pl.DataFrame) -> Points:
    """Names that are spelt alike; two names that have nothing in common speak against the pair."""
    points = np.zeros(pairs.height, dtype=np.int64)
    named = ~pairs["same_party"] & (pairs["line_name"] != "") & (pairs["expected_name"] != "")
    here = np.flatnonzero(named.to_numpy())
    if len(here) == 0:
        return points
    named_pairs = pairs[here].select("line_name", "expected_name")
    both = named_pairs.unique().sort("line_name", "expected_name")
    alike = name_likeness(both["line_name"].to_list(), both["expected_name"].to_list())
    ratio = (
        named_pairs.join(
            both.with_columns(pl.Series("ratio", alike, dtype=pl.Int64)),
            on=["line_name", "expected_name"],
            how="left",
            maintain_order="left",
        )["ratio"]
    ).to_numpy()
    points[here] = np.where(ratio >= ONE_NAME, 50, np.where(ratio >= 75, 20, np.where(ratio < 55, -25, 0)))
    return points


def _assigned(pairs: pl.DataFrame) -> pl.Series:
    """Which pairs the assignment with the most points takes; each line may stay alone."""
    lines, rows = np.unique(pairs["line_id"].to_numpy(), return_inverse=True)
    expected, columns = np.unique(pairs["expected_id"].to_numpy(), return_inverse=True)
    points = pairs["points"].to_numpy()
    alone = np.arange(len(lines))
    matrix = coo_array(
        (
            np.concatenate([points, np.ones(len(lines), dtype=np.int64)]).astype(np.float64),
            (np.concatenate([rows, alone]), np.concatenate([columns, len(expected) + alone])),
        ),
        shape=(len(lines), len(expected) + len(lines)),
    ).tocsr()
    of_line, taken = min_weight_full_bipartite_matching(matrix, maximize=True)
    place = np.full(len(lines), -1)
    place[of_line] = taken
    return pl.Series(place[rows] == columns)


def _components(pairs: pl.DataFrame) -> npt.NDArray[np.int32]:
    """The connected component of each pair."""
    lines, rows = np.unique(pairs["line_id"].to_numpy(), return_inverse=True)
    expected, columns = np.unique(pairs["expected_id"].to_numpy(), return_inverse=True)
    size = len(lines) + len(expected)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, len(lines) + columns)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    chosen: npt.NDArray[np.int32] = label[rows]
    return chosen


def _as_groups(pairs: pl.DataFrame) -> pl.DataFrame:
    """Both members of each pair, in a group named by the expectation."""
    sides = [
        pairs.select(pl.col("expected_id").alias("group_id"), pl.col(side).alias("item_id"), "margin")
        for side in ("line_id", "expected_id")
    ]
    return pl.concat(sides).cast(dict(_FOUND))  # type: ignore[arg-type]
