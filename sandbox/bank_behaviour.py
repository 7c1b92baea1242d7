"""How a simulated bank behaves towards its customer, as data.

Lives here: what is not in the customer's set-up because only the bank knows it. Must not live here: what
went wrong on purpose (`sandbox.anomalies`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum


class BookingStyle(Enum):
    """How a payment file appears on the statement."""

    ITEMISED = "itemised"
    BATCH_DETAILS = "batch_details"
    BATCH = "batch"


class StatementVersion(Enum):
    """The camt.053 a bank writes."""

    V02 = "camt.053.001.02"
    V08 = "camt.053.001.08"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankBehaviour:
    """Rates in payments per thousand; `return_charge_minor` is what the bank keeps of a payment that comes back.

    `batch_rejects_per_mille` is of blocks (`PmtInf`): refused whole, the others of the file are executed.
    Of the payments that come back, per thousand: `late_returns` come weeks later, `partial_returns` in part (the rest
    later, or never), and `taken_back` ones are taken back again. `recalls_refused` are per thousand executed payments
    that are asked back. `announces_returns`: a pacs.004 comes before the statement. `checks_names`: the bank first
    compares names with accounts and says what it found; of those, per thousand, `names_doubted` are close, other or not
    comparable. `intraday`: a camt.052 of half the day comes before the statement. `page_lines`: no page of a statement
    has more lines; each page is a message. `statement` is the version of camt.053. `booking` gives the
    style of single accounts by code; every other account is booked in batches with details or itemised as its bank
    profile's batch booking says."""

    rejects_per_mille: int = 0
    batch_rejects_per_mille: int = 0
    returns_per_mille: int = 0
    late_returns_per_mille: int = 0
    partial_returns_per_mille: int = 0
    taken_back_per_mille: int = 0
    recalls_refused_per_mille: int = 0
    announces_returns: bool = False
    checks_names: bool = False
    names_doubted_per_mille: int = 0
    intraday: bool = False
    page_lines: int | None = None
    noise_per_mille: int = 0
    charges: bool = False
    interest: bool = False
    return_charge_minor: int = 0
    statement: StatementVersion = StatementVersion.V08
    booking: tuple[tuple[str, BookingStyle], ...] = ()

    def style(self, account_code: str, *, batch_booking: bool) -> BookingStyle:
        """The booking style of one account."""
        default = BookingStyle.BATCH_DETAILS if batch_booking else BookingStyle.ITEMISED
        return dict(self.booking).get(account_code, default)

    def to_text(self) -> str:
        """The behaviour as JSON, for the bank's own memory."""
        return json.dumps(asdict(self), default=lambda chosen: chosen.value)

    @classmethod
    def from_text(cls, text: str) -> BankBehaviour:
        """The behaviour that `to_text` wrote."""
        row = json.loads(text)
        booking = tuple((code, BookingStyle(style)) for code, style in row.pop("booking"))
        version = StatementVersion(row.pop("statement", StatementVersion.V08.value))
        return cls(booking=booking, statement=version, **row)
