"""The shapes in which a room's answer goes on: a table, a verdict, a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger import currency, format_amount


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a name; cells are shown as text."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule holds, in one sentence, with what broke it."""

    holds: bool
    sentence: str
    counts: Mapping[str, int] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a step of reconciliation found: counts, a table, more tables, and amounts as text."""

    counts: Mapping[str, int]
    table: Table
    more: tuple[Table, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def money(minor: int | None, code: str) -> str:
    """An amount in minor units as text with its currency; empty when there is none."""
    return "" if minor is None else f"{format_amount(minor, currency(code).exponent)} {code}"
