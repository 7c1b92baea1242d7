"""A real bank's journal: the first months of the Berka data, from import to certificates."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ledger import RefusedError
from nostro.berka import run_berka


def _until(source: Path, target: Path, last: str) -> tuple[int, int, int]:
    """Copy the journal and balances up to a date; (entries, stated balances, nights)."""
    journal = pl.read_csv(source / "journal-1993.csv.gz", infer_schema=False).filter(pl.col("effective_date") <= last)
    balances = pl.read_csv(source / "balances-1993.csv.gz", infer_schema=False).filter(pl.col("effective_date") <= last)
    # Two files, as a longer series would come.
    middle = "1993-03-01"
    journal.filter(pl.col("effective_date") < middle).write_csv(target / "journal-1993a.csv.gz", compression="gzip")
    journal.filter(pl.col("effective_date") >= middle).write_csv(target / "journal-1993b.csv.gz", compression="gzip")
    balances.write_csv(target / "balances-1993.csv.gz", compression="gzip")
    (target / "parties.csv").write_bytes((source / "parties.csv").read_bytes())
    nights = journal.filter(pl.col("account").str.starts_with("liabilities:clearing:"))["effective_date"].n_unique()
    return journal["entry_key"].n_unique(), balances.height, nights


def test_first_months_agree_with_the_bank_and_are_certified(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "berka"
    folder.mkdir()
    entries, stated, nights = _until(shared / "real" / "berka", folder, "1993-03-31")
    result = run_berka(folder=folder, home=tmp_path / "home")
    assert (result.entries, result.entries_again) == (entries, 0)
    assert (result.balances_agreed, result.balances_stated) == (stated, stated)
    assert (result.nights_certified, result.nights) == (nights, nights)
    assert result.instructions > 0
    assert (result.residual_minor, result.breaks, result.invariant_faults) == (0, 0, 0)
    assert result.proven
    assert result.line.startswith(f"entries {entries}, balances agreed {stated} of {stated}, instructions ")


def test_a_folder_without_the_files_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"has no journal-\*\.csv\.gz"):
        run_berka(folder=tmp_path, home=tmp_path / "home")
