"""A run of ReconBench with small matchers: what it reports, and that it notices what it should."""

from __future__ import annotations

import json
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from benchmarks.reconbench import orders
from benchmarks.reconbench.harness import ACCEPTANCE, MatcherError, Run, run
from benchmarks.reconbench.orders import result_digests
from benchmarks.reconbench.page import page, write_page
from benchmarks.reconbench.report import acceptance_lines, to_json
from benchmarks.reconbench.spec import Data

MATCHER = Path(__file__).with_name("reference_matcher.py")
CHEAP = Data.SMALL_BUSINESS  # made in a tenth of the time, where it does not matter what is matched


@cache
def small_run(*, careless: bool = False, seeds: int = 2) -> Run:
    words = (
        sys.executable,
        "-c",
        f"import sys; sys.argv += {['careless'] if careless else []}; exec(open({str(MATCHER)!r}).read())",
    )
    return run(tier="S", rows=1_000, seeds=range(3, 3 + seeds), shuffles=1, matcher=words)


def test_worst_and_mean_are_over_the_seeds():
    found = small_run()
    coverage = [seed.figures["coverage"] for seed in found.seeds]
    wrong = [seed.figures["wrong_sets"] for seed in found.seeds]
    assert found.worst["coverage"] == min(coverage)
    assert found.worst["wrong_sets"] == max(wrong)
    assert found.mean["coverage"] == pytest.approx(sum(coverage) / 2)


def test_a_matcher_that_does_little_misses_what_is_asked_and_the_run_says_where():
    held = {name: held for name, *_, held in small_run().acceptance()}
    of_files = {"files_misjudged", "statements_unproven", "line_amounts_changed"}
    assert set(held) == {name for name, *_ in ACCEPTANCE} - of_files
    assert not held["coverage"] and not held["break_macro_f1"] and not held["precision"]
    assert held["result_digests"] and held["items_not_in_one_place"] and held["conservation_residual_minor"]
    assert any("NOT REACHED" in line for line in acceptance_lines(small_run()))


def test_a_matcher_that_depends_on_the_order_of_rows_is_found_out():
    assert small_run(careless=True, seeds=1).worst["result_digests"] > 1


def test_row_orders_that_were_tried_are_not_tried_again_by_the_same_program(tmp_path: Path):
    frame = pl.DataFrame({"item_id": range(50)})
    for side in ("bank", "ledger"):
        frame.write_parquet(tmp_path / f"{side}.parquet")
    asked: list[tuple[bool, int]] = []

    def ask(folder: Path, threads: int) -> str:
        asked.append((pl.read_parquet(folder / "bank.parquet").equals(frame), threads))
        return "same"

    def tried(shuffles: int, mark: str) -> set[str]:
        return result_digests(
            ask, tmp_path, tmp_path / "mixed", shuffles=shuffles, journal=tmp_path / "orders.jsonl", mark=mark
        )

    assert tried(2, "one") == tried(2, "one") == {"same"}
    assert asked == [(False, 1), (False, 2)] * 2
    tried(3, "one")
    assert len(asked) == 6
    tried(1, "another")
    assert len(asked) == 8


def test_a_program_that_changes_while_it_is_measured_ends_the_measurement(monkeypatch: pytest.MonkeyPatch):
    marks = iter(["before", "after"])
    monkeypatch.setattr(orders, "program_mark", lambda: next(marks))
    with pytest.raises(MatcherError, match="changed while it was measured"):
        run(tier="S", rows=1_000, seeds=range(1, 2), data=CHEAP, shuffles=0, matcher=(sys.executable, str(MATCHER)))


def test_one_late_line_changes_no_other_decision_of_a_sound_matcher():
    assert small_run().worst["late_line_decisions_changed"] == 0


def test_the_matcher_gets_a_folder_without_the_truth(tmp_path: Path):
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import sys, pathlib; sys.exit(' '.join(sorted(p.name for p in pathlib.Path(sys.argv[1]).iterdir())))"
    )
    with pytest.raises(MatcherError, match=r"^bank\.parquet ledger\.parquet$"):
        run(tier="S", rows=1_000, seeds=range(1, 2), data=CHEAP, shuffles=0, matcher=(sys.executable, str(spy)))


def test_json_has_what_every_benchmark_has_and_every_seed():
    found = json.loads(json.dumps(to_json(small_run())))
    assert {"bench", "rows", "ours_per_s", "reference", "reference_per_s", "ratio", "peak_rss_mb"} <= set(found)
    assert found["accepted"] is False
    assert [seed["seed"] for seed in found["seeds"]] == [3, 4]
    assert found["worst"]["coverage"] <= found["mean"]["coverage"]


def test_the_page_stands_alone_and_is_well_formed(tmp_path: Path):
    path = write_page(small_run(), tmp_path / "made")
    text = path.read_text(encoding="utf-8")
    assert "http" not in text and "<script" not in text
    for words in ("not reached", "Confusion", "FEE_DIFF", "reachable_ceiling", "beginning of a reference"):
        assert words in text
    depth: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                depth.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert depth.pop() == tag

    Checker().feed(page(small_run()))
    assert depth == []
