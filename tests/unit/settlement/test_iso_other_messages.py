"""Direct debits, reversals and requests to cancel: committed files, and a file that breaks every rule."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from iso_profiles import other_file
from lxml import etree

from settlement import Calendar
from settlement.iso20022 import (
    Amendment,
    FileLimits,
    MessageVersion,
    PaymentFileError,
    Rail,
    Totals,
    check_business_rules,
    gate_file,
    render,
)
from settlement.iso20022.identifiers import (
    account_fault,
    creditor_id_fault,
    creditor_reference_fault,
    lei_fault,
    qr_reference_fault,
)
from settlement.iso20022.schemas import StreamValidator, schema_of_classes

GOLDEN = Path(__file__).parents[2] / "golden" / "iso20022"
OTHERS = [version for version in MessageVersion if version.family != "pain.001"]
DEBIT, REVERSAL, CANCEL = (
    MessageVersion.PAIN_008_001_08,
    MessageVersion.PAIN_007_001_11,
    MessageVersion.CAMT_055_001_08,
)


def _limits(version: MessageVersion) -> FileLimits:
    return FileLimits(rail=Rail.SEPA, calendar=Calendar("ECB", "UTC"), uetr=version.carries_uetr)


@pytest.mark.parametrize("version", OTHERS, ids=str)
def test_files_are_the_committed_ones(version: MessageVersion) -> None:
    file, payments = other_file(version)
    content, path = render(file, payments[:3]), GOLDEN / f"{version}.xml"
    if os.environ.get("NOSTRO_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert content == path.read_bytes()


_payment_rules: list[tuple[MessageVersion, str, dict[str, Any]]] = [
    (DEBIT, "mandate-id", {"mandate_id": "M//1"}),
    (DEBIT, "mandate-date", {"mandate_signed_on": dt.date(2026, 11, 3)}),
    (DEBIT, "iban", {"debtor_iban": "DE00370400440532013000"}),
    (DEBIT, "iban-sepa", {"debtor_iban": "TR330006100519786457841326"}),
    (DEBIT, "bic", {"debtor_bic": "NORD"}),
    (DEBIT, "name-length", {"debtor_name": "N" * 71}),
    (DEBIT, "amendment", {"amendment": Amendment()}),
    (DEBIT, "amendment", {"amendment": Amendment(original_debtor_account="SMNDB")}),
    (DEBIT, "amendment", {"amendment": Amendment(original_creditor_id="DE99ZZZ09999999999")}),
    (
        DEBIT,
        "amendment",
        {"amendment": Amendment(original_debtor_account="SMNDA", original_debtor_iban="NL91ABNA0417164300")},
    ),
    (DEBIT, "reference", {"remittance_unstructured": None, "creditor_reference": "RF19539007547034"}),
    (DEBIT, "remittance", {"creditor_reference": "RF18539007547034"}),
    (DEBIT, "currency", {"currency": "USD"}),
    (DEBIT, "amount", {"amount_minor": 0}),
    (DEBIT, "uetr", {"uetr": None}),
    (DEBIT, "purpose", {"purpose": "LONGER"}),
    (REVERSAL, "amount", {"amount_minor": 10_000}),
    (REVERSAL, "reason", {"reason": "TOO LONG"}),
    (REVERSAL, "reversal-id", {"reversal_id": ""}),
    (CANCEL, "cancellation-id", {"cancellation_id": "X" * 36}),
    (CANCEL, "text-length", {"text": "T" * 106}),
    (CANCEL, "instruction-id", {"instruction_id": "A/"}),
]


@pytest.mark.parametrize(("version", "rule", "values"), _payment_rules)
def test_each_broken_payment_is_found(version: MessageVersion, rule: str, values: dict[str, Any]) -> None:
    file, payments = other_file(version)
    payments[2] = replace(payments[2], **values)
    found = check_business_rules(file, payments, _limits(version))
    assert rule in {finding.rule for finding in found}
    assert {finding.place.partition(" (")[0] for finding in found} == {"payment 3"}


_group_rules: list[tuple[MessageVersion, str, dict[str, Any]]] = [
    (DEBIT, "creditor-id", {"creditor_id": "DE99ZZZ09999999999"}),
    (DEBIT, "collection-date-open", {"collection_date": dt.date(2026, 12, 25)}),
    (DEBIT, "iban", {"creditor_iban": "DE00"}),
    (REVERSAL, "original-message", {"message_name": "pain.001.001.09"}),
    (CANCEL, "original-msg-id", {"message_id": "/X"}),
]


@pytest.mark.parametrize(("version", "rule", "values"), _group_rules)
def test_each_broken_group_is_found(version: MessageVersion, rule: str, values: dict[str, Any]) -> None:
    file, payments = other_file(version)
    file = replace(file, groups=(replace(file.groups[0], **values),))
    assert rule in {finding.rule for finding in check_business_rules(file, payments, _limits(version))}


def test_a_value_that_a_version_has_no_place_for_is_refused() -> None:
    file, payments = other_file(MessageVersion.PAIN_008_001_02)
    with pytest.raises(PaymentFileError, match="has no element UETR"):
        render(file, [replace(payments[0], uetr="1be64e8f-d7ae-4e21-9282-e21a959ffc24")])


@pytest.mark.parametrize("version", OTHERS, ids=str)
def test_no_tampered_amount_reason_or_mandate_passes(version: MessageVersion) -> None:
    file, payments = other_file(version)
    content = render(file, payments)
    old = {"pain.008": b"<MndtId>M-7<", "pain.007": b"<Cd>MS02<", "camt.055": b"<Cd>CUST<"}[version.family]
    for before, after in (
        (old, old.replace(b"M-7", b"M-8").replace(b"MS02", b"MS03").replace(b"CUST", b"DUPL")),
        (b">1.05<", b">1.06<"),
        (b">1.05<", b">1.050<"),
    ):
        assert before in content
        assert gate_file(content.replace(before, after, 1), file, payments, Totals.of(payments)) != []


@pytest.mark.parametrize("version", [v for v in OTHERS if v.family != "pain.008"], ids=str)
def test_the_schema_made_of_classes_refuses_what_the_published_one_refuses(
    version: MessageVersion, shared: Path
) -> None:
    published = etree.XMLSchema(etree.parse(str(shared / "xsd" / f"{version}.xsd")))
    made = etree.XMLSchema(etree.fromstring(schema_of_classes(version).encode()))
    content = render(*other_file(version))
    changes = [
        (b"<OrgnlEndToEndId>", b"<OrgnlEndToEndId>" + b"X" * 36),
        (b"<OrgnlEndToEndId>", b"<OrgnlEndToEnd>"),
        (b'Ccy="EUR"', b'Ccy="EURO"'),
        (b'Ccy="EUR"', b""),
        (b"<NbOfTxs>20", b"<NbOfTxs>1x"),
        (b">1.05<", b">1.0500001<"),
        (b"<CreDtTm>2026", b"<CreDtTm>today"),
    ]
    for schema in (published, made):
        assert schema.validate(etree.fromstring(content))
        for before, after in changes:
            wrong = content.replace(before, after, 1).replace(b"<OrgnlEndToEnd>", b"<OrgnlEndToEnd/><OrgnlEndToEndId>")
            assert wrong != content
            assert not schema.validate(etree.fromstring(wrong)), (before, after)


def test_the_streaming_check_sees_what_a_schema_sees() -> None:
    file, payments = other_file(DEBIT)
    content = render(file, payments)
    for wrong, clean in (
        (content, True),
        (content.replace(b"<MndtId>M-7", b"<MndtId>" + b"M" * 36), False),
        (content[:-9], False),
        (b"", False),
    ):
        validator = StreamValidator(DEBIT)
        for start in range(0, len(wrong), 1000):
            validator.feed(wrong[start : start + 1000])
        assert (validator.faults() == ()) is clean


@pytest.mark.parametrize(
    ("fault_of", "good", "bad"),
    [
        (lei_fault, "529900T8BM49AURSDO55", "529900T8BM49AURSDO56"),
        (creditor_reference_fault, "RF18539007547034", "RF18539007547035"),
        (qr_reference_fault, "210000000003139471430009017", "210000000003139471430009018"),
        (creditor_id_fault, "DE98ZZZ09999999999", "DE98ZZZ09999999998"),
        (creditor_id_fault, "DE98ABC09999999999", "DE98"),
        (account_fault, "USABA:021000021:1234567890", "USABA:021000022:1234567890"),
        (account_fault, "GBDSC:200000:55779911", "GBDSC:20000:55779911"),
        (account_fault, "DE89370400440532013000", "CHIPS:0001:1"),
    ],
)
def test_identifiers(fault_of: Any, good: str, bad: str) -> None:
    assert fault_of(good) is None
    assert fault_of(bad) is not None
