"""Where the rows of a camt file go while it is being read.

Lives here: what a spool is, keeping rows in memory or nowhere. Must not live here: the meaning of a row, rows on disk
(`recon.formats.parquet_spool`).

What a row finally is can depend on the end of its statement (the closing day, the currencies of the balances), and
nothing of a file is used before all of it could be read. So rows wait, and are settled once the file is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import polars as pl

from recon.model import STATEMENT_LINES

Settle = Callable[[pl.DataFrame], pl.DataFrame]
SPOOLED: Final = {name: dtype() for name, dtype in STATEMENT_LINES.items()}


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
        return settle(pl.concat(self._frames) if self._frames else pl.DataFrame(schema=SPOOLED))


class NoRows:
    """No rows: for a reader who only asks what a file is and whether it proves."""

    def add(self, rows: pl.DataFrame) -> None:
        pass

    def finish(self, settle: Settle) -> pl.DataFrame:
        return pl.DataFrame(schema=SPOOLED)
