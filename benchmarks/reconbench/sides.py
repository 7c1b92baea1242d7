"""How events look in the books and at the bank: two frames of items with what is true about each.

Lives here: the shape of generated items, turning single events into items. Must not live here: drawing events.
An item's truth is its `unit` (items of one unit that clear together have `clears`), its code when it stays open, its
class for the report, and `fungible`: items with the same key, close in time, are interchangeable.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from benchmarks.reconbench.references import narrations, random_text
from benchmarks.reconbench.singles import MINOR_MAX
from benchmarks.reconbench.world import VARIANTS, Ints, World

# What generators fill in; everything else of the items' shape follows from it (`assemble.py`).
RAW: Final[dict[str, pl.DataType]] = {
    "unit": pl.Int64(),
    "kind": pl.String(),
    "account_at": pl.Int64(),
    "amount_minor": pl.Int64(),
    "at": pl.Int64(),  # position among the account's business days
    "sla_days": pl.Int64(),
    "reference": pl.String(),
    "end_to_end_id": pl.String(),
    "uetr": pl.String(),
    "payment_information_id": pl.String(),
    "msg_id": pl.String(),
    "servicer_ref": pl.String(),
    "structured_ref": pl.String(),
    "remittance": pl.String(),
    "party_account": pl.String(),
    "party_name": pl.String(),
    "bank_tx_code": pl.String(),
    "return_reason": pl.String(),
    "is_reversal": pl.Boolean(),
    "charges_minor": pl.Int64(),
    "batch_count": pl.Int64(),
    "answers": pl.String(),  # "E" or "L": the item of the same unit that this one corrects
    "rule": pl.String(),
    "instructed_amount_minor": pl.Int64(),
    "instructed_currency": pl.String(),
    "rate_e9": pl.Int64(),
    "fees_minor": pl.Int64(),
    "reserve_minor": pl.Int64(),
    "chargebacks_minor": pl.Int64(),
    "original_ref": pl.String(),
    # truth
    "clears": pl.Boolean(),
    "code": pl.String(),
    "cls": pl.String(),
    "evidence": pl.String(),
    "ambiguous": pl.Boolean(),
    "fungible": pl.String(),
    "party": pl.Int64(),
}

BOTH: Final[dict[str, str]] = {
    "fee": "FEE_DIFF",
    "fx": "FX_DIFF",
    "out_of_window": "DATE_OUT_OF_WINDOW",
    "wrong_account": "WRONG_ACCOUNT",
    "currency_mismatch": "CURRENCY_MISMATCH",
    "transposed": "AMOUNT_MISMATCH",
    "opposite_sign": "AMOUNT_MISMATCH",
    "unexplained": "AMOUNT_MISMATCH",
    "partial": "PARTIAL",
    "reserve": "RESERVE_HELD",
    "chargeback_deducted": "CHARGEBACK",
    "rounding": "ROUNDING",
    "overpayment": "OVERPAYMENT",
}
BOOKS_ONLY: Final[dict[str, str]] = {"missing_bank": "MISSING_BANK", "timing": "TIMING"}
BANK_ONLY: Final[dict[str, str]] = {
    "missing_ledger_file": "MISSING_LEDGER",
    "missing_ledger_payer": "MISSING_LEDGER",
    "unidentified_receipt": "UNIDENTIFIED_RECEIPT",
    "unauthorised_debit": "UNAUTHORISED_DEBIT",
    "bank_originated": "BANK_ORIGINATED",
    "stale_pending": "STALE_PENDING",
    "fresh_pending": "TIMING",
}
_NO_BANK_LINE: Final = [*BOOKS_ONLY, "reject"]
_STRANGERS: Final = ["unidentified_receipt", "unauthorised_debit", "stale_pending", "fresh_pending"]
FILES_A_DAY: Final = 3


def raw(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the raw columns; what is missing is null, flags are false."""
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in RAW.items() if name not in frame.columns]
    return (
        frame.with_columns(missing)
        .select([pl.col(name).cast(kind) for name, kind in RAW.items()])
        .with_columns(pl.col("is_reversal", "clears", "ambiguous").fill_null(value=False))
    )


def file_ids(account: str = "account_at", day: str = "due") -> list[pl.Expr]:
    """PmtInfId and MsgId of the files in which ordinary instructions went out."""
    part = pl.col("unit") % FILES_A_DAY
    tail = pl.concat_str(pl.col(account), pl.lit("D"), pl.col(day), pl.lit("F"), part)
    return [
        pl.concat_str(pl.lit("PMT-"), tail).alias("payment_information_id"),
        pl.concat_str(pl.lit("MSG-"), tail).alias("msg_id"),
    ]


def _codes(mapping: dict[str, str]) -> pl.Expr:
    return pl.col("cls").replace_strict(mapping, default=None, return_dtype=pl.String)


def _fungible(refkey: pl.Expr, *, of_books: bool) -> pl.Expr:
    """What is interchangeable; of a difference only the expectation, and only when its line names nothing."""
    keyed = pl.col("cls").is_in(
        ["plain", "dup_bank", "dup_ledger", "chargeback_line", "return", "missing_bank", "timing"]
    )
    if of_books:
        keyed |= pl.col("cls").is_in(["fee", "fx"]) & (refkey == "")
    key = pl.concat_str("account_at", "is_out", "amount", "party", refkey, separator="|")
    return pl.when(keyed).then(key).alias("fungible")


def book_items(rng: np.random.Generator, world: World, events: pl.DataFrame) -> pl.DataFrame:
    """Expectations of single events, with rejects, routine answers and entries made twice."""
    known = events.filter(~pl.col("cls").is_in(list(BANK_ONLY)))
    known = known.join(world.parties.select("party", "party_account", "party_name"), on="party", how="left")
    nameless = pl.col("cls").is_in(list(BOOKS_ONLY)) | ((pl.col("noise") == "missing") & ~pl.col("has_uetr"))
    items = known.with_columns(
        pl.when("is_out").then(pl.lit("INSTRUCTION")).otherwise(pl.lit("RECEIPT")).alias("kind"),
        pl.when("is_out").then(-pl.col("amount")).otherwise(pl.col("amount")).alias("amount_minor"),
        pl.col("due").alias("at"),
        pl.col("ref").alias("reference"),
        pl.col("ref").alias("end_to_end_id"),
        pl.lit(None, dtype=pl.Int64).alias("charges_minor"),  # only the bank knows
        *[pl.when("is_out").then(name).alias(name.meta.output_name()) for name in file_ids()],
        _codes(BOTH | BOOKS_ONLY).alias("code"),
        _fungible(pl.when(nameless).then(pl.lit("")).otherwise("ref"), of_books=True),
    ).with_columns(pl.col("code").is_null().alias("clears"))
    routine = pl.col("cls") == "routine"
    routine_items = items.filter(routine).with_columns(
        pl.lit("ROUTINE").alias("kind"),
        pl.lit("L").alias("answers"),
        pl.lit("routine-charge").alias("rule"),
        pl.lit(None, dtype=pl.String).alias("end_to_end_id"),
        pl.lit(None, dtype=pl.String).alias("payment_information_id"),
        pl.lit(None, dtype=pl.String).alias("msg_id"),
        pl.lit(None, dtype=pl.String).alias("uetr"),
        pl.when("is_out").then(-pl.col("amount")).otherwise(pl.col("amount")).alias("amount_minor"),
        pl.concat_str(pl.lit("routine "), "ref").alias("reference"),
    )
    rejects = items.filter(pl.col("cls") == "reject").with_columns(
        pl.lit("REJECT").alias("kind"), -pl.col("amount_minor"), pl.lit("E").alias("answers"), pl.col("sla_days") * 0
    )
    twice = items.filter(pl.col("cls") == "dup_ledger").with_columns(
        pl.lit("DUP_LEDGER").alias("code"),
        pl.lit(value=False).alias("clears"),
        pl.lit("duplicate entry").alias("evidence"),
    )
    return pl.concat([raw(part) for part in (items.filter(~routine), routine_items, rejects, twice)])


def bank_items(
    rng: np.random.Generator, world: World, events: pl.DataFrame, *, holdout: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines of single events; and the events again, with the deductions that the books know of."""
    events = _with_differences(rng, world, events)
    booked = events.filter(~pl.col("cls").is_in(_NO_BANK_LINE))
    lines = _lines(rng, world, booked, holdout=holdout)
    parted = _parted(rng, lines.filter(pl.col("cls") == "partial"))
    twice = lines.filter(pl.col("cls") == "dup_bank")
    repeated = twice.with_columns(
        pl.lit("DUP_BANK").alias("code"),
        pl.lit(value=False).alias("clears"),
        pl.lit("booked twice").alias("evidence"),
        pl.when(pl.col("dice") < 0.5)
        .then("servicer_ref")
        .otherwise(pl.concat_str("servicer_ref", pl.lit("B")))
        .alias("servicer_ref"),
    )
    others = lines.filter(pl.col("cls") != "partial")
    follow_ups = [_returns(rng, lines), _chargebacks(rng, lines)]
    return pl.concat([raw(part) for part in (others, parted, repeated, *follow_ups)]), events


def _with_differences(rng: np.random.Generator, world: World, events: pl.DataFrame) -> pl.DataFrame:
    """Adds `shift` (line = −expectation + shift, in T's sign), deductions, exchange data, and where the bank booked."""
    count, cls = events.height, events["cls"].to_numpy()
    amount, is_out = events["amount"].to_numpy(), events["is_out"].to_numpy()
    account = events["account_at"].to_numpy()
    part = np.maximum(1, (amount * rng.uniform(0.01, 0.05, count)).astype(np.int64))
    deducted = np.clip(part, 25, np.maximum(amount // 3, 25))
    stated_by_books = (cls == "fee") & ~is_out & (rng.random(count) < 0.4)
    shift = np.where(np.isin(cls, ["fee", "reserve", "chargeback_deducted"]), deducted, 0)
    shift = np.where(cls == "rounding", np.where(rng.random(count) < 0.5, 1, -1), shift)
    shift = np.where(cls == "overpayment", -np.maximum(50, amount // 7), shift)
    shift = np.where(cls == "unexplained", np.maximum(50, amount // 9), shift)
    signed = np.where(is_out, -amount, amount)
    shift = np.where(cls == "opposite_sign", 2 * signed, shift)
    swapped = cls == "transposed"
    shift[swapped] = _transposed(rng, amount[swapped]) - amount[swapped]
    rates = _exchange(rng, world, account, amount)
    is_fx = cls == "fx"
    expected = np.where(is_fx, rates["expected"], amount)
    shift = np.where(is_fx, np.where(is_out, 1, -1) * (rates["booked"] - rates["expected"]), shift)
    elsewhere = np.where(cls == "wrong_account", account ^ 1, account)
    elsewhere = np.where(cls == "currency_mismatch", (account + 2) % 4, elsewhere)
    on_line = (cls == "fee") & ~stated_by_books

    def some(where: np.ndarray, values: Ints) -> pl.Expr:
        return pl.when(pl.Series(where)).then(pl.Series(values))

    return events.with_columns(
        pl.Series("amount", expected),
        pl.Series("shift", shift),
        pl.Series("booked_at_account", elsewhere),
        some(on_line, deducted).alias("charges_minor"),
        some(stated_by_books, deducted).alias("fees_minor"),
        some(cls == "reserve", deducted).alias("reserve_minor"),
        some(cls == "chargeback_deducted", deducted).alias("chargebacks_minor"),
        some(is_fx, rates["instructed"]).alias("instructed_amount_minor"),
        pl.when(pl.Series(is_fx)).then(pl.Series(rates["currency"])).alias("instructed_currency"),
        some(is_fx, rates["rate_e9"]).alias("rate_e9"),
        some(is_fx, rates["bank_rate_e9"]).alias("bank_rate_e9"),
    )


def _transposed(rng: np.random.Generator, amount: Ints) -> Ints:
    """Amounts with two unlike neighbouring digits swapped (the difference is a multiple of nine)."""
    changed = amount.copy()
    for n, value in enumerate(amount.tolist()):
        digits = str(value)
        places = [i for i in range(1, len(digits) - 1) if digits[i] != digits[i + 1]]
        if not places:
            changed[n] = value + 9
            continue
        at = places[int(rng.integers(0, len(places)))] if n % 97 else places[0]
        changed[n] = int(digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :])
    return changed


def _exchange(rng: np.random.Generator, world: World, account: Ints, amount: Ints) -> dict[str, np.ndarray]:
    """Instructed amounts in another currency, and what our rate and the bank's make of them (half up)."""
    rate = rng.integers(650_000_000, 1_450_000_000, len(account))
    off = rng.integers(500, 5_000, len(account)) * np.where(rng.random(len(account)) < 0.5, 1, -1)
    bank_rate = rate + rate * off // 1_000_000
    instructed = np.minimum(amount, MINOR_MAX) * 1_000_000_000 // rate
    own = np.array(world.currencies)[account]
    other = np.where(own == "EUR", "USD", np.where(own == "USD", "GBP", "EUR"))
    return {
        "rate_e9": rate,
        "bank_rate_e9": bank_rate,
        "instructed": instructed,
        "expected": (instructed * rate + 500_000_000) // 1_000_000_000,
        "booked": (instructed * bank_rate + 500_000_000) // 1_000_000_000,
        "currency": other,
    }


def _lines(rng: np.random.Generator, world: World, booked: pl.DataFrame, *, holdout: bool) -> pl.DataFrame:
    count = booked.height
    lines = booked.join(world.parties, on="party", how="left")
    spelling = pl.Series(rng.integers(0, VARIANTS, count))
    spelt = pl.lit(None, dtype=pl.String)
    for n in range(VARIANTS):
        spelt = pl.when(pl.lit(spelling) == n).then(f"name_{n}").otherwise(spelt)
    stranger = pl.concat_str(pl.lit("XS"), pl.lit(random_text(rng, count, 20)))
    is_stranger = pl.col("cls").is_in(_STRANGERS)
    lines = lines.with_columns(
        pl.when(is_stranger | (pl.col("party_seen") == "moved")).then(stranger)
        .when((pl.col("party_seen") == "account") | (pl.col("cls") == "missing_ledger_payer")).then("party_account")
        .alias("party_account"),
        pl.when(is_stranger).then(pl.concat_str(pl.lit("Unknown "), pl.lit(random_text(rng, count, 8))))
        .when(pl.col("party_seen") != "nothing").then(spelt)
        .alias("party_name"),
    )  # fmt: skip
    text = narrations(
        rng, lines.with_columns(pl.when(pl.col("place") == "text").then("seen").alias("seen")), holdout=holdout
    )
    no_text = pl.Series(rng.random(count) < 0.5)
    signed = pl.when("is_out").then(pl.col("amount")).otherwise(-pl.col("amount"))
    tail = pl.concat_str(pl.lit("EREF+"), "seen")
    known_by_ref = (pl.col("noise") == "missing") & ~pl.col("has_uetr")
    names_file = (pl.col("cls") == "missing_ledger_file") | (pl.col("is_out") & (pl.col("dice") < 0.3) & ~is_stranger)
    codes = BOTH | BANK_ONLY
    is_pending = pl.col("cls").is_in(["stale_pending", "fresh_pending"])
    return (
        lines.with_columns(
            pl.when(is_pending).then(pl.lit("PENDING")).otherwise(pl.lit("LINE")).alias("kind"),
            pl.col("booked_at_account").alias("account_at"),
            pl.col("account_at").alias("home_account"),
            (signed + pl.col("shift")).alias("amount_minor"),
            pl.col("booked").alias("at"),
            servicer_refs(rng, count),
            pl.when(pl.col("place") == "field").then("seen").alias("end_to_end_id"),
            pl.when(pl.col("place") == "structured").then("seen").alias("structured_ref"),
            pl.when(pl.col("place") == "tail").then(tail)
            .when((pl.col("place") == "text") | pl.lit(no_text)).then(pl.lit(text)).alias("remittance"),
            *[pl.when(names_file).then(name).alias(name.meta.output_name()) for name in file_ids()],
            pl.col("bank_rate_e9").alias("rate_e9"),
            pl.lit(None, dtype=pl.Int64).alias("fees_minor"),
            pl.lit(None, dtype=pl.Int64).alias("reserve_minor"),
            pl.lit(None, dtype=pl.Int64).alias("chargebacks_minor"),
            _codes(codes).alias("code"),
            _fungible(pl.when(known_by_ref).then(pl.lit("")).otherwise("ref"), of_books=False),
        )
        .with_columns(pl.col("code").is_null().alias("clears"), pl.col("servicer_ref").alias("reference"))
        .pipe(_of_the_banks_own)
    )  # fmt: skip


def servicer_refs(rng: np.random.Generator, count: int) -> pl.Expr:
    """The bank's own references, each different."""
    return pl.concat_str(pl.lit("BK"), pl.lit(random_text(rng, count, 14))).alias("servicer_ref")


def _of_the_banks_own(lines: pl.DataFrame) -> pl.DataFrame:
    """Charges, interest and sweeps have a code and no reference; routine charges too."""
    fee, interest, sweep = "ACMT/MDOP/CHRG", "ACMT/MDOP/INTR", "CAMT/ACCB/SWEP"
    own = pl.col("cls").is_in(["bank_originated", "routine"])
    dice = pl.col("dice")
    code = pl.when(dice < 0.5).then(pl.lit(fee)).when(dice < 0.75).then(pl.lit(interest)).otherwise(pl.lit(sweep))
    ordinary = pl.when("is_out").then(pl.lit("PMNT/ICDT/ESCT")).otherwise(pl.lit("PMNT/RCDT/ESCT"))
    bare = [
        "end_to_end_id",
        "structured_ref",
        "remittance",
        "uetr",
        "party_account",
        "party_name",
        "payment_information_id",
        "msg_id",
    ]
    return lines.with_columns(
        pl.when(pl.col("cls") == "routine")
        .then(pl.lit(fee))
        .when(own)
        .then(code)
        .otherwise(ordinary)
        .alias("bank_tx_code"),
        *[pl.when(~own).then(name).alias(name) for name in bare],
    )


def _parted(rng: np.random.Generator, lines: pl.DataFrame) -> pl.DataFrame:
    """Two lines for each partial payment, which together lack something."""
    amount = lines["amount"].to_numpy()
    first = np.maximum(1, (amount * rng.uniform(0.2, 0.5, len(amount))).astype(np.int64))
    second = np.maximum(1, (amount * rng.uniform(0.1, 0.4, len(amount))).astype(np.int64))
    one = lines.with_columns(pl.Series("amount_minor", -first))
    two = lines.with_columns(pl.Series("amount_minor", -second), servicer_refs(rng, lines.height))
    return pl.concat([one, two]).with_columns(pl.col("servicer_ref").alias("reference"))


def _returns(rng: np.random.Generator, lines: pl.DataFrame) -> pl.DataFrame:
    """Money that came back for a payment that cleared; and bookings that the bank reversed."""
    back = lines.filter(pl.col("cls").is_in(["return", "reversal"]))
    is_return = pl.col("cls") == "return"
    named = (pl.col("dice") < 0.5) & is_return
    return back.with_columns(
        -pl.col("amount_minor"),
        pl.col("at") + 1,
        servicer_refs(rng, back.height),
        pl.when(is_return).then(pl.lit("RETURN")).otherwise(pl.lit("REVERSAL")).alias("code"),
        pl.lit(value=False).alias("clears"),
        pl.when(named).then("ref").alias("end_to_end_id"),
        pl.lit(None, dtype=pl.String).alias("structured_ref"),
        pl.lit(None, dtype=pl.String).alias("uetr"),
        pl.lit(None, dtype=pl.String).alias("payment_information_id"),
        pl.lit(None, dtype=pl.String).alias("msg_id"),
        pl.when(is_return).then(pl.lit("AC04")).alias("return_reason"),
        (~is_return).alias("is_reversal"),
        pl.col("ref").alias("original_ref"),
        pl.when(is_return).then(pl.lit("PMNT/ICDT/RRTN")).otherwise("bank_tx_code").alias("bank_tx_code"),
        pl.lit("original reference").alias("evidence"),
        pl.lit(None, dtype=pl.String).alias("fungible"),
        pl.lit(None, dtype=pl.String).alias("remittance"),
    ).with_columns(pl.col("servicer_ref").alias("reference"))


def _chargebacks(rng: np.random.Generator, lines: pl.DataFrame) -> pl.DataFrame:
    """Receipts that cleared and were taken back by the card scheme."""
    taken = lines.filter(pl.col("cls") == "chargeback_line")
    return taken.with_columns(
        -pl.col("amount_minor"),
        pl.col("at") + 1,
        servicer_refs(rng, taken.height),
        pl.lit("CHARGEBACK").alias("code"),
        pl.lit(value=False).alias("clears"),
        pl.lit(None, dtype=pl.String).alias("end_to_end_id"),
        pl.lit(None, dtype=pl.String).alias("structured_ref"),
        pl.concat_str(pl.lit("CHARGEBACK "), "ref").alias("remittance"),
        pl.col("ref").alias("original_ref"),
        pl.lit("PMNT/MCRD/CHBK").alias("bank_tx_code"),
        pl.lit("original reference").alias("evidence"),
        pl.lit(None, dtype=pl.String).alias("fungible"),
    ).with_columns(pl.col("servicer_ref").alias("reference"))
