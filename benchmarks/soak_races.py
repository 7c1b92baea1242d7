"""Callers of the soak who post the same keys at the same moment, one the batch whole, one each entry for itself.

Lives here: that race. Must not live here: what it is compared with (`benchmarks.soak`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from ledger import NewEntry

if TYPE_CHECKING:
    from benchmarks.soak import Caller, Soak


def race(
    soak: Soak, one: Caller, other: Caller, codes: Sequence[str], dice: random.Random, is_over: Callable[[], bool]
) -> None:
    """Round after round until it is over; each side sees the accounts and keys in an order of its own."""
    number = dice.getrandbits(32)
    with ThreadPoolExecutor(2) as pool:
        for n in count():
            if is_over():
                break
            whole = [_entry(soak, f"r{number}-{n}-{m}", codes, dice) for m in range(dice.randint(1, 8))]
            each = dice.sample(whole, len(whole))
            sides = (
                pool.submit(one.ask, partial(soak.post, entries=whole)),
                pool.submit(other.ask, partial(soak.post_each, entries=each)),
            )
            for side in sides:
                side.result()
            soak.count("races")


def _entry(soak: Soak, key: str, codes: Sequence[str], dice: random.Random) -> NewEntry:
    debit, credit = dice.sample(codes, 2)
    return soak.entry(key, debit, credit, dice.randint(1, 20))
