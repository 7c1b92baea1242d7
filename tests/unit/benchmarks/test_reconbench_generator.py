"""The generator keeps its numbers, gives nothing away, and says the same twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import holidays
import polars as pl
import pytest

from benchmarks.reconbench.generate import families_of, generate
from benchmarks.reconbench.reach import _members_of_fitting_sums
from benchmarks.reconbench.sides import BANK_ONLY, BOOKS_ONLY, BOTH
from benchmarks.reconbench.spec import CHUNKS, FAMILIES, HOLDOUT_FAMILIES, SINGLES, UNKNOWN, DataSet, counts, part
from recon.matching import ITEM_SCHEMA
from tests.unit.benchmarks.reconbench_data import made


def test_every_injected_class_has_its_exact_number():
    data = made()
    asked = counts(SINGLES, data.manifest.rows)
    lines = data.truth.filter("is_line").group_by("cls").len()
    books = data.truth.filter(~pl.col("is_line")).group_by("cls").len()
    seen_lines, seen_books = dict(lines.iter_rows()), dict(books.iter_rows())
    for name in BOTH:
        assert seen_books[name] == asked[name]
        assert seen_lines[name] == asked[name] * (2 if name == "partial" else 1)
    assert {name: seen_books.get(name) for name in BOOKS_ONLY} == {name: asked[name] for name in BOOKS_ONLY}
    assert {name: seen_lines.get(name) for name in BANK_ONLY} == {name: asked[name] for name in BANK_ONLY}
    assert seen_lines["dup_bank"] == 2 * asked["dup_bank"]
    assert seen_books["dup_ledger"] == 2 * asked["dup_ledger"]
    for family in data.manifest.families:
        cases = max(1, round(UNKNOWN * data.manifest.rows))
        assert seen_lines[f"unknown:{family}"] == cases * (2 if family == "swapped_amounts" else 1)


def test_parts_add_up_to_the_whole():
    assert [sum(part(total, chunk) for chunk in range(CHUNKS)) for total in (0, 1, 7, 4_321)] == [0, 1, 7, 4_321]


def test_ledger_has_the_tiers_rows_and_the_bank_about_as_many():
    manifest = made().manifest
    assert abs(manifest.ledger_rows - manifest.rows) <= CHUNKS
    assert abs(manifest.bank_rows - manifest.rows) <= manifest.rows // 20


def test_fifty_accounts_six_currencies_business_days_only():
    items = pl.concat([made().side("bank"), made().side("ledger")])
    assert items["account"].n_unique() == 50
    assert items["currency"].n_unique() == 6
    assert items["date"].dt.weekday().max() <= 5
    target = holidays.financial_holidays("ECB", years=(2026, 2027))
    assert not set(items.filter(pl.col("currency") == "EUR")["date"].to_list()) & set(target)


def test_noise_of_references_comes_in_the_stated_shares():
    data = made()
    plain = data.truth.filter("is_line" & (pl.col("cls") == "plain") & pl.col("evidence").ne("uetr"))
    share = dict(plain.group_by("evidence").agg(pl.len() / plain.height).iter_rows())
    assert share["beginning of a reference"] == pytest.approx(0.12, abs=0.01)
    assert share["mangled reference"] == pytest.approx(0.06, abs=0.01)
    silent = sum(share[name] for name in ("party account", "party name", "none"))
    assert silent == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("side", ["bank", "ledger"])
def test_inputs_have_the_items_shape_and_nothing_else(side: str):
    frame = made().side(side)
    assert dict(frame.schema) == ITEM_SCHEMA
    assert frame.sort("account", "date", "item_id").equals(frame)


def test_item_ids_and_row_order_say_nothing_about_pairs():
    groups = made().truth.filter(pl.col("group_id").is_not_null() & (pl.col("cls") == "plain"))
    pairs = groups.group_by("group_id").agg((pl.col("item_id").max() - pl.col("item_id").min()).alias("apart"))
    assert pairs.filter(pl.col("apart") <= 2).height <= pairs.height // 50


def test_the_same_data_set_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    def digest(folder: Path) -> str:
        return hashlib.sha256((folder / "bank.parquet").read_bytes()).hexdigest()

    generate(DataSet(1_000, 2), inputs=tmp_path, truth=tmp_path)
    assert digest(tmp_path) == digest(made(2, 1_000).inputs) != digest(made(3, 1_000).inputs)


def test_holdout_has_other_narrations_and_other_unknown_classes():
    usual, held = made(), made(holdout=True)
    assert set(usual.manifest.families) <= set(FAMILIES)
    assert set(held.manifest.families) <= set(HOLDOUT_FAMILIES)
    starts = [
        set(data.side("bank")["remittance"].drop_nulls().str.slice(0, 5).to_list())
        & {"EREF+", "/ROC/", "Zahlu", "REF:R"}
        for data in (usual, held)
    ]
    assert "/ROC/" in starts[0] and "/ROC/" not in starts[1] and "Zahlu" in starts[1]


def test_every_family_occurs_for_some_seed():
    for holdout, pool in ((False, FAMILIES), (True, HOLDOUT_FAMILIES)):
        assert {name for seed in range(30) for name in families_of(DataSet(1_000, seed, holdout))} == set(pool)


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("holdout", [False, True])
def test_other_seeds_generate(seed: int, holdout: bool):
    assert made(seed, 1_000, holdout=holdout).truth["item_id"].is_unique().all()


def test_sums_that_fit_twice_are_told_from_equal_parts():
    import numpy as np

    def fitting(amounts: list[int], target: int) -> list[int] | None:
        found = _members_of_fitting_sums(np.array(amounts), target)
        return None if found is None else found.tolist()

    assert fitting([100, 250, 400], 350) is None  # one subset
    assert fitting([100, 250, 100], 350) is None  # either 100: the same to anybody
    assert fitting([100, 250, 150, 200], 350) == [0, 1, 2, 3]


def test_the_matchers_process_can_neither_read_nor_import_the_truth(tmp_path: Path):
    secret = tmp_path / "truth_groups.parquet"
    secret.write_bytes(b"x")
    makers = [f"import benchmarks.reconbench.{name}" for name in ("generate", "small_business")]
    for attempt in (f"open({str(secret)!r}, 'rb')", *makers):
        script = f"from benchmarks.reconbench.blindfold import forbid_the_truth; forbid_the_truth(); {attempt}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "PermissionError" in done.stderr


def test_nothing_of_the_product_mentions_the_benchmarks():
    root = Path(__file__).resolve().parents[3]
    found = [
        path.name
        for package in ("ledger", "settlement", "recon", "dagster_project")
        for path in (root / package).rglob("*.py")
        if "reconbench" in path.read_text(encoding="utf-8")
    ]
    assert found == []
