"""What a direct debit file says, before it is XML.

Lives here: collections from debtors under mandates, as plain values. Must not live here: XML, rules about values.
ISO names of the fields are given in brackets.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from settlement.iso20022.charset import Charset
from settlement.iso20022.model import MessageVersion, PostalAddress, require_one_currency, require_whole_seconds


class Scheme(StrEnum):
    """The SEPA direct debit scheme [LclInstrm]: consumers may ask the money back, businesses may not."""

    CORE = "CORE"
    B2B = "B2B"


class SequenceType(StrEnum):
    """Which collection under the mandate this is [SeqTp]: first, recurrent, one-off, final."""

    FRST = "FRST"
    RCUR = "RCUR"
    OOFF = "OOFF"
    FNAL = "FNAL"


SAME_MANDATE_NEW_ACCOUNT = "SMNDA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What of the mandate has changed since the last collection, as it was before [AmdmntInfDtls].

    `original_debtor_account` says only that it was another one: ``SMNDA``, same mandate, new debtor account.
    """

    original_mandate_id: str | None = None
    original_creditor_name: str | None = None
    original_creditor_id: str | None = None
    original_debtor_iban: str | None = None
    original_debtor_account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionGroup:
    """One batch of a file: one creditor account, date, scheme and sequence type [PmtInf]."""

    payment_information_id: str
    collection_date: dt.date
    currency: str
    creditor_name: str
    creditor_iban: str
    creditor_id: str
    sequence_type: SequenceType
    scheme: Scheme = Scheme.CORE
    creditor_bic: str | None = None
    creditor_address: PostalAddress | None = None
    batch_booking: bool = True
    category_purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFile:
    """Everything of a pain.008 file but its direct debits."""

    msg_id: str
    created_at: dt.datetime
    initiating_party_name: str
    groups: tuple[CollectionGroup, ...]
    initiating_party_id: str | None = None
    message_version: MessageVersion = MessageVersion.PAIN_008_001_08
    charset: Charset = Charset.SEPA

    def __post_init__(self) -> None:
        require_whole_seconds(self.created_at)
        require_one_currency(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectDebit:
    """One collection from one debtor under one mandate [DrctDbtTxInf]."""

    instruction_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    mandate_id: str
    mandate_signed_on: dt.date
    debtor_name: str
    debtor_iban: str
    amendment: Amendment | None = None
    uetr: str | None = None
    debtor_bic: str | None = None
    debtor_address: PostalAddress | None = None
    purpose: str | None = None
    creditor_reference: str | None = None
    remittance_unstructured: str | None = None
