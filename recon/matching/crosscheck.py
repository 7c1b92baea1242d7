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
    is_expected = pl.col("kind").is_in(["INSTRUCTION", "RECEIPT"])
    lines = _hashes(banks, pl.col("kind") == "LINE", pl.col("amount_minor"), answers)
    return _in_both(lines, _hashes(books, is_expected, -pl.col("amount_minor"), answers))


def _hashes(rows: pl.LazyFrame, of_kind: pl.Expr, amount: pl.Expr, answers: pl.Series) -> Hashes:
    wanted = of_kind & pl.col("end_to_end_id").is_not_null()
    if len(answers):
        wanted &= ~pl.col("item_id").is_in(answers.implode())
    key = (
        pl.col("end_to_end_id").hash(1) + pl.col("account").hash(2) + pl.col("currency").hash(3) + amount.hash(4)
    ).alias("key")
    found: Hashes = rows.filter(wanted).select(key).collect(engine="streaming")["key"].to_numpy()
    return found


def _in_both(lines: Hashes, expected: Hashes) -> int:
    """How many keys either array has exactly once. The side is the lowest bit, so that one sort answers it."""
    side = np.uint64(1)
    keys = np.empty(len(lines) + len(expected), dtype=np.uint64)
    if len(keys) < 2:
        return 0
    np.bitwise_or(lines, side, out=keys[: len(lines)])
    np.bitwise_and(expected, ~side, out=keys[len(lines) :])
    keys.sort()
    starts = np.empty(len(keys) + 1, dtype=bool)  # where another key begins; the end counts as one
    starts[0] = starts[-1] = True
    np.greater(keys[1:] ^ keys[:-1], side, out=starts[1:-1])
    pairs = starts[:-2] & ~starts[1:-1] & starts[2:]  # two rows with one key
    return int((pairs & (keys[1:] != keys[:-1])).sum())
