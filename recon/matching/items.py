"""The one shape the matcher sees: a row for each posting on a cash-in-transit account.

Lives here: the frame's schema, item kinds, the settings that decide. Must not live here: reading a
database, deciding anything.

Signs are those of the transit account T: an expected receipt is positive (debit), an instruction is
negative (credit), and a bank line is the opposite of its effect on us: money in is negative, money out
is positive. A set clears when its amounts add up to zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl

LINE = "LINE"  # a booked line of a proven statement
INSTRUCTION = "INSTRUCTION"  # a sealed payment, until the bank books it
RECEIPT = "RECEIPT"  # a payout that an acquirer reported
REJECT = "REJECT"  # the undoing of an instruction that the bank rejected
ROUTINE = "ROUTINE"  # the other leg of a line posted by policy (return, charge, interest)
OTHER = "OTHER"  # an adjusting entry on T
PENDING = "PENDING"  # a line that the bank announces and has not booked; it never clears

BANK_KINDS: tuple[str, ...] = (LINE, PENDING)
KINDS: tuple[str, ...] = (LINE, PENDING, INSTRUCTION, RECEIPT, REJECT, ROUTINE, OTHER)

ITEM_SCHEMA: dict[str, pl.DataType] = {
    "item_id": pl.Int64(),  # posting id on T
    "kind": pl.String(),
    "account": pl.String(),  # bank account code
    "currency": pl.String(),
    "amount_minor": pl.Int64(),  # T's sign
    "date": pl.Date(),  # booking date of a line, due date of anything expected
    "day": pl.Int32(),  # the account's business-day number of `date`
    "age_days": pl.Int32(),  # business days from `date` to the run's date
    "sla_days": pl.Int32(),  # how long an expectation may be in flight
    "reference": pl.String(),  # AcctSvcrRef, EndToEndId or payout id: how people name the item
    "end_to_end_id": pl.String(),  # a receipt carries its payout id here
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
    "batch_count": pl.Int32(),
    "corrects_id": pl.Int64(),  # item that a REJECT or ROUTINE item answers
    "rule": pl.String(),  # routine rule that posted a ROUTINE item
    "statement_line": pl.String(),  # "<statement id>/<line>/<detail>" of a line
    "value_date": pl.Date(),
    "instructed_amount_minor": pl.Int64(),  # unsigned, as the bank or provider states it
    "instructed_currency": pl.String(),
    "rate_e9": pl.Int64(),  # stated or expected rate, instructed to booked, times 1e9
    "fees_minor": pl.Int64(),  # what a provider's report deducted from this payout: on receipts
    "reserve_minor": pl.Int64(),
    "chargebacks_minor": pl.Int64(),
    "original_ref": pl.String(),  # EndToEndId of the payment that a return, reversal or chargeback answers
}

# Codes of explained differences: a policy may let them clear.
MAY_CLEAR: frozenset[str] = frozenset({"FEE_DIFF", "RESERVE_HELD", "CHARGEBACK", "FX_DIFF", "ROUNDING"})


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What still counts as equal, and which explained differences may clear.

    `window_days` in business days; `rounding_minor` in minor units for each member; `fx_band_ppm` how far the bank's
    rate may be from ours, in millionths. `may_clear`: break codes (FEE_DIFF, RESERVE_HELD, CHARGEBACK, FX_DIFF,
    ROUNDING) whose sets clear together with the difference they explain; by default none does, because the
    difference needs an entry of its own first.
    """

    window_days: int = 1
    rounding_minor: int = 1
    fx_band_ppm: int = 10_000
    may_clear: frozenset[str] = frozenset()


def empty_items() -> pl.DataFrame:
    """A frame of the items' shape without rows."""
    return pl.DataFrame(schema=ITEM_SCHEMA)


@dataclass(frozen=True, slots=True)
class Item:
    """An open item as explanations see it; fields as in `ITEM_SCHEMA`."""

    item_id: int
    kind: str
    account: str
    currency: str
    amount_minor: int
    date: date
    day: int
    age_days: int
    sla_days: int
    reference: str
    end_to_end_id: str | None
    payment_information_id: str | None
    party_name: str | None
    bank_tx_code: str | None
    return_reason: str | None
    charges_minor: int | None
    batch_count: int | None


def items_from_frame(frame: pl.DataFrame) -> Iterator[Item]:
    """The rows of a frame with `ITEM_SCHEMA`, in order."""
    columns = [frame[name].to_list() for name in Item.__slots__]
    return (Item(*values) for values in zip(*columns, strict=True))
