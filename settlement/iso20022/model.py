"""What a payment file says, before it is XML.

Lives here: the payments, parties and terms that `pain001` writes and `validate` checks, as plain values.
Must not live here: XML, rules about the values (`validate`), anything of the database.

Texts are already written in the bank's character set (`charset.transliterate`); amounts are integer minor
units of the group's currency. ISO names of the fields are given in brackets.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ledger.errors import RefusedError
from settlement.iso20022.charset import Charset
from settlement.iso20022.rails import ChargeBearer


def require_whole_seconds(created_at: dt.datetime) -> None:
    """Raises `ValueError` for a moment without time zone or with a fraction: neither can stand in a file."""
    if created_at.utcoffset() is None or created_at.microsecond:
        raise ValueError(f"created_at {created_at!r} must be aware and in whole seconds")


def require_one_currency(groups: Sequence[Group]) -> None:
    """Raises `ValueError` for a file without a group, or with groups of several currencies: it is of one account."""
    currencies = {group.currency for group in groups}
    if len(currencies) != 1:
        raise ValueError(f"a file has groups of one currency, not of {sorted(currencies)}")


class PaymentFileError(RefusedError):
    """The payments cannot be written as this file; nothing usable was produced."""


class MessageVersion(StrEnum):
    """Messages that can be written. A bank profile's `message` is one of pain.001, `collection_message` of pain.008."""

    PAIN_001_001_03 = "pain.001.001.03"
    PAIN_001_001_09 = "pain.001.001.09"
    PAIN_001_001_11 = "pain.001.001.11"
    PAIN_007_001_02 = "pain.007.001.02"
    PAIN_007_001_11 = "pain.007.001.11"
    PAIN_008_001_02 = "pain.008.001.02"
    PAIN_008_001_08 = "pain.008.001.08"
    CAMT_055_001_08 = "camt.055.001.08"
    CAMT_055_001_11 = "camt.055.001.11"

    @property
    def namespace(self) -> str:
        return f"urn:iso:std:iso:20022:tech:xsd:{self.value}"

    @property
    def family(self) -> str:
        """The message without its version, such as ``pain.001``."""
        return self.value[:8]

    @property
    def carries_uetr(self) -> bool:
        """Whether a payment of this message can have a UETR."""
        return self not in _WITHOUT_UETR


_WITHOUT_UETR = {
    MessageVersion.PAIN_001_001_03,
    MessageVersion.PAIN_007_001_02,
    MessageVersion.PAIN_008_001_02,
}


class AddressForm(StrEnum):
    """How a bank profile wants addresses. Address lines alone are refused since November 2026."""

    STRUCTURED = "structured"
    HYBRID = "hybrid"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostalAddress:
    """A structured address, or a hybrid one when lines are given; always a town and country [PstlAdr]."""

    country: str
    town: str
    street: str | None = None
    postcode: str | None = None
    line_1: str | None = None
    line_2: str | None = None


def postal_address(
    form: AddressForm, *, country: str, town: str, street: str | None = None, postcode: str | None = None
) -> PostalAddress | None:
    """The address in the form the bank wants; empty texts count as missing.

    Hybrid: town, country and postcode keep their own elements, the street becomes an address line, so that
    nothing stands in both.
    """
    if form is AddressForm.NONE or not town:
        return None
    if form is AddressForm.HYBRID:
        return PostalAddress(country=country, town=town, postcode=postcode or None, line_1=street or None)
    return PostalAddress(country=country, town=town, street=street or None, postcode=postcode or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentGroup:
    """One batch of a file: one debtor account, date, rail, currency and charge bearer [PmtInf].

    The account is an IBAN or a national number [Othr/Id]; the bank a BIC or a member of a clearing system.
    """

    payment_information_id: str
    execution_date: dt.date
    currency: str
    debtor_name: str
    debtor_iban: str | None = None
    debtor_account: str | None = None
    debtor_bic: str | None = None
    debtor_clearing_system: str | None = None
    debtor_member_id: str | None = None
    debtor_lei: str | None = None
    debtor_address: PostalAddress | None = None
    batch_booking: bool = True
    service_level: str | None = None
    local_instrument: str | None = None
    charge_bearer: ChargeBearer = ChargeBearer.SLEV
    category_purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFile:
    """Everything of a file but its payments. `created_at` is aware and in whole seconds [CreDtTm].

    As in files of every message: the payments of `groups` follow each other in the groups' order, as many in each as
    `Totals` says.
    """

    msg_id: str
    created_at: dt.datetime
    initiating_party_name: str
    groups: tuple[PaymentGroup, ...]
    initiating_party_id: str | None = None
    message_version: MessageVersion = MessageVersion.PAIN_001_001_09
    charset: Charset = Charset.SEPA

    def __post_init__(self) -> None:
        require_whole_seconds(self.created_at)
        require_one_currency(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransfer:
    """One payment to one creditor [CdtTrfTxInf].

    The account is an IBAN or a national number [Othr/Id]; the bank a BIC or a member of a clearing system.
    `creditor_reference` is an ISO 11649 reference [SCOR], `qr_reference` a Swiss QR reference [QRR]; either
    stands instead of unstructured remittance. `regulatory_*` is one report to an authority [RgltryRptg].
    """

    instruction_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    creditor_name: str
    creditor_iban: str | None = None
    creditor_account: str | None = None
    uetr: str | None = None
    creditor_bic: str | None = None
    creditor_clearing_system: str | None = None
    creditor_member_id: str | None = None
    creditor_lei: str | None = None
    creditor_address: PostalAddress | None = None
    intermediary_bic: str | None = None
    purpose: str | None = None
    regulatory_country: str | None = None
    regulatory_code: str | None = None
    regulatory_text: str | None = None
    creditor_reference: str | None = None
    qr_reference: str | None = None
    remittance_unstructured: str | None = None


class Payment(Protocol):
    """What payments of every message have in common."""

    @property
    def instruction_id(self) -> str: ...
    @property
    def uetr(self) -> str | None: ...
    @property
    def end_to_end_id(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def currency(self) -> str: ...


class Group(Protocol):
    """What payment groups of every message have in common."""

    @property
    def payment_information_id(self) -> str: ...
    @property
    def currency(self) -> str: ...


class MessageFile(Protocol):
    """What files of every message have in common."""

    @property
    def msg_id(self) -> str: ...
    @property
    def message_version(self) -> MessageVersion: ...
    @property
    def charset(self) -> Charset: ...
    @property
    def groups(self) -> tuple[Group, ...]: ...


def file_currency(file: MessageFile) -> str:
    """The currency of all groups of a file."""
    return file.groups[0].currency


@dataclass(frozen=True, slots=True)
class Totals:
    """Number and sum of a file's payments [NbOfTxs, CtrlSum].

    `groups`: those of each group, in the groups' order; empty for a file of one group, whose totals are the file's.
    """

    count: int
    total_minor: int
    groups: tuple[Totals, ...] = ()

    @classmethod
    def of(cls, payments: Iterable[Payment]) -> Totals:
        """Count and sum in one pass."""
        count = total_minor = 0
        for payment in payments:
            count += 1
            total_minor += payment.amount_minor
        return cls(count, total_minor)

    @classmethod
    def of_groups(cls, groups: Iterable[Iterable[Payment]]) -> Totals:
        """Count and sum of payments that are given group by group."""
        parts = tuple(cls.of(payments) for payments in groups)
        count, total_minor = sum(part.count for part in parts), sum(part.total_minor for part in parts)
        return cls(count, total_minor, parts if len(parts) > 1 else ())

    @property
    def by_group(self) -> tuple[Totals, ...]:
        """Totals of every group, also of a single one."""
        return self.groups or (self,)
