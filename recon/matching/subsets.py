"""Which parts add up to a total, and whether only one choice does (Horowitz and Sahni, 1974: two halves meet).

Lives here: bounded search with a certificate of uniqueness. Must not live here: items, rules, databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import comb

POOL_MAX = 40
HALVES_POOL_MAX = 20  # up to here every subset of at most HALVES_SIZE_MAX parts is looked at
HALVES_SIZE_MAX = 12
LARGE_POOL_SIZE_MAX = 3


class Outcome(StrEnum):
    """What a search for a sum found. FORK: several choices fit. EXHAUSTED: the pool is too large."""

    UNIQUE = "UNIQUE"
    NONE = "NONE"
    FORK = "FORK"
    EXHAUSTED = "EXHAUSTED"


@dataclass(frozen=True, slots=True)
class SubsetSum:
    """The outcome and the positions chosen (UNIQUE), or those that could be (FORK).

    `as_simple` counts the subsets that leave out, or take, no more parts than the one chosen: the whole pool is one
    choice, half of a large pool one of very many. What fits by accident fits in proportion to it.
    """

    outcome: Outcome
    chosen: tuple[int, ...] = ()
    as_simple: int = 0


def find_subset(parts: Sequence[int], target: int, held: Sequence[int] = ()) -> SubsetSum:
    """The one subset of `parts` (non-zero, one sign, minor units) that adds up to `target`.

    Two choices are a fork, also when they have the same amounts: a part left out that is equal to one taken could stand
    in for it. What is `held` (the same kind of amounts; positions go on there) is never taken, but a choice that has of
    it is a choice, and where parts and held are too many to search nothing is unique. A pool of more than 40 is not
    searched; one of more than 20 only up to three parts, and then what it finds is unique only among those.
    """
    count = len(parts)
    if count > POOL_MAX:
        return SubsetSum(Outcome.EXHAUSTED)
    found = (_meeting_halves if count <= HALVES_POOL_MAX else _small_choices)(parts, target)
    kinds = {tuple(sorted(parts[at] for at in choice)) for choice in found}
    if not kinds:
        return SubsetSum(Outcome.NONE)
    if len(kinds) > 1:
        return SubsetSum(Outcome.FORK, tuple(sorted({at for choice in found for at in choice})))
    chosen = min(found)
    taken = {parts[at] for at in chosen}
    like = tuple(at for at in range(count) if parts[at] in taken)
    if len(like) > len(chosen):
        return SubsetSum(Outcome.FORK, like)
    if held:
        whole = [*parts, *held]
        if not taken.isdisjoint(held):
            return SubsetSum(Outcome.FORK, tuple(at for at, amount in enumerate(whole) if amount in taken))
        answer = find_subset(whole, target)
        if answer.outcome in {Outcome.FORK, Outcome.EXHAUSTED}:
            return answer
    return SubsetSum(Outcome.UNIQUE, chosen, _as_simple(count, len(chosen)))


def _as_simple(count: int, size: int) -> int:
    return sum(comb(count, taken) for taken in range(min(size, count - size) + 1))


def _meeting_halves(parts: Sequence[int], target: int) -> list[tuple[int, ...]]:
    """Choices that fit; the search ends when two of them differ in their amounts."""
    middle = len(parts) // 2
    left = _sums(parts, range(middle))
    found: list[tuple[int, ...]] = []
    for total, choices in _sums(parts, range(middle, len(parts))).items():
        for head in left.get(target - total, ()):
            for tail in choices:
                if 0 < len(head) + len(tail) <= HALVES_SIZE_MAX:
                    found.append(head + tail)
                    if _differ(parts, found[0], found[-1]):
                        return [found[0], found[-1]]
    return found


def _sums(parts: Sequence[int], places: range) -> dict[int, list[tuple[int, ...]]]:
    sums: dict[int, list[tuple[int, ...]]] = {0: [()]}
    for at in places:
        longer = [(total + parts[at], (*choice, at)) for total, choices in sums.items() for choice in choices]
        for total, choice in longer:
            sums.setdefault(total, []).append(choice)
    return sums


def _small_choices(parts: Sequence[int], target: int) -> list[tuple[int, ...]]:
    return [
        choice
        for size in range(1, LARGE_POOL_SIZE_MAX + 1)
        for choice in combinations(range(len(parts)), size)
        if sum(parts[at] for at in choice) == target
    ]


def _differ(parts: Sequence[int], one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return sorted(parts[at] for at in one) != sorted(parts[at] for at in other)
