"""The XML schemas that files are checked against.

Lives here: finding or making the schema of a message, and the streaming check. Must not live here: reading values.

sepaxml ships the published schemas of pain.001 and pain.008. No package ships those of pain.007 and camt.055: for
these a schema is made from pyiso20022's classes, which carry names, order, occurrence, lengths, patterns and codes
of the published one, but not that some elements exclude each other. The tests check against the published schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any, cast

from lxml import etree
from xsdata.models.datatype import XmlDate, XmlDateTime

from settlement.iso20022.iso_objects import document_class, elements
from settlement.iso20022.model import MessageVersion

_XS = "http://www.w3.org/2001/XMLSchema"


@lru_cache
def schema(version: MessageVersion) -> etree.XMLSchema:
    """The message's schema."""
    resource = files("sepaxml") / "schemas" / f"{version.value}.xsd"
    if not resource.is_file():
        return etree.XMLSchema(etree.fromstring(schema_of_classes(version).encode()))
    with as_file(resource) as path:
        return etree.XMLSchema(etree.parse(str(path)))


class StreamValidator:
    """Checks a file against its schema piece by piece, in constant memory.

    libxml2 checks while it parses and no tree is built. Faults are (line, message); line 0 where it is not known.
    """

    def __init__(self, version: MessageVersion) -> None:
        # Not resolve_entities=False: with a schema, lxml 6.1 then takes a truncated file for a whole one.
        self._parser = etree.XMLParser(target=cast(Any, _Nothing()), schema=schema(version), no_network=True)
        self._failure: etree.XMLSyntaxError | None = None

    def feed(self, data: bytes) -> None:
        if self._failure is None:
            try:
                self._parser.feed(data)
            except etree.XMLSyntaxError as error:
                self._failure = error

    def faults(self) -> tuple[tuple[int, str], ...]:
        """Ends the file; empty when it is well formed and valid."""
        if self._failure is None:
            try:
                self._parser.close()
            except etree.XMLSyntaxError as error:
                self._failure = error
        found = tuple((entry.line, entry.message) for entry in self._parser.feed_error_log)
        if self._failure is not None and not found:
            return ((self._failure.lineno or 0, str(self._failure)),)
        return found


class _Nothing:
    """A parser's target that wants to know nothing; only faults count."""

    def close(self) -> None:
        return None


def schema_of_classes(version: MessageVersion) -> str:
    """A schema made from the classes of a message (see above)."""
    root = document_class(version)
    known: dict[type, str] = {}
    types = "".join(_complex_types(root, known))
    return (
        f'<xs:schema xmlns:xs="{_XS}" xmlns="{version.namespace}" targetNamespace="{version.namespace}" '
        f'elementFormDefault="qualified"><xs:element name="Document" type="{root.__name__}"/>{types}</xs:schema>'
    )


def _complex_types(cls: type, known: dict[type, str]) -> Iterator[str]:
    if cls in known:
        return
    known[cls] = cls.__name__
    for _, kind, _ in elements(cls).values():
        if is_dataclass(kind):
            yield from _complex_types(kind, known)
    metadata = {field.name: dict(field.metadata) for field in fields(cls)}
    particles = {name: (kind, metadata[field]) for name, (field, kind, _) in elements(cls).items()}
    if "value" in particles:
        kind, facets = particles.pop("value")
        content = _simple_type(kind, facets)
        yield f'<xs:simpleType name="{cls.__name__}-value">{content}</xs:simpleType>'
        inner = f'<xs:simpleContent><xs:extension base="{cls.__name__}-value">{_attributes(particles)}'
        yield f'<xs:complexType name="{cls.__name__}">{inner}</xs:extension></xs:simpleContent></xs:complexType>'
        return
    yield f'<xs:complexType name="{cls.__name__}"><xs:sequence>'
    for name, (field, kind, repeats) in elements(cls).items():
        facets = metadata[field]
        if facets.get("type") == "Wildcard":
            yield '<xs:any namespace="##any" processContents="lax"/>'
            continue
        least = facets.get("min_occurs", 1 if facets.get("required") else 0)
        most = facets.get("max_occurs", "unbounded") if repeats else 1
        occurs = f'name="{name}" minOccurs="{least}" maxOccurs="{most}"'
        if is_dataclass(kind):
            yield f'<xs:element {occurs} type="{kind.__name__}"/>'
        else:
            yield f"<xs:element {occurs}><xs:simpleType>{_simple_type(kind, facets)}</xs:simpleType></xs:element>"
    yield "</xs:sequence></xs:complexType>"


def _attributes(particles: dict[str, tuple[type, dict[str, object]]]) -> str:
    return "".join(
        f'<xs:attribute name="{name}" use="required"><xs:simpleType>{_simple_type(kind, facets)}</xs:simpleType>'
        "</xs:attribute>"
        for name, (kind, facets) in particles.items()
    )


_BASES = {str: "string", bool: "boolean", Decimal: "decimal", XmlDate: "date", XmlDateTime: "dateTime"}
_FACETS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "min_inclusive": "minInclusive",
    "total_digits": "totalDigits",
    "fraction_digits": "fractionDigits",
}


def _simple_type(kind: type, facets: dict[str, object]) -> str:
    if issubclass(kind, Enum):
        codes = "".join(f'<xs:enumeration value="{code.value}"/>' for code in kind)
        return f'<xs:restriction base="xs:string">{codes}</xs:restriction>'
    limits = "".join(f'<xs:{_FACETS[name]} value="{value}"/>' for name, value in facets.items() if name in _FACETS)
    return f'<xs:restriction base="xs:{_BASES.get(kind, "string")}">{limits}</xs:restriction>'
