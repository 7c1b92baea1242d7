"""Where the rows of a camt file go while it is being read.

Lives here: keeping them in memory, or on disk so that a file of any size is read in the same memory. Must not live
here: the meaning of a row.

What a row finally is can depend on the end of its statement (the closing day, the currencies of the balances), and
nothing of a file is used before all of it could be read. So rows wait, and are settled once the file is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recon.model import STATEMENT_LINES

Settle = Callable[[pl.DataFrame], pl.DataFrame]
GROUP_ROWS: Final = 16_384  # rows of a row group, and of what is held at once
_SCHEMA: Final = {name: dtype() for name, dtype in STATEMENT_LINES.items()}


class Spool(Protocol):
    """Takes frames of `STATEMENT_LINES` in document order; gives what `StatementFile.lines` is to be."""

    def add(self, rows: pl.DataFrame) -> None: ...

    def finish(self, settle: Settle) -> pl.DataFrame: ...


class MemorySpool:
    """All rows as one frame."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        self._frames.append(rows)

    def finish(self, settle: Settle) -> pl.DataFrame:
        return settle(pl.concat(self._frames) if self._frames else pl.DataFrame(schema=_SCHEMA))


class NoRows:
    """No rows: for a reader who only asks what a file is and whether it proves."""

    def add(self, rows: pl.DataFrame) -> None:
        pass

    def finish(self, settle: Settle) -> pl.DataFrame:
        return pl.DataFrame(schema=_SCHEMA)


class ParquetSpool:
    """All rows in a Parquet file; the frame that is given back is empty.

    The file appears under its name only when it is whole. Until then rows wait in a temporary file beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by __exit__
        self._writer = pa.ipc.new_stream(self._waiting, _arrow(pl.DataFrame(schema=_SCHEMA)).schema)

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
        return pl.DataFrame(schema=_SCHEMA)

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
