"""Bounds from reviewed samples: known values, and laws that hold for every sample."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st

from recon.precision import Reviewed, false_value_bound, precision_bounds


def test_the_exact_interval_agrees_with_published_values() -> None:
    """Rule of three, and one-sided Clopper-Pearson limits as tables give them."""
    assert precision_bounds(0, 0) == (0, 1_000_000)
    lower, upper = precision_bounds(59, 0)
    assert (lower, upper) == (950_492, 1_000_000)  # 0.05 ** (1 / 59) = 0.9504923
    lower, upper = precision_bounds(100, 1)
    assert lower == 953_440 and upper == 999_488  # Beta(99, 2) at 5 %, 1 - (1 - 0.95 ** (1 / 100))
    assert precision_bounds(10, 10) == (0, 258_866)  # 1 - 0.05 ** (1 / 10) = 0.2588656


def test_no_error_gives_the_basic_precision() -> None:
    sample = [Reviewed(100, 1, 0)] * 10
    assert false_value_bound(sample, interval=1_000, population_minor=10_000, lightest=1) == 2_996
    assert false_value_bound(sample, interval=1_000, population_minor=2_000, lightest=1) == 2_000


def test_weights_make_the_bound_smaller_and_certain_errors_count_as_they_are() -> None:
    risky = [Reviewed(100, 3, 0)] * 10
    assert false_value_bound(risky, interval=1_000, population_minor=10_000, lightest=3) == 999
    assert false_value_bound([Reviewed(5_000, 1, 7)], interval=1_000, population_minor=5_000, lightest=1) == 7


def test_what_no_sample_met_is_bounded_too() -> None:
    """Sets of a lighter rule than any sampled one, and small sets beside one that fills the sample."""
    risky = [Reviewed(100, 3, 0)] * 10
    assert false_value_bound(risky, interval=1_000, population_minor=10_000, lightest=1) == 2_996
    assert false_value_bound([Reviewed(5_000, 1, 7)], interval=1_000, population_minor=5_500, lightest=1) == 507


def test_the_bound_covers_what_is_false_in_95_of_100_samples() -> None:
    """Over every start that a seed can give: errors only in sets of the light rule, which samples seldom meet."""
    interval, total = 512, 0
    heavy, light = [Reviewed(40, 3, 0)] * 230, [Reviewed(40, 1, 40)] * 30
    population = [each for n, each in enumerate(heavy) for each in ((each, light[n // 8]) if n % 8 == 0 else (each,))]
    false = sum(each.false_minor for each in population)
    ends = []
    for each in population:
        total += each.value_minor * each.weight
        ends.append(total)
    covered = 0
    for start in range(1, interval + 1):
        points = range(start, total + 1, interval)
        sample = [population[bisect_left(ends, point)] for point in points]
        covered += false <= false_value_bound(
            sample, interval=interval, population_minor=sum(e.value_minor for e in population), lightest=1
        )
    assert covered >= 0.95 * interval


def test_errors_are_projected_largest_first() -> None:
    sample = [Reviewed(100, 1, 50), Reviewed(100, 1, 100), *([Reviewed(100, 1, 0)] * 8)]
    # 2.996 + (4.744 - 2.996) x 100 % + (6.296 - 4.744) x 50 % intervals
    assert false_value_bound(sample, interval=1_000, population_minor=10**9, lightest=1) == 2_996 + 1_748 + 776


sets = st.builds(lambda value, weight, share: Reviewed(value, weight, value * share // 100), st.integers(1, 10**9),
                 st.sampled_from([1, 2, 3]), st.integers(0, 100))  # fmt: skip


@given(st.lists(sets, min_size=1, max_size=30), st.integers(1, 10**9))
def test_a_bound_covers_what_was_found_and_grows_with_errors(sample: list[Reviewed], interval: int) -> None:
    population = sum(found.value_minor for found in sample) * 100
    bound = false_value_bound(sample, interval=interval, population_minor=population, lightest=1)
    assert 0 <= bound <= population
    certain = sum(found.false_minor for found in sample if found.value_minor * found.weight >= interval)
    assert bound >= certain
    worse = [Reviewed(found.value_minor, found.weight, found.value_minor) for found in sample]
    assert false_value_bound(worse, interval=interval, population_minor=population, lightest=1) >= bound


@settings(deadline=None)
@given(st.integers(1, 200), st.data())
def test_precision_bounds_hold_the_observed_share_between_them(reviewed: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, reviewed))
    lower, upper = precision_bounds(reviewed, wrong)
    assert lower <= 1_000_000 * (reviewed - wrong) // reviewed <= upper
