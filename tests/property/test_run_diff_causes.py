"""Causes of changed decisions, with several changes at once: each named where it matters, none where it does not."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recon.breaks import ACQUIRER_SCHEMA, CLEARED_LINE_SCHEMA
from recon.deciding import DECIDED_SCHEMA, RunInputs
from recon.matching import ITEM_SCHEMA, Tolerances
from recon.material import Material, code_sha256, current_rules, decision_keys
from recon.run_diff import Cause, Steps, decided_in_steps
from tests.unit.recon.recon_items import MONDAY, frame, instruction, line

RULE, CALENDAR, DATA, CODE = Cause.RULE, Cause.CALENDAR, Cause.DATA, Cause.CODE
DAYS = 3


def e2e(number: int) -> str:
    return f"E2E-2026-1102-{number:08}"


def rows_of(units: dict[str, int], changes: frozenset[Cause]) -> list[dict[str, object]]:
    """`data`: payments whose line comes with B; `aged`: payments nobody answers; `held`: payment and line that only a
    suggesting rule finds; `both`: the same, and the line comes with B."""
    age = {"day": 10 - DAYS, "age_days": DAYS} if CALENDAR in changes else {"day": 10, "age_days": 0}
    rows, number = [], 0
    for unit, count in units.items():
        for _ in range(count):
            number += 1
            amount = 10_000 + 137 * number * number
            rule = {"end_to_end_id": None} if unit in ("held", "both") else {}
            rows.append(instruction(number, amount, **age, **rule))
            if unit == "held" or (unit in ("data", "both") and DATA in changes):
                by = {"uetr": f"uetr-{number}"} if unit in ("held", "both") else {"end_to_end_id": e2e(number)}
                rows.append(line(1_000 + number, amount, **age, **by))
    return rows


def run(units: dict[str, int], changes: frozenset[Cause]) -> Material:
    inputs = RunInputs(
        items=frame(*rows_of(units, changes)).with_columns(date=pl.lit(MONDAY)).sort("item_id"),
        later=pl.DataFrame(schema=ITEM_SCHEMA),
        decided=pl.DataFrame(schema=DECIDED_SCHEMA),
        denied={},
        suggested={} if RULE in changes else {"exact-uetr": "People found it wrong."},
        acquirers=pl.DataFrame(schema=ACQUIRER_SCHEMA),
        tolerances=Tolerances(),
    )
    cleared = pl.DataFrame(schema=CLEARED_LINE_SCHEMA)
    return Material(1, MONDAY, current_rules(), code_sha256(), inputs, cleared)


def named(steps: Steps) -> dict[int, set[Cause]]:
    """The causes of every item that is decided otherwise."""
    found = {}
    for item in {*steps.chain[0], *steps.chain[-1]}:
        keys = steps.of(item)
        if keys[0] != keys[-1]:
            found[item] = set(steps.causes(item, keys))
    return found


def steps_of(a: Material, b: Material) -> Steps:
    return decided_in_steps(a, b, decision_keys(a.decide()), decision_keys(b.decide()))


@settings(max_examples=4, deadline=None)
@example({"data": 1, "aged": 1, "held": 1, "both": 1}, frozenset({RULE, CALENDAR, DATA}))
@example({"data": 0, "aged": 0, "held": 0, "both": 2}, frozenset({RULE, DATA}))
@given(
    st.fixed_dictionaries({unit: st.integers(0, 2) for unit in ("data", "aged", "held", "both")}).filter(
        lambda units: sum(units.values()) > 0
    ),
    st.frozensets(st.sampled_from([RULE, CALENDAR, DATA])),
)
def test_every_cause_is_named_where_it_matters_and_nowhere_else(
    units: dict[str, int], changes: frozenset[Cause]
) -> None:
    expected: dict[int, set[Cause]] = {}
    number = 0
    for unit, count in units.items():
        for _ in range(count):
            number += 1
            answered = DATA in changes and unit in ("data", "both")
            if answered:
                expected[1_000 + number] = {DATA}
                expected[number] = {DATA, RULE} if unit == "both" and RULE in changes else {DATA}
            elif unit == "held" and RULE in changes:
                expected[number] = expected[1_000 + number] = {RULE}
            elif unit != "held" and CALENDAR in changes:
                expected[number] = {CALENDAR}
    assert named(steps_of(run(units, frozenset()), run(units, changes))) == expected


def test_days_in_flight_and_acquirers_are_declared_terms() -> None:
    a = run({"aged": 1}, frozenset({CALENDAR}))
    patient = dataclasses.replace(a.inputs, items=a.inputs.items.with_columns(pl.lit(9, pl.Int32).alias("sla_days")))
    assert named(steps_of(a, dataclasses.replace(a, inputs=patient))) == {1: {RULE}}
    more = pl.DataFrame([("Cardia", "DE00")], schema=ACQUIRER_SCHEMA, orient="row")
    steps = steps_of(a, dataclasses.replace(a, inputs=dataclasses.replace(a.inputs, acquirers=more)))
    assert steps.differing == (RULE,)


@pytest.mark.parametrize("change", [RULE, CALENDAR, DATA])
def test_one_older_program_for_both_runs_is_no_cause(change: Cause) -> None:
    """It cleared nothing; what now clears in both has the cause that the runs differ in."""
    units = {"held": 1, "data": 1, "aged": 1}
    old = {"code_sha256": "0" * 64}
    a = dataclasses.replace(run(units, frozenset()), **old)
    b = dataclasses.replace(run(units, frozenset({change})), **old)
    then, later = (dict.fromkeys(m.inputs.items["item_id"], f"open as {n}") for n, m in enumerate((a, b)))
    assert set().union(*named(decided_in_steps(a, b, then, later)).values()) == {change}
    newer = dataclasses.replace(b, code_sha256=code_sha256())
    for causes in named(decided_in_steps(a, newer, then, decision_keys(newer.decide()))).values():
        assert causes <= {CODE, change}
    assert CODE in set().union(*named(decided_in_steps(a, newer, then, decision_keys(newer.decide()))).values())
