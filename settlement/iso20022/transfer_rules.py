"""Business rules of credit transfers: what a rail and a bank profile want of a pain.001.

Lives here: the header, the group and each payment on its own. Must not live here: checks of single values
(`field_rules`), rules between payments (`validate`).

Sources: EPC SCT and SCT Inst customer-to-PSP guidelines 2025 for names of 70 characters, SLEV, IBAN only,
999,999,999.99 and one remittance, structured or not; the rails' terms for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from operator import attrgetter

from ledger.errors import UnknownCurrencyError
from ledger.money import currency
from settlement.iso20022.charset import plain_ascii
from settlement.iso20022.field_rules import (
    ADDRESS_MAX,
    REMITTANCE_MAX,
    UETR,
    FileLimits,
    address_findings,
    amount_findings,
    bic_findings,
    code_findings,
    country_findings,
    fault_findings,
    iban_findings,
    id_findings,
    text_findings,
    uetr_findings,
    version_findings,
)
from settlement.iso20022.findings import Finding
from settlement.iso20022.identifiers import (
    bic_fault,
    creditor_reference_fault,
    iban_fault,
    iban_in_sepa,
    lei_fault,
    member_fault,
    national_account_fault,
    qr_reference_fault,
)
from settlement.iso20022.model import AddressForm, CreditTransfer, PaymentFile, PaymentGroup, file_currency
from settlement.iso20022.rails import RAIL_TERMS


def header_findings(file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    """Broken rules of the header."""
    terms = RAIL_TERMS[limits.rail]
    yield from version_findings(file.message_version, limits)
    yield from id_findings("msg-id", "header", file.msg_id)
    yield from text_findings(
        "name", "header", "initiating party", file.initiating_party_name, terms.name_length_max, file.charset
    )
    if file.initiating_party_id is not None:
        yield from id_findings("initiating-party-id", "header", file.initiating_party_id)


def group_findings(file: PaymentFile, group: PaymentGroup, limits: FileLimits, place: str) -> Iterator[Finding]:
    """Broken rules of one payment group."""
    charset, name_max = file.charset, RAIL_TERMS[limits.rail].name_length_max
    yield from id_findings("payment-information-id", place, group.payment_information_id)
    yield from text_findings("name", place, "debtor", group.debtor_name, name_max, charset)
    yield from _account_findings(place, "debtor", group.debtor_iban, group.debtor_account, group.debtor_clearing_system)
    yield from _bank_findings(place, "debtor", group.debtor_bic, group.debtor_clearing_system, group.debtor_member_id)
    yield from fault_findings("lei", place, "debtor LEI", group.debtor_lei, lei_fault)
    if group.debtor_address is not None:
        yield from address_findings(place, group.debtor_address, limits.address_form, charset)
    yield from _terms_findings(group, limits, place)
    yield from code_findings("category-purpose", place, "category purpose", group.category_purpose)


def _terms_findings(group: PaymentGroup, limits: FileLimits, place: str) -> Iterator[Finding]:
    rail, terms = limits.rail, RAIL_TERMS[limits.rail]
    try:
        currency(group.currency)
    except UnknownCurrencyError as error:
        yield Finding("currency", place, f"{error}.")
    if terms.currency is not None and group.currency != terms.currency:
        yield Finding("currency", place, f"currency is {group.currency}; rail {rail} carries {terms.currency} only.")
    if terms.service_level is None:
        if group.service_level == "SEPA":
            yield Finding("service-level", place, f"service level SEPA does not belong on rail {rail}.")
        yield from code_findings("service-level", place, "service level", group.service_level)
    elif group.service_level != terms.service_level:
        yield Finding(
            "service-level",
            place,
            f"service level is {group.service_level}; rail {rail} needs {terms.service_level}.",
        )
    if group.local_instrument not in (terms.local_instruments or (None,)):
        wanted = " or ".join(terms.local_instruments) or "none"
        yield Finding("local-instrument", place, f"local instrument is {group.local_instrument}; {rail} has {wanted}.")
    if group.charge_bearer not in terms.charge_bearers:
        wanted = " or ".join(terms.charge_bearers)
        yield Finding("charge-bearer", place, f"charge bearer is {group.charge_bearer}; {rail} has {wanted}.")


class TransferRules:
    """The rules of one payment on its own, in a file.

    Most payments break none; `plain` sees that at little cost, and only the others are looked at rule by rule.
    """

    def __init__(self, file: PaymentFile, limits: FileLimits) -> None:
        self._file, self._limits = file, limits
        self._terms = RAIL_TERMS[limits.rail]
        self._smallest_minor, self._largest_minor = limits.smallest_minor, limits.largest_minor
        self._currency = file_currency(file)
        self._letters = plain_ascii(file.charset)
        self._structured = limits.address_form is AddressForm.STRUCTURED

    def plain(self, t: CreditTransfer) -> bool:
        """True only when `findings` has nothing to say; False says nothing."""
        terms, name, remittance, iban = self._terms, t.creditor_name, t.remittance_unstructured, t.creditor_iban
        if (
            not self._smallest_minor <= t.amount_minor <= self._largest_minor
            or t.currency != self._currency
            or t.instruction_id != t.end_to_end_id
            or _PLAIN_ID.fullmatch(t.end_to_end_id) is None
            or _RARE(t) != _NONE_OF_THESE
            or iban is None
            or len(name) > terms.name_length_max
        ):
            return False
        uetr, bic, address = t.uetr, t.creditor_bic, t.creditor_address
        if (uetr is None) == self._limits.uetr or (uetr is not None and UETR.fullmatch(uetr) is None):
            return False
        if (bic is None) == terms.creditor_bic or terms.clearing_system is not None:
            return False
        if bic is not None and bic_fault(bic) is not None:
            return False
        texts = [name]
        if remittance is not None:
            if len(remittance) > REMITTANCE_MAX:
                return False
            texts.append(remittance)
        if address is not None:
            if not self._structured or _LINES(address) != (None, None) or _COUNTRY.fullmatch(address.country) is None:
                return False
            street, postcode = address.street, address.postcode
            texts.append(address.town)
            if street is not None:
                texts.append(street)
            if postcode is not None:
                texts.append(postcode)
            if len(address.town) > _TOWN_MAX or len(street or "") > _STREET_MAX or len(postcode or "") > _POSTCODE_MAX:
                return False
        for text in texts:
            if not text[:1].isalnum() or text[-1] == " ":
                return False
        together = "".join(texts)
        if not together.isascii() or together.encode().translate(None, self._letters):
            return False
        return iban_fault(iban) is None and (not terms.sepa_only or iban_in_sepa(iban))

    def findings(self, place: str, transfer: CreditTransfer) -> Iterator[Finding]:
        """Every broken rule of a payment."""
        file, limits, terms = self._file, self._limits, self._terms
        yield from id_findings("instruction-id", place, transfer.instruction_id)
        if transfer.end_to_end_id != transfer.instruction_id:
            yield from id_findings("end-to-end-id", place, transfer.end_to_end_id)
        yield from uetr_findings(place, transfer.uetr, wanted=limits.uetr)
        yield from amount_findings(
            place,
            transfer.amount_minor,
            transfer.currency,
            self._currency,
            self._smallest_minor,
            self._largest_minor,
        )
        name_max = terms.name_length_max
        yield from text_findings("name", place, "creditor", transfer.creditor_name, name_max, file.charset)
        yield from self._creditor_findings(place, transfer)
        yield from fault_findings("lei", place, "creditor LEI", transfer.creditor_lei, lei_fault)
        if transfer.creditor_address is not None:
            yield from address_findings(place, transfer.creditor_address, limits.address_form, file.charset)
        yield from code_findings("purpose", place, "purpose", transfer.purpose)
        yield from self._regulatory_findings(place, transfer)
        yield from self._remittance_findings(place, transfer)

    def _creditor_findings(self, place: str, transfer: CreditTransfer) -> Iterator[Finding]:
        rail, terms = self._limits.rail, self._terms
        yield from _account_findings(
            place, "creditor", transfer.creditor_iban, transfer.creditor_account, terms.clearing_system
        )
        if transfer.creditor_iban is not None and terms.sepa_only and not iban_in_sepa(transfer.creditor_iban):
            yield Finding(
                "iban-sepa", place, f"IBAN {transfer.creditor_iban} is outside the SEPA zone; use rail CROSS_BORDER."
            )
        bic, member = transfer.creditor_bic, transfer.creditor_member_id
        if bic is None and terms.creditor_bic:
            yield Finding("bic", place, f"has no creditor BIC; rail {rail} needs one.")
        if bic is not None and not terms.creditor_bic:
            yield Finding("bic", place, f"carries creditor BIC {bic}; rail {rail} takes none.")
        if terms.clearing_system is not None and transfer.creditor_account is not None and member is None:
            yield Finding("bank-code", place, f"has no bank code; rail {rail} needs one of {terms.clearing_system}.")
        if member is not None and transfer.creditor_clearing_system != terms.clearing_system:
            yield Finding("bank-code", place, f"carries bank code {member}; rail {rail} takes none of its system.")
        yield from _bank_findings(place, "creditor", bic, transfer.creditor_clearing_system, member)
        if transfer.intermediary_bic is not None:
            if not terms.creditor_bic:
                yield Finding("bic", place, f"carries an intermediary bank; rail {rail} takes none.")
            yield from bic_findings(place, "intermediary", transfer.intermediary_bic)

    def _regulatory_findings(self, place: str, transfer: CreditTransfer) -> Iterator[Finding]:
        country, code, text = transfer.regulatory_country, transfer.regulatory_code, transfer.regulatory_text
        if country is not None:
            yield from country_findings("regulatory-reporting", place, country)
        if code is not None and not 1 <= len(code) <= 10:
            yield Finding("regulatory-reporting", place, f"code {code!r} has not 1 to 10 characters.")
        if country is not None and code is None and text is None:
            yield Finding("regulatory-reporting", place, f"names {country} but reports nothing; give a code or a text.")
        for field, value in (("code", code), ("text", text)):
            if value is not None:
                yield from text_findings("regulatory-reporting", place, field, value, 35, self._file.charset)

    def _remittance_findings(self, place: str, transfer: CreditTransfer) -> Iterator[Finding]:
        said = (transfer.remittance_unstructured, transfer.creditor_reference, transfer.qr_reference)
        if sum(text is not None for text in said) > 1:
            yield Finding("remittance", place, "has a text and a reference, or two references; one of them fits.")
        yield from fault_findings(
            "reference", place, "creditor reference", transfer.creditor_reference, creditor_reference_fault
        )
        yield from fault_findings("reference", place, "QR reference", transfer.qr_reference, qr_reference_fault)
        if transfer.remittance_unstructured is not None:
            yield from text_findings(
                "remittance",
                place,
                "remittance",
                transfer.remittance_unstructured,
                REMITTANCE_MAX,
                self._file.charset,
            )


_PLAIN_ID = re.compile(r"[A-Z0-9][A-Z0-9-]{0,34}")
_RARE_FIELDS = (
    "creditor_account",
    "creditor_clearing_system",
    "creditor_member_id",
    "creditor_lei",
    "intermediary_bic",
    "purpose",
    "regulatory_country",
    "regulatory_code",
    "regulatory_text",
    "creditor_reference",
    "qr_reference",
)
_RARE = attrgetter(*_RARE_FIELDS)
_NONE_OF_THESE = (None,) * len(_RARE_FIELDS)


_LINES = attrgetter("line_1", "line_2")
_COUNTRY = re.compile(r"[A-Z]{2}")
_TOWN_MAX, _STREET_MAX, _POSTCODE_MAX = (ADDRESS_MAX[name] for name in ("town", "street", "postcode"))


def _account_findings(
    place: str, party: str, iban: str | None, number: str | None, system: str | None
) -> Iterator[Finding]:
    if (iban is None) == (number is None):
        yield Finding("account", place, f"{party} has no account, or an IBAN and a number; give one of them.")
    yield from iban_findings(place, party, iban)
    if number is not None:
        if system is None:
            yield Finding("account", place, f"{party} account {number!r} is no IBAN; this rail needs one.")
        else:
            fault_of = partial(national_account_fault, system)
            yield from fault_findings("account", place, f"{party} account", number, fault_of)


def _bank_findings(
    place: str, party: str, bic: str | None, system: str | None, member: str | None
) -> Iterator[Finding]:
    yield from bic_findings(place, party, bic)
    if (system is None) != (member is None):
        yield Finding("bank-code", place, f"{party} has a clearing system or a bank code without the other.")
    elif system is not None and member is not None and (fault := member_fault(system, member)):
        yield Finding("bank-code", place, f"{party} bank code {member!r} {fault}.")
