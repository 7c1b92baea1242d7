"""What the first pass cleared: written and digested beside the later passes, which need none of it.

Lives here: the two files that grow in two steps, the digest of the first step. Must not live here: any rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recon.matching.engine import Engine

ROW_GROUP: Final = 1_000_000
SHAPES: Final[dict[str, pa.Schema]] = {
    "matches": pa.schema(
        [
            ("set_ordinal", pa.int64()),
            ("rule", pa.string()),
            ("rule_version", pa.int32()),
            ("item_id", pa.int64()),
            ("amount_minor", pa.int64()),
            ("row_hash", pa.uint64()),
        ]
    ),
    "proofs": pa.schema(
        [
            ("set_ordinal", pa.int64()),
            ("rule", pa.string()),
            ("rule_version", pa.int32()),
            ("account", pa.string()),
            ("currency", pa.string()),
            ("legs", pa.int32()),
            ("bank_minor", pa.int64()),
            ("ledger_minor", pa.int64()),
            ("explained_minor", pa.int64()),
            ("explained_code", pa.string()),
            ("rivals", pa.int32()),
            ("margin", pa.int32()),
            ("is_fungible", pa.bool_()),
        ]
    ),
}

_DIGESTS: Final[dict[str, pl.DataType]] = {
    "part": pl.String(),
    "account": pl.String(),
    "rows": pl.Int64(),
    "total": pl.String(),  # beyond 64 bits
    "parity": pl.String(),
}


class SetFiles:
    """`matches.parquet` and `proofs.parquet`, open: the first pass's rows go in first, then the later passes'."""

    def __init__(self, out: Path) -> None:
        self._writers = {name: _writer(out / f"{name}.parquet", shape) for name, shape in SHAPES.items()}
        self.written = dict.fromkeys(SHAPES, 0)

    def first(self, engine: Engine) -> pl.DataFrame:
        """Write the sets of the first pass and count what came in. Returns their digests (`batch_first_digest.sql`).

        Runs beside other queries of the engine; the engine has the tables `exact_pair` and `rule`.
        """
        own = engine.beside()
        own.run("batch_first")
        self._write(own, "first")
        return own.rows("batch_first_digest")

    def late(self, engine: Engine) -> dict[str, int]:
        """Write the sets of the later passes and close. Returns the rows of each file."""
        self._write(engine, "late")
        self.close()
        return self.written

    def close(self) -> None:
        """Close both files; again does no harm."""
        for writer in self._writers.values():
            writer.close()

    def _write(self, engine: Engine, step: str) -> None:
        for name, writer in self._writers.items():
            self.written[name] += _append(writer, engine.batches(f"batch_{step}_{name}", ROW_GROUP), SHAPES[name])


def _writer(path: Path, shape: pa.Schema) -> pq.ParquetWriter:
    repeating = [field.name for field in shape if field.type == pa.string()]
    return pq.ParquetWriter(path, shape, compression="zstd", compression_level=1, use_dictionary=repeating)


def _append(writer: pq.ParquetWriter, batches: Iterable[pa.RecordBatch], shape: pa.Schema) -> int:
    rows = 0
    for batch in batches:
        if batch.num_rows:
            writer.write_batch(batch.cast(shape))
            rows += batch.num_rows
    return rows


def merged_digests(*parts: pl.DataFrame) -> pl.DataFrame:
    """Digests by part and account, added up."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for part, account, rows, total, parity in pl.concat(parts).iter_rows():
        before = found.get((part, account), (0, 0, 0))
        found[part, account] = (before[0] + rows, before[1] + int(total), before[2] ^ int(parity))
    return pl.DataFrame(
        [(*key, rows, str(total), str(parity)) for key, (rows, total, parity) in sorted(found.items())],
        schema={
            "part": pl.String(),
            "account": pl.String(),
            "rows": pl.Int64(),
            "total": pl.String(),
            "parity": pl.String(),
        },
        orient="row",
    )
