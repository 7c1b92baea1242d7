"""Rows of a camt file on disk, so that a file of any size is read in the same memory.

Apart from `recon.formats.camt_spool`, because pyarrow is slow to load and few commands need it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recon.formats.camt_spool import SPOOLED, Settle

GROUP_ROWS: Final = 16_384  # rows of a row group, and of what is held at once


class ParquetSpool:
    """All rows in a Parquet file; the frame that is given back is empty.

    The file appears under its name only when it is whole. Until then rows wait in a temporary file beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by __exit__
        self._writer = pa.ipc.new_stream(self._waiting, _arrow(pl.DataFrame(schema=SPOOLED)).schema)

    def __enter__(self) -> ParquetSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.close()

    def add(self, rows: pl.DataFrame) -> None:
        self._frames.append(rows)
        self._held += rows.height
        if self._held >= GROUP_ROWS:
            self._write()

    def finish(self, settle: Settle) -> pl.DataFrame:
        self._write()
        self._writer.close()
        self._waiting.seek(0)
        new = self._path.with_name(self._path.name + ".part")
        with (
            pa.ipc.open_stream(self._waiting) as reader,
            pq.ParquetWriter(new, reader.schema, compression="zstd") as out,
        ):
            for batch in reader:
                rows = settle(_frame(pa.Table.from_batches([batch])))
                out.write_table(_arrow(rows))
        new.replace(self._path)
        return pl.DataFrame(schema=SPOOLED)

    def _write(self) -> None:
        if self._frames:
            rows = pl.concat(self._frames, rechunk=True)
            self._writer.write_table(_arrow(rows).combine_chunks(), max_chunksize=GROUP_ROWS)
        self._frames, self._held = [], 0


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _frame(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found
