"""A small firm's data: the same seed says the same, every class is there, and the matcher clears nothing wrongly."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from benchmarks.reconbench import matchers
from benchmarks.reconbench.answer import answer
from benchmarks.reconbench.generate import Manifest
from benchmarks.reconbench.harness import SMALL_BUSINESS_ACCEPTANCE, run
from benchmarks.reconbench.score import read_amounts, read_answer, read_truth, score
from benchmarks.reconbench.small_business import CLASSES, generate_small_business
from benchmarks.reconbench.spec import SMALL_BUSINESS_ROWS, Data, DataSet
from nostro.cli import main
from recon.matching import ITEM_SCHEMA
from tests.unit.benchmarks.reconbench_data import folder_for

MATCHER = Path(__file__).with_name("reference_matcher.py")
TENTH = SMALL_BUSINESS_ROWS // 10


@cache
def made(seed: int = 1) -> tuple[Path, Manifest]:
    folder = folder_for(f"small-business-{seed}")
    data = DataSet(TENTH, seed, kind=Data.SMALL_BUSINESS)
    return folder, generate_small_business(data, inputs=folder / "inputs", truth=folder / "kept-back")


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path):
    first, again = made()[0], tmp_path
    generate_small_business(DataSet(TENTH, 1), inputs=again / "inputs", truth=again / "kept-back")
    for name in ("inputs/bank", "inputs/ledger", "kept-back/truth_groups", "kept-back/truth_breaks"):
        assert (first / f"{name}.parquet").read_bytes() == (again / f"{name}.parquet").read_bytes()
    assert not pl.read_parquet(first / "inputs" / "bank.parquet").equals(
        pl.read_parquet(made(2)[0] / "inputs" / "bank.parquet")
    )


def test_inputs_have_the_items_shape_in_an_order_that_says_nothing():
    folder, manifest = made()
    for side, rows in (("bank", manifest.bank_rows), ("ledger", manifest.ledger_rows)):
        frame = pl.read_parquet(folder / "inputs" / f"{side}.parquet")
        assert dict(frame.schema) == ITEM_SCHEMA and frame.height == rows
        assert frame.sort("account", "date", "item_id").equals(frame)
    groups = read_truth(folder / "kept-back").drop_nulls("group_id").group_by("group_id")
    apart = groups.agg(pl.col("item_id").max() - pl.col("item_id").min())
    assert apart.filter(pl.col("item_id") <= 2).height <= apart.height // 50


def test_every_class_is_there_and_what_nobody_can_know_never_clears():
    truth = read_truth(made()[0] / "kept-back")
    assert set(truth["cls"]) == {kind.words for kind in CLASSES}
    unknowable = truth.filter("ambiguous")
    assert set(unknowable["cls"]) == {kind.words for kind in CLASSES if not kind.knowable}
    assert unknowable["group_id"].null_count() == unknowable.height


def test_the_truth_itself_is_a_perfect_answer():
    folder, _ = made()
    truth = read_truth(folder / "kept-back")
    figures = score(truth, read_amounts(folder / "inputs"), matchers.oracle(truth)).figures
    assert figures["coverage"] == figures["precision"] == figures["break_macro_f1"] == 1.0
    assert figures["ambiguous_wrongly_cleared"] == figures["conservation_residual_minor"] == 0.0


def test_the_matcher_clears_nothing_wrongly_that_can_be_known(tmp_path: Path):
    folder, manifest = made()
    answer(folder / "inputs", tmp_path, as_of=manifest.as_of, threads=1, memory_gb=1)
    found = score(read_truth(folder / "kept-back"), read_amounts(folder / "inputs"), read_answer(tmp_path))
    assert found.figures["wrong_sets_of_knowable"] == 0, found.wrong
    assert found.figures["wrong_sets"] <= 1, found.wrong
    assert found.figures["coverage"] >= 0.92


def test_a_careless_pairing_is_found_out():
    folder, _ = made()
    found = score(
        read_truth(folder / "kept-back"), read_amounts(folder / "inputs"), matchers.greedy(folder / "inputs")
    ).figures
    assert found["wrong_sets_of_knowable"] >= 10 and found["ambiguous_wrongly_cleared"] >= 10


def test_a_run_takes_the_data_and_its_own_acceptance():
    found = run(
        tier="small-business",
        rows=TENTH,
        seeds=range(1, 2),
        data=Data.SMALL_BUSINESS,
        shuffles=0,
        matcher=(sys.executable, str(MATCHER)),
    )
    seen = {name: held for name, *_, held in found.acceptance()}
    assert set(seen) == {name for name, *_ in SMALL_BUSINESS_ACCEPTANCE} - {"result_digests"}
    assert seen["items_not_in_one_place"] and not seen["coverage"]


@pytest.mark.parametrize(
    "words",
    [["--data", "weekend"], ["--data", "small-business", "--tier", "M"], ["--data", "small-business", "--files"]],
)
def test_what_this_data_does_not_have_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "reconbench", *words]) == 2
    assert "--data" in capsys.readouterr().err
