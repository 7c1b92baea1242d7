"""The process in which the product's matcher answers: it is handed a folder of inputs and a folder to write to.

Lives here: calling `recon.matching.reconcile_parquet` and saying what it took. Must not live here: anything that
knows the truth (`blindfold.py`).

Usage: python -m benchmarks.reconbench.answer INPUTS OUT AS_OF THREADS MEMORY_GB
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from pathlib import Path

from benchmarks.reconbench.blindfold import forbid_the_truth
from benchmarks.result import peak_rss_mb


def answer(inputs: Path, out: Path, *, as_of: dt.date, threads: int, memory_gb: int) -> dict[str, object]:
    """Run the matcher once; seconds, memory, and the digest of its result."""
    from recon.matching import Tolerances, reconcile_parquet

    started, cpu = time.perf_counter(), time.process_time()
    result = reconcile_parquet(
        inputs / "bank.parquet",
        inputs / "ledger.parquet",
        out,
        tolerances=Tolerances(),
        as_of=as_of,
        threads=threads,
        memory_limit_gb=memory_gb,
    )
    return {
        "result_sha256": result.result_sha256,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_rss_mb(),
    }


if __name__ == "__main__":
    forbid_the_truth()
    said = answer(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        as_of=dt.date.fromisoformat(sys.argv[3]),
        threads=int(sys.argv[4]),
        memory_gb=int(sys.argv[5]),
    )
    sys.stdout.write(json.dumps(said))
