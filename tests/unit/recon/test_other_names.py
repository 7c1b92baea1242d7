"""Whose money it is that names an expectation: its party's, a stranger's who pays for it, or another customer's."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recon.matching.likeness import are_one_name, name_marks
from recon.matching.other_names import spoken_against
from tests.unit.recon.recon_items import frame, instruction, item, line, reconcile_items

BAKERY = {"party_account": "BE01", "party_name": "Bakkerij Peeters BV"}
CARPENTER = {"party_account": "PL02", "party_name": "Stolarnia Łukasz Wiśniewski"}
STRANGER = {"party_account": "XX99", "party_name": "Nordlys Holding"}


def receipt(item_id: int, amount_minor: int, number: str, **fields: object) -> dict[str, object]:
    """An invoice that a customer owes."""
    return item(item_id, "RECEIPT", amount_minor, end_to_end_id=number, **fields)


OURS = (receipt(1, 4990, "104233", **BAKERY), receipt(2, 4990, "104323", **CARPENTER))


@pytest.mark.parametrize("name", ["STOLARNIA LUKASZ WISNIEWSKI", "Wiśniewski Łukasz, Stolarnia"])
def test_a_customer_who_names_anothers_invoice_of_the_same_price_has_paid_neither(name: str):
    wrong = line(3, -4990, remittance="FV 104233 Z DN 03.11.2026", party_name=name)
    assert reconcile_items(frame(*OURS, wrong)).sets == {}
    right = line(3, -4990, remittance="FV 104323 Z DN 03.11.2026", party_name=name)
    assert reconcile_items(frame(*OURS, right)).sets == {frozenset({2, 3}): "receipt-reference"}


@pytest.mark.parametrize(
    "fields", [STRANGER, {"party_name": "Nordlys Holding"}, {}, {"party_name": "PEETERS BAKKERIJ"}]
)
def test_who_is_no_customer_may_pay_for_one(fields: dict[str, object]):
    paid = line(3, -4990, remittance="FACTUUR 104233", **fields)
    assert reconcile_items(frame(*OURS, paid)).sets == {frozenset({1, 3}): "receipt-reference"}


def test_a_customer_number_that_is_anothers_invoice_is_not_what_was_paid():
    paid = line(3, -4990, remittance="KD 104323 RG 104233", party_name="BAKKERIJ PEETERS BV")
    assert reconcile_items(frame(*OURS, paid)).sets == {frozenset({1, 3}): "receipt-reference"}


def test_several_invoices_in_one_sum_are_all_of_the_payer():
    own = receipt(4, 1000, "104500", **CARPENTER)
    for named, sets in (("104500, 104323", {frozenset({2, 3, 4}): "named-sum"}), ("104500, 104233", {})):
        paid = line(3, -5990, remittance=f"RG {named}", party_name="STOLARNIA LUKASZ WISNIEWSKI")
        assert reconcile_items(frame(*OURS, own, paid)).sets == sets


def test_a_number_of_a_few_figures_names_only_what_its_party_owes():
    texts = ("Zimmer 460, 03.02.2026", "EUR 571.00 Anzahlung", "Ticket A/682")
    rooms = [receipt(n, 12900 + n, number, **BAKERY) for n, number in enumerate(("460", "571", "682"))]

    def paid(**fields: object) -> dict[frozenset[int], str]:
        lines = [line(10 + n, -12900 - n, remittance=text, **fields) for n, text in enumerate(texts)]
        return reconcile_items(frame(*rooms, *lines)).sets

    for fields in (STRANGER, {"party_name": "Nordlys Holding"}, {}):
        assert paid(**fields) == {}
    for fields in (BAKERY, {"party_name": "PEETERS BAKKERIJ BV"}):
        assert paid(**fields) == {frozenset({n, 10 + n}): "receipt-reference" for n in range(3)}


def test_one_number_of_two_payees_is_the_ones_whom_the_line_shows_or_nobodys():
    first = instruction(1, 900, end_to_end_id="2026-001", uetr=None, **BAKERY)
    other = instruction(2, 900, end_to_end_id="2026-001", uetr=None, day=9, **CARPENTER)
    bare, shown = line(3, 900, end_to_end_id="2026-001"), line(4, 900, end_to_end_id="2026-001", party_account="BE01")
    assert reconcile_items(frame(first, other, bare)).sets == {}
    assert reconcile_items(frame(first, other, shown)).sets == {frozenset({1, 4}): "exact-end-to-end"}
    both = reconcile_items(frame(first, other, bare, shown)).sets
    assert both == {frozenset({1, 4}): "exact-end-to-end", frozenset({2, 3}): "exact-end-to-end"}
    all_of_it = reconcile_items(frame(first, other, bare, line(4, 900, end_to_end_id="2026-001"))).sets
    assert all_of_it == {frozenset({1, 2, 3, 4}): "reference-sum"}


@pytest.mark.parametrize(
    "text", ["Anzahlung Auftrag AB88573", "acompte commande CMD-2700091", "order 408-1234567-1234567", "KD 88573117"]
)
def test_a_number_of_something_else_is_no_silence(text: str):
    paid = line(2, -4990, remittance=text, **BAKERY)
    assert reconcile_items(frame(OURS[0], paid)).sets == {}
    parts = [receipt(1, 700, "104233", **BAKERY), receipt(3, 800, "104777", **BAKERY)]
    assert reconcile_items(frame(*parts, line(2, -1500, remittance=text, **BAKERY))).sets == {}
    assert reconcile_items(frame(*parts, line(2, -1500, remittance="merci", **BAKERY))).sets != {}


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("RE-2026-104233", "fatura no 2026-104233 odemesi"),  # the beginning that all have was left out
        ("7104233", "Rechnung 7104323"),  # two figures changed places
        ("104233", "03.11.2026 EUR 49.90"),
        ("104233", "RG104233VOM"),  # glued to letters
    ],
)
def test_a_number_like_the_invoices_is_no_other(reference: str, text: str):
    paid = line(2, -4990, remittance=text, **BAKERY)
    assert len(reconcile_items(frame(receipt(1, 4990, reference, **BAKERY), paid)).sets) == 1


def test_an_invoice_in_instalments_that_leaves_out_which_is_nobodys_even_if_its_last_figure_is_doubled():
    parts = [receipt(n, 2970, f"INV-2026-000109742-{n}", day=8 + n, **BAKERY) for n in (1, 2, 3)]
    bare = line(9, -2970, remittance="Facture INV-2026-000109742", **BAKERY)
    found = reconcile_items(frame(*parts, bare))
    assert (found.sets, found.codes) == ({}, {frozenset({1, 2, 3, 9}): "AMBIGUOUS"})
    one_left = reconcile_items(frame(parts[0], bare, receipt(4, 1000, "INV-2026-000109742-4", **BAKERY)))
    assert "AMBIGUOUS" not in one_left.codes.values()  # of another amount: nothing to confuse it with
    second = line(9, -2970, remittance="Facture INV-2026-000109742-2", **BAKERY)
    assert reconcile_items(frame(*parts, second)).sets == {frozenset({2, 9}): "receipt-reference"}


NAMES = st.sampled_from([BAKERY["party_name"], CARPENTER["party_name"], "Fırın Çağlar", "Nordlys Holding", None])


@given(payer=NAMES, owner=NAMES, is_weak=st.booleans())
def test_no_pair_stands_whose_name_is_another_customers(payer: str | None, owner: str | None, is_weak: bool):
    pair = {
        "line_id": 1,
        "expected_id": 2,
        "is_weak": is_weak,
        "account": "a",
        "line_name": payer and payer.upper(),
        "expected_name": owner,
    }
    known = pl.DataFrame(
        {"account": "a", "party_name": ["Bakkerij Peeters BV", "Stolarnia Łukasz Wiśniewski", "Fırın Çağlar"]}
    )
    schema = {"line_name": pl.String, "expected_name": pl.String}
    against = spoken_against(pl.DataFrame([pair], schema_overrides=schema), lambda: known)
    is_own = payer is not None and payer == owner
    is_known = payer in known["party_name"].to_list()
    assert against.height == int(not is_own and (is_weak or is_known))


def test_an_adjusting_entry_beside_its_invoice_needs_no_name():
    credit = item(3, "OTHER", -900, end_to_end_id="GS-104888")
    paid = line(4, -4090, remittance="RG 104233 ./. GS-104888", party_name="Nordlys Holding")
    assert reconcile_items(frame(OURS[0], credit, paid)).sets == {frozenset({1, 3, 4}): "named-sum"}


@pytest.mark.parametrize("day", [10, 13, 20])
def test_a_number_of_two_parties_is_that_whatever_the_days(day: int):
    """The other's invoice may be long overdue or not due yet: the number does not say whose it is, and no day does."""
    own = receipt(1, 4990, "INV-0001/A", **BAKERY)
    other = receipt(2, 4990, "INV-0001/A", **(CARPENTER | {"day": day}))
    nameless = line(3, -4990, remittance="Rechnung INV-0001/A")
    assert reconcile_items(frame(own, other, nameless)).sets == {}
    shown = line(3, -4990, remittance="Rechnung INV-0001/A", party_name="BAKKERIJ PEETERS BV")
    assert reconcile_items(frame(own, other, shown)).sets == {frozenset({1, 3}): "receipt-reference"}
    both = frame(own, other, nameless, line(4, -4990, end_to_end_id="INV-0001/A", day=day, **CARPENTER))
    assert reconcile_items(both).sets == {
        frozenset({1, 3}): "receipt-reference",
        frozenset({2, 4}): "receipt-reference",
    }


@pytest.mark.parametrize(
    ("whole", "cut"),
    [
        ("Müller GmbH", "MUELLER GM"),
        ("Müller GmbH", "Müller Gesellschaft mit be"),
        ("Papadopoulos Stolarnia Sp. z o.o.", "PAPADOPOULOS STOLARNIA SP."),
        ("Grünwald Boulangerie Sp. z o.o.", "GRUNWALD BOULANGERIE SP. Z"),
        ("Łukasz Wiśniewski Studio S.r.l.", "LUKASZ WISNIEWSKI STUDIO S."),
        ("Anna Ltd", "ANNA LIM"),
    ],
)
def test_a_name_cut_inside_its_legal_form_is_that_name(whole: str, cut: str):
    assert are_one_name(whole, cut) and are_one_name(cut, whole)
    assert set(name_marks(whole)) & set(name_marks(cut))
    customer = {"party_account": "PL02", "party_name": whole}
    items = frame(receipt(1, 4990, "104233", **BAKERY), receipt(2, 4990, "104323", **customer))
    wrong = frame(receipt(1, 4990, "104233", **BAKERY), line(3, -4990, remittance="RG 104233", party_name=cut))
    assert reconcile_items(pl.concat([items, wrong.filter(pl.col("item_id") == 3)])).sets == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna Sarl", "Anna SA"),
        ("Müller GmbH", "Müller G"),
        ("Müller AG", "Müller GmbH"),
        ("Müller GmbH", "Müller GM Bau"),
    ],
)
def test_another_form_or_a_word_of_its_own_is_no_cut(one: str, other: str):
    assert not are_one_name(one, other) and not are_one_name(other, one)


@given(stem=st.text("ABCDEFGH ", min_size=5, max_size=20).map(str.strip).filter(lambda text: len(text) > 4))
@example(stem="AA AB")
def test_names_that_are_one_share_a_mark(stem: str):
    for form in ("GmbH", "Sp. z o.o.", "S.A.", "Limited", "Aktiengesellschaft"):
        whole = f"{stem} {form}"
        for length in range(len(stem), len(whole)):
            if are_one_name(whole, whole[:length]):
                assert set(name_marks(whole)) & set(name_marks(whole[:length])), whole[:length]


@pytest.mark.parametrize(("word", "is_date"), [("20261103", True), ("2025-11-03", True), ("20940527", False)])
def test_eight_figures_are_a_date_of_the_years_about_the_line_only(word: str, is_date: bool):
    """A line that states a number of something else is not silent; one with a date is."""
    items = frame(receipt(1, 4990, "104233", **BAKERY), line(3, -4990, remittance=f"zaliczka {word}", **BAKERY))
    assert reconcile_items(items).sets == ({frozenset({1, 3}): "scored"} if is_date else {})
