"""Events of one expectation and a line or two: ordinary payments and the breaks that section 5 injects one by one.

Lives here: drawing the events of a chunk as a wide frame, one row an event. Must not live here: how an event looks
on either side (`sides.py`), structures of many items (`structures.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from benchmarks.reconbench.references import cut, mangled, printed, references, uetrs
from benchmarks.reconbench.spec import NOISE, OFF_BY_ONE, PARTY_SEEN, PAYER_MOVED, UETR
from benchmarks.reconbench.world import Ints, World

INCOMING: Final = frozenset(
    {
        "missing_ledger_payer",
        "unidentified_receipt",
        "chargeback_line",
        "chargeback_deducted",
        "partial",
        "reserve",
        "overpayment",
        "unexplained",
        "stale_pending",
        "fresh_pending",
    }
)
OUTGOING: Final = frozenset(
    {"missing_ledger_file", "unauthorised_debit", "bank_originated", "return", "reject", "dup_ledger", "transposed"}
)
NOISY: Final = frozenset({"plain", "fee", "fx"})
TWO_DECIMALS_ONLY: Final = frozenset({"wrong_account", "currency_mismatch", "fx"})
MINOR_MAX: Final = 400_000_000
_ACCOUNT_SHARE: Final = (0.30, 0.20, 0.25, 0.15, 0.10)
_PRICES: Final = np.array(
    [299, 499, 999, 1499, 1900, 2900, 4900, 7900, 9900, 12900, 19900, 25000, 49900], dtype=np.int64
)


def draw_amounts(rng: np.random.Generator, party: Ints) -> Ints:
    """Minor units: 60 % lognormal, 20 % price points, 15 % what the party always pays, 5 % Pareto."""
    count = len(party)
    kind = rng.choice(4, count, p=[0.60, 0.20, 0.15, 0.05])
    lognormal = np.exp(rng.normal(np.log(48), 1.1, count)) * 100
    pareto = (rng.pareto(1.5, count) + 1) * 10_000
    amounts = np.where(kind == 0, lognormal, pareto).astype(np.int64)
    amounts = np.where(kind == 1, _PRICES[rng.integers(0, len(_PRICES), count)], amounts)
    always = 500 + (party * 7919 + 13) % 60_000
    return np.clip(np.where(kind == 2, always, amounts), 100, MINOR_MAX)


def draw_singles(
    rng: np.random.Generator, world: World, plan: dict[str, int], plain: int, *, holdout: bool
) -> pl.DataFrame:
    """One row an event. `plan` gives exact numbers by class, `plain` that of ordinary payments."""
    classes = np.repeat([*plan, "plain"], [*plan.values(), plain])
    count = len(classes)
    is_out = rng.random(count) < 0.5
    is_out[np.isin(classes, list(INCOMING))] = False
    is_out[np.isin(classes, list(OUTGOING))] = True
    noise = _noise(rng, classes, is_out)
    account = rng.choice(5, count, p=_ACCOUNT_SHARE).astype(np.int64)
    account = np.where(np.isin(classes, list(TWO_DECIMALS_ONLY)), account % 4, account)
    pick = rng.integers(0, 2**40, count)
    refs = references(rng, count, start=world.as_of, chunk=world.chunk, holdout=holdout)
    again, first = _reused_pairs(noise)
    account[again], pick[again] = account[first], pick[first]
    known, unannounced = np.flatnonzero((classes == "plain") & ~is_out), classes == "missing_ledger_payer"
    if len(known):  # a payer of whom the books expect something else
        payers = known[rng.integers(0, len(known), int(unannounced.sum()))]
        account[unannounced], pick[unannounced] = account[payers], pick[payers]
    party = world.party_of(account, pick)
    amount = draw_amounts(rng, party)
    amount = np.where(classes == "plain", amount, np.maximum(amount, 1_000))
    amount = np.where(classes == "fx", np.maximum(amount, 10_000), amount)
    same = rng.random(len(again)) < 0.2
    amount[again[same]] = amount[first[same]]
    sla = rng.integers(1, 4, count)
    due, booked = _days(rng, classes, world.days[account], sla)
    has_uetr = is_out & (rng.random(count) < UETR)
    ref_array = refs.to_numpy(allow_copy=True).astype(object)
    ref_array[again] = ref_array[first]
    frame = pl.DataFrame(
        {
            "cls": classes,
            "is_out": is_out,
            "noise": noise,
            "account_at": account,
            "party": party,
            "amount": amount,
            "sla_days": sla,
            "due": due,
            "booked": booked,
            "ref": pl.Series(ref_array.tolist(), dtype=pl.String),
            "uetr": pl.Series(uetrs(rng, count)),
            "has_uetr": has_uetr,
            "dice": rng.random(count),
        }
    ).with_columns(pl.when("has_uetr").then("uetr").alias("uetr"))
    return _with_what_the_bank_sees(rng, frame, holdout=holdout)


def _noise(rng: np.random.Generator, classes: np.ndarray, is_out: np.ndarray) -> np.ndarray:
    """Noise of each event's reference, in exact numbers within each noisy class; only receipts share references."""
    noise = np.full(len(classes), "clean", dtype="<U8")
    for name in sorted(NOISY):
        where = rng.permutation(np.flatnonzero(classes == name))
        if name == "plain":
            receipts = where[~is_out[where]]
            reused = receipts[: round(NOISE["reused"] * len(where)) // 2 * 2]
            noise[reused] = "reused"
            where = where[noise[where] == "clean"]
            scale = 1 / (1 - NOISE["reused"])
        else:
            scale = 1.0
        start = 0
        for kind in ("cut", "missing", "mangled"):
            stop = start + round(NOISE[kind] * scale * len(where))
            noise[where[start:stop]] = kind
            start = stop
    return noise


def _reused_pairs(noise: np.ndarray) -> tuple[Ints, Ints]:
    """Events that take account, party and reference of another: (takers, givers)."""
    where = np.flatnonzero(noise == "reused")
    return where[1::2], where[::2][: len(where[1::2])]


def _days(rng: np.random.Generator, classes: np.ndarray, days: Ints, sla: Ints) -> tuple[Ints, Ints]:
    """Positions among the account's business days: when an item is due and when the bank books it."""
    count = len(classes)
    last = days - 1
    late = np.zeros(count, dtype=np.int64)
    plain = rng.permutation(np.flatnonzero(classes == "plain"))
    shifted = plain[: round(OFF_BY_ONE * len(plain))]
    late[shifted] = np.where(rng.random(len(shifted)) < 0.85, 1, -1)
    outside = np.flatnonzero(classes == "out_of_window")
    late[outside] = rng.integers(3, 8, len(outside))
    # The latest day on which each class may be due, so that everything it needs still happens.
    latest = last - np.maximum(late, 0)
    old = np.isin(classes, ["missing_bank", "stale_pending"])
    latest = np.where(old, last - sla - 1, latest)
    settled = np.isin(classes, ["unexplained", "transposed", "opposite_sign", "fee", "fx", "rounding", "reserve"])
    latest = np.where(settled | np.isin(classes, ["chargeback_deducted", "overpayment"]), last - 4, latest)
    latest = np.where(np.isin(classes, ["return", "reversal", "chargeback_line"]), last - 3, latest)
    due = 1 + (rng.random(count) * latest).astype(np.int64)
    young = np.isin(classes, ["timing", "fresh_pending"])
    due = np.where(young, last - rng.integers(0, sla + 1), due)
    due = np.where(classes == "partial", last - rng.integers(0, 2, count), due)
    return due, np.minimum(due + late, last)


def _with_what_the_bank_sees(rng: np.random.Generator, frame: pl.DataFrame, *, holdout: bool) -> pl.DataFrame:
    """Adds what the bank's line carries: `seen` reference, its `place`, which of the party, the evidence there is."""
    count = frame.height
    refs, noise = frame["ref"], frame["noise"].to_numpy()
    short, kept = cut(rng, refs)
    seen = pl.Series("seen", refs)
    bent = mangled(rng, refs)
    place = np.where(
        frame["is_out"].to_numpy(),
        np.where(rng.random(count) < 0.9, "field", "text"),
        rng.choice(["field", "structured", "text"], count, p=[0.3, 0.2, 0.5]),
    )
    is_cut = noise == "cut"
    place = np.where(is_cut, np.where((kept.to_numpy() == 30) | (place != "field"), "tail", "field"), place)
    in_print = (place == "text") & (noise == "clean") & (rng.random(count) < (0.3 if holdout else 0.0))
    party_seen = rng.choice(list(PARTY_SEEN), count, p=list(PARTY_SEEN.values()))
    explained = np.isin(frame["cls"].to_numpy(), ["fee", "fx"]) & (noise == "missing")
    party_seen = np.where(explained | (noise == "reused"), "account", party_seen)
    moved = (noise == "clean") & ~frame["is_out"].to_numpy() & (frame["cls"].to_numpy() == "plain")
    moved &= rng.random(count) < PAYER_MOVED
    party_seen = np.where(moved, "moved", party_seen)
    return frame.with_columns(
        pl.Series("place", place),
        pl.Series("party_seen", party_seen),
        pl.when(pl.Series(is_cut)).then(short)
        .when(pl.col("noise") == "mangled").then(bent)
        .when(pl.col("noise") == "missing").then(pl.lit(None, dtype=pl.String))
        .when(pl.Series(in_print)).then(printed(refs))
        .otherwise(seen).alias("seen"),
    ).with_columns(evidence())  # fmt: skip


def evidence() -> pl.Expr:
    """By which attribute the truth can be known at all, strongest first."""
    by_party = (
        pl.when(pl.col("party_seen") == "account").then(pl.lit("party account"))
        .when(pl.col("party_seen") == "name").then(pl.lit("party name"))
        .otherwise(pl.lit("none"))
    )  # fmt: skip
    return (
        pl.when("has_uetr").then(pl.lit("uetr"))
        .when(pl.col("noise") == "cut").then(pl.lit("beginning of a reference"))
        .when(pl.col("noise") == "mangled").then(pl.lit("mangled reference"))
        .when(pl.col("noise") == "missing").then(by_party)
        .otherwise(pl.lit("reference")).alias("evidence")
    )  # fmt: skip
