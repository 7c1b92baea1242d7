"""Business rules of direct debits, their reversals, and requests to cancel transfers.

Lives here: the header, the group and each payment on its own. Must not live here: checks of single values
(`field_rules`), rules between payments (`validate`).

Sources: EPC SDD Core and B2B customer-to-PSP guidelines 2025; EPC262-08 for creditor identifiers.
"""

from __future__ import annotations

from collections.abc import Iterator

from settlement.iso20022.direct_debit import (
    SAME_MANDATE_NEW_ACCOUNT,
    Amendment,
    CollectionFile,
    CollectionGroup,
    DirectDebit,
)
from settlement.iso20022.field_rules import (
    REMITTANCE_MAX,
    FileLimits,
    address_findings,
    amount_findings,
    bic_findings,
    code_findings,
    fault_findings,
    iban_findings,
    id_findings,
    text_findings,
    uetr_findings,
    version_findings,
)
from settlement.iso20022.findings import Finding
from settlement.iso20022.follow_ups import Cancellation, CancellationFile, OriginalGroup, Reversal, ReversalFile
from settlement.iso20022.identifiers import creditor_id_fault, creditor_reference_fault, iban_in_sepa
from settlement.iso20022.model import Payment
from settlement.iso20022.rails import RAIL_TERMS

_NAME_MAX = 70


def collection_header_findings(file: CollectionFile, limits: FileLimits) -> Iterator[Finding]:
    """Broken rules of the header of a pain.008."""
    yield from version_findings(file.message_version, limits)
    yield from id_findings("msg-id", "header", file.msg_id)
    yield from text_findings("name", "header", "initiating party", file.initiating_party_name, _NAME_MAX, file.charset)
    if file.initiating_party_id is not None:
        yield from id_findings("initiating-party-id", "header", file.initiating_party_id)


def collection_group_findings(
    file: CollectionFile, group: CollectionGroup, limits: FileLimits, place: str
) -> Iterator[Finding]:
    """Broken rules of one payment group of a pain.008."""
    yield from id_findings("payment-information-id", place, group.payment_information_id)
    yield from text_findings("name", place, "creditor", group.creditor_name, _NAME_MAX, file.charset)
    yield from iban_findings(place, "creditor", group.creditor_iban)
    yield from bic_findings(place, "creditor", group.creditor_bic)
    yield from fault_findings("creditor-id", place, "creditor id", group.creditor_id, creditor_id_fault)
    if group.creditor_address is not None:
        yield from address_findings(place, group.creditor_address, limits.address_form, file.charset)
    if group.currency != "EUR":
        yield Finding("currency", place, f"currency is {group.currency}; SEPA direct debits carry EUR only.")
    yield from code_findings("category-purpose", place, "category purpose", group.category_purpose)


def debit_findings(
    file: CollectionFile, limits: FileLimits, group: CollectionGroup, place: str, payment: DirectDebit
) -> Iterator[Finding]:
    """Broken rules of one direct debit on its own, in its group."""
    yield from _common_findings(place, payment, group.currency, limits)
    yield from id_findings("mandate-id", place, payment.mandate_id)
    if payment.mandate_signed_on > group.collection_date:
        yield Finding(
            "mandate-date",
            place,
            f"the mandate was signed on {payment.mandate_signed_on}, after the collection on {group.collection_date}.",
        )
    yield from text_findings("name", place, "debtor", payment.debtor_name, _NAME_MAX, file.charset)
    yield from iban_findings(place, "debtor", payment.debtor_iban)
    if not iban_in_sepa(payment.debtor_iban):
        yield Finding("iban-sepa", place, f"IBAN {payment.debtor_iban} is outside the SEPA zone; it cannot be debited.")
    yield from bic_findings(place, "debtor", payment.debtor_bic)
    if payment.debtor_address is not None:
        yield from address_findings(place, payment.debtor_address, limits.address_form, file.charset)
    if payment.amendment is not None:
        yield from _amendment_findings(place, payment.amendment, file)
    yield from code_findings("purpose", place, "purpose", payment.purpose)
    reference, text = payment.creditor_reference, payment.remittance_unstructured
    yield from fault_findings("reference", place, "creditor reference", reference, creditor_reference_fault)
    if text is not None:
        yield from text_findings("remittance", place, "remittance", text, REMITTANCE_MAX, file.charset)
        if reference is not None:
            yield Finding("remittance", place, "has a text and a reference; one of them fits.")


def _amendment_findings(place: str, amendment: Amendment, file: CollectionFile) -> Iterator[Finding]:
    if amendment == Amendment():
        yield Finding("amendment", place, "says that the mandate was amended, but not how.")
    if amendment.original_mandate_id is not None:
        yield from id_findings("amendment", place, amendment.original_mandate_id)
    if amendment.original_creditor_name is not None:
        yield from text_findings(
            "amendment", place, "original creditor", amendment.original_creditor_name, _NAME_MAX, file.charset
        )
    yield from fault_findings(
        "amendment", place, "original creditor id", amendment.original_creditor_id, creditor_id_fault
    )
    yield from iban_findings(place, "original debtor", amendment.original_debtor_iban)
    if amendment.original_debtor_account not in (None, SAME_MANDATE_NEW_ACCOUNT):
        yield Finding(
            "amendment",
            place,
            f"original debtor account {amendment.original_debtor_account!r} is not {SAME_MANDATE_NEW_ACCOUNT}.",
        )
    if amendment.original_debtor_iban is not None and amendment.original_debtor_account is not None:
        yield Finding("amendment", place, "names the original account and hides it; do one of them.")


def follow_up_header_findings(file: ReversalFile | CancellationFile, limits: FileLimits) -> Iterator[Finding]:
    """Broken rules of the header of a pain.007 or camt.055."""
    name_max = RAIL_TERMS[limits.rail].name_length_max
    yield from version_findings(file.message_version, limits)
    yield from id_findings("msg-id", "header", file.msg_id)
    yield from text_findings("name", "header", "initiating party", file.initiating_party_name, name_max, file.charset)
    if isinstance(file, CancellationFile):
        yield from bic_findings("header", "bank", file.bank_bic)


def follow_up_group_findings(
    file: ReversalFile | CancellationFile, group: OriginalGroup, _limits: FileLimits, place: str
) -> Iterator[Finding]:
    """Broken rules of what a group of a pain.007 or camt.055 says of the earlier file."""
    yield from id_findings("original-msg-id", place, group.message_id)
    yield from id_findings("original-payment-information-id", place, group.payment_information_id)
    wanted = "pain.008" if isinstance(file, ReversalFile) else "pain.001"
    if not group.message_name.startswith(wanted):
        yield Finding("original-message", place, f"is about a {group.message_name}; only {wanted} fits.")
    first = file.groups[0]
    if (group.message_id, group.message_name) != (first.message_id, first.message_name):
        yield Finding("original-message", place, f"is about {group.message_id}, the file about {first.message_id}.")


def follow_up_findings(
    file: ReversalFile | CancellationFile,
    limits: FileLimits,
    group: OriginalGroup,
    place: str,
    payment: Reversal | Cancellation,
) -> Iterator[Finding]:
    """Broken rules of one reversal or request to cancel."""
    yield from _common_findings(place, payment, group.currency, limits)
    yield from code_findings("reason", place, "reason", payment.reason)
    if isinstance(payment, Reversal):
        yield from id_findings("reversal-id", place, payment.reversal_id)
        if payment.amount_minor > payment.original_amount_minor:
            yield Finding("amount", place, "gives back more than was collected.")
        return
    yield from id_findings("cancellation-id", place, payment.cancellation_id)
    if payment.text is not None:
        yield from text_findings("text", place, "text", payment.text, 105, file.charset)


def _common_findings(place: str, payment: Payment, code: str, limits: FileLimits) -> Iterator[Finding]:
    yield from id_findings("instruction-id", place, payment.instruction_id)
    if payment.end_to_end_id != payment.instruction_id:
        yield from id_findings("end-to-end-id", place, payment.end_to_end_id)
    yield from uetr_findings(place, payment.uetr, wanted=limits.uetr)
    yield from amount_findings(
        place, payment.amount_minor, payment.currency, code, limits.smallest_minor, limits.largest_minor
    )
