"""What a payment file says, before it is XML.

Lives here: the payments, parties and terms that `pain001` writes and `validate` checks, as plain values.
Must not live here: XML, rules about the values (`validate`), anything of the database.

Texts are already written in the bank's character set (`charset.transliterate`); amounts are integer minor
units of the group's currency. ISO names of the fields are given in brackets.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ledger.errors import RefusedError
from settlement.iso20022.charset import Charset


class PaymentFileError(RefusedError):
    """The payments cannot be written as this file; nothing usable was produced."""


class MessageVersion(StrEnum):
    """pain.001 versions that can be written (a bank profile's `message`)."""

    PAIN_001_001_09 = "pain.001.001.09"

    @property
    def namespace(self) -> str:
        return f"urn:iso:std:iso:20022:tech:xsd:{self.value}"


class Rail(StrEnum):
    """How the bank moves the money: SEPA credit transfer in euro, or a transfer in another currency."""

    SEPA = "SEPA"
    DOMESTIC = "DOMESTIC"


class AddressForm(StrEnum):
    """How a bank profile wants addresses. Address lines alone are refused since November 2026."""

    STRUCTURED = "structured"
    HYBRID = "hybrid"
    NONE = "none"


class ChargeBearer(StrEnum):
    """Who pays the banks' charges [ChrgBr]."""

    SLEV = "SLEV"
    SHAR = "SHAR"
    DEBT = "DEBT"
    CRED = "CRED"


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
    """The one group of payments of a file: one debtor account, one date, one currency [PmtInf]."""

    payment_information_id: str
    execution_date: dt.date
    currency: str
    debtor_name: str
    debtor_iban: str
    debtor_bic: str
    debtor_address: PostalAddress | None = None
    batch_booking: bool = True
    service_level: str | None = None
    charge_bearer: ChargeBearer = ChargeBearer.SLEV
    category_purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFile:
    """Everything of a file but its payments. `created_at` is aware and in whole seconds [CreDtTm]."""

    msg_id: str
    created_at: dt.datetime
    initiating_party_name: str
    group: PaymentGroup
    initiating_party_id: str | None = None
    message_version: MessageVersion = MessageVersion.PAIN_001_001_09
    charset: Charset = Charset.SEPA

    def __post_init__(self) -> None:
        if self.created_at.utcoffset() is None or self.created_at.microsecond:
            raise ValueError(f"created_at {self.created_at!r} must be aware and in whole seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransfer:
    """One payment to one creditor [CdtTrfTxInf]."""

    instruction_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    creditor_name: str
    creditor_iban: str
    uetr: str | None = None
    creditor_bic: str | None = None
    creditor_address: PostalAddress | None = None
    remittance_unstructured: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Number and sum of a file's payments [NbOfTxs, CtrlSum]."""

    count: int
    total_minor: int

    @classmethod
    def of(cls, transfers: Iterable[CreditTransfer]) -> Totals:
        """Count and sum in one pass."""
        count = total_minor = 0
        for transfer in transfers:
            count += 1
            total_minor += transfer.amount_minor
        return cls(count, total_minor)


@dataclass(frozen=True, slots=True)
class RailTerms:
    """What a rail fixes in every file, and what it allows (EPC SCT customer-to-PSP guidelines for SEPA)."""

    service_level: str | None
    charge_bearer: ChargeBearer
    creditor_bic: bool
    name_length_max: int
    currency: str | None
    amount_minor_max: int


RAIL_TERMS: dict[Rail, RailTerms] = {
    Rail.SEPA: RailTerms(
        service_level="SEPA",
        charge_bearer=ChargeBearer.SLEV,
        creditor_bic=False,
        name_length_max=70,
        currency="EUR",
        amount_minor_max=99_999_999_999,
    ),
    Rail.DOMESTIC: RailTerms(
        service_level=None,
        charge_bearer=ChargeBearer.SHAR,
        creditor_bic=True,
        name_length_max=140,
        currency=None,
        amount_minor_max=10**18 - 1,
    ),
}
