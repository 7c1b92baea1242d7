"""Each pass clears exactly what it can prove, and nothing else."""

from __future__ import annotations

import polars as pl
import pytest

from recon.matching import RULES, SET_SCHEMA, Tolerances, clear, rules_sha256
from tests.unit.recon.recon_items import frame, instruction, item, line, receipt, reconcile_items


def test_end_to_end_and_amount_clear():
    outcome = reconcile_items(frame(instruction(1, 500), line(2, 500, end_to_end_id="E2E-2026-1102-00000001")))
    assert outcome.sets == {frozenset({1, 2}): "exact-end-to-end"}
    assert outcome.breaks == []


def test_end_to_end_does_not_clear_against_another_uetr():
    outcome = reconcile_items(
        frame(instruction(1, 500), line(2, 500, end_to_end_id="E2E-2026-1102-00000001", uetr="uetr-9"))
    )
    assert outcome.sets == {}


def test_uetr_clears_a_truncated_reference():
    outcome = reconcile_items(
        frame(instruction(1, 500), instruction(3, 500), line(2, 500, end_to_end_id="E2E-2026", uetr="uetr-1"))
    )
    assert outcome.sets == {frozenset({1, 2}): "exact-uetr"}
    assert outcome.in_flight == [3]


def test_what_another_line_explains_by_what_it_states_is_not_cleared_by_amount_and_party():
    known = {"party_account": "DE00CARDIA"}
    items = frame(receipt(1, 9900, "PO-1"), line(2, -9850, charges_minor=50, **known), line(3, -9900, **known))
    outcome = reconcile_items(items)
    assert outcome.sets == {}
    assert outcome.codes[frozenset({1, 2})] == "FEE_DIFF"
    nobody_else = reconcile_items(items.filter(pl.col("item_id") != 2))
    assert nobody_else.sets == {frozenset({1, 3}): "amount-party"}


def test_amount_and_party_leave_what_a_line_with_a_letter_wrong_could_mean():
    known = {"party_account": "DE00X"}
    items = frame(
        instruction(1, 500, end_to_end_id="NP260330-M6QKMXHEA6UT8572829734", **known),
        line(2, 500, end_to_end_id="NP260330-M6QKMXHE6UAT8572829734", **known),
        line(3, 500, **known),
    )
    assert reconcile_items(items).sets == {frozenset({1, 2}): "scored"}
    nobody_else = reconcile_items(items.filter(pl.col("item_id") != 2))
    assert nobody_else.sets == {frozenset({1, 3}): "amount-party"}


def test_reject_undoes_its_instruction():
    outcome = reconcile_items(frame(instruction(1, 500), item(2, "REJECT", 500, corrects_id=1)))
    assert outcome.sets == {frozenset({1, 2}): "own-reject"}


def test_rejected_instruction_is_not_part_of_the_batch_any_more():
    outcome = reconcile_items(
        frame(
            instruction(1, 500),
            instruction(2, 700),
            item(3, "REJECT", 500, corrects_id=1),
            line(4, 700, payment_information_id="PMT-1", batch_count=1),
        )
    )
    assert outcome.sets == {frozenset({1, 3}): "own-reject", frozenset({2, 4}): "batch-sum"}


@pytest.mark.parametrize("keys", [{"payment_information_id": "PMT-1"}, {"msg_id": "MSG-1"}])
def test_batch_line_clears_all_open_members(keys: dict[str, str]):
    outcome = reconcile_items(frame(instruction(1, 500), instruction(2, 700), line(3, 1200, batch_count=2, **keys)))
    assert outcome.sets == {frozenset({1, 2, 3}): "batch-sum"}


def test_batch_line_with_another_count_clears_nothing():
    outcome = reconcile_items(
        frame(instruction(1, 500), instruction(2, 700), line(3, 1200, batch_count=3, payment_information_id="PMT-1"))
    )
    assert outcome.sets == {}
    assert outcome.codes == {frozenset({1, 2, 3}): "BATCH_RESIDUAL"}


def of_file(item_id: int, amount: int, batch: str):
    return instruction(item_id, amount, payment_information_id=f"MSG-1-{batch}", party_account=f"DE00{item_id}")


THREE = (of_file(1, 500, "B1"), of_file(2, 700, "B1"), of_file(3, 400, "B2"), of_file(4, 200, "B3"))
B1, B2, B3, FILE = {1, 2}, {3}, {4}, {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ((1200,), [B1]),
        ((200, 1200, 400), [B1, B2, B3]),
        ((1800,), [FILE]),
        ((600,), [B2 | B3]),  # two batches of three
        ((600, 1200), [B1, B2 | B3]),
        ((600, 400), []),  # both fit the second batch
        ((900,), []),  # no choice of them
        ((400, 400), []),  # two lines for one batch
        ((1800, 400), []),  # one takes all, the other a part of it
    ],
)
def test_a_line_that_names_only_the_file_is_the_only_choice_of_its_batches_of_its_amount(
    amounts: tuple[int, ...], expected: list[set[int]]
):
    lines = [line(11 + n, amount, msg_id="MSG-1") for n, amount in enumerate(amounts)]
    outcome = reconcile_items(frame(*THREE, *lines))
    cleared = [set(found) & FILE for found, rule in outcome.sets.items() if rule == "batch-sum"]
    assert sorted(cleared, key=min) == expected and len(outcome.sets) == len(cleared)
    if amounts == (900,):
        assert set(outcome.codes.values()) == {"BATCH_RESIDUAL"}
        assert "The batch is 9.00 EUR less than its open members." in outcome.breaks[0].explanation


def test_of_batches_that_fit_in_two_ways_none_is_taken_and_the_break_says_so():
    parts = ((200, "B1"), (300, "B1"), (140, "B2"), (160, "B2"), (90, "B3"), (110, "B3"), (400, "B4"))
    four = [of_file(n, amount, batch) for n, (amount, batch) in enumerate(parts, 1)]
    outcome = reconcile_items(frame(*four, line(11, 500, msg_id="MSG-1")))
    assert outcome.sets == {}
    (found,) = outcome.breaks
    assert found.code == "BATCH_RESIDUAL"
    assert "Batches MSG-1-B1, or MSG-1-B2 + MSG-1-B3 come to its amount" in found.explanation
    counted = reconcile_items(frame(*four, line(11, 500, msg_id="MSG-1", batch_count=4)))
    assert counted.sets == {frozenset({3, 4, 5, 6, 11}): "batch-sum"}, "the count tells"
    many = (of_file(n, 2**n, f"B{n:02}") for n in range(1, 12))
    assert reconcile_items(frame(*many, line(99, 6, msg_id="MSG-1"))).sets == {}, "of more than ten, one or all"


def test_a_batch_that_another_line_names_or_that_is_not_unique_is_left():
    both = reconcile_items(
        frame(*THREE, line(11, 400, msg_id="MSG-1"), line(12, 400, payment_information_id="MSG-1-B2", msg_id="MSG-1"))
    )
    assert both.sets == {frozenset({3, 12}): "batch-sum"}
    twins = frame(of_file(1, 500, "B1"), of_file(2, 500, "B2"), line(11, 500, msg_id="MSG-1"))
    assert reconcile_items(twins).sets == {}
    counted = frame(of_file(1, 500, "B1"), of_file(2, 200, "B2"), of_file(3, 300, "B2"))
    by_count = reconcile_items(pl.concat([counted, frame(line(11, 500, msg_id="MSG-1", batch_count=2))]))
    assert by_count.sets == {frozenset({2, 3, 11}): "batch-sum"}


@pytest.mark.parametrize(
    "fields",
    [
        {"end_to_end_id": "PO-77"},
        {"structured_ref": "PO-77"},
        {"remittance": "Payout PO-77, thank you"},
    ],
)
def test_payout_clears_by_its_id(fields: dict[str, str]):
    outcome = reconcile_items(frame(receipt(1, 900, "PO-77"), line(2, -900, **fields)))
    assert outcome.sets == {frozenset({1, 2}): "receipt-reference"}


def test_payout_in_parts_clears_when_all_parts_are_there():
    outcome = reconcile_items(
        frame(
            receipt(1, 900, "PO-77"),
            line(2, -400, end_to_end_id="PO-77"),
            line(3, -500, remittance="PO-77 2/2"),
        )
    )
    assert outcome.sets == {frozenset({1, 2, 3}): "reference-sum"}


def test_amount_and_party_clear_when_unique():
    outcome = reconcile_items(frame(instruction(1, 500), instruction(2, 500), line(3, 500, party_account="DE00PAYEE2")))
    assert outcome.sets == {frozenset({2, 3}): "amount-party"}


def test_amount_and_party_do_not_clear_twice_the_same():
    outcome = reconcile_items(
        frame(
            instruction(1, 500, party_account="DE00X"),
            instruction(2, 500, party_account="DE00X"),
            line(3, 500, party_account="DE00X"),
        )
    )
    assert outcome.sets == {}
    assert outcome.codes == {frozenset({1, 2, 3}): "AMBIGUOUS"}


def test_another_payments_reference_speaks_against_amount_and_party():
    outcome = reconcile_items(
        frame(
            instruction(1, 500, party_account="DE00X"),
            instruction(2, 700),
            line(3, 500, party_account="DE00X", end_to_end_id="E2E-2026-1102-00000002"),
        )
    )
    assert outcome.sets == {}


def test_truncated_reference_clears_when_it_begins_one_only():
    cut = "E2E-2026-1102-0000000"
    one = reconcile_items(frame(instruction(1, 500, end_to_end_id=f"{cut}1"), line(3, 500, end_to_end_id=cut)))
    assert one.sets == {frozenset({1, 3}): "prefix-end-to-end"}
    two = reconcile_items(
        frame(
            instruction(1, 500, end_to_end_id=f"{cut}1"),
            instruction(2, 600, end_to_end_id=f"{cut}2"),
            line(3, 500, end_to_end_id=cut),
        )
    )
    assert two.sets == {}


def test_short_prefix_clears_nothing():
    outcome = reconcile_items(frame(instruction(1, 500), line(3, 500, end_to_end_id="E2E-2026-1102-0")))
    assert outcome.sets == {}


def test_nothing_clears_outside_the_window():
    rows = frame(instruction(1, 500, day=7), line(2, 500, end_to_end_id="E2E-2026-1102-00000001"))
    assert reconcile_items(rows).sets == {}
    wide = reconcile_items(rows, tolerances=Tolerances(window_days=3))
    assert wide.sets == {frozenset({1, 2}): "exact-end-to-end"}


@pytest.mark.parametrize("rule", ["routine-return", "routine-charge", "routine-interest"])
def test_line_clears_with_what_policy_posted(rule: str):
    outcome = reconcile_items(
        frame(line(1, -500, return_reason="AC04"), item(2, "ROUTINE", 500, corrects_id=1, rule=rule))
    )
    assert outcome.sets == {frozenset({1, 2}): rule}


def test_net_return_clears_with_payable_and_charge():
    outcome = reconcile_items(
        frame(
            line(1, -480, return_reason="AC04"),
            item(2, "ROUTINE", 500, corrects_id=1, rule="routine-return"),
            item(3, "ROUTINE", -20, corrects_id=1, rule="routine-return"),
        )
    )
    assert outcome.sets == {frozenset({1, 2, 3}): "routine-return"}


def test_other_account_or_currency_never_clears():
    outcome = reconcile_items(
        frame(
            instruction(1, 500),
            line(2, 500, end_to_end_id="E2E-2026-1102-00000001", account="eur-2"),
            instruction(3, 600),
            line(4, 600, end_to_end_id="E2E-2026-1102-00000003", account="usd", currency="USD"),
        )
    )
    assert outcome.sets == {}
    assert outcome.codes == {frozenset({1, 2}): "WRONG_ACCOUNT", frozenset({3, 4}): "CURRENCY_MISMATCH"}


def test_sets_have_their_schema_and_rules_are_distinct():
    cascade = clear(frame(), tolerances=Tolerances())
    assert cascade.sets.schema == pl.Schema(SET_SCHEMA)
    assert cascade.sets.height == 0
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert rules_sha256() != rules_sha256(("x",))
