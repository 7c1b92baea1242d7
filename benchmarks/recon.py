"""How fast two Parquet files are reconciled, against a bare DuckDB hash join of them on the unique reference.

Lives here: the measurement behind `nostro bench recon`. Must not live here: matching, printing, defaults.

Ours goes from the files to matches, proofs, breaks and certificate on disk; the reference joins the same files on the
reference and stores the pairs in a table. Both in turns, each turn in a process of its own, two threads; times are
wall seconds of the work without the start of the process, medians over the rounds. `datacompy` pins an older Polars
than ours, so it runs in the environment of the interpreter given for it; beside it our first pass alone, which does
the same part of the work (pairs of equal keys, and what is on one side only).
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module, resources
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.result import BenchResult, Figure, peak_rss_mb
from recon.matching import Tolerances, reconcile_parquet
from recon.matching.engine import Engine
from recon.verifier_batch import verify_batch

AS_OF: Final = dt.date(2026, 10, 31)
THREADS: Final = 2
Turn = dict[str, float]


def run(
    rows: int,
    *,
    repeats: int = 3,
    memory_limit_gb: int = 4,
    folder: Path | None = None,
    datacompy_python: Path | None = None,
) -> BenchResult:
    """Measure `rows` expectations against about as many lines. Inputs are kept in `folder` when given."""
    with tempfile.TemporaryDirectory(prefix="nostro-bench-") as scratch:
        inputs = (folder or Path(scratch)) / f"recon-{rows}"
        write_inputs(inputs, rows)
        turns: dict[str, list[Turn]] = {"join": [], "ours": [], "exact": []}
        if datacompy_python is not None:
            turns["datacompy"] = []
        for _ in range(repeats):
            for name, found in turns.items():
                python = datacompy_python if name == "datacompy" else None
                found.append(_turn(name, inputs, Path(scratch), memory_limit_gb, python))
    wall, cpu = _medians(turns, "wall_s"), _medians(turns, "cpu_s")
    last = turns["ours"][-1]
    items = int(last["bank_items"] + last["ledger_items"])
    figures: list[tuple[str, Figure]] = [
        ("bank_items", int(last["bank_items"])),
        ("ledger_items", int(last["ledger_items"])),
        ("cleared_items", int(last["cleared_items"])),
        ("open_items", int(last["open_items"])),
        ("wall_s", round(wall["ours"], 2)),
        ("reference_wall_s", round(wall["join"], 2)),
        ("cpu_s", round(cpu["ours"], 2)),
        ("reference_cpu_s", round(cpu["join"], 2)),
        ("cpu_ratio", round(cpu["join"] / cpu["ours"], 4)),
        ("exact_part_wall_s", round(wall["exact"], 2)),
        ("exact_part_cpu_s", round(cpu["exact"], 2)),
        ("faults", int(max(turn["faults"] for turn in turns["ours"]))),
        ("verify_wall_s", round(statistics.median(turn["verify_s"] for turn in turns["ours"]), 2)),
    ]
    if datacompy_python is not None:
        figures += [
            ("datacompy_wall_s", round(wall["datacompy"], 2)),
            ("datacompy_cpu_s", round(cpu["datacompy"], 2)),
            ("times_faster_than_datacompy", round(wall["datacompy"] / wall["exact"], 2)),
            ("times_less_processor_than_datacompy", round(cpu["datacompy"] / cpu["exact"], 2)),
        ]
    return BenchResult(
        bench="recon",
        rows=items,
        ours="reconcile_parquet: matches, proofs, breaks and certificate on disk, both engines' counts compared",
        ours_per_s=items / wall["ours"],
        reference="a bare DuckDB hash join of the same Parquet files on the unique reference, stored in a table",
        reference_per_s=items / wall["join"],
        peak_rss_mb=max(turn["peak_mb"] for turn in turns["ours"]),
        others=tuple(figures),
    )


def _medians(turns: dict[str, list[Turn]], what: str) -> dict[str, float]:
    return {name: statistics.median(turn[what] for turn in found) for name, found in turns.items()}


def write_inputs(folder: Path, rows: int) -> None:
    """`bank.parquet` and `ledger.parquet` under `folder`; made once, the same for the same `rows`."""
    if (folder / "ledger.parquet").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    db = duckdb.connect(":memory:", config={"threads": THREADS, "memory_limit": "4GB", "temp_directory": str(folder)})
    try:
        db.execute("SET enable_progress_bar = false")
        script = resources.files("benchmarks").joinpath("recon_input.sql").read_text(encoding="utf-8")
        db.execute(script.replace("$rows", str(int(rows))))
        for name, view in (("bank", "bank_line"), ("ledger", "ledger_item")):
            part = folder / f"{name}.part"
            db.table(view).order("account, date, item_id").write_parquet(
                str(part), compression="zstd", row_group_size=1_000_000
            )
            part.rename(folder / f"{name}.parquet")
    finally:
        db.close()


def _turn(name: str, inputs: Path, scratch: Path, memory_limit_gb: int, python: Path | None) -> Turn:
    arguments = [name, str(inputs), str(scratch / "out"), str(memory_limit_gb)]
    if python is not None:
        script = resources.files("benchmarks").joinpath("recon_datacompy.py")
        command = [str(python), str(script), str(inputs)]
    else:
        command = [sys.executable, "-m", "benchmarks.recon", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    found: Turn = json.loads(done.stdout.splitlines()[-1])
    return found


def _ours(inputs: Path, out: Path, memory_limit_gb: int) -> Turn:
    result = reconcile_parquet(
        inputs / "bank.parquet",
        inputs / "ledger.parquet",
        out,
        tolerances=Tolerances(),
        as_of=AS_OF,
        threads=THREADS,
        memory_limit_gb=memory_limit_gb,
    )
    return {
        "bank_items": result.bank_items,
        "ledger_items": result.ledger_items,
        "cleared_items": result.cleared_items,
        "open_items": result.open_items,
    }


def _exact(inputs: Path, out: Path, memory_limit_gb: int) -> Turn:
    """Our first pass alone: pairs of equal keys, and the ids of what is left on either side."""
    engine = Engine.of_parquet(
        inputs / "bank.parquet",
        inputs / "ledger.parquet",
        tolerances=Tolerances(),
        threads=THREADS,
        memory_limit_gb=memory_limit_gb,
        scratch=out.with_name("scratch"),
    )
    try:
        return {"pairs": engine.exact_part()}
    finally:
        engine.close()


def _join(inputs: Path, out: Path, memory_limit_gb: int) -> Turn:
    db = duckdb.connect(":memory:", config={"threads": THREADS, "preserve_insertion_order": False})
    try:
        db.execute(
            "CREATE TABLE pair AS SELECT b.item_id AS line_id, e.item_id AS expected_id"
            " FROM read_parquet(?) b JOIN read_parquet(?) e ON e.end_to_end_id = b.end_to_end_id",
            [str(inputs / "bank.parquet"), str(inputs / "ledger.parquet")],
        )
    finally:
        db.close()
    return {}


_WORK: Final[dict[str, Callable[[Path, Path, int], Turn]]] = {"ours": _ours, "exact": _exact, "join": _join}


def main(arguments: list[str]) -> None:
    """One turn in this process; prints its figures as JSON."""
    name, inputs, out, memory_limit_gb = arguments
    print(json.dumps(turn(name, Path(inputs), Path(out), int(memory_limit_gb))))


def turn(name: str, inputs: Path, out: Path, memory_limit_gb: int) -> Turn:
    """The figures of one turn, done here and now; libraries are loaded before the clock starts."""
    for module in ("crosscheck", "search"):
        import_module(f"recon.matching.{module}")
    started, processor = time.perf_counter(), time.process_time()
    found = _WORK[name](inputs, out, memory_limit_gb)
    found |= {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - processor,
        "peak_mb": peak_rss_mb(),
    }
    if name == "ours":
        found["verify_s"], found["faults"] = _verified(inputs, out, memory_limit_gb)
    return found


def _verified(inputs: Path, out: Path, memory_limit_gb: int) -> tuple[float, int]:
    """Wall seconds of the independent verifier over the result, and the faults it found."""
    started = time.perf_counter()
    faults = verify_batch(
        inputs / "bank.parquet", inputs / "ledger.parquet", out, threads=THREADS, memory_limit_gb=memory_limit_gb
    )
    return time.perf_counter() - started, len(faults)


if __name__ == "__main__":
    main(sys.argv[1:])
