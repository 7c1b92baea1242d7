"""The gates: a good file passes both, and every rule has a file that breaks it."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

import pytest
from iso_samples import IBANS, PROFILES, Profile, changed, credit_transfers, limits, payment_file

from settlement.iso20022 import (
    AddressForm,
    ChargeBearer,
    CreditTransfer,
    Finding,
    PaymentFile,
    PostalAddress,
    Totals,
    check_business_rules,
    gate_file,
    iban_fault,
    iban_in_sepa,
    render,
    transfers_digest,
)
from settlement.iso20022.identifiers import bic_fault

SEPA, DOMESTIC = PROFILES[0], PROFILES[4]
by_profile = pytest.mark.parametrize("profile", PROFILES, ids=str)


@by_profile
def test_good_files_pass_both_gates(profile: Profile) -> None:
    file, transfers = payment_file(profile), credit_transfers(profile, 30)
    assert check_business_rules(file, transfers, limits(profile)) == []
    assert gate_file(render(file, transfers), file, transfers, Totals.of(transfers)) == []


TOWN = "Berlin"
_payment_rules: list[tuple[str, dict[str, object]]] = [
    ("instruction-id", {"instruction_id": "X" * 36}),
    ("instruction-id", {"instruction_id": ""}),
    ("instruction-id", {"instruction_id": "A//B"}),
    ("end-to-end-id", {"end_to_end_id": "/A"}),
    ("end-to-end-id", {"end_to_end_id": "A_B"}),
    ("end-to-end-id-unique", {"end_to_end_id": credit_transfers(SEPA)[0].end_to_end_id}),
    ("instruction-id-unique", {"instruction_id": credit_transfers(SEPA)[0].instruction_id}),
    ("uetr-unique", {"uetr": credit_transfers(SEPA)[0].uetr}),
    ("uetr", {"uetr": None}),
    ("uetr", {"uetr": "1BE64E8F-D7AE-4E21-9282-E21A959FFC24"}),
    ("uetr", {"uetr": "1be64e8f-d7ae-5e21-9282-e21a959ffc24"}),
    ("amount", {"amount_minor": 0}),
    ("amount", {"amount_minor": -1}),
    ("amount", {"amount_minor": 100_000_000_000}),
    ("currency", {"currency": "USD"}),
    ("name-missing", {"creditor_name": " . "}),
    ("name-length", {"creditor_name": "N" * 71}),
    ("name-spaces", {"creditor_name": "Name "}),
    ("charset", {"creditor_name": "Zoë"}),
    ("iban", {"creditor_iban": "DE88370400440532013000"}),
    ("iban-sepa", {"creditor_iban": "TR330006100519786457841326"}),
    ("bic", {"creditor_bic": "NORDDEFFXXX"}),
    ("remittance-length", {"remittance_unstructured": "R" * 141}),
    ("remittance-missing", {"remittance_unstructured": ""}),
    ("charset", {"remittance_unstructured": "a\nb"}),
    ("address", {"creditor_address": PostalAddress(country="DE", town=TOWN, line_1="Weg 1")}),
    ("address", {"creditor_address": PostalAddress(country="de", town=TOWN)}),
    ("address-missing", {"creditor_address": PostalAddress(country="DE", town="")}),
    ("address-length", {"creditor_address": PostalAddress(country="DE", town="T" * 36)}),
    ("address-length", {"creditor_address": PostalAddress(country="DE", town=TOWN, postcode="9" * 17)}),
]


@pytest.mark.parametrize(("rule", "values"), _payment_rules)
def test_each_broken_payment_is_found_by_its_rule_and_place(rule: str, values: dict[str, object]) -> None:
    transfers = changed(credit_transfers(SEPA), 3, **values)
    findings = check_business_rules(payment_file(SEPA), transfers, limits(SEPA))
    assert rule in {finding.rule for finding in findings}
    assert {finding.place.partition(" (")[0] for finding in findings} == {"payment 3"}
    assert all(finding.sentence.endswith((".", "!")) for finding in findings)


def _group(**values: object) -> PaymentFile:
    file = payment_file(SEPA)
    return replace(file, groups=(replace(file.groups[0], **values),))  # type: ignore[arg-type]


_file_rules: list[tuple[str, PaymentFile]] = [
    ("msg-id", replace(payment_file(SEPA), msg_id="A/")),
    ("name-missing", replace(payment_file(SEPA), initiating_party_name="")),
    ("initiating-party-id", replace(payment_file(SEPA), initiating_party_id="")),
    ("payment-information-id", _group(payment_information_id="P" * 36)),
    ("execution-date-open", _group(execution_date=dt.date(2026, 12, 25))),
    ("iban", _group(debtor_iban="DE00")),
    ("bic", _group(debtor_bic="NORD")),
    ("service-level", _group(service_level=None)),
    ("charge-bearer", _group(charge_bearer=ChargeBearer.SHAR)),
    ("category-purpose", _group(category_purpose="LONGER")),
]


@pytest.mark.parametrize(("rule", "file"), _file_rules)
def test_each_broken_header_or_group_is_found(rule: str, file: PaymentFile) -> None:
    findings = check_business_rules(file, credit_transfers(SEPA), limits(SEPA))
    assert {finding.rule for finding in findings} == {rule}


def test_an_unknown_currency_is_one_finding_about_the_group() -> None:
    file = _group(currency="XYZ")
    transfers = [replace(t, currency="XYZ", amount_minor=0) for t in credit_transfers(SEPA)]
    findings = check_business_rules(file, transfers, limits(SEPA))
    assert {(f.rule, f.place) for f in findings} == {("currency", "group")}


def test_limits_of_the_bank_profile_bind() -> None:
    transfers = credit_transfers(SEPA)
    bounds = replace(limits(SEPA), minimum_minor=100, maximum_minor=9_999, max_transactions=4)
    findings = check_business_rules(payment_file(SEPA), transfers, bounds)
    assert [(f.rule, f.place.partition(" (")[0]) for f in findings] == [
        ("amount", "payment 1"),
        ("amount", "payment 4"),
        ("amount", "payment 5"),
        ("payment-count", "file"),
    ]
    assert findings[1].sentence == "100.04 EUR is not between 1.00 and 99.99."


def test_an_empty_file_is_not_sent() -> None:
    findings = check_business_rules(payment_file(SEPA), [], limits(SEPA))
    assert [f.rule for f in findings] == ["payment-count"]


def test_domestic_needs_a_creditor_bic_and_no_sepa_terms() -> None:
    file = payment_file(DOMESTIC)
    transfers = changed(credit_transfers(DOMESTIC), 1, creditor_bic=None)
    transfers = changed(transfers, 2, creditor_bic="BANKCZ")
    findings = check_business_rules(file, transfers, limits(DOMESTIC))
    assert [f.rule for f in findings] == ["bic", "bic"]
    wrong = replace(file, groups=(replace(file.groups[0], service_level="SEPA"),))
    assert [f.rule for f in check_business_rules(wrong, credit_transfers(DOMESTIC), limits(DOMESTIC))] == [
        "service-level"
    ]


def test_an_address_says_nothing_twice_and_comes_only_when_wanted() -> None:
    hybrid = replace(limits(SEPA), address_form=AddressForm.HYBRID)
    twice = PostalAddress(country="DE", town="Berlin", line_1="Berlin")
    findings = check_business_rules(
        payment_file(SEPA), changed(credit_transfers(SEPA), 1, creditor_address=twice), hybrid
    )
    assert [f.sentence for f in findings if "twice" in f.sentence]
    none = replace(limits(SEPA), address_form=AddressForm.NONE)
    findings = check_business_rules(payment_file(SEPA), credit_transfers(SEPA, 1), none)
    assert [(f.rule, f.place.split()[0]) for f in findings] == [("address", "group"), ("address", "payment")]


@pytest.mark.parametrize("iban", [*IBANS, "CZ6508000000192000145399", "LC55HEMM000100010012001200023015"])
def test_good_ibans(iban: str) -> None:
    assert iban_fault(iban) is None


@pytest.mark.parametrize(
    ("iban", "fault"),
    [
        ("DE88370400440532013000", "check digits"),
        ("DE8937040044053201300", "21 characters"),
        ("de89370400440532013000", "two letters"),
        ("DE89 3704 0044 0532 0130 00", "without spaces"),
        ("DE89370400440532O13000", "structure of DE"),
        ("XX89370400440532013000", "country XX"),
        ("DE8937040044053201300٠", "two letters"),
        ("", "two letters"),
    ],
)
def test_bad_ibans(iban: str, fault: str) -> None:
    assert fault in (iban_fault(iban) or "")


def test_every_single_transposition_of_an_iban_is_found() -> None:
    iban = IBANS[0]
    for i in range(len(iban) - 1):
        swapped = iban[:i] + iban[i + 1] + iban[i] + iban[i + 2 :]
        assert swapped == iban or iban_fault(swapped) is not None


def test_sepa_zone_and_bic_shape() -> None:
    assert iban_in_sepa(IBANS[0])
    assert iban_in_sepa("RS35260005601001611379")
    assert not iban_in_sepa("TR330006100519786457841326")
    assert not iban_in_sepa("??")
    assert bic_fault("NORDDEFF") is None
    assert bic_fault("NORDDEFFXXX") is None
    assert bic_fault("NORDDEFFXX") is not None
    assert bic_fault("norddeff") is not None


def _gate(content: bytes, transfers: list[CreditTransfer] | None = None) -> list[Finding]:
    given = credit_transfers(SEPA) if transfers is None else transfers
    return gate_file(content, payment_file(SEPA), given, Totals.of(given))


def _content() -> bytes:
    return render(payment_file(SEPA), credit_transfers(SEPA))


_tampering: list[tuple[bytes, bytes, str, str]] = [
    (b"GR1601101250000000012300695", b"NL91ABNA0417164300", "read-back", "creditor_iban"),
    (b">0.11<", b">0.12<", "read-back", "amount_minor"),
    (b">0.11<", b">0.110<", "amount-decimals", "0.110"),
    (b"<Nm>Zoe Mueller", b"<Nm>Zoe Muller", "read-back", "creditor_name"),
    (b"<EndToEndId>", b"<EndToEndId>X", "read-back", "end_to_end_id"),
    (b"<NbOfTxs>5<", b"<NbOfTxs>6<", "totals", "6 payments"),
    (b"<ReqdExctnDt><Dt>2026-11-02", b"<ReqdExctnDt><Dt>2026-11-03", "read-back", "execution_date"),
    (b"<MsgId>", b"<MsgId>X", "read-back", "msg_id"),
    (b"<ChrgBr>SLEV", b"<ChrgBr>DEBT", "read-back", "charge_bearer"),
    (b"</CreDtTm>", b"</CreDtTm><Authstn><Cd>AUTH</Cd></Authstn>", "read-back", "Authstn"),
    (b"<Ustrd>Payout 2026-11-02</Ustrd>", b"<Ustrd>a</Ustrd><Ustrd>b</Ustrd>", "read-back", "twice"),
    (b'Ccy="EUR"', b'Ccy="EURO"', "read-back", "EURO"),
    (b"<PmtMtd>TRF", b"<PmtMtd>CHK", "read-back", "CHK"),
    (b"<BtchBookg>true", b"<BtchBookg>perhaps", "xsd", "BtchBookg"),
    (b"<InstrId>", b"<InstrId>" + b"X" * 30, "xsd", "InstrId"),
    (b"</Document>", b"", "xsd", "Premature end"),
    (b"<Document", b"<!DOCTYPE Document><Document", "read-back", "DOCTYPE"),
]


@pytest.mark.parametrize(("old", "new", "rule", "word"), _tampering)
def test_the_gate_finds_every_tampered_byte(old: bytes, new: bytes, rule: str, word: str) -> None:
    content = _content()
    assert old in content
    findings = _gate(content.replace(old, new, 1))
    assert [f for f in findings if f.rule == rule and word in str(f)], findings


def test_the_gate_finds_missing_swapped_and_added_payments() -> None:
    transfers = credit_transfers(SEPA)
    missing = re.sub(rb"<CdtTrfTxInf>(?:(?!</CdtTrfTxInf>).)*</CdtTrfTxInf></PmtInf>", b"</PmtInf>", _content())
    assert [f.rule for f in _gate(missing)] == ["totals"]
    swapped = render(payment_file(SEPA), [transfers[1], transfers[0], *transfers[2:]])
    assert {f.place for f in _gate(swapped)} == {f"payment {n} ({transfers[n - 1].end_to_end_id})" for n in (1, 2)}
    added = render(payment_file(SEPA), credit_transfers(SEPA, 6))
    assert "was not given" in " ".join(str(f) for f in _gate(added))
    assert {f.rule for f in _gate(added)} == {"read-back", "totals"}


def test_the_gate_refuses_another_namespace_and_garbage() -> None:
    assert [f.rule for f in _gate(_content().replace(b"pain.001.001.09", b"pain.001.001.03"))] == ["xsd"]
    assert [f.rule for f in _gate(b"")] == ["xsd"]
    assert [f.rule for f in _gate(b"no xml")] == ["xsd"]


def test_the_digest_depends_on_who_gets_what_and_the_order() -> None:
    transfers = credit_transfers(SEPA)
    digests = {
        transfers_digest(transfers),
        transfers_digest(transfers[::-1]),
        transfers_digest(transfers[:-1]),
        *(
            transfers_digest(changed(transfers, 1, **change))
            for change in ({"amount_minor": 1}, {"creditor_iban": IBANS[1]}, {"creditor_name": "Else"})
        ),
    }
    assert len(digests) == 6
    assert transfers_digest(transfers) == transfers_digest(list(transfers))
