"""Payment files for tests: every profile we write, with names as people have them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from settlement.business_days import Calendar
from settlement.iso20022 import (
    RAIL_TERMS,
    AddressForm,
    Charset,
    CreditTransfer,
    FileKey,
    FileLimits,
    PaymentFile,
    PaymentGroup,
    Rail,
    end_to_end_id,
    message_id,
    payment_information_id,
    postal_address,
    transliterate,
    uetr,
)

BUSINESS_DATE = dt.date(2026, 11, 2)
SECRET = b"a secret for tests only"
NAMES = ("Zoë Müller & Söhne", "Γιώργος Χατζής", "Łukasz d'Arc", "Юлия Жук", "100% <Fair> Handel")
# Example accounts of the SWIFT IBAN registry.
IBANS = (
    "DE89370400440532013000",
    "GR1601101250000000012300695",
    "PL61109010140000071219812874",
    "BG80BNBG96611020345678",
    "NL91ABNA0417164300",
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a bank profile decides about a file."""

    rail: Rail
    currency: str
    address_form: AddressForm = AddressForm.STRUCTURED
    charset: Charset = Charset.SEPA
    uetr: bool = True
    batch_booking: bool = True

    def __str__(self) -> str:
        return f"{self.rail}-{self.currency}-{self.address_form}-{self.charset}".lower()


PROFILES = (
    Profile(Rail.SEPA, "EUR"),
    Profile(Rail.SEPA, "EUR", AddressForm.HYBRID, uetr=False),
    Profile(Rail.SEPA, "EUR", AddressForm.NONE, batch_booking=False),
    Profile(Rail.SEPA, "EUR", charset=Charset.LATIN),
    Profile(Rail.DOMESTIC, "CZK"),
    Profile(Rail.DOMESTIC, "JPY", AddressForm.HYBRID, Charset.LATIN),
    Profile(Rail.DOMESTIC, "KWD", AddressForm.NONE, uetr=False),
)


def key(part: int = 1) -> FileKey:
    return FileKey(
        book_name="Marktplatz",
        book_id=1,
        bank_account_id=3,
        business_date=BUSINESS_DATE,
        cycle=7,
        part=part,
    )


def limits(profile: Profile) -> FileLimits:
    return FileLimits(
        rail=profile.rail,
        calendar=Calendar("ECB", "Europe/Berlin"),
        address_form=profile.address_form,
        uetr=profile.uetr,
    )


def payment_file(profile: Profile) -> PaymentFile:
    terms = RAIL_TERMS[profile.rail]
    group = PaymentGroup(
        payment_information_id=payment_information_id(key()),
        execution_date=BUSINESS_DATE,
        currency=profile.currency,
        debtor_name="Marktplatz GmbH",
        debtor_iban=IBANS[0],
        debtor_bic="NORDDEFFXXX",
        debtor_address=postal_address(
            profile.address_form, country="DE", town="Berlin", street="Torstr. 1", postcode="10115"
        ),
        batch_booking=profile.batch_booking,
        service_level=terms.service_level,
        charge_bearer=terms.charge_bearer,
    )
    return PaymentFile(
        msg_id=message_id(key()),
        created_at=dt.datetime(2026, 11, 2, 18, 0, tzinfo=dt.UTC),
        initiating_party_name="Marktplatz GmbH",
        initiating_party_id="HRB-12345",
        groups=(group,),
        charset=profile.charset,
    )


def credit_transfers(profile: Profile, count: int = 5) -> list[CreditTransfer]:
    return [_credit_transfer(profile, ordinal) for ordinal in range(1, count + 1)]


def _credit_transfer(profile: Profile, ordinal: int) -> CreditTransfer:
    identifier = end_to_end_id(key(), ordinal)
    index = (ordinal - 1) % len(NAMES)
    street = transliterate(f"Straße {ordinal}", profile.charset).written
    return CreditTransfer(
        instruction_id=identifier,
        end_to_end_id=identifier,
        uetr=uetr(SECRET, identifier) if profile.uetr else None,
        amount_minor=10**ordinal + ordinal if ordinal < 9 else ordinal,
        currency=profile.currency,
        creditor_name=transliterate(NAMES[index], profile.charset).written,
        creditor_iban=IBANS[index],
        creditor_bic="BANKCZPPXXX" if RAIL_TERMS[profile.rail].creditor_bic else None,
        creditor_address=postal_address(
            profile.address_form,
            country=IBANS[index][:2],
            town=transliterate("Łódź", profile.charset).written,
            street=street if ordinal % 2 else None,
            postcode="90-001" if ordinal % 3 else None,
        ),
        remittance_unstructured=f"Payout {BUSINESS_DATE}" if ordinal % 4 else None,
    )


def changed(transfers: list[CreditTransfer], ordinal: int, **values: object) -> list[CreditTransfer]:
    """A copy of the payments in which one (from 1) has other values."""
    copy = list(transfers)
    copy[ordinal - 1] = replace(copy[ordinal - 1], **values)  # type: ignore[arg-type]
    return copy
