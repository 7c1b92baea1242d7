"""The generator: a folder for the matcher (bank.parquet, ledger.parquet) and one with the truth, apart.

Lives here: the order of things and the writing. Must not live here: how a class of items looks.

Columnar and chunk by chunk (five accounts each), so memory is that of one chunk; the same data set gives the same
bytes. Item ids are a random permutation within the chunk and rows are sorted by account, date and id: neither says
who belongs to whom.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.reconbench import structures
from benchmarks.reconbench.reach import blocks, doubtful_lines, doubtful_sums
from benchmarks.reconbench.sides import bank_items, book_items
from benchmarks.reconbench.singles import draw_singles
from benchmarks.reconbench.spec import (
    AMBIGUOUS,
    BATCHES,
    CHUNKS,
    COLLECTIONS,
    FAMILIES,
    GENERATOR_VERSION,
    HIDDEN,
    HOLDOUT_FAMILIES,
    LUMP_MEAN,
    NETTING,
    PAYOUTS,
    REPEATS,
    RESIDUAL_LUMPS,
    SINGLES,
    SPLITS,
    UNKNOWN,
    DataSet,
    counts,
    part,
)
from benchmarks.reconbench.unknown import MAKERS
from benchmarks.reconbench.world import World, build_world
from recon.matching import ITEM_SCHEMA

TRUTH_SCHEMA: Final[dict[str, pl.DataType]] = {
    "item_id": pl.Int64(),
    "is_line": pl.Boolean(),
    "currency": pl.String(),
    "amount_minor": pl.Int64(),
    "group_id": pl.Int64(),  # set this item clears in; null: it stays open
    "block": pl.Int64(),
    "klass": pl.Int64(),
    "cls": pl.String(),
    "evidence": pl.String(),
    "ambiguous": pl.Boolean(),  # nobody can know; clearing it is a guess
    "code": pl.String(),  # null: clears, or no code is the right one
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was made; `as_of` is the day of reconciliation."""

    rows: int
    seed: int
    holdout: bool
    generator_version: int
    as_of: dt.date
    families: tuple[str, ...]
    bank_rows: int
    ledger_rows: int


def families_of(data: DataSet) -> tuple[str, ...]:
    """The three families of unknown anomalies in this data set."""
    rng = np.random.default_rng([data.seed, 99, int(data.holdout)])
    pool = HOLDOUT_FAMILIES if data.holdout else FAMILIES
    return tuple(sorted(str(name) for name in rng.choice(pool, 3, replace=False)))


def generate(data: DataSet, *, inputs: Path, truth: Path) -> Manifest:
    """Write `inputs`/bank.parquet and ledger.parquet, and `truth`/truth_groups.parquet and truth_breaks.parquet."""
    inputs.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    rows = {"bank": 0, "ledger": 0}
    as_of = None
    with (
        _Writer(inputs / "bank.parquet") as bank,
        _Writer(inputs / "ledger.parquet") as ledger,
        _Writer(truth / "truth_groups.parquet") as groups,
        _Writer(truth / "truth_breaks.parquet") as breaks,
    ):
        first_id = 1
        for chunk in range(CHUNKS):
            items, world = chunk_items(data, chunk, first_id=first_id)
            first_id += items.height
            as_of = world.as_of
            for name, writer, is_line in (("bank", bank, True), ("ledger", ledger, False)):
                side = items.filter(pl.col("is_line") == is_line).sort("account", "date", "item_id")
                writer.write(side.select([pl.col(column).cast(kind) for column, kind in ITEM_SCHEMA.items()]))
                rows[name] += side.height
            known = items.select([pl.col(column).cast(kind) for column, kind in TRUTH_SCHEMA.items()]).sort("item_id")
            groups.write(known.filter(pl.col("group_id").is_not_null()))
            breaks.write(known.filter(pl.col("group_id").is_null()))
    assert as_of is not None
    manifest = Manifest(
        rows=data.rows,
        seed=data.seed,
        holdout=data.holdout,
        generator_version=GENERATOR_VERSION,
        as_of=as_of,
        families=families_of(data),
        bank_rows=rows["bank"],
        ledger_rows=rows["ledger"],
    )
    (truth / "manifest.json").write_text(json.dumps(asdict(manifest), default=str, indent=1) + "\n", encoding="utf-8")
    return manifest


class _Writer:
    """A Parquet file written frame by frame, one row group each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Writer:
        return self

    def write(self, frame: pl.DataFrame) -> None:
        table: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=1_000_000)

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def chunk_items(data: DataSet, chunk: int, *, first_id: int) -> tuple[pl.DataFrame, World]:
    """All items of one chunk, both sides, with `ITEM_SCHEMA` and `TRUTH_SCHEMA` columns and `is_line`."""
    rng = np.random.default_rng([data.seed, chunk, int(data.holdout), GENERATOR_VERSION])
    size = part(data.rows, chunk)
    world = build_world(rng, seed=data.seed, chunk=chunk, rows=size)
    parts = list(_structures(rng, world, data, chunk))
    plan = {name: part(total, chunk) for name, total in counts(SINGLES, data.rows).items()}
    parts.append(_singles(rng, world, data, chunk, plan, books=size - sum(books.height for books, _ in parts)))
    items = pl.concat(
        [
            side.with_columns(pl.lit(value=is_line).alias("is_line"))
            for sides in parts
            for is_line, side in zip((False, True), sides, strict=True)
        ]
    ).with_row_index("row")
    items = items.with_columns(pl.col("row").cast(pl.Int64))
    items = _certain(blocks(items, chunk=chunk))
    ids = first_id + rng.permutation(items.height)
    return _shaped(items.with_columns(pl.Series("item_id", ids)), world), world


def _structures(rng: np.random.Generator, world: World, data: DataSet, chunk: int) -> Iterator[structures.Sides]:
    def draw(place: int) -> structures.Draw:
        return structures.Draw(rng, world, data.holdout, first_unit=(chunk * 64 + place) << 32)

    def quota(share: float) -> int:
        return part(round(share * data.rows), chunk)

    lumps = max(2, round(RESIDUAL_LUMPS * (BATCHES + PAYOUTS) * data.rows / LUMP_MEAN))
    residual = part(lumps, chunk)
    yield structures.batches(draw(1), quota(BATCHES), residual - residual // 2)
    yield structures.payouts(draw(2), quota(PAYOUTS), residual // 2)
    yield structures.collections(draw(3), quota(COLLECTIONS))
    yield structures.hidden(draw(4), quota(HIDDEN))
    yield structures.splits(draw(5), quota(SPLITS))
    yield structures.netting(draw(6), quota(NETTING))
    yield structures.repeats(draw(7), quota(REPEATS))
    yield structures.ambiguous(draw(8), quota(AMBIGUOUS))
    for place, family in enumerate(families_of(data), start=9):
        yield MAKERS[family](draw(place), part(max(1, round(UNKNOWN * data.rows)), chunk))


def _singles(
    rng: np.random.Generator, world: World, data: DataSet, chunk: int, plan: dict[str, int], *, books: int
) -> structures.Sides:
    """Single events: as many ordinary ones as the book side still has room for."""
    bank_only = (
        "missing_ledger_file",
        "missing_ledger_payer",
        "unidentified_receipt",
        "unauthorised_debit",
        "bank_originated",
        "stale_pending",
        "fresh_pending",
    )
    double = plan["dup_ledger"] + plan["reject"]
    used = sum(number for name, number in plan.items() if name not in bank_only) + double
    events = draw_singles(rng, world, plan, max(0, books - used), holdout=data.holdout)
    first = (chunk * 64) << 32
    events = events.with_columns(pl.int_range(pl.len()).alias("unit") + first)
    lines, events = bank_items(rng, world, events, holdout=data.holdout)
    return book_items(rng, world, events), lines


def _certain(items: pl.DataFrame) -> pl.DataFrame:
    """Take back the truth of what a perfect reader of the data could not know."""
    sums = doubtful_sums(items)
    is_part = pl.col("cls") == "hidden"
    units = pl.concat(
        [sums["doubtful_unit"], items.filter(is_part).join(sums, on="row", how="semi")["unit"]]
    ).unique()  # a lump whose part fits elsewhere is as doubtful
    whole = items.filter(is_part & pl.col("unit").is_in(units.implode()))
    fork = pl.concat([sums.select("row"), whole.select("row")]).unique().with_columns(pl.lit(value=True).alias("fork"))
    lines = doubtful_lines(items).with_columns(pl.lit(value=True).alias("doubtful"))
    items = items.join(fork, on="row", how="left").join(lines, on="row", how="left").sort("row")
    is_fork = pl.col("fork").fill_null(value=False)
    designed = pl.col("cls").is_in(["hidden", "decoy", "ambiguous"])
    forked = is_fork & designed
    touched = is_fork & ~designed  # an item of another kind that a doubtful sum could also take
    return items.with_columns(
        (pl.col("ambiguous") | forked | pl.col("doubtful").fill_null(value=False)).alias("ambiguous"),
        (pl.col("clears") & ~forked).alias("clears"),
        pl.when(forked)
        .then(pl.lit("AMBIGUOUS"))
        .when(touched)
        .then(pl.lit(None, dtype=pl.String))
        .otherwise("code")
        .alias("code"),
        pl.when(forked).then(pl.lit("none")).otherwise("evidence").alias("evidence"),
    )


def _shaped(items: pl.DataFrame, world: World) -> pl.DataFrame:
    """Adds account, currency, dates, ages, what is corrected, and the statement's line; checks that sets add up."""
    places = pl.DataFrame(
        {
            "account_at": np.repeat(np.arange(len(world.codes)), [len(days) for days in world.dates]),
            "at": np.concatenate([np.arange(len(days)) for days in world.dates]),
            "date": pl.Series(np.concatenate(world.dates)).cast(pl.Date),
        }
    )
    accounts = pl.DataFrame(
        {
            "account_at": np.arange(len(world.codes)),
            "account": world.codes,
            "currency": world.currencies,
            "last": world.days - 1,
        }
    )
    items = items.join(accounts, on="account_at", how="left").with_columns(pl.min_horizontal("at", "last").alias("at"))
    items = items.join(places, on=["account_at", "at"], how="left")
    expected = pl.col("answers").is_null()
    by_unit = (
        items.filter(expected)
        .select("unit", "is_line", pl.col("item_id").alias("corrects_id"))
        .unique(["unit", "is_line"], keep="first", maintain_order=True)
    )
    items = items.with_columns((pl.col("answers") == "L").alias("wanted")).join(
        by_unit, left_on=["unit", "wanted"], right_on=["unit", "is_line"], how="left"
    )
    items = items.with_columns(
        (pl.col("last") - pl.col("at")).alias("age_days"),
        (pl.col("at") - pl.col("last")).alias("day"),
        pl.when("clears").then("unit").alias("group_id"),
        pl.when(pl.col("is_line") & (pl.col("kind") == "LINE")).then(pl.lit(0)).otherwise("sla_days").alias("sla_days"),
        pl.col("date").alias("value_date"),
    ).sort("account", "date", "item_id")
    number = pl.int_range(pl.len()).over("account", "date", "is_line") + 1
    name = pl.concat_str(
        pl.col("account"), pl.lit("/"), pl.col("date").cast(pl.String), pl.lit("/"), number, pl.lit("/0")
    )
    items = items.with_columns(pl.when("is_line").then(name).alias("statement_line"))
    wrong = (
        items.filter(pl.col("group_id").is_not_null())
        .group_by("group_id")
        .agg(pl.col("amount_minor").sum(), pl.col("account").n_unique(), pl.col("cls").first(), pl.len())
        .filter((pl.col("amount_minor") != 0) | (pl.col("account") != 1) | (pl.col("len") < 2))
    )
    assert wrong.is_empty(), wrong
    assert items["item_id"].is_unique().all() and items["date"].null_count() == 0
    return items
