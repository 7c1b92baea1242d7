"""Rules about single values of a payment file, each as a generator of findings.

Lives here: lengths, characters, ids, accounts, amounts, addresses, and what a rail fixes.
Must not live here: rules that need more than one payment, or the bytes (`validate`).

Sources: ISO 20022 pain.001.001.09 for lengths; EPC SCT customer-to-PSP guidelines 2025 for names of 70
characters, SLEV, IBAN only and 999,999,999.99; EPC217-08 for characters and slashes; the address rules in
force since November 2026 for town and country with no address-line-only form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.errors import UnknownCurrencyError
from ledger.money import currency, format_amount
from settlement.business_days import Calendar
from settlement.iso20022.charset import SEPA_CHARACTERS, Charset, outside, reference_fault
from settlement.iso20022.findings import Finding
from settlement.iso20022.identifiers import bic_fault, iban_fault, iban_in_sepa
from settlement.iso20022.ids import MAX_ID_LENGTH
from settlement.iso20022.model import AddressForm, CreditTransfer, PaymentFile, PostalAddress
from settlement.iso20022.rails import RAIL_TERMS, Rail

_ID = re.compile(f"[{re.escape(SEPA_CHARACTERS)}]+")
_UETR = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_CODE = re.compile(r"[A-Z0-9]{1,4}")
_REMITTANCE_MAX = 140
_ADDRESS_MAX = {"street": 70, "postcode": 16, "town": 35, "line_1": 70, "line_2": 70}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """What the bank profile allows in a file; amounts in minor units of the file's currency."""

    rail: Rail
    calendar: Calendar
    address_form: AddressForm = AddressForm.STRUCTURED
    uetr: bool = True
    minimum_minor: int = 1
    maximum_minor: int | None = None
    max_transactions: int | None = None


def group_findings(file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    """Broken rules of the header and the payment group."""
    group, terms = file.group, RAIL_TERMS[limits.rail]
    yield from _id_findings("msg-id", "header", file.msg_id)
    yield from _text_findings(
        "name", "header", "initiating party", file.initiating_party_name, terms.name_length_max, file.charset
    )
    if file.initiating_party_id is not None:
        yield from _id_findings("initiating-party-id", "header", file.initiating_party_id)
    yield from _id_findings("payment-information-id", "group", group.payment_information_id)
    yield from _text_findings("name", "group", "debtor", group.debtor_name, terms.name_length_max, file.charset)
    yield from _iban_findings("group", "debtor", group.debtor_iban)
    yield from _bic_findings("group", "debtor", group.debtor_bic)
    if group.debtor_address is not None:
        yield from _address_findings("group", group.debtor_address, limits.address_form, file.charset)
    yield from _terms_findings(file, limits)
    if group.category_purpose is not None and _CODE.fullmatch(group.category_purpose) is None:
        yield Finding("category-purpose", "group", f"category purpose {group.category_purpose!r} is no code of 1 to 4.")


def _terms_findings(file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    group, rail, terms = file.group, limits.rail, RAIL_TERMS[limits.rail]
    try:
        currency(group.currency)
    except UnknownCurrencyError as error:
        yield Finding("currency", "group", f"{error}.")
    if terms.currency is not None and group.currency != terms.currency:
        yield Finding("currency", "group", f"currency is {group.currency}; rail {rail} carries {terms.currency} only.")
    if rail is Rail.SEPA and group.service_level != terms.service_level:
        yield Finding("service-level", "group", f"service level is {group.service_level}; rail SEPA needs SEPA.")
    if rail is not Rail.SEPA and group.service_level == "SEPA":
        yield Finding("service-level", "group", f"service level SEPA does not belong on rail {rail}.")
    if group.charge_bearer is not terms.charge_bearer:
        yield Finding(
            "charge-bearer", "group", f"charge bearer is {group.charge_bearer}; {rail} has {terms.charge_bearer}."
        )


def payment_findings(place: str, transfer: CreditTransfer, file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    """Broken rules of one payment on its own."""
    terms = RAIL_TERMS[limits.rail]
    yield from _id_findings("instruction-id", place, transfer.instruction_id)
    if transfer.end_to_end_id != transfer.instruction_id:
        yield from _id_findings("end-to-end-id", place, transfer.end_to_end_id)
    yield from _uetr_findings(place, transfer.uetr, wanted=limits.uetr)
    yield from _amount_findings(place, transfer, file, limits)
    yield from _text_findings("name", place, "creditor", transfer.creditor_name, terms.name_length_max, file.charset)
    yield from _iban_findings(place, "creditor", transfer.creditor_iban)
    if limits.rail is Rail.SEPA and not iban_in_sepa(transfer.creditor_iban):
        yield Finding("iban-sepa", place, f"IBAN {transfer.creditor_iban} is outside the SEPA zone; use rail DOMESTIC.")
    yield from _creditor_bic_findings(place, transfer.creditor_bic, limits.rail)
    if transfer.creditor_address is not None:
        yield from _address_findings(place, transfer.creditor_address, limits.address_form, file.charset)
    if transfer.remittance_unstructured is not None:
        yield from _text_findings(
            "remittance",
            place,
            "remittance",
            transfer.remittance_unstructured,
            _REMITTANCE_MAX,
            file.charset,
        )


def _id_findings(rule: str, place: str, value: str) -> Iterator[Finding]:
    if not 1 <= len(value) <= MAX_ID_LENGTH:
        yield Finding(rule, place, f"{value!r} has {len(value)} characters; 1 to {MAX_ID_LENGTH} are allowed.")
    elif _ID.fullmatch(value) is None or value != value.strip():
        yield Finding(rule, place, f"{value!r} has characters outside the SEPA set or a space at an end.")
    elif fault := reference_fault(value):
        yield Finding(rule, place, f"{value!r} {fault}; banks refuse that.")


def _uetr_findings(place: str, value: str | None, *, wanted: bool) -> Iterator[Finding]:
    if value is None:
        if wanted:
            yield Finding("uetr", place, "has no UETR; the bank profile asks for one.")
    elif not wanted:
        yield Finding("uetr", place, f"carries UETR {value}; the bank profile asks for none.")
    elif _UETR.fullmatch(value) is None:
        yield Finding("uetr", place, f"UETR {value!r} is not a lower-case UUID of version 4.")


def _amount_findings(place: str, transfer: CreditTransfer, file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    if transfer.currency != file.group.currency:
        yield Finding("currency", place, f"is in {transfer.currency}, its group in {file.group.currency}; split it.")
        return
    amount_minor = transfer.amount_minor
    terms_max = RAIL_TERMS[limits.rail].amount_minor_max
    maximum_minor = terms_max if limits.maximum_minor is None else min(limits.maximum_minor, terms_max)
    minimum_minor = max(1, limits.minimum_minor)
    if minimum_minor <= amount_minor <= maximum_minor:
        return
    try:
        exponent = currency(transfer.currency).exponent
    except UnknownCurrencyError:
        return  # said once, about the group
    amount, low, high = (format_amount(minor, exponent) for minor in (amount_minor, minimum_minor, maximum_minor))
    yield Finding("amount", place, f"{amount} {transfer.currency} is not between {low} and {high}.")


def _text_findings(
    rule: str, place: str, field: str, value: str, length_max: int, charset: Charset
) -> Iterator[Finding]:
    """A text is there, has a letter or digit, fits whole, is written in the character set."""
    if not any(character.isalnum() for character in value):
        yield Finding(f"{rule}-missing", place, f"{field} {value!r} has no letter or digit; give it one.")
    if len(value) > length_max:
        yield Finding(
            f"{rule}-length",
            place,
            f"{field} {value!r} has {len(value)} characters, {length_max} fit; shorten it at its source, "
            "it is never cut.",
        )
    if foreign := outside(value, charset):
        yield Finding(
            "charset",
            place,
            f"{field} {value!r} has {foreign!r}, outside the {charset.value} set; transliterate it.",
        )
    if value != value.strip():
        yield Finding(f"{rule}-spaces", place, f"{field} {value!r} starts or ends with a space.")


def _iban_findings(place: str, party: str, iban: str) -> Iterator[Finding]:
    if fault := iban_fault(iban):
        yield Finding("iban", place, f"{party} IBAN {iban!r} {fault}.")


def _bic_findings(place: str, party: str, bic: str) -> Iterator[Finding]:
    if fault := bic_fault(bic):
        yield Finding("bic", place, f"{party} BIC {bic!r} {fault}.")


def _creditor_bic_findings(place: str, bic: str | None, rail: Rail) -> Iterator[Finding]:
    if bic is None:
        if RAIL_TERMS[rail].creditor_bic:
            yield Finding("bic", place, f"has no creditor BIC; rail {rail} needs one.")
    elif not RAIL_TERMS[rail].creditor_bic:
        yield Finding("bic", place, f"carries creditor BIC {bic}; rail {rail} is IBAN only.")
    else:
        yield from _bic_findings(place, "creditor", bic)


def _address_findings(place: str, address: PostalAddress, form: AddressForm, charset: Charset) -> Iterator[Finding]:
    if form is AddressForm.NONE:
        yield Finding("address", place, "carries an address; the bank profile asks for none.")
    lines = [line for line in (address.line_1, address.line_2) if line is not None]
    if lines and form is AddressForm.STRUCTURED:
        yield Finding("address", place, "carries address lines; the bank profile asks for structured addresses.")
    if _COUNTRY.fullmatch(address.country) is None:
        yield Finding("address", place, f"country {address.country!r} is not an ISO 3166 code of two letters.")
    for name, length_max in _ADDRESS_MAX.items():
        value: str | None = getattr(address, name)
        if value is not None:
            yield from _text_findings("address", place, name, value, length_max, charset)
    structured = {part for part in (address.street, address.postcode, address.town) if part is not None}
    if repeated := structured.intersection(lines):
        yield Finding("address", place, f"says {sorted(repeated)} twice: as an element and as an address line.")
