"""What files about earlier files say: reversals of direct debits, requests to cancel credit transfers.

Lives here: their values, before they are XML. Must not live here: XML, rules about values.
In both, instruction id, end-to-end id and UETR are those of the earlier payment.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from settlement.iso20022.charset import Charset
from settlement.iso20022.model import MessageVersion, require_one_currency, require_whole_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalGroup:
    """The earlier file and a group in it that this file is about [OrgnlGrpInf, OrgnlPmtInfId]."""

    message_id: str
    message_name: str
    payment_information_id: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalFile:
    """Everything of a pain.007 file but its reversals: all of one earlier file. `charset` as of that file."""

    msg_id: str
    created_at: dt.datetime
    initiating_party_name: str
    groups: tuple[OriginalGroup, ...]
    batch_booking: bool = True
    message_version: MessageVersion = MessageVersion.PAIN_007_001_11
    charset: Charset = Charset.SEPA

    def __post_init__(self) -> None:
        require_whole_seconds(self.created_at)
        require_one_currency(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """One collected direct debit given back, whole or in part [TxInf]. `reason` is an ISO reversal reason code."""

    reversal_id: str
    instruction_id: str
    end_to_end_id: str
    original_amount_minor: int
    amount_minor: int
    currency: str
    reason: str
    uetr: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationFile:
    """Everything of a camt.055 file but its requests; it goes to the bank `bank_bic`."""

    msg_id: str
    created_at: dt.datetime
    initiating_party_name: str
    bank_bic: str
    groups: tuple[OriginalGroup, ...]
    message_version: MessageVersion = MessageVersion.CAMT_055_001_08
    charset: Charset = Charset.SEPA

    def __post_init__(self) -> None:
        require_whole_seconds(self.created_at)
        require_one_currency(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A request to stop or call back one sent payment [TxInf]. `reason` is an ISO cancellation reason code."""

    cancellation_id: str
    instruction_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    execution_date: dt.date
    reason: str
    uetr: str | None = None
    text: str | None = None
