"""Whether what many callers were told about one limited account can have happened one after the other.

Lives here: the check of a recorded history (linearizability of a number with a floor). Must not live here: how a
history is made. Each attempt has the time it was asked and the time it was answered; a serial order explains the
history when it respects those times and every answer is right where it stands: accepted only if the account stays at
its floor or above, refused only if it would not. A lost update, a floor looked at too early, a refusal without cause
and an answer before its cause have no such order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_SEARCHED_AT_MOST = 200_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to change what is available by ``delta_minor``, as its caller saw it; times in one clock."""

    delta_minor: int
    accepted: bool
    asked_ns: int
    answered_ns: int


class TooHardError(Exception):
    """The search was given up: nothing is known of this history."""


class History:
    """Attempts as many threads make them."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def record(self, delta_minor: int, attempt: Callable[[], bool]) -> bool:
        """Make the attempt and note what it answered, and when; what it raises is not noted."""
        asked = time.monotonic_ns()
        accepted = attempt()
        self.attempts.append(Attempt(delta_minor, accepted, asked, time.monotonic_ns()))
        return accepted


def serial_order(
    attempts: Sequence[Attempt], *, opening_minor: int, floor_minor: int, searched_at_most: int = _SEARCHED_AT_MOST
) -> tuple[Attempt, ...] | None:
    """A serial order that explains every answer, or None: there is none.

    Wing and Gong's search with memory (Lowe 2017), short for this object: a refusal changes nothing, so it is placed
    as soon as it is right; withdrawals go first when nothing more is paid in, payments in when nothing more is refused;
    of equal amounts the one answered first. Raises `TooHardError` for a history that has far too many overlaps.
    """
    ops = sorted(attempts, key=lambda one: one.answered_ns)
    start: _Node = (frozenset(range(len(ops))), opening_minor, None)
    open_nodes, seen = [start], {start[0]}
    while open_nodes:
        left, stands, path = open_nodes.pop()
        if not left:
            return tuple(ops[place] for place in _unwound(path))
        for place in _moves(ops, left, stands, floor_minor):
            rest = left - {place}
            if rest not in seen:  # what is left decides where the account stands
                seen.add(rest)
                change = ops[place].delta_minor if ops[place].accepted else 0
                open_nodes.append((rest, stands + change, (place, path)))
        if len(seen) > searched_at_most:
            raise TooHardError(f"{len(ops)} attempts overlap too much to find an order.")
    return None


_Path = tuple[int, "_Path | None"]
_Node = tuple[frozenset[int], int, "_Path | None"]


def _moves(ops: Sequence[Attempt], left: frozenset[int], stands: int, floor: int) -> Iterable[int]:
    """What may come next: asked before anything left was answered, and answered rightly here. The best last."""
    bound = min(ops[place].answered_ns for place in left)
    here = sorted(place for place in left if ops[place].asked_ns <= bound)
    refusals = any(not ops[place].accepted for place in left)
    payments_in = any(ops[place].accepted and ops[place].delta_minor > 0 for place in left)
    out: dict[int, int] = {}  # the first of each amount
    for place in here:
        one = ops[place]
        fits = stands + one.delta_minor >= floor
        if not one.accepted:
            if not fits:
                return [place]
            continue
        if fits and ((one.delta_minor <= 0 and not payments_in) or (one.delta_minor > 0 and not refusals)):
            return [place]
        if fits:
            out.setdefault(one.delta_minor, place)
    return [out[delta] for delta in sorted(out, reverse=True)]


def _unwound(path: _Path | None) -> list[int]:
    places: list[int] = []
    while path is not None:
        place, path = path
        places.append(place)
    return places[::-1]


def differences(acknowledged: set[str], there: set[str]) -> list[str]:
    """What callers were told against what is in the books: a sentence for each side that has more."""
    lost, unheard = sorted(acknowledged - there), sorted(there - acknowledged)
    found = [f"{len(lost)} acknowledged entries are lost, the first {lost[0]}"] if lost else []
    return found + (
        [f"{len(unheard)} entries were refused or never asked for, the first {unheard[0]}"] if unheard else []
    )
