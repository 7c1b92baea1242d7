"""One row a posting, as a Parquet file. Apart from `ledger.exporting`, because pyarrow is slow to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

_PARQUET = pa.schema(
    [
        ("entry_key", pa.string()),
        ("effective_date", pa.date32()),
        ("account", pa.string()),
        ("amount", pa.decimal128(38, 8)),
        ("currency", pa.string()),
        ("description", pa.string()),
        ("reference", pa.string()),
    ]
)


class PostingWriter:
    """Writes rows (key, day, account, amount, currency, description, reference); the file is whole when it closes."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _PARQUET, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, rows: Sequence[tuple[object, ...]]) -> None:
        """One group of rows."""
        if rows:
            columns = zip(zip(*rows, strict=True), _PARQUET, strict=True)
            arrays = [pa.array(column, type=field.type) for column, field in columns]
            self._writer.write_batch(pa.record_batch(arrays, schema=_PARQUET))
