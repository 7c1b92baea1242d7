"""Anomalies that no code names: two strong attributes contradict each other, or nothing but a sum agrees.

Lives here: one function a family, each giving (book items, bank items) of so many cases. A seed has three of them.
The right answer to every one is to leave it open; which code it gets is not scored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from benchmarks.reconbench.references import random_text, uetrs
from benchmarks.reconbench.sides import raw
from benchmarks.reconbench.singles import draw_amounts
from benchmarks.reconbench.spec import ACCOUNTS_A_CHUNK
from benchmarks.reconbench.structures import (
    Draw,
    Sides,
    groups,
    interchangeable,
    lines_naming,
    members,
    own_refs,
    receipts,
    silent_lines,
    with_parties,
)


def _cases(draw: Draw, count: int, size: int, family: str) -> pl.DataFrame:
    group = groups(draw, np.full(count, size, dtype=np.int64), margin=5).with_columns(
        pl.lit(f"unknown:{family}").alias("cls"), pl.lit("contradiction").alias("evidence")
    )
    return group.with_columns(pl.Series("amount", draw_amounts(draw.rng, group["party"].to_numpy()) + 2_000))


def _other_party(draw: Draw, frame: pl.DataFrame, by: pl.Expr) -> pl.DataFrame:
    """The row's party, moved on by `by` places among the parties of its account."""
    moved = frame.select((pl.col("party") // ACCOUNTS_A_CHUNK + by).alias("pick"))["pick"].to_numpy()
    return frame.with_columns(pl.Series("party", draw.world.party_of(frame["account_at"].to_numpy(), moved)))


def _instructions(draw: Draw, frame: pl.DataFrame, *, ref: str = "own_ref") -> pl.DataFrame:
    return with_parties(draw, frame).with_columns(
        pl.lit("INSTRUCTION").alias("kind"),
        -pl.col("amount").alias("amount_minor"),
        pl.col("group_at").alias("at"),
        pl.col(ref).alias("reference"),
        pl.col(ref).alias("end_to_end_id"),
    )


def _debits(frame: pl.DataFrame, e2e: str = "own_ref") -> pl.DataFrame:
    """Debit lines of `amount` with an EndToEndId."""
    return frame.with_columns(
        pl.col("amount").alias("amount_minor"),
        pl.col("group_at").alias("at"),
        pl.col(e2e).alias("end_to_end_id"),
        pl.lit("PMNT/ICDT/ESCT").alias("bank_tx_code"),
    )


def redirected_account(draw: Draw, count: int) -> Sides:
    """The right payment by every id, to an account that was never instructed."""
    books = _instructions(draw, own_refs(draw, _cases(draw, count, 1, "redirected_account")))
    elsewhere = pl.concat_str(pl.lit("XR"), pl.lit(random_text(draw.rng, count, 20)))
    lines = _debits(silent_lines(draw, books)).with_columns(elsewhere.alias("party_account"))
    return raw(books), raw(lines)


def conflicting_ids(draw: Draw, count: int) -> Sides:
    """One line with the EndToEndId of one payment and the UETR of another, both of the same amount."""
    each = own_refs(draw, members(_cases(draw, count, 2, "conflicting_ids")))
    each = _other_party(draw, each, pl.col("position")).with_columns(pl.Series("uetr", uetrs(draw.rng, each.height)))
    books = _instructions(draw, each)
    first, second = books.filter(pl.col("position") == 0), books.filter(pl.col("position") == 1)
    lines = _debits(silent_lines(draw, first)).with_columns(
        pl.Series("uetr", second["uetr"]), pl.lit(None, dtype=pl.String).alias("party_account")
    )
    return raw(books), raw(lines)


def swapped_amounts(draw: Draw, count: int) -> Sides:
    """Two receipts of one party; each line names one of them and carries the other's amount."""
    each = own_refs(draw, members(_cases(draw, count, 2, "swapped_amounts"))).with_columns(
        pl.col("amount") + pl.col("position") * 731
    )
    books = receipts(with_parties(draw, each), ref="own_ref").with_columns(pl.col("group_at").alias("at"))
    crossed = books.with_columns(
        -(pl.col("amount") + 731 - 2 * 731 * pl.col("position")).alias("amount_minor"),
        pl.lit(None, dtype=pl.String).alias("end_to_end_id"),
    )
    return raw(books), raw(lines_naming(draw, crossed, ref="own_ref"))


def wrong_batch_count(draw: Draw, count: int) -> Sides:
    """A batch line with the right sum and the wrong number of payments."""
    return _small_batches(draw, count, "wrong_batch_count", [(pl.col("size") + 1).alias("batch_count")])


def batch_file_conflict(draw: Draw, count: int) -> Sides:
    """A batch line with the right sum that names one batch and, as its file, the file of another."""
    foreign = pl.concat_str(pl.lit("CFILE-"), pl.col("unit") - draw.first_unit + 1_000_000)
    return _small_batches(
        draw, count, "batch_file_conflict", [foreign.alias("msg_id"), pl.col("size").alias("batch_count")]
    )


def _small_batches(draw: Draw, count: int, family: str, changed: list[pl.Expr]) -> Sides:
    group = _cases(draw, count, 4, family).with_columns(
        pl.concat_str(pl.lit("CLOT-"), pl.col("unit")).alias("payment_information_id"),
        pl.concat_str(pl.lit("CFILE-"), pl.col("unit")).alias("msg_id"),
    )
    each = own_refs(draw, members(group)).with_columns(pl.col("amount") + pl.col("position") * 37)
    books = _instructions(draw, _other_party(draw, each, pl.col("position")))
    line = group.with_columns(
        (pl.col("amount") * 4 + 37 * 6).alias("amount_minor"), pl.col("group_at").alias("at"), *changed
    )
    return raw(books), raw(silent_lines(draw, line))


def amount_coincidence(draw: Draw, count: int) -> Sides:
    """A receipt that never came, and on its day another party sends the same amount for something else."""
    each = own_refs(draw, _cases(draw, count, 1, "amount_coincidence"))
    books = receipts(with_parties(draw, each), ref="own_ref").with_columns(
        pl.col("group_at").alias("at"), interchangeable(pl.lit(""))
    )
    lines = with_parties(draw, _other_party(draw, each, pl.lit(1)), is_line=True).with_columns(
        -pl.col("amount").alias("amount_minor"), pl.col("group_at").alias("at")
    )
    return raw(books), raw(silent_lines(draw, lines))


def sum_coincidence(draw: Draw, count: int) -> Sides:
    """A stranger sends exactly what three customers together owe."""
    each = own_refs(draw, members(_cases(draw, count, 3, "sum_coincidence"))).with_columns(
        pl.col("amount") + pl.col("position") * 113
    )
    books = receipts(with_parties(draw, _other_party(draw, each, pl.col("position"))), ref="own_ref").with_columns(
        pl.col("group_at").alias("at"), interchangeable(pl.lit(""))
    )
    lines = each.filter(pl.col("position") == 0).with_columns(
        -(pl.col("amount") * 3 + 113 * 3).alias("amount_minor"),
        pl.col("group_at").alias("at"),
        pl.lit("Unknown Holding").alias("party_name"),
        pl.concat_str(pl.lit("XS"), pl.lit(random_text(draw.rng, count, 20))).alias("party_account"),
    )
    return raw(books), raw(silent_lines(draw, lines))


def foreign_reference(draw: Draw, count: int) -> Sides:
    """A customer names another customer's invoice; both owe the same amount."""
    each = own_refs(draw, members(_cases(draw, count, 2, "foreign_reference")))
    books = receipts(with_parties(draw, _other_party(draw, each, pl.col("position"))), ref="own_ref").with_columns(
        pl.col("group_at").alias("at")
    )
    first, second = books.filter(pl.col("position") == 0), books.filter(pl.col("position") == 1)
    lines = second.with_columns(
        pl.Series("named", first["own_ref"]),
        -pl.col("amount").alias("amount_minor"),
        pl.lit(None, dtype=pl.String).alias("end_to_end_id"),
    )
    return raw(books), raw(lines_naming(draw, lines, ref="named"))


def flagged_return(draw: Draw, count: int) -> Sides:
    """A debit like the one instructed, flagged with a reason for a return."""
    books = _instructions(draw, own_refs(draw, _cases(draw, count, 1, "flagged_return")))
    lines = _debits(silent_lines(draw, books)).with_columns(pl.lit("AC04").alias("return_reason"))
    return raw(books), raw(lines)


def decimal_shift(draw: Draw, count: int) -> Sides:
    """A decimal point in the wrong place."""
    books = _instructions(draw, own_refs(draw, _cases(draw, count, 1, "decimal_shift")))
    lines = _debits(silent_lines(draw, books)).with_columns((pl.col("amount") // 10).alias("amount_minor"))
    return raw(books), raw(lines)


MAKERS: Final[dict[str, Callable[[Draw, int], Sides]]] = {
    "redirected_account": redirected_account,
    "conflicting_ids": conflicting_ids,
    "swapped_amounts": swapped_amounts,
    "wrong_batch_count": wrong_batch_count,
    "amount_coincidence": amount_coincidence,
    "sum_coincidence": sum_coincidence,
    "foreign_reference": foreign_reference,
    "flagged_return": flagged_return,
    "batch_file_conflict": batch_file_conflict,
    "decimal_shift": decimal_shift,
}
