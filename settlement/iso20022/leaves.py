"""The values of a payment as one flat tuple, whatever message it belongs to.

Lives here: the names of a payment class's values (those of an inner value with its name and a dot before) and
taking them. The set of values that are there is a payment's *shape*. Must not live here: XML.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ledger.money import format_amount


@dataclass(frozen=True, slots=True)
class Leaves:
    """Names of the values, their types, and how to take them all from a payment (None: is not there)."""

    names: tuple[str, ...]
    types: tuple[type, ...]
    values: Callable[[Any], tuple[object, ...]]


@lru_cache
def leaves_of(cls: type) -> Leaves:
    """The leaves of a dataclass whose fields are plain values or dataclasses of plain values.

    A field of several values (the groups of a file) has no leaves.
    """
    own: list[tuple[str, type]] = []
    inner: list[tuple[str, Leaves]] = []
    hints = get_type_hints(cls)
    for field in fields(cls):
        if get_origin(hints[field.name]) is tuple:
            continue
        kind = _kind(hints[field.name])
        if is_dataclass(kind):
            inner.append((field.name, leaves_of(kind)))
        else:
            own.append((field.name, kind))
    names = tuple(name for name, _ in own) + tuple(f"{name}.{leaf}" for name, leaves in inner for leaf in leaves.names)
    types = tuple(kind for _, kind in own) + tuple(kind for _, leaves in inner for kind in leaves.types)
    return Leaves(names, types, _taker(tuple(name for name, _ in own), inner))


def _kind(hint: Any) -> type:
    """The type of a field, without the None of an optional one."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] or [hint]
    (kind,) = kinds
    assert isinstance(kind, type)
    return kind


def _taker(own: tuple[str, ...], inner: list[tuple[str, Leaves]]) -> Callable[[Any], tuple[object, ...]]:
    take_own: Callable[[Any], tuple[object, ...]] = attrgetter(*own)
    if not inner:
        return take_own
    parts = [(attrgetter(name), leaves.values, (None,) * len(leaves.names)) for name, leaves in inner]

    def take(value: Any) -> tuple[object, ...]:
        found = take_own(value)
        for part, values, nothing in parts:
            there = part(value)
            found += nothing if there is None else values(there)
        return found

    return take


def with_texts(value: Any, text_of: Callable[[str, type], object], prefix: str = "") -> Any:
    """A copy in which every value that is there is replaced by what `text_of` gives for its name and type."""
    hints = get_type_hints(type(value))
    changes: dict[str, object] = {}
    for field in fields(value):
        there, name = getattr(value, field.name), prefix + field.name
        if is_dataclass(there):
            changes[field.name] = with_texts(there, text_of, name + ".")
        elif there is not None:
            changes[field.name] = text_of(name, _kind(hints[field.name]))
    return replace(value, **changes)


def as_text(value: object) -> object:
    """A value as it stands in a file, amounts apart (they need a currency)."""
    return value.isoformat() if isinstance(value, dt.date) else value


def amount_writer(exponent: int) -> Callable[[int], str]:
    """`ledger.format_amount` for one exponent, in half the time; positive amounts are all that files hold."""
    if exponent == 0:
        return str
    pattern, scale = f"%d.%0{exponent}d", 10**exponent

    def write(amount_minor: int) -> str:
        return format_amount(amount_minor, exponent) if amount_minor < 0 else pattern % divmod(amount_minor, scale)

    return write
