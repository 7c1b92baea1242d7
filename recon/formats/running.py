"""Running balances: whether each follows from the one before it.

Lives here: sums over rows in order, minor units. Must not live here: where amounts and balances stand in a file.
"""

from __future__ import annotations

from collections.abc import Sequence


def steps(amounts: Sequence[int], after: Sequence[int | None]) -> list[tuple[int, int]]:
    """From each stated balance to the next, oldest first: how far it moved, and what the rows between say it did."""
    found: list[tuple[int, int]] = []
    before: int | None = None
    moved = 0
    for amount, balance in zip(amounts, after, strict=True):
        moved += amount
        if balance is not None:
            if before is not None:
                found.append((balance - before, moved))
            before, moved = balance, 0
    return found


def every_step_holds(amounts: Sequence[int], after: Sequence[int | None]) -> bool:
    """Whether the newest row has a balance and every one follows from the one before it; rows oldest first."""
    return after[-1] is not None and all(stated == moved for stated, moved in steps(amounts, after))


def running_ends(amounts: Sequence[int], after: Sequence[int | None]) -> tuple[int, int] | None:
    """Opening and closing balance of rows, oldest first; None unless the newest row has a balance."""
    first = next((place for place, balance in enumerate(after) if balance is not None), None)
    if first is None or after[-1] is None:
        return None
    opening = after[first]
    assert opening is not None
    return opening - sum(amounts[: first + 1]), after[-1]
