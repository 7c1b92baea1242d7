"""The benchmark of two files: it runs, its result verifies, and its figures are what it prints."""

from __future__ import annotations

from benchmarks.recon import run


def test_a_small_round_verifies() -> None:
    body = run(2_000, repeats=1, memory_limit_gb=1).to_json()
    others = body["others"]
    assert isinstance(others, dict)
    assert others["faults"] == 0
    assert (
        others["cleared_items"] + others["open_items"] == others["bank_items"] + others["ledger_items"] == body["rows"]
    )
    assert body["bench"] == "recon"
    assert float(str(body["ratio"])) > 0
