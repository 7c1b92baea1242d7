"""What there is among few open items for a rule to work with.

Lives here: which of the words that rules `need` are true. Must not live here: what a rule decides. A word is a
necessary condition, never a sufficient one: where it is false the rule's query could not return a row, so it is not
planned. `tests/property/test_matching_properties.py` holds both ways against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple


class Stock(StrEnum):
    """What an open item, or a line and an expectation (instruction or receipt), have."""

    LINE = "LINE"
    OWN = "OWN"  # anything that is no word of the bank
    INSTRUCTION = "INSTRUCTION"
    REJECT = "REJECT"
    ROUTINE = "ROUTINE"
    PENDING = "PENDING"
    NAMED = "NAMED"  # the line names the expectation
    KEYED = "KEYED"  # an item of ours has a key that a line has
    STATED = "STATED"  # they differ by what one of them states
    UETR = "UETR"
    SERVICER = "SERVICER"  # the bank's own reference
    BATCH = "BATCH"  # a line that could be a batch's, and an instruction in one
    AMOUNT = "AMOUNT"  # on one account
    PARTY = "PARTY"  # on one account
    NAME = "NAME"  # the line gives a name and no account of the party, and the expectation of its account has a name
    PREFIX = "PREFIX"  # the first 16 characters of the EndToEndId


class Held(NamedTuple):
    """A row of `stock.sql`."""

    item_id: int
    kind: str
    account: str
    currency: str
    amount_minor: int
    end_to_end_id: str | None
    uetr: str | None
    servicer_ref: str | None
    payment_information_id: str | None
    msg_id: str | None
    party_account: str | None
    has_name: bool


PREFIX_LENGTH = 16
_KINDS = {kind: Stock(kind) for kind in ("LINE", "INSTRUCTION", "REJECT", "ROUTINE", "PENDING")}


def stock_of(held: Sequence[Held], pairs: Iterable[tuple[str, int, int]]) -> frozenset[Stock]:
    """Words that are true of open items; `pairs` as in `stock_pairs.sql`."""
    found = {_KINDS[item.kind] for item in held if item.kind in _KINDS}
    if any(item.kind not in {Stock.LINE, Stock.PENDING} for item in held):
        found.add(Stock.OWN)
    lines = [item for item in held if item.kind == Stock.LINE]
    expected = [item for item in held if item.kind in {Stock.INSTRUCTION, "RECEIPT"}]
    if lines:
        ids = {item.item_id for item in held}
        found |= {Stock(word) for word, line, other in pairs if line in ids and other in ids}
        found |= {word for word, one, two in _keys(lines, expected) if one & two}
        if any(_may_be_batch(line) for line in lines) and any(i.payment_information_id is not None for i in expected):
            found.add(Stock.BATCH)
    return frozenset(found)


def _keys(lines: list[Held], expected: list[Held]) -> list[tuple[Stock, set[object], set[object]]]:
    """What a line and an expectation could have in common: the values of either side."""
    return [
        (Stock.UETR, {i.uetr for i in lines if i.uetr is not None}, {i.uetr for i in expected}),
        (
            Stock.SERVICER,
            {i.servicer_ref for i in lines if i.servicer_ref is not None},
            {i.servicer_ref for i in expected},
        ),
        (
            Stock.AMOUNT,
            {(i.account, i.currency, -i.amount_minor) for i in lines},
            {(i.account, i.currency, i.amount_minor) for i in expected},
        ),
        (
            Stock.PARTY,
            {(i.account, i.currency, i.party_account) for i in lines if i.party_account is not None},
            {(i.account, i.currency, i.party_account) for i in expected},
        ),
        (
            Stock.NAME,
            {i.account for i in lines if i.party_account is None and i.has_name},
            {i.account for i in expected if i.has_name},
        ),
        (
            Stock.PREFIX,
            {i.end_to_end_id[:PREFIX_LENGTH] for i in lines if i.end_to_end_id is not None},
            {i.end_to_end_id[:PREFIX_LENGTH] for i in expected if i.end_to_end_id is not None},
        ),
    ]


def _may_be_batch(line: Held) -> bool:
    is_named = line.payment_information_id is not None or line.msg_id is not None
    return line.end_to_end_id is None and line.uetr is None and is_named
