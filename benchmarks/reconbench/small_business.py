"""The data set of a small firm: three dozen classes of cases with its own names, numbers, languages and traps.

Lives here: which classes there are, how often, whether they can be known, and the writing of files. Must not live here:
how a case looks (`small_cases.py`, `small_traps.py`), what names and numbers look like (`small_desk.py`).

It is small (8,700 lines), so that it is drawn case by case with `random`; the same seed gives the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.reconbench import small_cases as cases
from benchmarks.reconbench import small_traps as traps
from benchmarks.reconbench.generate import TRUTH_SCHEMA, Manifest
from benchmarks.reconbench.small_desk import Desk, Fields
from benchmarks.reconbench.spec import GENERATOR_VERSION, SMALL_BUSINESS_ROWS, DataSet
from recon.matching import ITEM_SCHEMA


@dataclass(frozen=True, slots=True)
class CaseClass:
    """A class of cases: its words, how many there are at full size, what writes one.

    Of a class that is not `knowable` nobody can say from the data what is right: all its items are ambiguous in the
    truth, and a set with one of them is a guess.
    """

    words: str
    cases: int
    make: Callable[[Desk, str], None]
    knowable: bool = True


CLASSES: Final = (
    CaseClass("invoice named in the text", 2200, cases.invoice_in_narration),
    CaseClass("payment with its reference", 1200, cases.payment_with_reference),
    CaseClass("number glued to words", 300, cases.glued_to_words),
    CaseClass("no reference", 500, cases.no_reference),
    CaseClass("swapped digits, nobody's number", 60, cases.swapped_digits),
    CaseClass("first digit wrong", 80, cases.first_digit_wrong),
    CaseClass("one number of two parties, both paid", 120, cases.two_payees_one_number),
    CaseClass("one number of two parties, the line says whom", 60, cases.one_of_two_paid),
    CaseClass("several invoices, all named", 200, cases.several_named),
    CaseClass("two invoices, one named", 80, cases.one_named_of_two),
    CaseClass("sum of invoices, none named", 150, cases.sum_of_invoices),
    CaseClass("invoice in parts", 150, cases.paid_in_parts),
    CaseClass("instalment with suffix", 50, cases.instalment_with_suffix),
    CaseClass("paid twice", 60, cases.paid_twice),
    CaseClass("payout less its refunds", 90, cases.refunds_netted),
    CaseClass("invoice less credit note", 100, cases.credit_note),
    CaseClass("fee line beside a payment", 120, cases.fee_line_beside),
    CaseClass("returned and sent again", 120, cases.returned_and_sent_again),
    CaseClass("customer number is an invoice", 120, cases.customer_number_is_an_invoice),
    CaseClass("short number", 100, cases.short_number),
    CaseClass("unknown payer names the invoice", 150, cases.unknown_payer_names_it),
    CaseClass("beginning of a number", 150, cases.beginning_of_number),
    CaseClass("end of a number", 100, cases.end_of_number),
    CaseClass("number broken by the line width", 150, cases.broken_by_line_width),
    CaseClass("other value date", 200, cases.valued_at_a_weekend),
    CaseClass("never came", 150, traps.never_came),
    CaseClass("in flight", 40, traps.in_flight),
    CaseClass("customer owes no such amount", 45, traps.paid_for_nothing),
    CaseClass("stranger", 105, traps.stranger),
    CaseClass("discount taken", 100, traps.discount_taken),
    CaseClass("instalments missing", 80, traps.instalments_missing),
    CaseClass("fee taken from a payment", 40, traps.fee_taken_from_payment),
    CaseClass("one number of two parties, nobody named", 20, traps.same_number_nobody_named, knowable=False),
    CaseClass("two customers of one name", 40, traps.two_of_one_name, knowable=False),
    CaseClass("names another's invoice", 120, traps.names_anothers_invoice, knowable=False),
    CaseClass("swapped digits name another's", 140, traps.swapped_digits_name_anothers, knowable=False),
    CaseClass("own and another's invoice", 80, traps.own_and_anothers_invoice, knowable=False),
    CaseClass("instalment without suffix", 50, traps.instalment_without_suffix, knowable=False),
    CaseClass("short number of something else", 150, traps.short_number_of_something_else, knowable=False),
    CaseClass("order paid in advance", 150, traps.order_paid_in_advance, knowable=False),
    CaseClass("refunds of no stated payout", 60, traps.refunds_without_payout, knowable=False),
    CaseClass("fees of the month", 8, traps.fees_of_the_month, knowable=False),
)


def generate_small_business(data: DataSet, *, inputs: Path, truth: Path) -> Manifest:
    """Write `inputs`/bank.parquet and ledger.parquet, and `truth`/truth_groups.parquet and truth_breaks.parquet."""
    rng = random.Random(data.seed)
    desk = Desk(rng)
    order = [kind for kind in CLASSES for _ in range(max(1, round(kind.cases * data.rows / SMALL_BUSINESS_ROWS)))]
    rng.shuffle(order)
    for kind in order:
        kind.make(desk, kind.words)
    items = _framed(desk.rows, rng)
    for folder in (inputs, truth):
        folder.mkdir(parents=True, exist_ok=True)
    is_grouped = pl.col("group_id").is_not_null()
    rows = {}
    for name, wanted in (("bank", pl.col("is_line")), ("ledger", ~pl.col("is_line"))):
        side = items.filter(wanted)
        side.select(list(ITEM_SCHEMA)).write_parquet(inputs / f"{name}.parquet", compression="zstd")
        rows[name] = side.height
    for name, wanted in (("groups", is_grouped), ("breaks", ~is_grouped)):
        known = items.filter(wanted).select(list(TRUTH_SCHEMA)).sort("item_id")
        known.write_parquet(truth / f"truth_{name}.parquet", compression="zstd")
    manifest = Manifest(
        rows=data.rows, seed=data.seed, holdout=data.holdout, generator_version=GENERATOR_VERSION,
        as_of=desk.days[-1], families=(), bank_rows=rows["bank"], ledger_rows=rows["ledger"],
    )  # fmt: skip
    (truth / "manifest.json").write_text(json.dumps(asdict(manifest), default=str, indent=1) + "\n", encoding="utf-8")
    return manifest


def _framed(rows: list[Fields], rng: random.Random) -> pl.DataFrame:
    """Items in the order of account, date and id, with ids that say nothing; checks that sets add up."""
    unknowable = [kind.words for kind in CLASSES if not kind.knowable]
    schema = TRUTH_SCHEMA | ITEM_SCHEMA
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")
    ids = list(range(1, frame.height + 1))
    rng.shuffle(ids)
    frame = (
        frame.with_columns(
            pl.Series("item_id", ids),
            pl.col("cls").is_in(unknowable).alias("ambiguous"),
        )
        .with_columns(
            pl.col("klass").fill_null(pl.col("item_id")),
            pl.coalesce("group_id", -pl.col("item_id")).alias("block"),
        )
        .sort("account", "date", "item_id")
    )
    number = pl.int_range(pl.len()).over("account", "date", "is_line") + 1
    name = pl.concat_str("account", pl.lit("/"), pl.col("date").cast(pl.String), pl.lit("/"), number, pl.lit("/0"))
    frame = frame.with_columns(pl.when("is_line").then(name).alias("statement_line"))
    sets = frame.filter(pl.col("group_id").is_not_null()).group_by("group_id")
    sums = sets.agg(pl.col("amount_minor").sum(), pl.col("account").n_unique(), pl.col("cls").first(), pl.len())
    wrong = sums.filter((pl.col("amount_minor") != 0) | (pl.col("account") != 1) | (pl.col("len") < 2))
    assert wrong.is_empty(), wrong
    return frame
