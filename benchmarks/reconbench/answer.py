"""The process in which the product's matcher answers: it is handed a folder of inputs and a folder to write to.

Lives here: calling the matcher and saying what it took. Must not live here: anything that
knows the truth (`blindfold.py`).

Usage: python -m benchmarks.reconbench.answer INPUTS OUT AS_OF THREADS MEMORY_GB
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
import time
from pathlib import Path

from benchmarks.reconbench.blindfold import forbid_the_truth
from benchmarks.result import peak_rss_mb


def answer(inputs: Path, out: Path, *, as_of: dt.date, threads: int, memory_gb: int) -> dict[str, object]:
    """Run the matcher once; seconds, memory, and the digest of its result."""
    import polars as pl

    from recon.breaks import ACQUIRER_SCHEMA, CLEARED_LINE_SCHEMA, classify
    from recon.matching import Tolerances, clear

    started, cpu = time.perf_counter(), time.process_time()
    items = pl.concat([pl.read_parquet(inputs / f"{side}.parquet") for side in ("bank", "ledger")])
    cascade = clear(items, tolerances=Tolerances(), threads=threads)
    lines = items.filter(pl.col("kind") == "LINE").join(cascade.sets.select("item_id"), on="item_id", how="semi")
    found = classify(
        cascade.open_items,
        cleared_lines=lines.select(list(CLEARED_LINE_SCHEMA)),
        acquirers=pl.DataFrame(schema=ACQUIRER_SCHEMA),
        tolerances=Tolerances(),
        threads=threads,
    )
    cascade.sets.write_parquet(out / "matches.parquet")
    found.open_items.with_columns(pl.col("break_id").fill_null(pl.format("T{}", "item_id"))).write_parquet(
        out / "breaks.parquet"
    )
    digest = hashlib.sha256(cascade.sets.write_csv().encode() + found.open_items.write_csv().encode()).hexdigest()
    return {
        "result_sha256": digest,
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
