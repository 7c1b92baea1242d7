"""One amount to several payees, to the cent: the journal entry of a marketplace sale with its commission.

Lives here: composing an entry from shares. Must not live here: posting it (`ledger.post_batch`), who gets which share.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ledger import NewEntry, NewPosting

_BPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A payee's account and its part of what is split, as a weight: 1 and 1 are halves, 70 and 30 are percentages."""

    account: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """What the platform keeps, in hundredths of a percent of the whole, rounded down.

    ``net``: it is taken off before the rest is split. ``gross``: the payees get the whole, and the commission is owed
    by them on `receivable`, to be invoiced or netted later.
    """

    bps: int
    income: str
    fees: Literal["net", "gross"] = "net"
    receivable: str | None = None


def largest_remainder(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights so that the parts sum to it exactly (Hare–Niemeyer; ties to the earlier part).

    A negative amount splits as its opposite. Raises `ValueError` without a positive weight.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must not be negative, and one must be positive")
    sign, amount = (-1, -amount_minor) if amount_minor < 0 else (1, amount_minor)
    parts = [amount * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda n: (-(amount * weights[n] % whole), n))
    for n in order[: amount - sum(parts)]:
        parts[n] += 1
    return [sign * part for part in parts]


def split_entry(
    *,
    key: str,
    effective_date: dt.date,
    received: str,
    amount_minor: int,
    shares: Sequence[Share],
    commission: Commission | None = None,
) -> NewEntry:
    """The entry of a sale of `amount_minor` (negative: its refund) that is owed to several payees.

    Dr `received` / Cr each payee's account, Cr the commission's income; parts that come to nothing have no posting.
    Raises `ValueError` for an amount of zero, weights that split nothing, or gross fees without a receivable.
    """
    if amount_minor == 0:
        raise ValueError("an amount of zero is owed to nobody")
    sign, amount = (-1, -amount_minor) if amount_minor < 0 else (1, amount_minor)
    kept = amount * commission.bps // _BPS if commission is not None else 0
    legs = [(received, amount)]
    if commission is not None and commission.fees == "gross":
        if commission.receivable is None:
            raise ValueError("gross fees need the account on which payees owe them")
        legs.append((commission.receivable, kept))
    owed = amount - kept if commission is None or commission.fees == "net" else amount
    parts = largest_remainder(owed, [share.weight for share in shares])
    legs += [(share.account, -part) for share, part in zip(shares, parts, strict=True)]
    if commission is not None:
        legs.append((commission.income, -kept))
    postings = tuple(NewPosting(account, sign * minor) for account, minor in legs if minor)
    return NewEntry(key, effective_date, postings)
