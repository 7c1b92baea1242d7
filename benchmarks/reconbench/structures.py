"""Structures of many items: lumps, hidden lumps, splits, netting, repeats, and what nobody can tell apart.

Lives here: one function a structure, each giving (book items, bank items) in the raw shape. Must not live here:
single events, anomalies that no code names (`unknown.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from benchmarks.reconbench.references import narrations, random_text, references
from benchmarks.reconbench.sides import raw, servicer_refs
from benchmarks.reconbench.singles import draw_amounts
from benchmarks.reconbench.spec import ACCOUNTS_A_CHUNK, DECOYED, LUMP_MEAN
from benchmarks.reconbench.world import VARIANTS, Ints, World

Sides = tuple[pl.DataFrame, pl.DataFrame]
SUBSET_SIZE_MAX: Final = 12


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What every structure needs: randomness, the world, which formats, and the first number free for units."""

    rng: np.random.Generator
    world: World
    holdout: bool
    first_unit: int


def sizes_adding_to(
    rng: np.random.Generator, quota: int, *, mean: float, low: int = 2, high: int | None = None
) -> Ints:
    """Geometric sizes of at least `low` that add up to `quota` exactly (the last is what is left)."""
    sizes: list[int] = []
    left = quota
    while left >= low:
        size = low - 1 + int(rng.geometric(1 / (mean - low + 1)))
        size = min(size, high or size, left)
        if left - size < low:
            size = left if high is None or left <= high else size
        sizes.append(size)
        left -= size
    return np.array(sizes, dtype=np.int64)


def groups(draw: Draw, sizes: Ints, *, margin: int = 3) -> pl.DataFrame:
    """One row a group: unit, account, a day on which everything may still happen, size and a reference."""
    rng, count = draw.rng, len(sizes)
    account = rng.integers(0, ACCOUNTS_A_CHUNK, count)
    last = draw.world.days[account] - 1
    at = 1 + (rng.random(count) * (last - margin)).astype(np.int64)
    return pl.DataFrame(
        {
            "unit": draw.first_unit + np.arange(count),
            "account_at": account,
            "group_at": at,
            "size": sizes,
            "ref": references(rng, count, start=draw.world.as_of, chunk=draw.world.chunk, holdout=draw.holdout),
            "party": draw.world.party_of(account, rng.integers(0, 2**40, count)),
            "dice": rng.random(count),
            "sla_days": rng.integers(1, 4, count),
        },
        schema_overrides={"ref": pl.String},
    )


def members(frame: pl.DataFrame, size: str = "size") -> pl.DataFrame:
    """Each group's row repeated `size` times, with the member's `position`."""
    return frame.with_columns(pl.int_ranges(0, pl.col(size)).alias("position")).explode("position")


def with_parties(draw: Draw, frame: pl.DataFrame, *, is_line: bool = False) -> pl.DataFrame:
    """Adds party_account and party_name as our books (or, for a line, the bank) write them."""
    joined = frame.join(draw.world.parties, on="party", how="left")
    if not is_line:
        return joined
    spelling = pl.Series(draw.rng.integers(0, VARIANTS, frame.height))
    spelt = pl.col("party_name")
    for n in range(VARIANTS):
        spelt = pl.when(pl.lit(spelling) == n).then(f"name_{n}").otherwise(spelt)
    return joined.with_columns(spelt.alias("party_name"))


def lines_naming(draw: Draw, frame: pl.DataFrame, *, ref: str = "ref") -> pl.DataFrame:
    """Lines that carry a reference: a third in its field, a fifth structured, the rest in the text."""
    rng, count = draw.rng, frame.height
    place = pl.Series("place", rng.choice(["field", "structured", "text"], count, p=[0.3, 0.2, 0.5]), dtype=pl.String)
    frame = frame.with_columns(place, pl.col(ref).alias("seen"), servicer_refs(rng, count))
    text = narrations(rng, frame, holdout=draw.holdout)
    return frame.with_columns(
        pl.lit("LINE").alias("kind"),
        pl.col("servicer_ref").alias("reference"),
        pl.when(pl.col("place") == "field").then("seen").alias("end_to_end_id"),
        pl.when(pl.col("place") == "structured").then("seen").alias("structured_ref"),
        pl.when(pl.col("place") == "text").then(pl.lit(text)).alias("remittance"),
        pl.lit("PMNT/RCDT/ESCT").alias("bank_tx_code"),
    )


def silent_lines(draw: Draw, frame: pl.DataFrame) -> pl.DataFrame:
    """Lines without any reference."""
    return frame.with_columns(servicer_refs(draw.rng, frame.height)).with_columns(
        pl.lit("LINE").alias("kind"),
        pl.col("servicer_ref").alias("reference"),
        pl.lit("PMNT/RCDT/ESCT").alias("bank_tx_code"),
    )


def receipts(frame: pl.DataFrame, *, ref: str = "ref") -> pl.DataFrame:
    """Expected receipts of `amount` named by `ref`."""
    return frame.with_columns(
        pl.lit("RECEIPT").alias("kind"),
        pl.col("amount").alias("amount_minor"),
        pl.col(ref).alias("reference"),
        pl.col(ref).alias("end_to_end_id"),
    )


def interchangeable(refkey: pl.Expr) -> pl.Expr:
    """The key of receipts of one account, amount, party and reference ('': none on the line), as of single events."""
    return pl.concat_str("account_at", pl.lit("false"), "amount", "party", refkey, separator="|").alias("fungible")


def own_refs(draw: Draw, frame: pl.DataFrame) -> pl.DataFrame:
    """A reference of its own for each row, in `own_ref`."""
    refs = references(
        draw.rng, frame.height, start=draw.world.as_of, chunk=draw.world.chunk + 500, holdout=draw.holdout
    )
    return frame.with_columns(pl.Series("own_ref", refs, dtype=pl.String))


def _with_amounts(draw: Draw, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.Series("amount", draw_amounts(draw.rng, frame["party"].to_numpy())))


def _lump_truth(residual: pl.Expr) -> list[pl.Expr]:
    return [
        (~residual).alias("clears"),
        pl.when(residual).then(pl.lit("BATCH_RESIDUAL")).alias("code"),
        pl.lit("batch id").alias("evidence"),
    ]


def batches(draw: Draw, quota: int, residuals: int) -> Sides:
    """Payment files booked in one line, named by PmtInfId or MsgId; `residuals` of them lack a member at the bank."""
    rng = draw.rng
    group = groups(draw, sizes_adding_to(rng, quota, mean=LUMP_MEAN)).with_columns(
        pl.lit("batch").alias("cls"),
        pl.concat_str(pl.lit("LOT-"), pl.col("unit")).alias("payment_information_id"),
        pl.concat_str(pl.lit("LOTFILE-"), pl.col("unit")).alias("msg_id"),
        (pl.int_range(pl.len()) < residuals).alias("residual"),
    )
    each = own_refs(draw, members(group))
    each = each.with_columns(
        pl.Series("party", draw.world.party_of(each["account_at"].to_numpy(), rng.integers(0, 2**40, each.height)))
    )
    each = with_parties(draw, _with_amounts(draw, each)).with_columns(
        pl.lit("INSTRUCTION").alias("kind"),
        -pl.col("amount").alias("amount_minor"),
        pl.col("group_at").alias("at"),
        pl.col("own_ref").alias("reference"),
        pl.col("own_ref").alias("end_to_end_id"),
        *_lump_truth(pl.col("residual")),
    )
    line = _lump_lines(draw, group, each, sign=1).with_columns(
        pl.when(pl.col("dice") < 0.8).then("payment_information_id").alias("payment_information_id"),
        pl.when(pl.col("dice") < 0.7).then("size").alias("batch_count"),
        pl.lit("PMNT/ICDT/DMCT").alias("bank_tx_code"),
    )
    return raw(each), raw(silent_lines(draw, line))


def payouts(draw: Draw, quota: int, residuals: int) -> Sides:
    """Receipts of one payout of a payment provider, booked in one line that names the payout."""
    group = groups(draw, sizes_adding_to(draw.rng, quota, mean=LUMP_MEAN)).with_columns(
        pl.lit("payout").alias("cls"),
        pl.col("account_at").alias("party"),  # the account's provider is its first party
        (pl.int_range(pl.len()) < residuals).alias("residual"),
    )
    each = members(group)
    each = each.with_columns(pl.Series("amount", draw_amounts(draw.rng, draw.rng.integers(0, 10**6, each.height))))
    each = receipts(with_parties(draw, each)).with_columns(
        pl.col("group_at").alias("at"), *_lump_truth(pl.col("residual"))
    )
    line = with_parties(draw, _lump_lines(draw, group, each, sign=-1), is_line=True)
    return raw(each), raw(lines_naming(draw, line))


def _lump_lines(draw: Draw, group: pl.DataFrame, each: pl.DataFrame, *, sign: int) -> pl.DataFrame:
    """The one line of each lump; a residual lump lacks its first member."""
    counted = each.filter(~(pl.col("residual") & (pl.col("position") == 0)))
    total = counted.group_by("unit").agg(pl.col("amount").sum().alias("total"))
    late = pl.Series((draw.rng.random(group.height) < 0.1).astype(np.int64))
    return (
        group.join(total, on="unit", how="left")
        .sort("unit")
        .with_columns(
            (sign * pl.col("total").fill_null(1)).alias("amount_minor"),
            (pl.col("group_at") + late).alias("at"),
            *_lump_truth(pl.col("residual")),
        )
    )


def collections(draw: Draw, quota: int) -> Sides:
    """One expected receipt that arrives in very many lines, all of which name it."""
    group = groups(draw, sizes_adding_to(draw.rng, quota, mean=LUMP_MEAN)).with_columns(
        pl.lit("collection").alias("cls"),
        pl.col("account_at").alias("party"),
        pl.lit(value=True).alias("clears"),
        pl.lit("reference").alias("evidence"),
    )
    return _one_in_many_lines(
        draw, group, draw_amounts(draw.rng, draw.rng.integers(0, 10**6, int(group["size"].sum())))
    )


def splits(draw: Draw, count: int) -> Sides:
    """Receipts that come in two to four lines with their reference."""
    group = groups(draw, draw.rng.integers(2, 5, count)).with_columns(
        pl.lit("split").alias("cls"), pl.lit(value=True).alias("clears"), pl.lit("reference").alias("evidence")
    )
    return _one_in_many_lines(
        draw, group, draw_amounts(draw.rng, draw.rng.integers(0, 10**6, int(group["size"].sum())))
    )


def _one_in_many_lines(draw: Draw, group: pl.DataFrame, amounts: Ints) -> Sides:
    each = members(group).with_columns(pl.Series("amount", amounts))
    total = each.group_by("unit").agg(pl.col("amount").sum())
    one = receipts(with_parties(draw, group.join(total, on="unit").sort("unit"))).with_columns(
        pl.col("group_at").alias("at")
    )
    late = pl.Series((draw.rng.random(each.height) < 0.1).astype(np.int64))
    each = with_parties(draw, each, is_line=True).with_columns(
        -pl.col("amount").alias("amount_minor"), (pl.col("group_at") + late).alias("at")
    )
    return raw(one), raw(lines_naming(draw, each))


def hidden(draw: Draw, quota: int) -> Sides:
    """A customer pays two to twelve invoices in one sum and says nothing; sometimes other invoices lie open too."""
    rng = draw.rng
    sizes = sizes_adding_to(rng, quota, mean=4.5, high=SUBSET_SIZE_MAX)
    group = groups(draw, sizes).with_columns(pl.lit("hidden").alias("cls"))
    each = own_refs(draw, _with_amounts(draw, members(group)))
    early = pl.Series((rng.random(each.height) < 0.3).astype(np.int64))
    each = each.with_columns(pl.lit(value=True).alias("clears"), (pl.col("group_at") - early).alias("at"))
    beside = own_refs(draw, _with_amounts(draw, _decoys(draw, group)))
    last = pl.Series(draw.world.days[beside["account_at"].to_numpy()] - 1)
    beside = beside.with_columns(pl.col("group_at").alias("at"), pl.lit("decoy").alias("cls")).with_columns(
        pl.when(last - pl.col("at") > pl.col("sla_days"))
        .then(pl.lit("MISSING_BANK"))
        .otherwise(pl.lit("TIMING"))
        .alias("code")
    )
    total = each.group_by("unit").agg(pl.col("amount").sum())
    seen = pl.Series(rng.random(group.height) < 0.75)
    line = with_parties(draw, group.join(total, on="unit").sort("unit"), is_line=True).with_columns(
        pl.lit(value=True).alias("clears"),
        -pl.col("amount").alias("amount_minor"),
        pl.col("group_at").alias("at"),
        pl.when(pl.lit(seen)).then("party_account").alias("party_account"),
        pl.when(pl.lit(seen))
        .then(pl.lit("sum and party account"))
        .otherwise(pl.lit("sum and party name"))
        .alias("evidence"),
    )
    each = each.join(line.select("unit", "evidence"), on="unit", how="left")
    # Any other open receipt of this party with a part's amount would do as well as the part.
    each, beside = (part.with_columns(interchangeable(pl.lit(""))) for part in (each, beside))
    items = [receipts(with_parties(draw, part), ref="own_ref") for part in (each, beside)]
    return pl.concat([raw(part) for part in items]), raw(silent_lines(draw, line))


def _decoys(draw: Draw, group: pl.DataFrame) -> pl.DataFrame:
    """One or two further receipts of the parties of some groups; each is a unit of its own."""
    some = group.filter(pl.col("dice") < DECOYED)
    several = members(some.with_columns(pl.Series("others", draw.rng.integers(1, 3, some.height))), "others")
    return several.with_columns(pl.int_range(pl.len()).alias("n")).with_columns(
        (draw.first_unit + group.height + pl.col("n")).alias("unit")
    )


def netting(draw: Draw, quota: int) -> Sides:
    """Receipts and repayments settled net, in two or three lines; every item names the netting."""
    rng = draw.rng
    group = groups(draw, sizes_adding_to(rng, quota, mean=3, high=4)).with_columns(
        pl.lit("netting").alias("cls"),
        pl.lit(value=True).alias("clears"),
        pl.lit("netting reference").alias("evidence"),
        pl.concat_str(pl.lit("NET"), pl.lit(random_text(rng, 1, 6)[0]), pl.col("unit")).alias("net_ref"),
    )
    group = group.with_columns(pl.Series("lines", rng.integers(2, 4, group.height)))
    each = own_refs(draw, _with_amounts(draw, members(group)))
    repaid = pl.col("position") == pl.col("size") - 1
    each = with_parties(draw, each).with_columns(
        pl.when(repaid).then(-(pl.col("amount") // 3 + 1)).otherwise(pl.col("amount") + 200).alias("amount_minor"),
        pl.when(repaid).then(pl.lit("OTHER")).otherwise(pl.lit("RECEIPT")).alias("kind"),
        pl.col("group_at").alias("at"),
        pl.col("own_ref").alias("reference"),
        pl.col("own_ref").alias("end_to_end_id"),
        pl.col("net_ref").alias("structured_ref"),
    )
    total = each.group_by("unit").agg(pl.col("amount_minor").sum().alias("total"))
    lines = members(group.join(total, on="unit").sort("unit"), "lines")
    part = pl.Series((rng.uniform(0.2, 1.6, lines.height) * 1_000_000).astype(np.int64))
    lines = lines.with_columns(
        (pl.col("total") * part // 1_000_000 + 1 + pl.col("position")).alias("part")
    ).with_columns(
        pl.when(pl.col("position") == 0)
        .then(pl.col("total") - pl.col("part").sum().over("unit") + pl.col("part"))
        .otherwise("part")
        .alias("part")
    )
    lines = lines.filter(pl.col("part") != 0)
    lines = with_parties(draw, lines, is_line=True).with_columns(
        -pl.col("part").alias("amount_minor"), pl.col("group_at").alias("at")
    )
    return raw(each), raw(lines_naming(draw, lines, ref="net_ref"))


def repeats(draw: Draw, quota: int) -> Sides:
    """The same party pays the same amount several times a day, and means it; half without reference, half with one."""
    rng = draw.rng
    group = groups(draw, sizes_adding_to(rng, quota, mean=2.3, high=3)).with_columns(pl.lit("repeat").alias("cls"))
    group = _with_amounts(draw, group)
    each = own_refs(draw, members(group)).with_columns(
        (draw.first_unit + (pl.col("unit") - draw.first_unit) * 4 + pl.col("position")).alias("unit"),
        interchangeable(pl.when(pl.col("dice") < 0.5).then("ref").otherwise(pl.lit(""))),
        pl.lit(value=True).alias("clears"),
        pl.col("group_at").alias("at"),
    )
    named = each.filter(pl.col("dice") < 0.5).with_columns(pl.lit("reference").alias("evidence"))
    silent = each.filter(pl.col("dice") >= 0.5).with_columns(pl.lit("party account").alias("evidence"))
    books = [
        receipts(with_parties(draw, named)),
        receipts(with_parties(draw, silent), ref="own_ref"),
    ]
    lines = [
        with_parties(draw, part, is_line=True).with_columns(-pl.col("amount").alias("amount_minor"))
        for part in (named, silent)
    ]
    return (
        pl.concat([raw(part) for part in books]),
        pl.concat([raw(lines_naming(draw, lines[0])), raw(silent_lines(draw, lines[1]))]),
    )


def ambiguous(draw: Draw, quota: int) -> Sides:
    """Expectations of which nobody can say which was paid: equal amounts of several parties, or two sums that fit."""
    rng = draw.rng
    sizes = sizes_adding_to(rng, quota, mean=3, low=2, high=4)
    group = groups(draw, np.where(sizes == 4, 4, sizes)).with_columns(
        pl.lit("ambiguous").alias("cls"), pl.lit(value=True).alias("ambiguous"), pl.lit("AMBIGUOUS").alias("code"),
        pl.lit("none").alias("evidence"),
    )  # fmt: skip
    group = _with_amounts(draw, group).with_columns(pl.col("amount") + 1_000)
    each = own_refs(draw, members(group))
    strangers = draw.world.party_of(
        each["account_at"].to_numpy(), each["party"].to_numpy() // ACCOUNTS_A_CHUNK + 1 + each["position"].to_numpy()
    )
    sums = pl.col("size") == 4
    part = pl.col("amount") // 3
    each = each.with_columns(
        pl.when(sums).then("party").otherwise(pl.Series(strangers)).alias("party"),
        pl.when(~sums).then("amount")
        .when(pl.col("position") == 0).then(part).when(pl.col("position") == 1).then(pl.col("amount") - part)
        .when(pl.col("position") == 2).then(part + 17).otherwise(pl.col("amount") - part - 17)
        .alias("amount"),
    )  # fmt: skip
    books = receipts(with_parties(draw, each), ref="own_ref").with_columns(pl.col("group_at").alias("at"))
    line = with_parties(draw, group, is_line=True).with_columns(
        -pl.col("amount").alias("amount_minor"),
        pl.col("group_at").alias("at"),
        *[pl.when(sums).then(name).alias(name) for name in ("party_account", "party_name")],
    )
    return raw(books), raw(silent_lines(draw, line))
