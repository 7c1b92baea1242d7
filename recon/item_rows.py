"""The hash of an item's row: what a proof names the rows by that it was decided from.

Lives here: its definition, for those who write proofs and for those who check them. Must not live here: what the
columns mean.
"""

from __future__ import annotations

import polars as pl

from recon.scratch_db import scratch

# The columns in order of their names, each as text or as one NUL, ended by a unit separator.
_ABSENT, _END = "\x00", "\x1f"


def row_hashes(items: pl.DataFrame) -> pl.DataFrame:
    """(item_id, row_sha256) of every row: SHA-256, hexadecimal, of all its columns."""
    texts = [pl.col(name).cast(pl.String).fill_null(_ABSENT) + _END for name in sorted(items.columns)]
    rows = items.select("item_id", pl.concat_str(texts).alias("row"))
    with scratch() as db:
        hashed = pl.from_arrow(
            db.from_arrow(rows.to_arrow()).project("item_id, sha256(row) AS row_sha256").to_arrow_table()
        )
    assert isinstance(hashed, pl.DataFrame)
    return hashed.sort("item_id")
