"""The checker of histories finds what it is for: against trying every order, and on accounts that are broken."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.history import Attempt, TooHardError, serial_order

DELTAS = st.integers(-6, 4).filter(bool)


def explained(attempts: list[Attempt], opening: int = 0, floor: int = 0) -> bool:
    order = serial_order(attempts, opening_minor=opening, floor_minor=floor)
    assert order is None or is_right(order, opening, floor)
    return order is not None


def is_right(order: tuple[Attempt, ...], opening: int, floor: int) -> bool:
    """Every answer is right where it stands, and nobody stands behind one that was asked after his answer."""
    stands, asked = opening, 0
    for one in order:
        asked = max(asked, one.asked_ns)
        if one.answered_ns < asked or one.accepted is not (stands + one.delta_minor >= floor):
            return False
        stands += one.delta_minor if one.accepted else 0
    return True


@st.composite
def histories(draw: st.DrawFn, *, longest: int) -> list[Attempt]:
    """Any answers to any requests at any times."""
    found = []
    for _ in range(draw(st.integers(0, longest))):
        asked = draw(st.integers(0, 12))
        found.append(Attempt(draw(DELTAS), draw(st.booleans()), asked, asked + draw(st.integers(0, 8))))
    return found


@given(history=histories(longest=6), opening=st.integers(0, 8))
def test_it_says_what_trying_every_order_says(history: list[Attempt], opening: int) -> None:
    by_trying = any(is_right(order, opening, 0) for order in permutations(history))
    assert explained(history, opening) is by_trying


@given(
    deltas=st.lists(DELTAS, max_size=40),
    around=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=40, max_size=40),
)
def test_what_happened_one_by_one_is_explained_however_the_answers_overlap(
    deltas: list[int], around: list[tuple[int, int]]
) -> None:
    stands, history = 5, []
    for number, (delta, (before, after)) in enumerate(zip(deltas, around, strict=False)):
        fits = stands + delta >= 0
        stands += delta if fits else 0
        history.append(Attempt(delta, fits, 10 * number - before, 10 * number + after))
    assert explained(history, opening=5)


def one(delta: int, accepted: bool, asked: int, answered: int) -> Attempt:
    return Attempt(delta, accepted, asked, answered)


@pytest.mark.parametrize(
    ("history", "sound"),
    [
        ([one(-60, True, 0, 5), one(-60, True, 0, 5)], False),  # both looked before either wrote
        ([one(-60, True, 0, 5), one(-60, False, 0, 5)], True),
        ([one(-60, False, 0, 5)], False),  # refused without cause
        ([one(-101, True, 0, 5)], False),
        ([one(-150, True, 0, 4), one(50, True, 5, 9)], False),  # paid out before it was paid in
        ([one(-150, True, 0, 6), one(50, True, 5, 9)], True),  # the two overlap
        ([one(-100, True, 0, 1), one(-1, True, 2, 3), one(1, True, 4, 5)], False),
        ([one(-100, True, 0, 1), one(-1, False, 2, 3), one(1, True, 4, 5), one(-1, True, 6, 7)], True),
    ],
)
def test_known_histories_of_a_hundred(history: list[Attempt], sound: bool) -> None:
    assert explained(history, opening=100) is sound


class CarelessAccount:
    """Looks first and writes later: the lost update."""

    def __init__(self, stands: int) -> None:
        self.stands = stands

    def withdraw(self, amount: int) -> bool:
        seen = self.stands
        time.sleep(0.01)
        if seen < amount:
            return False
        self.stands = seen - amount
        return True


class CarefulAccount(CarelessAccount):
    """The same behind a lock."""

    def __init__(self, stands: int) -> None:
        super().__init__(stands)
        self._lock = threading.Lock()

    def withdraw(self, amount: int) -> bool:
        with self._lock:
            return super().withdraw(amount)


@pytest.mark.parametrize(("account", "sound"), [(CarelessAccount(100), False), (CarefulAccount(100), True)])
def test_a_lost_update_by_real_threads_is_found(account: CarelessAccount, sound: bool) -> None:
    history: list[Attempt] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(2):
            asked = time.monotonic_ns()
            accepted = account.withdraw(30)
            history.append(Attempt(-30, accepted, asked, time.monotonic_ns()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert explained(history, opening=100) is sound


def test_a_violation_planted_in_a_long_sound_history_is_found() -> None:
    history = [one(-10, n < 50, 10 * n, 10 * n + 35) for n in range(400)]
    assert explained(history, opening=500)
    assert not explained([*history[:200], replace(history[200], accepted=True), *history[201:]], opening=500)
    assert not explained([replace(history[0], accepted=False), *history[1:]], opening=500)


def test_a_search_that_is_too_long_says_so() -> None:
    tangle = [one((-1) ** n * 2**n, True, 0, 1) for n in range(40)] + [one(-(2**60), True, 0, 1)]
    with pytest.raises(TooHardError):
        serial_order([*tangle, one(-1, False, 0, 1)], opening_minor=2**59, floor_minor=0, searched_at_most=2_000)
