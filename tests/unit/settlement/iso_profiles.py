"""A file of every usual bank profile, and of every other message, with names that need writing differently."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from iso_samples import BUSINESS_DATE, IBANS, NAMES, SECRET, key

from settlement import Bank, Calendar, UsualProfile
from settlement.iso20022 import (
    RAIL_TERMS,
    Amendment,
    Cancellation,
    CancellationFile,
    CollectionFile,
    CollectionGroup,
    CreditTransfer,
    DirectDebit,
    FileLimits,
    MessageVersion,
    OriginalGroup,
    PaymentFile,
    PaymentGroup,
    Rail,
    Reversal,
    ReversalFile,
    SequenceType,
    account_address,
    end_to_end_id,
    message_id,
    payment_information_id,
    postal_address,
    transliterate,
    uetr,
)

CREATED = dt.datetime(2026, 11, 2, 18, 0, tzinfo=dt.UTC)
NATIONAL = {"USABA": ("USABA:021000021:123456789", "USABA:011000015:98765"), "GBDSC": ("GBDSC:200000:55779911",) * 2}
COUNT = 20


def bank_of(profile: UsualProfile) -> Bank:
    """A bank that takes a usual profile as it is."""
    transport = {"kind": "folder", "outbox": "out", "inbox": "in"}
    rails = {rail: {"cutoff": "17:00"} for rail in profile.rails}
    given = {"profile": profile.code, "bic": "NORDDEFFXXX", "timezone": "UTC", "transport": transport, "rails": rails}
    return Bank.model_validate(given)


def limits_of(bank: Bank) -> FileLimits:
    (rail,) = bank.rails
    return FileLimits(rail=rail, calendar=Calendar("all", "UTC"), address_form=bank.address, uetr=bank.uetr)


def file_of(profile: UsualProfile) -> tuple[PaymentFile, list[CreditTransfer]]:
    """Twenty payments in a profile's currency and rail."""
    bank = bank_of(profile)
    ((rail, own),) = bank.rails.items()
    terms = RAIL_TERMS[rail]
    ours, theirs = NATIONAL.get(terms.clearing_system or "", (IBANS[0], None))
    account = account_address(ours)
    group = PaymentGroup(
        payment_information_id=payment_information_id(key()),
        execution_date=BUSINESS_DATE,
        currency=profile.currency,
        debtor_name="Marktplatz GmbH",
        debtor_iban=account.iban,
        debtor_account=account.number,
        debtor_clearing_system=account.clearing_system,
        debtor_member_id=account.member_id,
        debtor_bic=bank.bic,
        debtor_lei="529900T8BM49AURSDO55" if rail is Rail.UK_CHAPS else None,
        debtor_address=postal_address(bank.address, country="DE", town="Berlin", street="Torstr. 1", postcode="10115"),
        batch_booking=bank.batch_booking,
        service_level=own.service_level or terms.service_level,
        local_instrument=own.local_instrument or terms.local_instrument,
        charge_bearer=own.charge_bearer or terms.charge_bearer,
        category_purpose=own.category_purpose,
    )
    file = PaymentFile(
        msg_id=message_id(key()),
        created_at=CREATED,
        initiating_party_name="Marktplatz GmbH",
        groups=(group,),
        message_version=bank.message,
        charset=bank.charset,
    )
    payments = [
        _transfer(bank, rail, profile.currency, n, theirs or IBANS[n % len(IBANS)]) for n in range(1, COUNT + 1)
    ]
    return file, payments


def _transfer(bank: Bank, rail: Rail, currency: str, ordinal: int, account_text: str) -> CreditTransfer:
    terms, account, reference = RAIL_TERMS[rail], account_address(account_text), end_to_end_id(key(), ordinal)
    payment = CreditTransfer(
        instruction_id=reference,
        end_to_end_id=reference,
        uetr=uetr(SECRET, reference) if bank.uetr else None,
        amount_minor=100 + ordinal,
        currency=currency,
        creditor_name=transliterate(NAMES[ordinal % len(NAMES)], bank.charset, bank.umlauts).written,
        creditor_iban=account.iban,
        creditor_account=account.number,
        creditor_clearing_system=account.clearing_system,
        creditor_member_id=account.member_id,
        creditor_bic="BANKCZPPXXX" if terms.creditor_bic else None,
        creditor_address=postal_address(bank.address, country="GR", town="Athina", street=f"Odos {ordinal}"),
        purpose=bank.rails[rail].purpose,
        remittance_unstructured=f"Payout {ordinal}" if ordinal % 2 else None,
    )
    if rail is Rail.CROSS_BORDER:
        more: dict[str, Any] = {"intermediary_bic": "IRVTUS3N", "purpose": "SUPP"}
        return replace(payment, regulatory_country="DE", regulatory_code="519", **more)
    if currency == "CHF":
        return replace(payment, remittance_unstructured=None, qr_reference="210000000003139471430009017")
    return payment


def other_file(version: MessageVersion) -> tuple[Any, list[Any]]:
    """Twenty direct debits, reversals or requests to cancel."""
    references = [end_to_end_id(key(), n) for n in range(1, COUNT + 1)]
    uetrs = [uetr(SECRET, reference) if version.carries_uetr else None for reference in references]
    header: dict[str, Any] = {
        "msg_id": message_id(key()),
        "created_at": CREATED,
        "initiating_party_name": "Marktplatz GmbH",
        "message_version": version,
    }
    if version.family == "pain.008":
        return CollectionFile(groups=(_collection(),), **header), [
            _direct_debit(n, reference, code)
            for n, (reference, code) in enumerate(zip(references, uetrs, strict=True), 1)
        ]
    original = OriginalGroup(
        message_id="ORIGINAL-1",
        message_name="pain.008.001.08" if version.family == "pain.007" else "pain.001.001.09",
        payment_information_id="ORIGINAL-1",
        currency="EUR",
    )
    if version.family == "pain.007":
        return ReversalFile(groups=(original,), **header), [
            Reversal(
                reversal_id=f"REV-{reference}"[:35],
                instruction_id=reference,
                end_to_end_id=reference,
                uetr=code,
                original_amount_minor=200 + n,
                amount_minor=100 + n,
                currency="EUR",
                reason="MS02",
            )
            for n, (reference, code) in enumerate(zip(references, uetrs, strict=True), 1)
        ]
    return CancellationFile(groups=(original,), bank_bic="NORDDEFFXXX", **header), [
        Cancellation(
            cancellation_id=f"CXL-{reference}"[:35],
            instruction_id=reference,
            end_to_end_id=reference,
            uetr=code,
            amount_minor=100 + n,
            currency="EUR",
            execution_date=BUSINESS_DATE,
            reason="CUST",
            text="asked by the payee" if n % 2 else None,
        )
        for n, (reference, code) in enumerate(zip(references, uetrs, strict=True), 1)
    ]


def _collection() -> CollectionGroup:
    return CollectionGroup(
        payment_information_id=payment_information_id(key()),
        collection_date=BUSINESS_DATE,
        currency="EUR",
        creditor_name="Marktplatz GmbH",
        creditor_iban=IBANS[0],
        creditor_id="DE98ZZZ09999999999",
        sequence_type=SequenceType.RCUR,
        creditor_bic="NORDDEFFXXX",
    )


def _direct_debit(ordinal: int, reference: str, code: str | None) -> DirectDebit:
    amendments = (None, Amendment(original_debtor_account="SMNDA"), Amendment(original_mandate_id="OLD-1"))
    return DirectDebit(
        instruction_id=reference,
        end_to_end_id=reference,
        uetr=code,
        amount_minor=100 + ordinal,
        currency="EUR",
        mandate_id=f"M-{ordinal}",
        mandate_signed_on=dt.date(2025, 1, ordinal),
        amendment=amendments[ordinal % 3],
        debtor_name="Zoe Mueller",
        debtor_iban=IBANS[ordinal % len(IBANS)],
        remittance_unstructured=f"Fee {ordinal}",
    )
