"""Sums: the only choice, none, or a fork; never more than the bounds."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.matching.subsets import POOL_MAX, Outcome, find_subset


def test_the_only_choice() -> None:
    found = find_subset([500, 300, 70], 370)
    assert (found.outcome, found.chosen) == (Outcome.UNIQUE, (1, 2))


def test_two_choices_of_different_amounts_are_a_fork() -> None:
    found = find_subset([100, 200, 150, 150], 300)
    assert (found.outcome, found.chosen) == (Outcome.FORK, (0, 1, 2, 3))


def test_choices_of_the_same_amounts_are_a_fork() -> None:
    found = find_subset([100, 250, 70, 250], 350)
    assert (found.outcome, found.chosen) == (Outcome.FORK, (0, 1, 3))
    assert find_subset([100, 250, 70, 250], 600).chosen == (0, 1, 3), "all that are equal, nothing stands in for them"


def test_what_is_held_is_not_taken_and_stands_in_the_way() -> None:
    like_one = find_subset([500, 300, 70], 370, held=[300])
    assert (like_one.outcome, like_one.chosen) == (Outcome.FORK, (1, 2, 3))
    assert find_subset([500, 300, 70], 370, held=[290, 80]).outcome is Outcome.FORK
    assert find_subset([500, 300, 70], 370, held=[310] * POOL_MAX).outcome is Outcome.EXHAUSTED
    assert find_subset([500, 300, 70], 370, held=[500]).chosen == (1, 2)
    assert find_subset([500, 300], 370, held=[70]).outcome is Outcome.NONE


def test_one_part_alone_counts_as_a_choice() -> None:
    assert find_subset([300, 100, 200], 300).outcome is Outcome.FORK


def test_a_pool_too_large_is_not_searched() -> None:
    assert find_subset([1] * (POOL_MAX + 1), 5).outcome is Outcome.EXHAUSTED


@pytest.mark.parametrize(("chosen", "as_simple"), [(4, 1), (3, 5), (2, 11)])
def test_how_simple_a_choice_is(chosen: int, as_simple: int) -> None:
    parts = [1_001, 2_003, 4_007, 8_011]
    assert find_subset(parts, sum(parts[:chosen])).as_simple == as_simple


@given(parts=st.lists(st.integers(1, 30), max_size=9), target=st.integers(1, 120))
def test_small_pools_agree_with_trying_everything(parts: list[int], target: int) -> None:
    fitting = {
        choice
        for size in range(1, len(parts) + 1)
        for choice in combinations(range(len(parts)), size)
        if sum(parts[at] for at in choice) == target
    }
    wanted = {0: Outcome.NONE, 1: Outcome.UNIQUE}.get(len(fitting), Outcome.FORK)
    found = find_subset(parts, target)
    assert found.outcome is wanted
    if found.outcome is Outcome.UNIQUE:
        assert found.chosen in fitting
