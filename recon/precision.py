"""What a sample of reviewed sets says: a bound on the value falsely cleared, and on each rule's precision.

Lives here: exact integer arithmetic on counts and minor units. Must not live here: drawing samples (the database),
databases. Nothing here is a binary fraction: bounds are whole minor units and millionths, rounded to the safe side.

Sources: monetary-unit sampling with the Poisson bound ("Audit Sampling", AICPA guide, confidence factors for 95 %);
the exact interval of a proportion: Clopper and Pearson (1934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

# 1000 x the upper 95 % limit of a Poisson mean after 0, 1, 2, … errors, rounded up.
_FACTORS = (2996, 4744, 6296, 7754, 9154, 10514, 11843, 13149, 14435, 15706, 16963, 18208, 19443, 20669, 21887)
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A sampled set: value and what of it was false, in minor units, and the risk weight of its rule."""

    value_minor: int
    weight: int
    false_minor: int


def false_value_bound(reviewed: Sequence[Reviewed], *, interval: int, population_minor: int, lightest: int) -> int:
    """With 95 % confidence no more than this was falsely cleared (minor units), once the whole sample is reviewed.

    A set above the interval is in every sample, so its error counts as it is. The others stand for the rest: the
    Poisson bound over their taintings, largest first, in weighed units. What a weighed unit is worth at most, the
    `lightest` set of all that cleared says: errors may be in sets that no sample met.
    """
    certain = sum(r.false_minor for r in reviewed if r.value_minor * r.weight >= interval)
    rest = population_minor - sum(r.value_minor for r in reviewed if r.value_minor * r.weight >= interval)
    wrong = [r for r in reviewed if r.false_minor and r.value_minor * r.weight < interval]
    wrong.sort(key=lambda r: Fraction(r.false_minor, r.value_minor), reverse=True)
    if len(wrong) >= len(_FACTORS):
        return certain + rest
    bound = _FACTORS[0] * interval
    for place, found in enumerate(wrong, start=1):
        step = _FACTORS[place] - _FACTORS[place - 1]
        bound += -(-step * interval * found.false_minor // found.value_minor)
    return certain + min(-(-bound // (1000 * lightest)), rest)


def precision_bounds(reviewed: int, wrong: int) -> tuple[int, int]:
    """Lower and upper one-sided 95 % bounds of a precision, in millionths (Clopper-Pearson, exact).

    Nothing reviewed: (0, 1 000 000).
    """
    if reviewed == 0:
        return 0, _MILLION
    return _MILLION - _error_upper(reviewed, wrong), _MILLION - _error_lower(reviewed, wrong)


def _error_upper(reviewed: int, wrong: int) -> int:
    """Smallest error rate (millionths) at which so few errors are seen with at most 5 %."""
    if wrong == reviewed:
        return _MILLION
    low, high = 0, _MILLION
    while low < high:
        middle = (low + high) // 2
        if _at_most(reviewed, wrong, middle) * 20 <= _MILLION**reviewed:
            high = middle
        else:
            low = middle + 1
    return low


def _error_lower(reviewed: int, wrong: int) -> int:
    """Largest error rate (millionths) at which so many errors are seen with at most 5 %."""
    if wrong == 0:
        return 0
    low, high = 0, _MILLION
    while low < high:
        middle = (low + high + 1) // 2
        at_least = _MILLION**reviewed - _at_most(reviewed, wrong - 1, middle)
        if at_least * 20 <= _MILLION**reviewed:
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(trials: int, errors: int, rate: int) -> int:
    """P(at most `errors` in `trials`) at this rate, times a million to the power of `trials`."""
    rest = _MILLION - rate
    return sum(comb(trials, k) * rate**k * rest ** (trials - k) for k in range(errors + 1))
