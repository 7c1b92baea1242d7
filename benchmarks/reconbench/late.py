"""One statement line that comes a day late: the smallest change of inputs there is.

Lives here: the same inputs with one more line. Must not live here: running or judging.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True, slots=True)
class LateLine:
    """Inputs with the line added; it books the expectation `expected_id`."""

    inputs: Path
    line_id: int
    expected_id: int


def add_late_line(inputs: Path, out: Path, *, as_of: dt.date) -> LateLine:
    """Copy the inputs and book, on the last day, the oldest in-flight instruction nobody has booked yet."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(inputs / "ledger.parquet", out / "ledger.parquet")
    bank, books = pl.read_parquet(inputs / "bank.parquet"), pl.read_parquet(inputs / "ledger.parquet")
    waiting = (
        books.filter((pl.col("kind") == "INSTRUCTION") & (pl.col("age_days") == 0))
        .join(bank.drop_nulls("end_to_end_id"), on="end_to_end_id", how="anti")
        .join(bank.drop_nulls("uetr"), on="uetr", how="anti")
        .sort("item_id")
        .head(1)
    )
    line_id = 1 + max(int(str(bank["item_id"].max())), int(str(books["item_id"].max())))
    line = waiting.with_columns(
        pl.lit(line_id).alias("item_id"),
        pl.lit("LINE").alias("kind"),
        -pl.col("amount_minor"),
        pl.lit("LATE-1").alias("servicer_ref"),
        pl.lit("LATE-1").alias("reference"),
        pl.lit("PMNT/ICDT/ESCT").alias("bank_tx_code"),
        pl.lit(0).alias("sla_days"),
        pl.lit(as_of).alias("date"),
    )
    added = pl.concat([bank, line.select([pl.col(name).cast(kind) for name, kind in bank.schema.items()])])
    added.write_parquet(out / "bank.parquet", compression="zstd")
    return LateLine(inputs=out, line_id=line_id, expected_id=int(waiting["item_id"].item()))
