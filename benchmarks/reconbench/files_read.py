"""The tier of files read back by the product's readers: statements proven, chained, made into the matcher's lines.

Lives here: what ingest does with files, without a database: refuse repeats, revisions and gaps, keep lines. Must not
live here: writing files, judging.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.reconbench.files import line_number, write_files
from benchmarks.reconbench.spec import HOLIDAYS
from ledger import currency
from recon.accounts import BankAccount
from recon.formats import read_statement_file
from recon.matching import ITEM_SCHEMA
from recon.model import ProofState, Statement, StatementFile
from recon.statements import ChainEnd, StoredStatement, chain_fault
from settlement.business_days import Calendar


@dataclass(frozen=True, slots=True, eq=False)
class ReadBack:
    """Findings by statement id, statements whose balances did not tie, and the lines that were booked."""

    delivered_twice: tuple[str, ...]
    revised: tuple[str, ...]
    gaps: tuple[str, ...]  # the statement after a missing one
    unproven: tuple[str, ...]
    lines: pl.DataFrame  # `account`, `date`, `number` and the columns of statement lines


@dataclass(slots=True)
class _Chain:
    account: BankAccount
    end: ChainEnd | None = None


def read_files(folder: Path, *, late: Path | None = None) -> ReadBack:
    """Read every statement under `folder` in the order of names; `late` has those that came after a gap was found."""
    twice: list[str] = []
    revised: list[str] = []
    gaps: list[str] = []
    unproven: list[str] = []
    frames: list[pl.DataFrame] = []
    seen: dict[tuple[str, str], str] = {}
    chains: dict[str, _Chain] = {}
    for path in sorted(folder.iterdir()):
        file = read_statement_file(path, name=path.name)
        for statement in file.statements:
            account, day = str(statement.account), _day(statement)
            key = (account, day.isoformat())
            if key in seen:
                (twice if seen[key] == statement.content_sha256 else revised).append(f"{account}-{day}")
                continue
            seen[key] = statement.content_sha256
            if statement.proof.state is not ProofState.PROVEN:
                unproven.append(f"{account}-{day}")
                continue
            frames += _booked(chains, file, statement, gaps, late)
    return ReadBack(
        tuple(sorted(twice)), tuple(sorted(revised)), tuple(sorted(gaps)), tuple(unproven), pl.concat(frames)
    )


def _day(statement: Statement) -> dt.date:
    assert statement.closing is not None and statement.closing.day is not None
    return statement.closing.day


def _booked(
    chains: dict[str, _Chain], file: StatementFile, statement: Statement, gaps: list[str], late: Path | None
) -> list[pl.DataFrame]:
    """The statement's lines; before them those of the late statement that closes the gap, when there is one."""
    account = str(statement.account)
    chain = chains.setdefault(account, _Chain(_bank_account(account, str(statement.currency), statement)))
    stored = _stored(statement)
    frames: list[pl.DataFrame] = []
    if chain_fault(stored, chain.end, chain.account) is not None:
        gaps.append(f"{account}-{stored.closing_date}")
        for path in sorted(late.glob(f"*-{account}-1.*")) if late else []:
            missing = read_statement_file(path, name=path.name)
            if (
                _day(missing.statements[0]) < stored.closing_date
                and chain_fault(_stored(missing.statements[0]), chain.end, chain.account) is None
            ):
                chain.end = _end(_stored(missing.statements[0]))
                frames.append(_lines(missing, missing.statements[0]))
        if chain_fault(stored, chain.end, chain.account) is not None:
            return frames  # waits for what is missing
    chain.end = _end(stored)
    return [*frames, _lines(file, statement)]


def _bank_account(code: str, ccy: str, first: Statement) -> BankAccount:
    assert first.opening is not None
    return BankAccount(
        0,
        code,
        code,
        ccy,
        currency(ccy).exponent,
        0,
        0,
        _day(first),
        first.opening.amount_minor,
        Calendar(HOLIDAYS[ccy], "UTC"),
    )


def _stored(statement: Statement) -> StoredStatement:
    assert statement.opening is not None and statement.closing is not None
    return StoredStatement(
        statement_id=0,
        file_id=0,
        ordinal=statement.ordinal,
        stmt_id=statement.id,
        sequence=statement.electronic_sequence,
        page=None,
        from_date=None,
        closing_date=_day(statement),
        opening_minor=statement.opening.amount_minor,
        closing_minor=statement.closing.amount_minor,
    )


def _end(stored: StoredStatement) -> ChainEnd:
    return ChainEnd(
        statement_id=stored.statement_id,
        stmt_id=stored.stmt_id,
        sequence=stored.sequence,
        page=stored.page,
        closing_date=stored.closing_date,
        closing_minor=stored.closing_minor,
    )


def _lines(file: StatementFile, statement: Statement) -> pl.DataFrame:
    return file.lines_of(statement).with_columns(
        pl.lit(str(statement.account)).alias("account"),
        pl.lit(_day(statement)).alias("date"),
        pl.col("line_ordinal").cast(pl.Int64).alias("number"),
    )


def as_items(lines: pl.DataFrame, bank: pl.DataFrame) -> pl.DataFrame:
    """Lines of files as the matcher's items; ids, ages and days are those of the same lines in `bank`.

    Everything else comes from the file: what a format cannot carry is missing.
    """
    known = bank.filter(pl.col("kind") == "LINE").select(
        "item_id", "account", "date", "day", "age_days", "sla_days", "statement_line", line_number()
    )
    joined = lines.join(known, on=["account", "date", "number"], how="left", validate="1:1")
    back = pl.col("return_reason").is_not_null() | pl.col("is_reversal")
    items = joined.with_columns(
        pl.lit("LINE").alias("kind"),
        -pl.col("amount_minor"),
        pl.coalesce("account_servicer_ref", "entry_ref", "statement_line").alias("reference"),
        pl.col("account_servicer_ref").alias("servicer_ref"),
        pl.when(back).then("end_to_end_id").alias("original_ref"),
    )
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in ITEM_SCHEMA.items() if name not in items.columns]
    return items.with_columns(missing).select([pl.col(name).cast(kind) for name, kind in ITEM_SCHEMA.items()])


def bank_side_through_files(inputs: Path, folder: Path, *, seed: int, accounts: int = 50) -> dict[str, float]:
    """Replace `inputs`/bank.parquet by what our readers make of it as files; figures of what went wrong on the way.

    Lines of accounts without files go, and so do pending lines, which no end-of-day statement has.
    """
    planned = write_files(inputs, folder, seed=seed, accounts=accounts)
    back = read_files(folder / "statements", late=folder / "late")
    bank = pl.read_parquet(inputs / "bank.parquet")
    items = as_items(back.lines, bank)
    written = bank.filter((pl.col("kind") == "LINE") & pl.col("account").is_in(items["account"].unique().implode()))
    keys = ["item_id", "account", "currency", "amount_minor", "date"]
    changed = written.select(keys).join(items.select(keys), on=keys, how="anti").height
    items.sort("account", "date", "item_id").write_parquet(inputs / "bank.parquet", compression="zstd")
    pairs = (
        (planned.delivered_twice, back.delivered_twice),
        (planned.revised, back.revised),
        (planned.after_missing, back.gaps),
    )
    return {
        "files": planned.files,
        "file_anomalies": sum(len(asked) for asked, _ in pairs),
        "files_misjudged": sum(len(set(asked) ^ set(found)) for asked, found in pairs),
        "statements_unproven": len(back.unproven),
        "line_amounts_changed": changed,
    }
