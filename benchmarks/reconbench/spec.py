"""What a data set of ReconBench consists of: tiers, shares that become exact counts, families of anomalies.

Lives here: numbers and names. Must not live here: randomness, frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GENERATOR_VERSION: Final = 5
DAYS: Final = 30
CHUNKS: Final = 10  # the accounts come in ten groups of five; a chunk is generated, written and forgotten
ACCOUNTS_A_CHUNK: Final = 5
LUMP_MEAN: Final = 200


class Tier(StrEnum):
    """Rows a side."""

    S = "S"
    M = "M"
    L = "L"

    @property
    def rows(self) -> int:
        return {"S": 10_000, "M": 1_000_000, "L": 10_000_000}[self.value]


class Data(StrEnum):
    """Which kind of data: the ordinary one in tiers, or a small firm's cases."""

    ORDINARY = "ordinary"
    SMALL_BUSINESS = "small-business"


SMALL_BUSINESS_ROWS: Final = 9_000  # about so many a side; it has no tiers

# Minor units per euro cent, times 1e6: what amounts of several currencies are weighed with in the scores.
EURO_WEIGHT_E6: Final[dict[str, int]] = {
    "EUR": 1_000_000,
    "USD": 920_000,
    "GBP": 1_170_000,
    "CHF": 1_050_000,
    "JPY": 620_000,
    "SEK": 88_000,
    "NOK": 85_000,
    "PLN": 230_000,
}
HOLIDAYS: Final[dict[str, str]] = {"EUR": "ECB", "USD": "US", "GBP": "GB", "CHF": "CH", "JPY": "JP", "SEK": "SE"}
RARE_CURRENCIES: Final = ("GBP", "CHF", "JPY", "SEK")  # the fifth account of each chunk, in turn

# Share of the rows a side, by event. Events of one expectation and at most a few lines ("singles").
SINGLES: Final[dict[str, float]] = {
    "missing_bank": 0.003,
    "timing": 0.003,
    "missing_ledger_file": 0.0008,
    "missing_ledger_payer": 0.0007,
    "unidentified_receipt": 0.0006,
    "unauthorised_debit": 0.0005,
    "bank_originated": 0.0004,
    "fee": 0.03,
    "out_of_window": 0.005,
    "dup_bank": 0.001,
    "dup_ledger": 0.001,
    "chargeback_line": 0.0015,
    "chargeback_deducted": 0.0015,
    "return": 0.004,
    "fx": 0.02,
    "wrong_account": 0.0005,
    "transposed": 0.00025,
    "opposite_sign": 0.00025,
    "partial": 0.005,
    # Beyond section 5 of the reference, so that every code of the taxonomy has support.
    "reversal": 0.0005,
    "reserve": 0.001,
    "rounding": 0.001,
    "overpayment": 0.001,
    "unexplained": 0.001,
    "currency_mismatch": 0.0005,
    "stale_pending": 0.0005,
    "fresh_pending": 0.0005,
    "reject": 0.002,
    "routine": 0.001,
}
# Share of the rows a side, by structure.
BATCHES: Final = 0.0625  # lumps of 25 % of the volume: half many expectations and one line …
PAYOUTS: Final = 0.0625
COLLECTIONS: Final = 0.125  # … half one expectation and many lines, so that both sides have the tier's rows
HIDDEN: Final = 0.02
SPLITS: Final = 0.01
NETTING: Final = 0.005
REPEATS: Final = 0.01
AMBIGUOUS: Final = 0.002
UNKNOWN: Final = 0.0005  # for each of the three families of a seed
RESIDUAL_LUMPS: Final = 0.015  # of the lumps
OFF_BY_ONE: Final = 0.10
DECOYED: Final = 0.3  # hidden lumps beside which another open item of the same party lies

NOISE: Final[dict[str, float]] = {"clean": 0.70, "cut": 0.12, "missing": 0.08, "mangled": 0.06, "reused": 0.04}
PARTY_SEEN: Final[dict[str, float]] = {"account": 0.80, "name": 0.14, "nothing": 0.06}
PAYER_MOVED: Final = 0.01  # receipts with a clean reference from an account that nobody knows
UETR: Final = 0.25  # of instructions

# Three of the first are in a seed's data; the holdout takes its three from the second.
FAMILIES: Final = (
    "redirected_account",
    "conflicting_ids",
    "swapped_amounts",
    "wrong_batch_count",
    "amount_coincidence",
    "sum_coincidence",
)
HOLDOUT_FAMILIES: Final = ("foreign_reference", "flagged_return", "batch_file_conflict", "decimal_shift")


@dataclass(frozen=True, slots=True)
class DataSet:
    """Which data: the same values give the same bytes."""

    rows: int
    seed: int
    holdout: bool = False
    kind: Data = Data.ORDINARY


def counts(shares: dict[str, float], rows: int) -> dict[str, int]:
    """Exact numbers of events: the share of the rows, rounded, at least one."""
    return {name: max(1, round(share * rows)) for name, share in shares.items()}


def part(total: int, chunk: int) -> int:
    """How many of `total` fall into a chunk; over all chunks they add up to `total`."""
    return total * (chunk + 1) // CHUNKS - total * chunk // CHUNKS
