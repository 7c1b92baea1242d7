"""A small version of the benchmark of single posts: it measures both sides and says against what."""

from __future__ import annotations

from benchmarks.single import run_on
from nostro.database import Database


def test_both_sides_are_measured(db: Database) -> None:
    result = run_on(db, seconds=0.05, repeats=1, scale=1).to_json()
    others = result["others"]
    assert isinstance(others, dict)
    assert "pgbench" in str(result["reference"])
    for load in ("pgbench", "uniform", "hot", "threads", "callers_1", "callers_8", "callers_256"):
        assert others[f"{load}_per_s"] > 0
        assert 0 < others[f"{load}_p50_ms"] <= others[f"{load}_p95_ms"] <= others[f"{load}_p99_ms"]
    assert 1 < others["uniform_mean_batch"] <= 64
    # the tests' shared server does not flush; a server of the benchmark's own does
    assert dict(result["settings"])["fsync"] in {"on", "off"}  # type: ignore[call-overload]
