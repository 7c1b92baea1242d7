"""The independent verifier of a batch run: everything it wrote, again, from the files it read.

Lives here: reading the files and the manifest, the digest. Must not live here: the checks themselves
(`recon.verifier_rules`), anything of the matcher or of the break rules (`recon.matching`, `recon.breaks`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb

from recon.verifier_rules import Fault, declare, run_checks, script_text

_FILES = {"match": "matches", "proof": "proofs", "break_item": "breaks", "certificate": "certificate"}


def verify_batch(
    bank: Path, ledger: Path, out: Path, *, threads: int = 2, memory_limit_gb: int = 4
) -> tuple[Fault, ...]:
    """Every fault of the run that `recon.matching.reconcile_parquet` left under `out`; none: the run holds.

    Raises `OSError` or `ValueError` when a file is missing or is none of the run's.
    """
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    found = [
        Fault("input-file", name, f"{path.name} is not the file that was reconciled (SHA-256)")
        for name, path in (("bank", bank), ("ledger", ledger))
        if _file_sha256(path) != manifest["inputs"][name]
    ]
    db = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{memory_limit_gb}GB",
            "temp_directory": str(out / "verify.scratch"),
            "preserve_insertion_order": False,
        },
    )
    try:
        db.execute("SET enable_progress_bar = false")
        db.read_parquet(str(bank)).create_view("bank_file")
        db.read_parquet(str(ledger)).create_view("ledger_file")
        for view, name in _FILES.items():
            db.read_parquet(str(out / f"{name}.parquet")).create_view(view)
        settings = manifest["tolerances"]
        declare(
            db,
            rules=manifest["rules"],
            permitted=settings["may_clear"],
            window_days=settings["window_days"],
            rounding_minor=settings["rounding_minor"],
            margin=manifest["scored_margin"],
        )
        found += run_checks(db, "verifier_input", "verifier_rules", "verifier_certificate")
        found += _digest_faults(db, manifest)
    finally:
        db.close()
    return tuple(found)


def _digest_faults(db: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> list[Fault]:
    rows = db.execute(script_text("verifier_digest")).fetchall()
    lines = [f"{part},{count},{total or 0},{parity or 0}\n" for part, count, total, parity in rows]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    if digest == manifest["result"]["result_sha256"]:
        return []
    return [Fault("result-digest", "manifest", "the files are not the result that the run signed")]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
