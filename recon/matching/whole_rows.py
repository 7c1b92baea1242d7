"""Whole rows of one side that the first pass left, read for the later rules.

Lives here: reading by Polars, which decodes a column of a Parquet file only for the rows that are asked for (DuckDB
decodes all of it). Must not live here: who is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from recon.matching.items import ITEM_SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE: Final = 100_000  # rows


def scan(paths: list[Path], accounts: Sequence[str] | None) -> pl.LazyFrame:
    """The rows of files with `ITEM_SCHEMA`; of these accounts only, if any are given."""
    rows = pl.scan_parquet(paths, parallel="prefiltered").select(list(ITEM_SCHEMA))
    return rows if accounts is None else rows.filter(pl.col("account").is_in(list(accounts)))


def without(rows: pl.LazyFrame, item_ids: pl.Series) -> pa.RecordBatchReader:
    """All of these rows but the named ones, in no order, a part at a time."""
    import pyarrow as pa  # slow to load

    newest = pl.CompatLevel.newest()
    kept = rows.filter(~pl.col("item_id").is_in(item_ids.implode()))

    def parts() -> Iterator[pa.RecordBatch]:
        for part in kept.collect_batches(chunk_size=_AT_ONCE, maintain_order=False, engine="streaming"):
            yield from part.to_arrow(compat_level=newest).to_batches()

    schema = pl.DataFrame(schema=ITEM_SCHEMA).to_arrow(compat_level=newest).schema
    return pa.RecordBatchReader.from_batches(schema, parts())
