"""The independent verifier of a batch run: everything it wrote, again, from the files it read.

Lives here: reading the files and the manifest, the digest. Must not live here: the checks themselves
(`recon.verifier_rules`), anything of the matcher or of the break rules (`recon.matching`, `recon.breaks`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from recon.verifier_rules import Fault, declare, run_checks, script_text

_FILES = {"match": "matches", "proof": "proofs", "break_item": "breaks", "certificate": "certificate"}


@dataclass(frozen=True, slots=True)
class Layer:
    """What `recon.matching.update_batch` laid over a run: the file of late lines and the folder it wrote."""

    late: Path
    out: Path


def verify_batch(
    bank: Path, ledger: Path, out: Path, *, layer: Layer | None = None, threads: int = 2, memory_limit_gb: int = 4
) -> tuple[Fault, ...]:
    """Every fault of the run that `recon.matching.reconcile_parquet` left under `out`; none: the run holds.

    With a `layer` the whole is checked: all lines, and what the layer has of its accounts in place of the run's.
    Raises `OSError` or `ValueError` when a file is missing or is none of the run's.
    """
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    found = [
        Fault("input-file", name, f"{path.name} is not the file that was reconciled (SHA-256)")
        for name, path in (("bank", bank), ("ledger", ledger))
        if _file_sha256(path) != manifest["inputs"][name]
    ]
    over = None if layer is None else json.loads((layer.out / "manifest.json").read_text(encoding="utf-8"))
    if layer is not None and over is not None:
        found += _layer_faults(manifest, over, layer)
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
        banks = [str(bank), *([] if layer is None else [str(layer.late)])]
        db.read_parquet(banks).create_view("bank_file")
        db.read_parquet(str(ledger)).create_view("ledger_file")
        for view, name in _FILES.items():
            db.read_parquet(str(out / f"{name}.parquet")).create_view(view if layer is None else f"run_{view}")
            if layer is not None:
                db.read_parquet(str(layer.out / f"{name}.parquet")).create_view(f"layer_{view}")
        if over is not None:
            accounts = over["layer"]["accounts"]
            db.execute("CREATE TABLE touched AS SELECT unnest($accounts::VARCHAR[]) AS account", {"accounts": accounts})
            db.execute(script_text("verifier_layer"))
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
        signed = manifest["result"]["result_sha256"] if over is None else over["layer"]["whole_result_sha256"]
        found += _digest_faults(db, signed)
    finally:
        db.close()
    return tuple(found)


def _layer_faults(manifest: dict[str, Any], over: dict[str, Any], layer: Layer) -> list[Fault]:
    """What does not fit between a run and what lies over it. Raises `ValueError` when nothing does."""
    if over["layer"] is None:
        raise ValueError(f"{layer.out.name} is no layer over another result.")
    found = []
    if _file_sha256(layer.late) != over["inputs"]["late"]:
        found.append(Fault("input-file", "late", f"{layer.late.name} is not the file that was reconciled (SHA-256)"))
    if over["layer"]["over_result_sha256"] != manifest["result"]["result_sha256"]:
        found.append(Fault("layer", "manifest", "it lies over another result than this one"))
    settings = ("as_of", "tolerances", "rules_sha256", "rules", "scored_margin", "row_hash")
    found += [
        Fault("layer", name, "the run and the layer over it were decided by different ones")
        for name in settings
        if over[name] != manifest[name]
    ]
    return found


def _digest_faults(db: duckdb.DuckDBPyConnection, signed: str) -> list[Fault]:
    rows = db.execute(script_text("verifier_digest")).fetchall()
    lines = [f"{part},{count},{total or 0},{parity or 0}\n" for part, count, total, parity in rows]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    if digest == signed:
        return []
    return [Fault("result-digest", "manifest", "the files are not the result that the run signed")]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
