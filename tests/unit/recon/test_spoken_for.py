"""What another open line as good as names is not taken by amount and party, alone or in a sum; it stays in the way."""

from __future__ import annotations

import polars as pl

from tests.unit.recon.recon_items import frame, instruction, line, receipt, reconcile_items

X = {"party_account": "DE00X"}
CARDIA = {"party_account": "DE00CARDIA"}
VAGUE = line(9, 900, remittance="202603.ACME.0000", **X)  # how all references of the month begin


def test_a_line_of_another_amount_whose_reference_is_cut_leaves_its_candidates_in_the_way():
    one = instruction(1, 500, end_to_end_id="7PPZUA5YET4N:000010864", **X)
    other = instruction(2, 500, end_to_end_id="202603.ACME.000020122.3CEZ", **X)
    cut = line(3, 500, end_to_end_id="7PPZUA5YET4N:000")
    silent = line(4, 500, **X)
    assert reconcile_items(frame(one, other, cut, silent, VAGUE)).sets == {frozenset({1, 3}): "prefix-end-to-end"}
    assert reconcile_items(frame(one, silent)).sets == {frozenset({1, 4}): "amount-party"}


def test_what_a_line_with_a_letter_wrong_means_is_its_own_whatever_another_amount_begins_with():
    items = frame(
        instruction(1, 500, end_to_end_id="202603.ACME.000035341.SMA3", **X),
        line(2, 500, end_to_end_id="202603.AMCE.000035341.SMA3", **X),
        VAGUE,
    )
    assert reconcile_items(items).sets == {frozenset({1, 2}): "scored"}


def test_a_silent_line_leaves_what_a_reference_without_an_account_could_mean():
    items = frame(
        instruction(1, 500, end_to_end_id="ord_vzqfkdh25b7nvadws7z6", **X),
        line(2, 500, end_to_end_id="ord_vzqfkdh25b7nvdaws7z6"),
        line(3, 500, **X),
    )
    assert frozenset({1, 3}) not in reconcile_items(items).sets
    assert reconcile_items(items.filter(pl.col("item_id") != 2)).sets == {frozenset({1, 3}): "amount-party"}


def test_a_member_of_a_batch_that_is_open_is_no_silent_lines():
    items = frame(
        instruction(1, 500, day=11, **X),
        instruction(2, 700),
        line(3, 900, payment_information_id="PMT-1", batch_count=2),
        line(4, 500, **X),
    )
    assert reconcile_items(items).sets == {}
    assert reconcile_items(items.filter(pl.col("item_id") != 3)).sets == {frozenset({1, 4}): "scored"}


def test_a_sum_takes_no_part_that_a_spoilt_reference_could_mean_nor_one_of_two_alike():
    items = frame(
        receipt(1, 8663, "202603.ACME.5000000550.MJRF"),
        receipt(2, 10991, "202603.ACME.000035341.SMA3"),
        receipt(3, 3043, "RF53530315672323032262984"),
        receipt(4, 10991, "SJZ9QQMZEB8N:5000000511"),
        line(5, -22697, **CARDIA),
        line(6, -10991, remittance="202603.A?ME-00X0353 SMA3 000035"),
    )
    without = {
        gone: reconcile_items(items.filter(~pl.col("item_id").is_in(gone))).sets for gone in ((), (4,), (6,), (4, 6))
    }
    assert without == {(): {}, (4,): {}, (6,): {}, (4, 6): {frozenset({1, 2, 3, 5}): "subset-sum"}}
