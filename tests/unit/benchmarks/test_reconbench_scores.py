"""The measure tells matchers apart, and interchangeable answers are worth the same."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.reconbench import matchers
from benchmarks.reconbench.score import CLEARED, Answer, Scores, score
from tests.unit.benchmarks.reconbench_data import made

TRUTH = pl.DataFrame(
    [
        # id, line, group, block, klass, cls, evidence, ambiguous, code
        (1, True, 10, 10, 1, "plain", "reference", False, None),
        (2, False, 10, 10, 2, "plain", "reference", False, None),
        # two payments of one amount and party: interchangeable
        (3, True, 11, 50, 500, "repeat", "party account", False, None),
        (4, False, 11, 50, 501, "repeat", "party account", False, None),
        (5, True, 12, 50, 500, "repeat", "party account", False, None),
        (6, False, 12, 50, 501, "repeat", "party account", False, None),
        # one line for one of two entries
        (7, True, 13, 60, 600, "dup_ledger", "reference", False, None),
        (8, False, 13, 60, 601, "dup_ledger", "reference", False, None),
        (9, False, None, 60, 601, "dup_ledger", "duplicate entry", False, "DUP_LEDGER"),
        # nobody knows
        (20, True, None, 20, 20, "ambiguous", "none", True, "AMBIGUOUS"),
        (21, False, None, 21, 21, "ambiguous", "none", True, "AMBIGUOUS"),
        (22, False, None, 22, 22, "ambiguous", "none", True, "AMBIGUOUS"),
        (30, True, None, 30, 30, "fee", "reference", False, "FEE_DIFF"),
        (31, False, None, 31, 31, "fee", "reference", False, "FEE_DIFF"),
        (40, True, None, 40, 40, "unknown:x", "contradiction", False, None),
        (41, False, None, 41, 41, "unknown:x", "contradiction", False, None),
    ],
    schema={
        "item_id": pl.Int64(), "is_line": pl.Boolean(), "group_id": pl.Int64(), "block": pl.Int64(),
        "klass": pl.Int64(),
        "cls": pl.String(), "evidence": pl.String(), "ambiguous": pl.Boolean(), "code": pl.String(),
    },
    orient="row",
).with_columns(
    pl.when(pl.col("item_id") == 30).then(-90).when("is_line").then(-100).otherwise(100).alias("amount_minor"),
    pl.lit(100).alias("weight"),
)  # fmt: skip
AMOUNTS = TRUTH.select("item_id", pl.lit("a").alias("account"), pl.lit("EUR").alias("currency"), "amount_minor")
RIGHT = [{1, 2}, {3, 4}, {5, 6}, {7, 8}]
CODES = {9: "DUP_LEDGER", 20: "AMBIGUOUS", 21: "AMBIGUOUS", 22: "AMBIGUOUS", 30: "FEE_DIFF", 31: "FEE_DIFF"}
CODES |= {40: "UNIDENTIFIED_RECEIPT", 41: "MISSING_BANK"}


def judged(sets: list[set[int]], codes: dict[int, str]) -> Scores:
    legs = [(n, item) for n, found in enumerate(sets, start=1) for item in sorted(found)]
    return score(
        TRUTH,
        AMOUNTS,
        Answer(
            sets=pl.DataFrame(legs, schema={"set_ordinal": pl.Int64(), "item_id": pl.Int64()}, orient="row"),
            codes=pl.DataFrame(
                [(item, code, f"B{item}") for item, code in codes.items()],
                schema={"item_id": pl.Int64(), "code": pl.String(), "break_id": pl.String()},
                orient="row",
            ),
        ),
    )


def test_the_right_answer_is_perfect():
    figures = judged(RIGHT, CODES).figures
    for name in (
        "coverage",
        "precision",
        "group_f1",
        "pair_f1",
        "break_macro_f1",
        "break_macro_f1_strict",
        "unknown_contained",
    ):
        assert figures[name] == 1.0, name
    for name in ("false_clear_value_bp", "wrong_sets", "ambiguous_wrongly_cleared", "conservation_residual_minor"):
        assert figures[name] == 0.0, name


@pytest.mark.parametrize(
    ("sets", "codes"),
    [
        ([{1, 2}, {3, 6}, {5, 4}, {7, 8}], CODES),
        ([{1, 2}, {3, 4}, {5, 6}, {7, 9}], {8: "DUP_LEDGER"} | {n: c for n, c in CODES.items() if n != 9}),
    ],
)
def test_interchangeable_answers_are_worth_the_same(sets: list[set[int]], codes: dict[int, str]):
    assert judged(sets, codes).figures == judged(RIGHT, CODES).figures


def test_several_repeats_in_one_set_clear_rightly_but_not_exactly():
    figures = judged([{1, 2}, {3, 4, 5, 6}, {7, 8}], CODES).figures
    assert (figures["coverage"], figures["precision"]) == (1.0, 1.0)
    assert figures["group_precision"] == pytest.approx(2 / 3)


def test_a_part_of_a_group_that_is_zero_by_itself_is_right_but_not_exact():
    one = TRUTH.with_columns(
        pl.when(pl.col("item_id").is_in([1, 2, 3, 4])).then(10).otherwise("group_id").alias("group_id")
    )
    one = one.with_columns(pl.when(pl.col("group_id") == 10).then(10).otherwise("block").alias("block"))
    one = one.with_columns(pl.when(pl.col("item_id").is_in([3, 4])).then("item_id").otherwise("klass").alias("klass"))
    legs = [(n, item) for n, found in enumerate(RIGHT, start=1) for item in sorted(found)]
    sets = pl.DataFrame(legs, schema={"set_ordinal": pl.Int64(), "item_id": pl.Int64()}, orient="row")
    codes = pl.DataFrame(schema={"item_id": pl.Int64(), "code": pl.String(), "break_id": pl.String()})
    figures = score(one, AMOUNTS, Answer(sets, codes)).figures
    assert figures["wrong_sets"] == 0
    assert figures["group_precision"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "left"),
    [({1, 4}, {2, 3}), ({1, 2, 3, 4}, set()), ({1, 2, 7}, {8})],
)
def test_wrong_sets_cost_precision_and_value(wrong: set[int], left: set[int]):
    rest = [found for found in RIGHT if not found & (wrong | left)]
    codes = CODES | dict.fromkeys(left, "MISSING_BANK")
    figures = judged([wrong, *rest], codes).figures
    assert figures["wrong_sets"] == 1
    assert figures["precision"] < 1 and figures["coverage"] < 1
    assert figures["false_clear_value_bp"] == pytest.approx(10_000 * len(wrong) / TRUTH.height)


def test_a_lucky_guess_is_wrong():
    figures = judged([*RIGHT, {20, 21}], {n: c for n, c in CODES.items() if n not in {20, 21}}).figures
    assert figures["ambiguous_wrongly_cleared"] == 1
    assert figures["precision"] < 1
    assert figures["ambiguous_refused"] == pytest.approx(1 / 3)


def test_an_unknown_anomaly_in_a_set_is_not_contained():
    figures = judged([*RIGHT, {40, 41}], {n: c for n, c in CODES.items() if n < 40}).figures
    assert figures["unknown_wrongly_cleared"] == 1
    assert figures["unknown_contained"] == 0.0


def test_a_wrong_code_costs_its_code_and_shows_in_the_confusion():
    scores = judged(RIGHT, CODES | {30: "AMOUNT_MISMATCH"})
    assert scores.figures["break_macro_f1"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert ("FEE_DIFF", "AMOUNT_MISMATCH", 1) in scores.confusion.rows()


def test_clearing_a_break_costs_recall_of_its_code():
    scores = judged([*RIGHT, {30, 31}], {n: c for n, c in CODES.items() if n not in {30, 31}})
    assert ("FEE_DIFF", CLEARED, 2) in scores.confusion.rows()
    assert scores.figures["conservation_residual_minor"] > 0  # 100 is not 90


def test_refusing_everything_costs_the_strict_score_of_the_codes_it_hides_in():
    figures = judged([], CODES | dict.fromkeys(range(1, 9), "FEE_DIFF")).figures
    assert figures["coverage"] == 0.0
    assert figures["break_macro_f1"] == 1.0
    assert figures["break_macro_f1_strict"] < 0.9


@pytest.mark.parametrize(
    ("sets", "codes", "misplaced"),
    [
        (RIGHT, {n: c for n, c in CODES.items() if n != 30}, 1),  # dropped
        (RIGHT, CODES | {1: "TIMING"}, 1),  # in two places
        ([*RIGHT, {99, 98}], CODES, 2),  # unheard of
    ],
)
def test_items_in_no_place_or_two_are_counted(sets: list[set[int]], codes: dict[int, str], misplaced: int):
    assert judged(sets, codes).figures["items_not_in_one_place"] == misplaced


def test_the_measure_tells_matchers_apart():
    data = made()
    judge = {
        "oracle": matchers.oracle(data.truth),
        "reference": matchers.by_reference(data.inputs),
        "greedy": matchers.greedy(data.inputs),
        "nothing": matchers.nothing(data.amounts),
    }
    found = {name: score(data.truth, data.amounts, answer).figures for name, answer in judge.items()}
    coverage = {name: figures["coverage"] for name, figures in found.items()}
    assert coverage["oracle"] == 1.0 > coverage["greedy"] > coverage["reference"] > coverage["nothing"] == 0.0
    assert found["oracle"]["precision"] == 1.0 > found["reference"]["precision"] > found["greedy"]["precision"]
    assert found["oracle"]["break_macro_f1"] == 1.0
    assert found["greedy"]["ambiguous_wrongly_cleared"] > 0
    assert found["greedy"]["unknown_contained"] < 1.0
    assert 0.95 < found["oracle"]["reachable_ceiling"] < 1.0


def test_row_order_and_numbering_of_sets_do_not_matter():
    data = made()
    answer = matchers.greedy(data.inputs)
    mixed = Answer(
        sets=answer.sets.with_columns(1_000_000 - pl.col("set_ordinal").cast(pl.Int64)).sample(
            fraction=1, shuffle=True, seed=1
        ),
        codes=answer.codes.sample(fraction=1, shuffle=True, seed=2),
    )
    shuffled = data.truth.sample(fraction=1, shuffle=True, seed=3)
    assert score(shuffled, data.amounts, mixed).figures == pytest.approx(
        score(data.truth, data.amounts, answer).figures
    )
