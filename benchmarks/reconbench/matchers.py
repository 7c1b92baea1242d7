"""Matchers to measure the measure with: one that knows the truth, one that is greedy, one that does nothing.

Lives here: reference answers for tests and the baseline of a benchmark run. Must not live here: the product's matcher.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from benchmarks.reconbench.score import Answer

_BASELINE: Final = """
SELECT b.item_id AS line_id, e.item_id AS expected_id
FROM read_parquet(?) b JOIN read_parquet(?) e
  ON e.account = b.account AND e.currency = b.currency AND e.end_to_end_id = b.end_to_end_id
 AND e.amount_minor = -b.amount_minor
"""


def oracle(truth: pl.DataFrame) -> Answer:
    """The truth itself, refusing what nobody can know."""
    clears = truth.filter(pl.col("group_id").is_not_null() & ~pl.col("ambiguous"))
    rest = truth.join(clears, on="item_id", how="anti")
    return Answer(
        sets=clears.select(pl.col("group_id").alias("set_ordinal"), "item_id"),
        codes=rest.select(
            "item_id", pl.col("code").fill_null("AMBIGUOUS"), pl.format("B{}", "item_id").alias("break_id")
        ),
    )


def nothing(amounts: pl.DataFrame) -> Answer:
    """Clears nothing, calls everything unmatched."""
    return Answer(
        sets=pl.DataFrame(schema={"set_ordinal": pl.Int64(), "item_id": pl.Int64()}),
        codes=amounts.select(
            "item_id", pl.lit("MISSING_BANK").alias("code"), pl.format("B{}", "item_id").alias("break_id")
        ),
    )


def greedy(inputs: Path) -> Answer:
    """What many programs do: each line takes an open item of its amount on its account, the nearest in date."""
    names = ["item_id", "account", "currency", "amount_minor", "day"]
    lines = pl.read_parquet(inputs / "bank.parquet", columns=names).with_columns(-pl.col("amount_minor"))
    books = pl.read_parquet(inputs / "ledger.parquet", columns=names)
    keys = ["account", "currency", "amount_minor"]
    place = pl.int_range(pl.len()).over(keys).alias("place")
    pairs = (
        lines.sort("day", "item_id").with_columns(place)
        .join(books.sort("day", "item_id").with_columns(place), on=[*keys, "place"], suffix="_book")
        .sort("item_id").with_row_index("set_ordinal", offset=1)
    )  # fmt: skip
    return _of_pairs(pairs.select("set_ordinal", "item_id", "item_id_book"), pl.concat([lines, books]))


def bare_join(inputs: Path, *, threads: int) -> pl.DataFrame:
    """Pairs of lines and items with one reference and amount: a bare DuckDB hash join, stored as a table."""
    db = duckdb.connect(":memory:", config={"threads": threads, "preserve_insertion_order": False})
    try:
        db.execute("CREATE TABLE pair AS " + _BASELINE, [str(inputs / "bank.parquet"), str(inputs / "ledger.parquet")])
        return pl.DataFrame(db.sql("SELECT * FROM pair").to_arrow_table())
    finally:
        db.close()


def by_reference(inputs: Path, *, threads: int = 1) -> Answer:
    """The bare join as a matcher: pairs that nobody else claims."""
    pairs = bare_join(inputs, threads=threads)
    alone = (pl.len().over("line_id") == 1) & (pl.len().over("expected_id") == 1)
    pairs = pairs.filter(alone).sort("line_id").with_row_index("set_ordinal", offset=1)
    ids = pl.concat([pl.read_parquet(inputs / f"{side}.parquet", columns=["item_id"]) for side in ("bank", "ledger")])
    return _of_pairs(pairs.select("set_ordinal", "line_id", "expected_id"), ids)


def _of_pairs(pairs: pl.DataFrame, items: pl.DataFrame) -> Answer:
    """An answer of two-legged sets; everything else gets the same code."""
    _, left, right = pairs.columns
    sets = pl.concat([pairs.select("set_ordinal", pl.col(name).alias("item_id")) for name in (left, right)])
    rest = items.select("item_id").join(sets, on="item_id", how="anti")
    codes = rest.select("item_id", pl.lit("MISSING_BANK").alias("code"), pl.format("B{}", "item_id").alias("break_id"))
    return Answer(sets=sets, codes=codes)
