"""The benchmark of two files: it runs, its result verifies, and its figures are what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import recon


def test_a_small_round_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn in a process of its own, as the benchmark does it; the others here, which spares two starts."""
    elsewhere = recon._turn

    def turn(name: str, inputs: Path, scratch: Path, memory_limit_gb: int, python: Path | None) -> recon.Turn:
        if name == "join":
            return elsewhere(name, inputs, scratch, memory_limit_gb, python)
        return recon.turn(name, inputs, scratch / "out", memory_limit_gb)

    monkeypatch.setattr(recon, "_turn", turn)
    body = recon.run(1_000, repeats=1, memory_limit_gb=1).to_json()
    others = body["others"]
    assert isinstance(others, dict)
    assert others["faults"] == 0
    assert (
        others["cleared_items"] + others["open_items"] == others["bank_items"] + others["ledger_items"] == body["rows"]
    )
    assert body["bench"] == "recon"
    assert float(str(body["ratio"])) > 0
