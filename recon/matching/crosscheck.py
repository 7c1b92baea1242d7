"""The same count by another engine: keys that exactly one line and one expectation carry.

Lives here: Polars' and numpy's answer, from the Parquet files or the frame alone. Must not live here: DuckDB, rules.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]


def exact_keys(bank: Path, ledger: Path, *, late: Path | None = None, accounts: tuple[str, ...] | None = None) -> int:
    """Keys (account, currency, EndToEndId, amount) that one bank line and one expectation carry, nobody else.

    `late`: more bank lines; `accounts`: only these are looked at. Items that a reject or a routine entry answers are
    left out on both sides. Compared by 64-bit hashes, a column at a time; memory is 16 bytes a row.
    """
    chosen = pl.lit(value=True) if accounts is None else pl.col("account").is_in(list(accounts))
    books = pl.scan_parquet(ledger).filter(chosen)
    banks = pl.scan_parquet([bank, *([] if late is None else [late])]).filter(chosen)
    return _counted(banks, books)


def exact_keys_of(items: pl.LazyFrame) -> int:
    """The same of one frame with both sides' items."""
    return _counted(items, items)


def _counted(banks: pl.LazyFrame, books: pl.LazyFrame) -> int:
    answers = books.select(pl.col("corrects_id").drop_nulls().unique()).collect()["corrects_id"]
    lines = _once(_hashes(banks, pl.col("kind") == "LINE", pl.col("amount_minor"), answers))
    is_expected = pl.col("kind").is_in(["INSTRUCTION", "RECEIPT"])
    expected = _once(_hashes(books, is_expected, -pl.col("amount_minor"), answers))
    if len(lines) == 0 or len(expected) == 0:
        return 0
    places = np.minimum(np.searchsorted(lines, expected), len(lines) - 1)
    return int((lines[places] == expected).sum())


def _hashes(rows: pl.LazyFrame, of_kind: pl.Expr, amount: pl.Expr, answers: pl.Series) -> Hashes:
    wanted = of_kind & pl.col("end_to_end_id").is_not_null()
    if len(answers):
        wanted &= ~pl.col("item_id").is_in(answers.implode())
    key = (
        pl.col("end_to_end_id").hash(1) + pl.col("account").hash(2) + pl.col("currency").hash(3) + amount.hash(4)
    ).alias("key")
    found: Hashes = rows.filter(wanted).select(key).collect(engine="streaming")["key"].to_numpy()
    return found


def _once(hashes: Hashes) -> Hashes:
    """Sorted hashes that occur exactly once."""
    ordered: Hashes = np.sort(hashes)
    if len(ordered) == 0:
        return ordered
    differs = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    once: Hashes = ordered[differs[:-1] & differs[1:]]
    return once
