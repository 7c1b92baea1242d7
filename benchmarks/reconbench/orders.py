"""Row orders and thread counts: whether the answer stays the same, tried one by one and remembered.

Lives here: shuffling inputs, the journal of what was tried, the mark of the program that answers. Must not live here:
the matcher, scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

import recon

Ask = Callable[[Path, int], str]


def program_mark() -> str:
    """SHA-256 of the program that reconciles, as it lies on disk: an answer is one program's, not two programs'."""
    digest = hashlib.sha256()
    root = Path(recon.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".sql", ".yaml"}:
            digest.update(f"{path.relative_to(root)}\x1f".encode() + path.read_bytes() + b"\x1e")
    return digest.hexdigest()


def result_digests(ask: Ask, inputs: Path, mixed: Path, *, shuffles: int, journal: Path, mark: str) -> set[str]:
    """Digests of the result over row shuffles, each with one thread and with two.

    `ask` gets a folder of inputs and a number of threads. What it said goes to `journal`, one JSON object a line, and
    is not asked again of the same program (`mark`) and inputs: a run that was stopped goes on where it was.
    """
    mark = _mark_of(mark, inputs)
    known = _known(journal, mark)
    mixed.mkdir(exist_ok=True)
    found = set()
    for order in range(shuffles):
        wanted = [threads for threads in (1, 2) if (order, threads) not in known]
        if wanted:
            _shuffle(inputs, mixed, seed=order)
        for threads in wanted:
            known[order, threads] = ask(mixed, threads)
            row = {"program": mark, "order": order, "threads": threads, "result_sha256": known[order, threads]}
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        found |= {known[order, 1], known[order, 2]}
    return found


def _mark_of(mark: str, inputs: Path) -> str:
    digest = hashlib.sha256(mark.encode())
    for side in ("bank", "ledger"):
        with (inputs / f"{side}.parquet").open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _known(journal: Path, mark: str) -> dict[tuple[int, int], str]:
    rows = [json.loads(text) for text in journal.read_text(encoding="utf-8").splitlines()] if journal.exists() else []
    return {(row["order"], row["threads"]): row["result_sha256"] for row in rows if row["program"] == mark}


def _shuffle(inputs: Path, mixed: Path, *, seed: int) -> None:
    for side in ("bank", "ledger"):
        frame = pl.read_parquet(inputs / f"{side}.parquet").sample(fraction=1.0, shuffle=True, seed=seed)
        frame.write_parquet(mixed / f"{side}.parquet", compression="zstd")
