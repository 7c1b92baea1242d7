"""Data sets of ReconBench for tests, made once a process."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from benchmarks.reconbench.generate import Manifest, generate
from benchmarks.reconbench.score import read_amounts, read_truth
from benchmarks.reconbench.spec import DataSet


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    folder: Path
    manifest: Manifest
    truth: pl.DataFrame
    amounts: pl.DataFrame

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    def side(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.inputs / f"{name}.parquet")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nostro-test-reconbench-")


def folder_for(name: str) -> Path:
    """A folder that goes with this process."""
    return Path(_folder().name) / name


@cache
def made(seed: int = 1, rows: int = 10_000, *, holdout: bool = False) -> Made:
    folder = folder_for(f"{seed}-{rows}-{holdout}")
    manifest = generate(DataSet(rows, seed, holdout), inputs=folder / "inputs", truth=folder / "kept-back")
    return Made(folder, manifest, read_truth(folder / "kept-back"), read_amounts(folder / "inputs"))
