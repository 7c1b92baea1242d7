"""The tier of files: what is written comes back, and what is wrong with files is found, neither more nor less."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from benchmarks.reconbench.files import FORMATS, Day, FileTruth, bai2, camt053, mt940, write_files
from benchmarks.reconbench.files_read import ReadBack, bank_side_through_files, read_files
from recon.formats import read_psp_report, read_statement_file
from tests.unit.benchmarks.reconbench_data import made

ACCOUNTS = 4


@cache
def written() -> tuple[Path, FileTruth]:
    folder = made().folder / "files"
    return folder, write_files(made().inputs, folder, seed=1, accounts=ACCOUNTS)


@cache
def read_back() -> ReadBack:
    folder, _ = written()
    return read_files(folder / "statements", late=folder / "late")


@pytest.mark.parametrize(("write", "kind"), [(camt053, "camt.053"), (mt940, "mt940"), (bai2, "bai2")])
def test_one_day_in_each_format_is_proven_and_comes_back_with_its_amounts(write, kind: str):
    lines = made().side("bank").filter(pl.col("kind") == "LINE").head(40)
    assert kind in FORMATS
    day = Day("00-eur", "EUR", lines["date"][0], 7, 12_345, tuple(lines.iter_rows(named=True)))
    read = read_statement_file(write(day).encode(), name="x")
    assert read.statements[0].kind == kind
    assert read.statements[0].proof.state.value == "proven"
    assert read.lines["amount_minor"].to_list() == [-minor for minor in lines["amount_minor"].to_list()]
    assert not read.statements[0].quarantined
    if kind != "bai2":
        assert read.lines["end_to_end_id"].drop_nulls().len() > 5
        assert read.lines["party_account"].drop_nulls().len() > 5


def test_files_delivered_twice_revised_or_missing_are_found_and_nothing_else():
    _, truth = written()
    back = read_back()
    assert (back.delivered_twice, back.revised, back.gaps) == (
        truth.delivered_twice,
        truth.revised,
        truth.after_missing,
    )
    assert back.unproven == ()
    assert truth.missing and truth.revised and truth.delivered_twice


def test_without_the_missing_statement_what_follows_waits():
    folder, truth = written()
    account = truth.missing[0][:6]
    waiting = read_files(folder / "statements").lines.filter(pl.col("account") == account)
    whole = read_back().lines.filter(pl.col("account") == account)
    assert waiting.height < whole.height
    assert waiting["date"].max() < whole["date"].max()


def test_the_matchers_lines_are_those_that_were_written(tmp_path: Path):
    inputs = tmp_path / "inputs"
    shutil.copytree(made().inputs, inputs)
    figures = bank_side_through_files(inputs, tmp_path / "files", seed=1, accounts=ACCOUNTS)
    assert (figures["files_misjudged"], figures["statements_unproven"], figures["line_amounts_changed"]) == (0, 0, 0)
    lines = pl.read_parquet(inputs / "bank.parquet")
    before = (
        made().side("bank").filter((pl.col("kind") == "LINE") & pl.col("account").is_in(lines["account"].implode()))
    )
    assert sorted(lines["item_id"].to_list()) == sorted(before["item_id"].to_list())


def test_the_providers_report_is_read_whole():
    folder, _ = written()
    report = read_psp_report(folder / "payouts.csv", name="payouts.csv")
    told = made().side("ledger").filter(pl.col("fees_minor").is_not_null() | pl.col("chargebacks_minor").is_not_null())
    assert sorted(p.payout_id for p in report.payouts) == sorted(told["end_to_end_id"].to_list())
    assert sum(p.fees_minor for p in report.payouts) == told["fees_minor"].sum()


def test_the_journal_balances_and_carries_every_item():
    folder, _ = written()
    sums: dict[str, Decimal] = defaultdict(Decimal)
    with (folder / "journal.csv").open(encoding="utf-8", newline="") as read:
        for row in csv.DictReader(read):
            sums[row["entry_key"]] += Decimal(row["amount"])
    assert len(sums) == made().manifest.ledger_rows
    assert set(sums.values()) == {Decimal(0)}
