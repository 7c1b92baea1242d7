"""A finished batch run verifies, and every one of the corruptions below is found for what it is."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from benchmarks.recon import write_inputs
from recon.matching import Tolerances, reconcile_parquet
from recon.verifier_batch import verify_batch

Frame = pl.DataFrame
INPUTS = ("bank", "ledger")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both inputs and `out`, the result of a run."""
    folder = tmp_path_factory.mktemp("batch")
    write_inputs(folder, 1_000)
    reconcile_parquet(
        folder / "bank.parquet", folder / "ledger.parquet", folder / "out",
        tolerances=Tolerances(), as_of=dt.date(2026, 10, 31), threads=1, memory_limit_gb=1,
    )  # fmt: skip
    return folder


def test_a_finished_run_has_no_fault(finished: Path) -> None:
    assert verify_batch(finished / "bank.parquet", finished / "ledger.parquet", finished / "out") == ()


def first(frame: Frame, condition: pl.Expr | None = None) -> pl.Expr:
    """The smallest item or set of a frame that meets the condition, as a condition itself."""
    key = "item_id" if "item_id" in frame.columns else "set_ordinal"
    rows = frame if condition is None else frame.filter(condition)
    assert rows.height
    return pl.col(key) == rows[key].min()


def changed(frame: Frame, column: str, value: pl.Expr, condition: pl.Expr | None = None) -> Frame:
    """The frame with one row's column changed."""
    where = first(frame, condition)
    return frame.with_columns(pl.when(where).then(value).otherwise(column).cast(frame.schema[column]).alias(column))


def dropped(frame: Frame, condition: pl.Expr | None = None) -> Frame:
    return frame.filter(~first(frame, condition))


def repeated(frame: Frame) -> Frame:
    return pl.concat([frame, frame.filter(first(frame))])


def swapped_legs(frame: Frame) -> Frame:
    """Two sets of one rule exchange a leg each."""
    exact = frame.filter(pl.col("rule") == "exact-end-to-end").sort("set_ordinal", "item_id")
    one, other = exact["set_ordinal"].unique().sort().to_list()[:2]
    movers = {exact.filter(pl.col("set_ordinal") == n)["item_id"][0]: m for n, m in ((one, other), (other, one))}
    return frame.with_columns(
        pl.col("item_id")
        .replace_strict(movers, default=pl.col("set_ordinal"), return_dtype=pl.Int64)
        .alias("set_ordinal")
    )


def set_to_open(name: str, code: str) -> Callable[[Frame], Frame]:
    return lambda frame: changed(frame, "code", pl.lit(code), pl.col("code") == name)


def without(column: str, condition: pl.Expr | None = None) -> Callable[[Frame], Frame]:
    return lambda frame: changed(frame, column, pl.lit(None), condition)


WEAK = pl.col("rivals") > 0
CORRUPTIONS: dict[str, tuple[str, Callable[[Frame], Frame], str]] = {
    "a match twice": ("matches", repeated, "item-in-two-places"),
    "a leg missing": ("matches", dropped, "item-nowhere"),
    "a leg of nobody": ("matches", lambda f: changed(f, "item_id", pl.lit(999_999_999)), "item-unknown"),
    "a row hash changed": ("matches", lambda f: changed(f, "row_hash", pl.col("row_hash") // 2), "row-hash"),
    "a leg's amount changed": (
        "matches",
        lambda f: changed(f, "amount_minor", pl.col("amount_minor") + 1),
        "leg-amount",
    ),
    "a leg's rule changed": ("matches", lambda f: changed(f, "rule", pl.lit("exact-uetr")), "rule"),
    "a leg in another set": ("matches", swapped_legs, "equation"),
    "a rule's version changed": ("proofs", lambda f: changed(f, "rule_version", pl.lit(9)), "rule"),
    "an equation off by one": ("proofs", lambda f: changed(f, "bank_minor", pl.col("bank_minor") + 1), "equation"),
    "both sides off by one": (
        "proofs",
        lambda f: f.with_columns(
            pl.when(first(f)).then(pl.col("bank_minor") + 1).otherwise("bank_minor").alias("bank_minor"),
            pl.when(first(f)).then(pl.col("ledger_minor") - 1).otherwise("ledger_minor").alias("ledger_minor"),
        ),
        "equation",
    ),
    "a difference nobody permitted": ("proofs", lambda f: changed(f, "explained_minor", pl.lit(25)), "unexplained"),
    "a rival hidden": ("proofs", lambda f: changed(f, "rivals", pl.lit(0), WEAK), "rivals"),
    "a rival invented": ("proofs", lambda f: changed(f, "rivals", pl.lit(3), pl.col("rivals") == 0), "rivals"),
    "a margin too small": ("proofs", lambda f: changed(f, "margin", pl.lit(1), pl.col("margin") > 0), "margin"),
    "a proof dropped": ("proofs", dropped, "set-without-proof"),
    "a proof twice": ("proofs", repeated, "proof-twice"),
    "a proof of another account": ("proofs", lambda f: changed(f, "account", pl.lit("acct-49")), "proof-account"),
    "a break dropped": ("breaks", dropped, "item-nowhere"),
    "a break twice": ("breaks", repeated, "item-in-two-places"),
    "a break's code changed": ("breaks", set_to_open("MISSING_BANK", "TIMING"), "break-code"),
    "a break's code made up": ("breaks", set_to_open("FEE_DIFF", "ALL_FINE"), "break-code"),
    "a break's amount changed": (
        "breaks",
        lambda f: changed(f, "amount_minor", pl.col("amount_minor") - 1),
        "break-code",
    ),
    "a break's difference changed": (
        "breaks",
        lambda f: changed(f, "residual_minor", pl.col("residual_minor") + 1, pl.col("code") == "FEE_DIFF"),
        "break-sum",
    ),
    "an open item's hash changed": ("breaks", lambda f: changed(f, "row_hash", pl.col("row_hash") // 2), "row-hash"),
    "a certificate's sum off": (
        "certificate",
        lambda f: f.with_columns(pl.col("bank_open_minor") + (pl.int_range(pl.len()) == 0).cast(pl.Int64)),
        "certificate",
    ),
    "a certificate's account dropped": ("certificate", lambda f: f.slice(1), "certificate"),
    "a bank row changed": ("bank", lambda f: changed(f, "remittance", pl.lit("changed later")), "row-hash"),
    "an item moved to another account": ("ledger", lambda f: changed(f, "account", pl.lit("acct-49")), "set-account"),
    "an item of another currency": ("ledger", lambda f: changed(f, "currency", pl.lit("USD")), "set-account"),
    "a line only announced": (
        "bank",
        lambda f: changed(f, "kind", pl.lit("PENDING"), pl.col("end_to_end_id").is_not_null()),
        "pending-cleared",
    ),
    "a row hash left out": ("matches", without("row_hash"), "row-hash"),
    "a leg's amount left out": ("matches", without("amount_minor"), "leg-amount"),
    "a leg's rule left out": ("matches", without("rule"), "rule"),
    "an amount left out": ("proofs", without("bank_minor"), "equation"),
    "what is explained left out": ("proofs", without("explained_minor"), "equation"),
    "a count of legs left out": ("proofs", without("legs"), "leg-count"),
    "a rule left out": ("proofs", without("rule"), "rule"),
    "whether a rule is fungible left out": ("proofs", without("is_fungible"), "rule"),
    "an account left out": ("proofs", without("account"), "proof-account"),
    "rivals left out": ("proofs", without("rivals"), "rivals"),
    "a code left out": ("breaks", without("code"), "break-code"),
    "an open amount left out": ("breaks", without("amount_minor"), "break-code"),
    "a difference left out": ("breaks", without("residual_minor", pl.col("code") == "FEE_DIFF"), "break-sum"),
    "a count of items left out": ("breaks", without("items", pl.col("code") == "FEE_DIFF"), "break-sum"),
    "an item more came in": ("ledger", lambda f: repeated(f), "input-item-twice"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_found(finished: Path, tmp_path: Path, name: str) -> None:
    file, corrupt, kind = CORRUPTIONS[name]
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / (f"{file}.parquet" if file in INPUTS else f"out/{file}.parquet")
    frame = pl.read_parquet(path)
    bad = corrupt(frame)
    assert not bad.equals(frame)
    bad.write_parquet(path)
    kinds = {
        f.kind
        for f in verify_batch(
            tmp_path / "run/bank.parquet",
            tmp_path / "run/ledger.parquet",
            tmp_path / "run/out",
            threads=1,
            memory_limit_gb=1,
        )
    }
    assert kind in kinds
    assert ("input-file" if file in INPUTS else "result-digest") in kinds
