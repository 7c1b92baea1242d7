"""From a tree of ISO names to the model of record: objects of pyiso20022's classes, rendered by xsdata.

Lives here: finding the class of every element by the types of its parent's fields, so that one tree serves every
version of a message. Must not live here: which element carries which of our values (`trees`).

A tree is a mapping of ISO element names to texts, dates, decimals, booleans, other trees, or lists of these; None
and empty trees are left out. The text of an element with attributes stands under ``value``.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.models.datatype import XmlDate, XmlDateTime

from settlement.iso20022.model import MessageVersion, PaymentFileError

Tree = Mapping[str, object]
_CONTEXT = XmlContext()  # what xsdata learns of a class: nine tenths of rendering a short message, if learned each time
_GENERATED = {MessageVersion.PAIN_008_001_08}  # pyiso20022 has no classes of it; ours come from the published schema


def document_class(version: MessageVersion) -> type:
    """The root class of a message."""
    name = version.value.replace(".", "_")
    package = "settlement.iso20022.generated" if version in _GENERATED else f"pyiso20022.{name[:4]}"
    found: type = importlib.import_module(f"{package}.{name}").Document
    return found


def render_tree(version: MessageVersion, tree: Tree) -> str:
    """The message as xsdata renders it. Raises `PaymentFileError` for an element this version does not have."""
    document = _build(document_class(version), tree, version.value)
    text: str = XmlSerializer(context=_CONTEXT).render(document, ns_map={None: version.namespace})
    return text


@cache
def elements(cls: type) -> dict[str, tuple[str, type, bool]]:
    """Of each element (or attribute, or ``value``) of a class: the field, its type, and whether it repeats."""
    hints = get_type_hints(cls)
    found = {}
    for field in fields(cls):
        hint = hints[field.name]
        repeats = get_origin(hint) is list
        kinds = [kind for kind in get_args(hint) if kind is not NoneType] or [hint]
        found[str(field.metadata.get("name", field.name))] = (field.name, kinds[0], repeats)
    return found


def _build(cls: type, tree: Tree, place: str) -> Any:
    values: dict[str, object] = {}
    for name, value in tree.items():
        kept = _pruned(value)
        if kept is None:
            continue
        if name not in elements(cls):
            raise PaymentFileError(f"{place} has no element {name}; leave out what it would carry.")
        field, kind, repeats = elements(cls)[name]
        inside = f"{place}/{name}"
        if repeats:
            values[field] = [_value(kind, item, inside) for item in (kept if isinstance(kept, list) else [kept])]
        else:
            values[field] = _value(kind, kept, inside)
    return cls(**values)


def _pruned(value: object) -> object:
    """A value without what is not there; None when nothing is."""
    if isinstance(value, Mapping):
        kept = {name: inner for name, item in value.items() if (inner := _pruned(item)) is not None}
        return kept or None
    if isinstance(value, list):
        return [inner for item in value if (inner := _pruned(item)) is not None] or None
    return value


def _value(kind: type, value: object, place: str) -> object:
    if isinstance(value, Mapping):
        return _build(kind, value, place)
    if is_dataclass(kind):
        raise PaymentFileError(f"{place} is not a text in this version.")
    if isinstance(value, dt.datetime):
        return XmlDateTime.from_datetime(value)
    if isinstance(value, dt.date):
        return XmlDate.from_date(value)
    return kind(value) if issubclass(kind, Enum) else value
