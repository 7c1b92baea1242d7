"""One test a break code: what the anomaly looks like, and that exactly one break comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from recon.breaks import CLEARED_LINE_SCHEMA
from recon.codes import ITEM_CODES, STATEMENT_CODES, BreakCode
from recon.explain import Proposal
from recon.matching import RULES
from tests.unit.recon.recon_items import Outcome, frame, instruction, item, line, receipt, reconcile_items

E1 = "E2E-2026-1102-00000001"


def the_only(outcome: Outcome, code: str, items: set[int], item_ref: str) -> Proposal:
    assert outcome.codes == {frozenset(items): code}
    assert [b.item_ref for b in outcome.breaks] == [item_ref]
    (found,) = outcome.breaks
    assert found.explanation
    assert sum(leg.amount_minor for leg in found.proposal.legs) == 0
    return found.proposal


def test_dup_bank_same_day():
    outcome = reconcile_items(
        frame(
            instruction(1, 500),
            line(2, 500, end_to_end_id=E1, servicer_ref="B2", uetr="uetr-1"),
            line(3, 500, end_to_end_id=E1, servicer_ref="B1", uetr="uetr-1"),
        )
    )
    assert outcome.sets == {frozenset({1, 3}): "exact-end-to-end"}
    proposal = the_only(outcome, "DUP_BANK", {2}, "B2")
    assert [(leg.account, leg.amount_minor) for leg in proposal.legs] == [
        ("assets:transit:eur-payouts", -500),
        ("assets:claims:eur", 500),
    ]


@pytest.mark.parametrize(
    "fields", [{"end_to_end_id": E1}, {"uetr": "uetr-1"}, {"servicer_ref": "B1", "end_to_end_id": E1}]
)
def test_dup_bank_of_an_earlier_day(fields: dict[str, str]):
    earlier = frame(line(90, 500, end_to_end_id=E1, uetr="uetr-1", servicer_ref="B1")).select(list(CLEARED_LINE_SCHEMA))
    outcome = reconcile_items(frame(line(2, 500, **{"servicer_ref": "B9", **fields})), cleared=earlier)
    the_only(outcome, "DUP_BANK", {2}, fields.get("servicer_ref", "B9"))


def test_dup_bank_of_a_whole_batch():
    earlier = frame(line(90, 500, payment_information_id="PMT-1", batch_count=3, servicer_ref="B1"))
    outcome = reconcile_items(
        frame(line(2, 500, payment_information_id="PMT-1", batch_count=3, servicer_ref="B2")), cleared=earlier
    )
    the_only(outcome, "DUP_BANK", {2}, "B2")


@pytest.mark.parametrize("reference", ["E2E-UNKNOWN", None])
def test_unauthorised_debit(reference: str | None):
    outcome = reconcile_items(frame(line(2, 500, end_to_end_id=reference)))
    the_only(outcome, "UNAUTHORISED_DEBIT", {2}, "BANK0002")


def test_unidentified_receipt():
    outcome = reconcile_items(frame(line(2, -500, party_name="A stranger", party_account="DE00STRANGE")))
    the_only(outcome, "UNIDENTIFIED_RECEIPT", {2}, "BANK0002")


def test_unidentified_receipt_is_not_a_payout_of_the_same_amount():
    outcome = reconcile_items(
        frame(receipt(1, 500, "PO-1"), line(2, -500, party_name="A stranger", party_account="DE00STRANGE"))
    )
    assert outcome.sets == {}
    the_only(outcome, "UNIDENTIFIED_RECEIPT", {2}, "BANK0002")
    assert outcome.in_flight == [1]


def test_amount_mismatch_with_transposed_digits():
    outcome = reconcile_items(frame(instruction(1, 12300), line(2, 13200, end_to_end_id=E1)))
    the_only(outcome, "AMOUNT_MISMATCH", {1, 2}, "BANK0002")
    assert "transposed" in outcome.breaks[0].explanation
    assert outcome.breaks[0].amount_minor == 900


def test_fee_diff():
    outcome = reconcile_items(frame(receipt(1, 10000, "PO-1"), line(2, -9750, end_to_end_id="PO-1", charges_minor=250)))
    proposal = the_only(outcome, "FEE_DIFF", {1, 2}, "BANK0002")
    assert ("expenses:bank-fees:eur", 250) in [(leg.account, leg.amount_minor) for leg in proposal.legs]


def test_missing_bank_once_it_is_overdue():
    assert reconcile_items(frame(instruction(1, 500, day=9))).in_flight == [1]
    outcome = reconcile_items(frame(instruction(1, 500, day=8)))
    the_only(outcome, "MISSING_BANK", {1}, E1)
    assert outcome.breaks[0].age_days == 2


def test_wrong_account():
    outcome = reconcile_items(frame(receipt(1, 500, "PO-1"), line(2, -500, end_to_end_id="PO-1", account="eur-2")))
    proposal = the_only(outcome, "WRONG_ACCOUNT", {1, 2}, "BANK0002")
    assert {leg.account for leg in proposal.legs} == {"assets:transit:eur-payouts", "assets:transit:eur-2"}


def test_date_out_of_window():
    outcome = reconcile_items(frame(instruction(1, 500, day=8), line(2, 500, end_to_end_id=E1)))
    the_only(outcome, "DATE_OUT_OF_WINDOW", {1, 2}, "BANK0002")
    assert "1 day wider" in outcome.breaks[0].explanation


def test_late_line_that_repeats_is_still_a_repeat():
    outcome = reconcile_items(
        frame(
            instruction(1, 500, day=8),
            line(2, 500, end_to_end_id=E1, servicer_ref="B1"),
            line(3, 500, end_to_end_id=E1, servicer_ref="B2"),
        )
    )
    assert outcome.codes == {frozenset({1, 2}): "DATE_OUT_OF_WINDOW", frozenset({3}): "DUP_BANK"}


def test_batch_residual_names_the_member_left_out():
    outcome = reconcile_items(
        frame(
            instruction(1, 500),
            instruction(2, 700),
            instruction(3, 900),
            line(4, 1400, payment_information_id="PMT-1", batch_count=2),
        )
    )
    the_only(outcome, "BATCH_RESIDUAL", {1, 2, 3, 4}, "BANK0004")
    assert "E2E-2026-1102-00000002" in outcome.breaks[0].explanation


@pytest.mark.parametrize("code", ["PMNT/ICDT/CHRG", "ACMT/MDOP/CHRG"])
def test_bank_originated(code: str):
    outcome = reconcile_items(frame(line(2, 990, bank_tx_code=code)))
    the_only(outcome, "BANK_ORIGINATED", {2}, "BANK0002")


def test_a_charge_is_never_taken_for_a_payment_of_the_same_amount():
    outcome = reconcile_items(frame(instruction(1, 990), line(2, 990, bank_tx_code="ACMT/MDOP/CHRG")))
    the_only(outcome, "BANK_ORIGINATED", {2}, "BANK0002")
    assert outcome.in_flight == [1]


@pytest.mark.parametrize(
    "fields",
    [
        {"party_account": "DE00CARDIA", "end_to_end_id": "PO-9"},
        {"party_account": "DE00CARDIA", "remittance": "Payout PO-9"},
        {"party_name": "CARDIA ACQUIRING", "remittance": "Payout PO-9"},
    ],
)
def test_missing_ledger(fields: dict[str, str]):
    outcome = reconcile_items(frame(line(2, -500, **fields)))
    the_only(outcome, "MISSING_LEDGER", {2}, "BANK0002")


def test_overpayment():
    outcome = reconcile_items(frame(receipt(1, 500, "PO-1"), line(2, -520, end_to_end_id="PO-1")))
    the_only(outcome, "OVERPAYMENT", {1, 2}, "BANK0002")


@pytest.mark.parametrize("off", [1, -1])
def test_rounding(off: int):
    outcome = reconcile_items(frame(receipt(1, 500, "PO-1"), line(2, -500 - off, end_to_end_id="PO-1")))
    the_only(outcome, "ROUNDING", {1, 2}, "BANK0002")


def test_partial_while_there_is_time():
    rows = [line(2, -200, end_to_end_id="PO-1"), line(3, -200, remittance="PO-1")]
    outcome = reconcile_items(frame(receipt(1, 500, "PO-1"), *rows))
    the_only(outcome, "PARTIAL", {1, 2, 3}, "BANK0002")
    late = reconcile_items(frame(receipt(1, 500, "PO-1", day=8, age_days=2), *rows))
    the_only(late, "AMOUNT_MISMATCH", {1, 2, 3}, "BANK0002")


def test_ambiguous_is_one_break():
    outcome = reconcile_items(
        frame(
            instruction(1, 500),
            instruction(2, 500),
            instruction(5, 600),
            line(3, 500, servicer_ref="B8", payment_information_id="PMT-1"),
            line(4, 500, servicer_ref="B7"),
            line(6, 600, end_to_end_id="E2E-2026-1102-00000005"),
        )
    )
    the_only(outcome, "AMBIGUOUS", {1, 2, 3, 4}, "B7")


def test_amount_and_date_alone_never_clear():
    outcome = reconcile_items(frame(instruction(1, 500), line(2, 500)))
    assert outcome.sets == {}
    the_only(outcome, "AMBIGUOUS", {1, 2}, "BANK0002")


def test_return_that_policy_did_not_post():
    outcome = reconcile_items(frame(line(2, -500, return_reason="AC04", end_to_end_id=E1)))
    the_only(outcome, "RETURN", {2}, "BANK0002")


def test_reversal_by_the_bank():
    outcome = reconcile_items(frame(line(2, -500, is_reversal=True)))
    the_only(outcome, "REVERSAL", {2}, "BANK0002")


def test_every_open_item_has_exactly_one_code():
    items = frame(
        instruction(1, 500),
        instruction(2, 700, day=5),
        line(3, 500),
        line(4, -10, party_account="DE00CARDIA"),
        item(5, "OTHER", 33),
    )
    outcome = reconcile_items(items)
    rows = outcome.classification.open_items
    assert rows["item_id"].to_list() == [1, 2, 3, 4, 5]
    assert rows["code"].null_count() == 0
    assert sum(len(b.item_ids) for b in outcome.breaks) + len(outcome.in_flight) == 5


def test_every_code_has_its_place_in_the_list():
    listed = [rule.code for rule in STATEMENT_CODES + ITEM_CODES]
    assert set(listed) | {BreakCode.TIMING} == set(BreakCode)
    assert len(listed) == len(set(listed))


def test_break_ids_name_the_anchor_posting():
    outcome = reconcile_items(frame(line(77, 500), line(78, -500)))
    assert sorted(b.break_id for b in outcome.breaks) == ["B77", "B78"]
    assert outcome.classification.open_items.filter(pl.col("break_id").is_null()).height == 0


def test_every_code_and_rule_is_documented():
    text = (Path(__file__).resolve().parents[3] / "docs" / "breaks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)
    assert rows == [rule.code.value for rule in STATEMENT_CODES + ITEM_CODES] + ["TIMING"]
    assert all(f"`{rule.code}`" in text for rule in RULES)
