"""A matcher of a few lines, run as a command: pairs of one reference and amount, everything else MISSING_BANK.

Usage: reference_matcher.py INPUTS OUT AS_OF THREADS MEMORY_GB [careless]; `careless` lets the order of rows decide.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import polars as pl


def main(inputs: Path, out: Path, *, careless: bool) -> None:
    keys = ["account", "currency", "end_to_end_id", "amount_minor"]
    bank, books = (
        pl.read_parquet(inputs / f"{side}.parquet", columns=["item_id", *keys]) for side in ("bank", "ledger")
    )
    bank = bank.with_columns(-pl.col("amount_minor"))
    if not careless:
        bank, books = (side.filter(pl.len().over(keys) == 1) for side in (bank, books))
    else:
        bank, books = (side.unique(keys, keep="first", maintain_order=True) for side in (bank, books))
    pairs = bank.join(books, on=keys, suffix="_book").sort("item_id").with_row_index("set_ordinal", offset=1)
    sets = pl.concat(
        [pairs.select("set_ordinal", "item_id"), pairs.select("set_ordinal", pl.col("item_id_book").alias("item_id"))]
    ).sort("set_ordinal", "item_id")
    every = pl.concat([pl.read_parquet(inputs / f"{side}.parquet", columns=["item_id"]) for side in ("bank", "ledger")])
    breaks = (
        every.join(sets, on="item_id", how="anti")
        .sort("item_id")
        .with_columns(pl.lit("MISSING_BANK").alias("code"), pl.format("B{}", "item_id").alias("break_id"))
    )
    sets.write_parquet(out / "matches.parquet")
    breaks.write_parquet(out / "breaks.parquet")
    digest = hashlib.sha256(sets.write_csv().encode() + breaks.write_csv().encode()).hexdigest()
    sys.stdout.write(json.dumps({"result_sha256": digest, "wall_s": 0.5, "cpu_s": 0.5, "peak_mb": 100.0}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), careless="careless" in sys.argv)
