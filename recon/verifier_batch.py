"""The independent verifier of a batch run: everything it wrote, again, from the files it read.

Lives here: reading the files and the manifest, running `verifier_batch.sql`, the digest. Must not live here: anything
of the matcher or of the break rules (`recon.matching`, `recon.breaks`): an import contract says so. What it knows of
a rule is what the manifest declares: code, version, order, and the column that members share.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from recon.codes import BreakCode

_FILES = {"match": "matches", "proof": "proofs", "break_item": "breaks", "certificate": "certificate"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold: its kind, where (item, set or account), and what was found."""

    kind: str
    place: str
    message: str


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
        _declare(db, manifest)
        db.execute(_sql("verifier_batch"))
        rows = db.execute("SELECT fault, place, message FROM finding ORDER BY fault, place, message").fetchall()
        found += [Fault(str(kind), str(place), str(message)) for kind, place, message in rows]
        found += _digest_faults(db, manifest)
    finally:
        db.close()
    return tuple(found)


def _declare(db: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> None:
    """What the manifest says about rules, codes and settings, as tables."""
    rules = [
        (at, rule["code"], rule["version"], rule["key"], rule["is_fungible"])
        for at, rule in enumerate(manifest["rules"])
    ]
    db.execute(
        "CREATE TABLE rule_known (position INTEGER, code VARCHAR, version INTEGER, key VARCHAR, is_fungible BOOLEAN)"
    )
    db.executemany("INSERT INTO rule_known VALUES (?, ?, ?, ?, ?)", rules)
    db.execute("CREATE TABLE code_known (code VARCHAR)")
    db.executemany("INSERT INTO code_known VALUES (?)", [(code.value,) for code in BreakCode])
    settings = manifest["tolerances"]
    db.execute("CREATE TABLE code_permitted (code VARCHAR)")
    permitted = settings["may_clear"]
    if permitted:
        db.executemany("INSERT INTO code_permitted VALUES (?)", [(code,) for code in permitted])
    db.execute("CREATE TABLE setting (window_days INTEGER, rounding_minor BIGINT, margin INTEGER)")
    db.execute(
        "INSERT INTO setting VALUES (?, ?, ?)",
        [settings["window_days"], settings["rounding_minor"], manifest["scored_margin"]],
    )


def _digest_faults(db: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> list[Fault]:
    rows = db.execute(_sql("verifier_digest")).fetchall()
    lines = [f"{part},{count},{total or 0},{parity or 0}\n" for part, count, total, parity in rows]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    if digest == manifest["result"]["result_sha256"]:
        return []
    return [Fault("result-digest", "manifest", "the files are not the result that the run signed")]


def _sql(name: str) -> str:
    return resources.files("recon").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
