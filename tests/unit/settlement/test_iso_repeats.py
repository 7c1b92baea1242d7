"""Repeated ids are found whatever their order and number, in memory of one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso_samples import PROFILES, credit_transfers, limits, payment_file

from settlement.iso20022 import check_business_rules
from settlement.iso20022.repeats import HashRuns, repeats

SEPA = PROFILES[0]


@given(st.lists(st.integers(0, 40).map(str), max_size=120), st.integers(1, 16))
def test_runs_find_what_a_set_would(values: list[str], run_hashes: int) -> None:
    with HashRuns(run_hashes) as seen:
        for value in values:
            seen.add_all([value])
        twice = seen.repeated()
    assert twice == {hash(value) for value, count in Counter(values).items() if count > 1}
    found = list(repeats(values, twice))
    assert len(found) == len(values) - len(set(values))
    assert all(values[later - 1] == values[earlier - 1] and earlier < later for later, earlier in found)


def test_many_values_stay_in_runs() -> None:
    with HashRuns(1000) as seen:
        for start in range(0, 50_000, 500):
            seen.add_all(map(str, range(start, start + 500)))
            assert len(seen.pending) < 1000
        assert seen.repeated() == set()
        seen.add_all(["17", "49999"])
        assert seen.repeated() == {hash("17"), hash("49999")}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("field", ["instruction_id", "end_to_end_id", "uetr"])
def test_a_repeat_is_named_in_any_order_of_ids(field: str, turned: bool) -> None:
    transfers = list(credit_transfers(SEPA, 7))
    if turned:
        transfers.reverse()
    transfers[5] = replace(transfers[5], **{field: getattr(transfers[1], field)})
    rule = f"{field.replace('_', '-')}-unique"
    for given_as in (transfers, iter(transfers)):
        findings = check_business_rules(payment_file(SEPA), given_as, limits(SEPA))
        assert [(f.rule, f.place) for f in findings if f.rule.endswith("-unique")] == [(rule, "payment 6")]
        assert "payment 2" in next(f.sentence for f in findings if f.rule == rule)
