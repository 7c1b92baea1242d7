"""References as banks print, cut, pack and break them: what names an expectation, and what only looks like it."""

from __future__ import annotations

import pytest

from tests.unit.recon.recon_items import Outcome, frame, instruction, line, receipt, reconcile_items

RF = "RF18539007547034"
INVOICE = "INV-2026-000000123-12"


def rf(number: int) -> str:
    """Creditor references that differ in more than a letter."""
    return f"RF{18 + number}5390{number}754{7 - number}034"


def printed(reference: str, size: int, mark: str = " ") -> str:
    return mark.join(reference[at : at + size] for at in range(0, len(reference), size))


# A reference of ours and how a bank prints it; each stands in a case of its own among the others.
IN_PARTS = [
    (rf(0), printed(rf(0), 4)),
    (rf(1), f"Zahlung zu Vorgang {printed(rf(1), 4)} vom 3. d.M."),
    (rf(2), f"REF:{printed(rf(2), 4)};BY=Nordwind 4 GmbH;"),
    (rf(3), f"/ROC/{printed(rf(3), 4, '-')}//URI/thank you"),
    (rf(4), f"EREF+{rf(4)[:11]}\n{rf(4)[11:]} SVWZ+invoice"),
    (rf(5).lower(), printed(rf(5), 4)),
    ("210000000003139471430009017", "QRR 21 00000 00003 13947 14300 09017 danke"),
    ("INV-2026-000000123-12", "Rechnung INV 2026 000000123 12 vom 02.11.2026"),
    ("INV-2026-000000456-12", "INV/2026/000000456/12"),
    ("INV-2026-000000789-12", "INV-2026-0000\r\n00789-12 /OCMT/EUR12,00/"),
    ("INV20260815", "Invoice inv-2026-0815, order 77"),
]


def test_a_reference_in_parts_names_its_expectation():
    owed = [receipt(n, 10_000 * n, reference) for n, (reference, _) in enumerate(IN_PARTS, 1)]

    def paid(short_minor: int = 0, **fields: object) -> Outcome:
        lines = [
            line(100 + n, short_minor - 10_000 * n, remittance=text, **fields)
            for n, (_, text) in enumerate(IN_PARTS, 1)
        ]
        return reconcile_items(frame(*owed, *lines))

    pairs = [frozenset({n, 100 + n}) for n in range(1, len(IN_PARTS) + 1)]
    assert paid().sets == dict.fromkeys(pairs, "receipt-reference")
    assert paid(10, party_account="DE00ELSE").codes == dict.fromkeys(pairs, "AMOUNT_MISMATCH")
    assert paid(day=16).codes == dict.fromkeys(pairs, "DATE_OUT_OF_WINDOW")


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("53900754", "RF18539007547034"),  # a part of a longer number
        ("53900754", f"paid {printed(RF, 4)}"),  # the middle of a printed one
        ("53900754", "Konto 1853900754 Kunde 12"),
        ("2026110212", "booked 2026-11-02 12:30"),  # a date and a time are no reference
        ("2026110212", "booked 02.11.2026 12:30"),
        ("ACME12", "ACME, 12 items"),
    ],
)
def test_what_only_contains_the_figures_names_nothing(reference: str, text: str):
    outcome = reconcile_items(frame(receipt(1, 900, reference), line(2, -900, remittance=text)))
    assert outcome.sets == {}


@pytest.mark.parametrize(
    ("reference", "text", "is_it"),
    [
        (INVOICE, "INV-2026-000000132-12", True),  # neighbours changed places
        ("NP260330-NAV5YN9DT8WE6361943464", "EREF+NP260330-NAV5YN9DT8WE6361943644 SVWZ+Danke", True),
        (INVOICE, "INV-2026-00000123-12", True),  # one lost
        (INVOICE, "INV-2026-0000001223-12", True),  # one twice
        (INVOICE, "INV-2O26-000000123-12", True),  # taken for others that look like them
        (INVOICE, "paid INV-2026-000000132-12, thank you", True),
        (INVOICE, "INV-2026-000000123", True),  # cut
        (INVOICE, "EREF+INV-2026-000000123 SVWZ+thank you", True),
        (INVOICE, "INV-2026-000000124-12", False),  # the next invoice
        (INVOICE, "INV-2026-000000123-13", False),
        (INVOICE, "INV-2026-000000124", False),
        (INVOICE, "INV-2026-000000129-12 INV", False),
        (RF, f"9{RF[2:]}7", False),
    ],
)
def test_a_letter_wrong_is_an_error_and_another_figure_is_another_invoice(reference: str, text: str, is_it: bool):
    outcome = reconcile_items(frame(receipt(1, 900, reference), line(2, -900, remittance=text)))
    assert (outcome.sets == {frozenset({1, 2}): "scored"}) == is_it
    assert bool(outcome.sets) == is_it


@pytest.mark.parametrize(
    ("ours", "theirs", "is_it"),
    [
        ("Müller Maschinenbau GmbH", "MUELLER MASCHINENBAU G.M.B.H.", True),
        ("Müller Maschinenbau GmbH", "Maschinenbau Muller Gesellschaft mit beschränkter Haftung", True),
        ("Müller Maschinenbau GmbH", "MUELLER MASCHINENBAU", True),
        ("Müller Maschinenbau Süd GmbH & Co. KG", "MUELLER MASCHINENBAU SUED G", True),  # cut at 27
        ("Müller Maschinenbau GmbH", "Müller Maschinenbau AG", False),
        ("Filiale 12 Nordwind Energie", "Filiale 13 Nordwind Energie", False),
        ("Nordwind Energie Netze GmbH", "Nordwind Energie", False),
    ],
)
def test_names_of_one_company(ours: str, theirs: str, is_it: bool):
    items = frame(
        instruction(1, 900, party_name=ours, party_account="DE00OURS"),
        line(2, 900, party_name=theirs, remittance="Danke"),
    )
    assert (reconcile_items(items).sets == {frozenset({1, 2}): "scored"}) == is_it


def test_a_sum_of_the_only_party_of_a_name_clears_and_of_two_does_not():
    owed = [receipt(n, amount, f"OWED-{n}") for n, amount in ((1, 41_337), (2, 17_291))]
    for each in owed:
        each |= {"party_name": "Müller Maschinenbau Süd GmbH", "party_account": "DE00OURS"}
    paid = line(3, -58_628, party_name="MUELLER MASCHINENBAU SUED G")
    assert reconcile_items(frame(*owed, paid)).sets == {frozenset({1, 2, 3}): "subset-sum"}
    other = receipt(4, 99, "OWED-4") | {"party_name": "Müller Maschinenbau Süd GmbH", "party_account": "DE00ELSE"}
    assert reconcile_items(frame(*owed, other, paid)).sets == {}
    another_form = paid | {"party_name": "Müller Maschinenbau Süd AG"}
    assert reconcile_items(frame(*owed, another_form)).sets == {}


def test_one_payment_for_several_invoices_is_their_sum_or_a_residual():
    owed = [receipt(1, 500, "INV-1001"), receipt(2, 700, "INV-1002"), receipt(3, 700, "INV-1003")]
    text = "INV-1001 and INV-1002"
    assert reconcile_items(frame(*owed, line(4, -1200, remittance=text))).sets == {frozenset({1, 2, 4}): "named-sum"}
    short = reconcile_items(frame(*owed, line(4, -1100, remittance=text)))
    assert (short.sets, short.codes[frozenset({1, 2, 4})]) == ({}, "BATCH_RESIDUAL")
    twice = reconcile_items(frame(*owed, line(4, -1200, remittance=text), line(5, -700, remittance="INV-1002")))
    assert twice.sets == {frozenset({2, 5}): "receipt-reference"}
    late = reconcile_items(frame(*owed, line(4, -1200, day=14, remittance=text)))
    assert late.sets == {}


@pytest.mark.parametrize(
    ("references", "text", "is_it"),
    [
        (["123456"], "Rechnung 000123456", True),
        (["000123456"], "Rechnung 123456", True),
        (["000123456", "0123456"], "Rechnung 123456", False),  # which of the two?
        (["1234"], "Rechnung 0001234", False),  # too short a number
    ],
)
def test_leading_zeros(references: list[str], text: str, is_it: bool):
    owed = [receipt(n, 900, reference) for n, reference in enumerate(references, 1)]
    assert bool(reconcile_items(frame(*owed, line(9, -900, remittance=text))).sets) == is_it
