"""Rules about single values, each as a generator of findings, for all messages.

Lives here: lengths, characters, ids, accounts, banks, amounts, addresses, references.
Must not live here: what a message or a rail wants of its values (`transfer_rules`, `debit_rules`), or rules that
need more than one payment (`validate`).

Sources: ISO 20022 pain.001.001.09 for lengths; EPC217-08 for characters and slashes; the address rules in force
since November 2026 for town and country with no address-line-only form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger.errors import UnknownCurrencyError
from ledger.money import currency, format_amount
from settlement.business_days import Calendar
from settlement.iso20022.charset import SEPA_CHARACTERS, Charset, outside, reference_fault
from settlement.iso20022.findings import Finding
from settlement.iso20022.identifiers import bic_fault, iban_fault
from settlement.iso20022.ids import MAX_ID_LENGTH
from settlement.iso20022.model import AddressForm, MessageVersion, PostalAddress
from settlement.iso20022.rails import RAIL_TERMS, Rail

REMITTANCE_MAX = 140
ADDRESS_MAX = {"street": 70, "postcode": 16, "town": 35, "line_1": 70, "line_2": 70}
UETR = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")

_ID = re.compile(f"[{re.escape(SEPA_CHARACTERS)}]+")
_COUNTRY = re.compile(r"[A-Z]{2}")
_CODE = re.compile(r"[A-Z0-9]{1,4}")


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
    max_total_minor: int | None = None
    max_groups: int | None = None
    max_group_transactions: int | None = None
    max_group_total_minor: int | None = None

    @property
    def smallest_minor(self) -> int:
        return max(1, self.minimum_minor)

    @property
    def largest_minor(self) -> int:
        """What both the bank and the rail allow."""
        terms_max = RAIL_TERMS[self.rail].amount_minor_max
        return terms_max if self.maximum_minor is None else min(self.maximum_minor, terms_max)


def fault_findings(
    rule: str, place: str, what: str, value: str | None, fault_of: Callable[[str], str | None]
) -> Iterator[Finding]:
    """What a check of `identifiers` has to say about a value that may be missing."""
    if value is not None and (fault := fault_of(value)):
        yield Finding(rule, place, f"{what} {value!r} {fault}.")


def iban_findings(place: str, party: str, iban: str | None) -> Iterator[Finding]:
    yield from fault_findings("iban", place, f"{party} IBAN", iban, iban_fault)


def bic_findings(place: str, party: str, bic: str | None) -> Iterator[Finding]:
    yield from fault_findings("bic", place, f"{party} BIC", bic, bic_fault)


def code_findings(rule: str, place: str, what: str, code: str | None) -> Iterator[Finding]:
    if code is not None and _CODE.fullmatch(code) is None:
        yield Finding(rule, place, f"{what} {code!r} is no code of 1 to 4 capitals or digits.")


def id_findings(rule: str, place: str, value: str) -> Iterator[Finding]:
    if not 1 <= len(value) <= MAX_ID_LENGTH:
        yield Finding(rule, place, f"{value!r} has {len(value)} characters; 1 to {MAX_ID_LENGTH} are allowed.")
    elif _ID.fullmatch(value) is None or value != value.strip():
        yield Finding(rule, place, f"{value!r} has characters outside the SEPA set or a space at an end.")
    elif fault := reference_fault(value):
        yield Finding(rule, place, f"{value!r} {fault}; banks refuse that.")


def uetr_findings(place: str, value: str | None, *, wanted: bool) -> Iterator[Finding]:
    if value is None:
        if wanted:
            yield Finding("uetr", place, "has no UETR; the bank profile asks for one.")
    elif not wanted:
        yield Finding("uetr", place, f"carries UETR {value}; the bank profile asks for none.")
    elif UETR.fullmatch(value) is None:
        yield Finding("uetr", place, f"UETR {value!r} is not a lower-case UUID of version 4.")


def version_findings(version: MessageVersion, limits: FileLimits) -> Iterator[Finding]:
    if limits.uetr and not version.carries_uetr:
        yield Finding("uetr", "file", f"{version} has no place for a UETR; set uetr to false in the bank profile.")


def amount_findings(
    place: str, amount_minor: int, code: str, group_code: str, smallest_minor: int, largest_minor: int
) -> Iterator[Finding]:
    if code != group_code:
        yield Finding("currency", place, f"is in {code}, its group in {group_code}; split it.")
        return
    if smallest_minor <= amount_minor <= largest_minor:
        return
    try:
        exponent = currency(code).exponent
    except UnknownCurrencyError:
        return  # said once, about the group
    amount, low, high = (format_amount(minor, exponent) for minor in (amount_minor, smallest_minor, largest_minor))
    yield Finding("amount", place, f"{amount} {code} is not between {low} and {high}.")


def text_findings(
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


def country_findings(rule: str, place: str, country: str) -> Iterator[Finding]:
    if _COUNTRY.fullmatch(country) is None:
        yield Finding(rule, place, f"country {country!r} is not an ISO 3166 code of two letters.")


def address_findings(place: str, address: PostalAddress, form: AddressForm, charset: Charset) -> Iterator[Finding]:
    if form is AddressForm.NONE:
        yield Finding("address", place, "carries an address; the bank profile asks for none.")
    lines = [line for line in (address.line_1, address.line_2) if line is not None]
    if lines and form is AddressForm.STRUCTURED:
        yield Finding("address", place, "carries address lines; the bank profile asks for structured addresses.")
    yield from country_findings("address", place, address.country)
    for name, length_max in ADDRESS_MAX.items():
        value: str | None = getattr(address, name)
        if value is not None:
            yield from text_findings("address", place, name, value, length_max, charset)
    structured = {part for part in (address.street, address.postcode, address.town) if part is not None}
    if repeated := structured.intersection(lines):
        yield Finding("address", place, f"says {sorted(repeated)} twice: as an element and as an address line.")
