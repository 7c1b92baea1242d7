"""The batch entry point: what it writes, refuses and repeats."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from benchmarks.recon import write_inputs
from recon.errors import FileRefusedError, ReconCheckError
from recon.matching import (
    BatchResult,
    Tolerances,
    clear,
    crosscheck,
    reconcile_parquet,
    replay_batch,
    replay_update,
    update_batch,
)
from recon.verifier_batch import Layer, verify_batch
from tests.unit.recon.recon_items import frame, instruction, line, receipt

AS_OF = dt.date(2026, 10, 31)


def run(folder: Path, out: str = "out", *, threads: int = 1, tolerances: Tolerances | None = None) -> BatchResult:
    return reconcile_parquet(
        folder / "bank.parquet", folder / "ledger.parquet", folder / out,
        tolerances=tolerances, as_of=AS_OF, threads=threads, memory_limit_gb=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both files and `out`, the result of a run."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, 1_000)
    run(folder)
    return folder


def _crowded(size: int, seed: int) -> pl.DataFrame:
    """Lines and expectations that get in each other's way: few amounts, parties and days, references that many share,
    that are cut, misread or missing, and everything that could decide by place where nothing else does."""
    rng = random.Random(seed)
    kinds = ("INV-2026-", "NP2611-", "E2E/2026/")
    references = [f"{rng.choice(kinds)}{rng.randrange(size):08}{n % 7}" for n in range(size)]
    rows = []
    for n in range(size):
        shared: dict[str, object] = {
            "day": rng.randint(7, 10),
            "account": rng.choice("ab"),
            "party_account": rng.choice([None, "DE00P1", "DE00P2", "DE00P3", f"DE00Q{n % 50}"]),
            "party_name": rng.choice([None, "Nordic Logistics 7 GmbH", "Agro Import 12 Ltd"]),
            "uetr": rng.choice([None, None, f"uetr-{rng.randrange(size // 4)}"]),
            "instructed_amount_minor": rng.choice([None, None, None, 100]),
            "instructed_currency": "USD",
            "rate_e9": rng.choice([1_000_000_000, 1_001_000_000]),
        }
        if n % 13 == 0:
            shared["payment_information_id"] = f"PMT-{n % 9}"
        amount = rng.choice([100, 109, 190, 200, 300, 399]) + (rng.randrange(40) if n % 3 else 0)
        reference = references[n] if n % 11 else references[0]
        if n % 2:
            rows.append(instruction(n + 1, amount, end_to_end_id=reference, **shared))
        else:
            rows.append(receipt(n + 1, amount, reference, fees_minor=rng.choice([None, 9])) | shared)
        seen = references[n] if rng.random() < 0.7 else rng.choice(references)
        text = rng.choice([seen, seen, seen, seen[:14], seen.replace("0", "O", 1), None])
        where = rng.choice(["end_to_end_id", "structured_ref", "remittance"])
        if text and where == "remittance":
            text = f"paid {text} thanks"
        paid = (1 if n % 2 else -1) * (amount + rng.choice([0, 0, 0, 0, 9, 1]))
        shared |= {
            "day": rng.randint(7, 10) if n % 5 == 0 else shared["day"],
            "charges_minor": rng.choice([None, 9]),
            where: text,
        }
        rows.append(line(size + n + 1, paid, servicer_ref=f"B{n % (size - 20)}", **shared))
        if n % 50 == 0:
            rows.append(line(3 * size + n, paid, servicer_ref="B-AGAIN", **shared))
    return frame(*rows)


def test_order_of_rows_and_threads_never_change_the_result(tmp_path: Path) -> None:
    """Ties are broken by what the rows say, never by where they lie: a crowd in which nearly everything ties."""
    items = _crowded(900, seed=7)
    found = set()
    for seed, threads in ((0, 1), (1, 2), (2, 2)):
        mixed = items.sample(fraction=1.0, shuffle=True, seed=seed)
        is_line = pl.col("kind") == "LINE"
        mixed.filter(is_line).write_parquet(tmp_path / "bank.parquet", row_group_size=400)
        mixed.filter(~is_line).write_parquet(tmp_path / "ledger.parquet", row_group_size=700)
        result = run(tmp_path, threads=threads)
        found.add(result.result_sha256)
    assert len(found) == 1
    assert len(result.rules) >= 6 and len(result.codes) >= 8


def test_the_batch_decides_like_the_nightly_cascade(inputs: Path) -> None:
    items = pl.concat([pl.read_parquet(inputs / f"{side}.parquet") for side in ("bank", "ledger")])
    nightly = clear(items, tolerances=Tolerances()).sets
    found = pl.read_parquet(inputs / "out" / "matches.parquet")
    assert _sets(found) == _sets(nightly)


def _sets(legs: pl.DataFrame) -> set[tuple[str, tuple[int, ...]]]:
    grouped = legs.group_by("set_ordinal").agg(pl.col("rule").first(), pl.col("item_id").sort())
    return {(rule, tuple(members)) for rule, members in grouped.select("rule", "item_id").rows()}


def test_replay_is_the_same_and_names_what_differs(inputs: Path, tmp_path: Path) -> None:
    again = replay_batch(inputs / "bank.parquet", inputs / "ledger.parquet", inputs / "out", threads=2)
    assert again.is_same
    rows = pl.read_parquet(inputs / "bank.parquet")
    rows.slice(1).write_parquet(tmp_path / "bank.parquet")
    other = replay_batch(tmp_path / "bank.parquet", inputs / "ledger.parquet", inputs / "out")
    assert other.difference == "an input file is another one"


def _write(folder: Path, *rows: dict[str, object]) -> None:
    items = frame(*rows)
    is_line = pl.col("kind") == "LINE"
    items.filter(is_line).write_parquet(folder / "bank.parquet")
    items.filter(~is_line).write_parquet(folder / "ledger.parquet")


def test_an_explained_difference_clears_only_when_policy_lets_it(tmp_path: Path) -> None:
    reference = "E2E-2026-1102-00000001"
    _write(tmp_path, instruction(1, 500), line(2, 525, end_to_end_id=reference, charges_minor=25))
    assert run(tmp_path).codes == {"FEE_DIFF": 2}
    allowed = run(tmp_path, tolerances=Tolerances(may_clear=frozenset({"FEE_DIFF"})))
    assert allowed.rules == {"explained-difference": 2}
    proof = pl.read_parquet(tmp_path / "out" / "proofs.parquet").row(0, named=True)
    assert (proof["bank_minor"], proof["ledger_minor"], proof["explained_minor"]) == (525, -500, 25)
    assert proof["explained_code"] == "FEE_DIFF"
    assert verify_batch(tmp_path / "bank.parquet", tmp_path / "ledger.parquet", tmp_path / "out") == ()


def test_a_file_of_another_shape_is_refused_and_leaves_nothing(inputs: Path, tmp_path: Path) -> None:
    pl.read_parquet(inputs / "bank.parquet").drop("uetr").write_parquet(tmp_path / "bank.parquet")
    pl.read_parquet(inputs / "ledger.parquet").write_parquet(tmp_path / "ledger.parquet")
    with pytest.raises(FileRefusedError, match="uetr"):
        run(tmp_path)
    assert not list(tmp_path.glob("out*"))


def test_searches_that_a_bound_ended_are_counted_in_the_manifest(tmp_path: Path) -> None:
    party = {"party_account": "DE00CARDIA"}
    parts = [receipt(n, 100 + n, f"PO-{n}") for n in range(1, 46)]
    _write(tmp_path, *parts, line(100, -(101 + 102 + 103), **party))
    assert run(tmp_path).search_exhausted == {"subset-sum": 1}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["result"]["search_exhausted"] == {"subset-sum": 1}


def test_nothing_against_nothing(tmp_path: Path) -> None:
    _write(tmp_path)
    assert run(tmp_path).set_count == 0


def test_late_lines_touch_their_accounts_only_and_give_what_a_full_run_gives(inputs: Path, tmp_path: Path) -> None:
    """One line late by a day, one that repeats a booking, one that names a payment of another account."""
    bank = pl.read_parquet(inputs / "bank.parquet")
    books = pl.read_parquet(inputs / "ledger.parquet")
    cleared = bank.filter(pl.col("end_to_end_id").is_not_null()).sort("item_id")[:1]
    unpaid = books.join(bank, on="end_to_end_id", how="anti").join(bank, on="payment_information_id", how="anti")
    unpaid = unpaid.filter(pl.col("uetr").is_null()).sort("age_days", "item_id")[:2]
    home = unpaid["account"][0]
    paid = unpaid.with_columns(
        -pl.col("amount_minor"), pl.lit("LINE").alias("kind"), pl.Series("account", [home, "acct-30"])
    )
    late = pl.concat([cleared, paid]).with_columns(
        (pl.int_range(pl.len()) + 900_000_000).alias("item_id"),
        pl.format("LATE{}", pl.int_range(pl.len())).alias("servicer_ref"),
    )
    late.write_parquet(tmp_path / "late.parquet")
    update = update_batch(
        inputs / "bank.parquet", inputs / "ledger.parquet", inputs / "out",
        tmp_path / "late.parquet", tmp_path / "layer", threads=1, memory_limit_gb=1,
    )  # fmt: skip
    touched = {str(cleared["account"].item()), *unpaid["account"], "acct-30"}
    assert set(update.accounts) == touched
    pl.concat([bank, late]).write_parquet(tmp_path / "bank.parquet")
    books.write_parquet(tmp_path / "ledger.parquet")
    assert run(tmp_path, "full").result_sha256 == update.result_sha256
    files = (inputs / "bank.parquet", inputs / "ledger.parquet", inputs / "out")
    over = Layer(tmp_path / "late.parquet", tmp_path / "layer")
    assert verify_batch(*files, layer=over, threads=1) == ()
    again = replay_update(*files, over.late, over.out, threads=1, memory_limit_gb=1)
    assert again.is_same and again.first_sha256 == update.result_sha256
    layer = pl.read_parquet(tmp_path / "layer" / "breaks.parquet")
    layer.slice(1).write_parquet(over.out / "breaks.parquet")
    late.slice(1).write_parquet(over.late)
    kinds = {fault.kind for fault in verify_batch(*files, layer=over, threads=1)}
    assert kinds >= {"input-file", "item-nowhere", "result-digest", "certificate"}
    assert set(layer["account"]) <= touched
    assert update.layer.bank_items < bank.height / 5


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_fails_while_something_goes_on_beside_it_leaves_nothing(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(crosscheck, "exact_keys", lambda *_, **__: -1)
    for side in ("bank", "ledger"):
        shutil.copyfile(inputs / f"{side}.parquet", tmp_path / f"{side}.parquet")
    with pytest.raises(ReconCheckError, match="two engines count the exact keys differently"):
        run(tmp_path, threads=threads)
    assert not list(tmp_path.glob("out*"))
