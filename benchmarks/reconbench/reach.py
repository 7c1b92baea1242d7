"""What can be known from the data at all: interchangeable items, sums that fit twice, references that fit two items.

Lives here: correcting and refining the generator's truth by what a perfect reader of the data could know. Must not
live here: generating. Works on a chunk's raw items (both sides, with `row` numbers); accounts never cross chunks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from benchmarks.reconbench.world import Ints

GAP_DAYS: Final = 3  # equal items further apart than this are different occasions
WINDOW: Final = 1
POOL_MAX: Final = 22  # beyond this many candidates, a sum without reference is taken as not knowable


def blocks(items: pl.DataFrame, *, chunk: int) -> pl.DataFrame:
    """Adds `block` and `klass`: items of one klass are interchangeable, a block is a group or several such groups.

    Without a fungible key the block is the unit (for what clears) or the item, and the klass is the item. Numbers
    are different in every chunk.
    """
    base = (chunk + 1) << 40
    keyed = items.filter(pl.col("fungible").is_not_null()).sort("fungible", "at", "row")
    gap = (pl.col("fungible") != pl.col("fungible").shift(1)) | (pl.col("at") - pl.col("at").shift(1) > GAP_DAYS)
    cluster = gap.fill_null(value=True).cum_sum().cast(pl.Int64) * 2
    keyed = keyed.with_columns((-(cluster + base)).alias("block"))
    keyed = keyed.with_columns((pl.col("block") - pl.col("is_line").cast(pl.Int64)).alias("klass"))
    # Pairs of which one half lies in another cluster (or has no key) are not interchangeable after all.
    pairs = keyed.filter(pl.col("clears") & (pl.col("cls") != "hidden"))
    torn = pairs.group_by("unit").agg(pl.col("block").n_unique().alias("n"), pl.len().alias("k"))
    torn_units = torn.filter((pl.col("n") > 1) | (pl.col("k") != 2)).select("unit")
    torn_blocks = keyed.join(torn_units, on="unit", how="semi").select("block").unique()
    keyed = keyed.join(torn_blocks, on="block", how="anti").with_columns(
        pl.when(pl.col("cls") != "hidden").then("block").alias("block")  # a part of a lump stays in its own lump
    )
    alone = pl.when("clears").then("unit").otherwise(pl.col("row") + base + (1 << 55))
    return (
        items.join(keyed.select("row", "block", "klass"), on="row", how="left")
        .with_columns(pl.col("block").fill_null(alone), pl.col("klass").fill_null(pl.col("row") + base))
        .sort("row")
    )


def doubtful_sums(items: pl.DataFrame) -> pl.DataFrame:
    """Rows (`row`, `doubtful_unit`) of hidden lumps whose amount fits several different subsets of what lies open.

    The pool is what a reader would still have open of that party around that day: parts of hidden lumps, items that
    never came, items of anomalies. Lumps with one fitting subset are solved first and leave the pool of the others.
    """
    lines = items.filter((pl.col("cls") == "hidden") & pl.col("is_line")).select(
        "row", "unit", "account_at", "party", "at", pl.col("amount_minor").alias("line_minor")
    )
    open_kinds = pl.col("cls").is_in(["hidden", "decoy", "missing_bank", "timing", "ambiguous"])
    open_kinds |= pl.col("cls").str.starts_with("unknown:")
    pool = items.filter(~pl.col("is_line") & open_kinds & (pl.col("amount_minor") > 0)).select(
        pl.col("row").alias("candidate"), "account_at", "party", pl.col("at").alias("candidate_at"), "amount_minor",
        pl.when(pl.col("cls") == "hidden").then("unit").alias("home"),
    )  # fmt: skip
    near = lines.join(pool, on=["account_at", "party"], how="inner").filter(
        (pl.col("candidate_at") - pl.col("at")).abs() <= WINDOW
    )
    doubtful = _forks(near)["doubtful_unit"].unique().to_list()
    solved_elsewhere = (
        pl.col("home").is_not_null() & (pl.col("home") != pl.col("unit")) & ~pl.col("home").is_in(doubtful)
    ).fill_null(value=False)
    return _forks(near.filter(pl.col("unit").is_in(doubtful) & ~solved_elsewhere))


def _forks(near: pl.DataFrame) -> pl.DataFrame:
    """Lines with their candidates, reduced to those with two materially different sums, and the items in such a sum."""
    found: list[tuple[int, int]] = []
    for (unit, row, line_minor), part in near.sort("unit", "candidate").group_by(
        "unit", "row", "line_minor", maintain_order=True
    ):
        fitting = _members_of_fitting_sums(part["amount_minor"].to_numpy(), -int(str(line_minor)))
        if fitting is not None:
            rows = part["candidate"].to_numpy()[fitting].tolist()
            found += [(int(str(row)), int(str(unit))), *((candidate, int(str(unit))) for candidate in rows)]
    return pl.DataFrame(found, schema={"row": pl.Int64(), "doubtful_unit": pl.Int64()}, orient="row")


def _members_of_fitting_sums(amounts: Ints, target: int) -> Ints | None:
    """Positions that occur in some subset with the target sum when materially different subsets have it, else None.

    Subsets with the same amounts are the same to anybody; a pool too large to search is not knowable.
    """
    if len(amounts) > POOL_MAX:
        return np.arange(len(amounts))
    sums = np.zeros(1, dtype=np.int64)
    for amount in amounts:
        sums = np.concatenate([sums, sums + amount])
    masks = np.flatnonzero(sums == target)
    if len(masks) < 2:
        return None
    inside = (masks[:, None] >> np.arange(len(amounts))) & 1
    kinds = {tuple(sorted(amounts[row.astype(bool)].tolist())) for row in inside}
    return None if len(kinds) == 1 else np.flatnonzero(inside.any(axis=0))


def doubtful_lines(items: pl.DataFrame) -> pl.DataFrame:
    """Rows of ordinary lines that fit two or more items equally well by everything they carry.

    Cut references are compared by what is left of them, and every line by its party if it shows one; items that
    another line names in full are no candidates.
    """
    weak = ["beginning of a reference", "party name", "party account", "none"]
    lines = items.filter(
        pl.col("is_line") & pl.col("clears") & pl.col("evidence").is_in(weak) & ~pl.col("cls").is_in(["repeat"])
    ).select(
        "row", "unit", "account_at", "amount_minor", "at", "evidence", "party", "klass",
        pl.coalesce(pl.col("end_to_end_id"), pl.col("remittance").str.strip_prefix("EREF+")).alias("left"),
        (pl.col("party_account").is_not_null() | pl.col("party_name").is_not_null()).alias("shows_party"),
    )  # fmt: skip
    named = pl.col("evidence").is_in(["reference", "uetr", "mangled reference", "batch id", "netting reference"])
    pool = items.filter(~pl.col("is_line") & ~named & pl.col("end_to_end_id").is_not_null()).select(
        pl.col("row").alias("candidate"),
        "account_at",
        (-pl.col("amount_minor")).alias("amount_minor"),
        pl.col("at").alias("candidate_at"),
        pl.col("party").alias("candidate_party"),
        pl.col("klass").alias("candidate_klass"),
        pl.col("end_to_end_id").alias("whole"),
    )
    is_cut = pl.col("evidence") == "beginning of a reference"
    begins = ~is_cut | pl.col("whole").str.starts_with(pl.col("left"))
    fits = begins & (~pl.col("shows_party") | (pl.col("party") == pl.col("candidate_party")))
    near = lines.join(pool, on=["account_at", "amount_minor"], how="inner").filter(
        ((pl.col("candidate_at") - pl.col("at")).abs() <= WINDOW) & fits
    )
    rivals = near.group_by("row").agg(
        pl.col("candidate_klass").n_unique().alias("classes"), pl.col("candidate_party").n_unique().alias("parties")
    )
    # Several items of the same party and amount are one class, or as good as one.
    return rivals.filter((pl.col("classes") > 1) & (pl.col("parties") > 1)).select("row").sort("row")
