"""Reading our own files back, and comparing them with what they were written from.

Lives here: a streaming reader that knows every element the writer may write and names any other.
Must not live here: the writer's code or pyiso20022 (a shared mistake would go unseen), XML well-formedness and the
schema (`schemas`, in the same pass).

What one payment looks like (its *layout*: the row of its tags) is understood element by element once; of every
further payment of that layout only the texts are taken, or it is compared letter by letter with that layout and the
values given. This reads the small part of XML that the writer uses;
anything else (comments, CDATA, attributes, entities of one's own) is a layout with something unknown in it.
"""

from __future__ import annotations

import datetime as dt
import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from ledger.errors import RefusedError
from ledger.money import currency, format_amount, parse_amount_minor
from settlement.iso20022.findings import Finding, group_place
from settlement.iso20022.leaves import Leaves, amount_writer, as_text, leaves_of
from settlement.iso20022.model import Group, MessageFile, MessageVersion, Payment, Totals, file_currency
from settlement.iso20022.readback_specs import SPECS, Spec

_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)")
_CURRENCY = re.compile(r'Ccy="([^"]*)"')


_NOTHING: list[Finding] = []


class ReadBackError(ValueError):
    """The file says something the writer never writes; the text names the element."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the texts of one row of tags are: values by name, fixed texts, and nothing everywhere else."""

    names: tuple[str, ...]
    values: Callable[[Sequence[str]], tuple[str, ...]]
    fixed: tuple[tuple[int, str], ...]
    gaps: Callable[[Sequence[str]], tuple[str, ...]]
    currency: str | None
    places: tuple[int, ...]

    def check(self, texts: Sequence[str]) -> None:
        """Raises `ReadBackError` for another fixed text, or text between elements."""
        for at, wanted in self.fixed:
            if texts[at] != wanted:
                raise ReadBackError(f"says {texts[at]!r} where only {wanted!r} is ever written")
        if any(self.gaps(texts)):
            raise ReadBackError("has text between its elements")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A payment's letters with `%s` for each value, the values in that order, and how many tags that makes."""

    text: str
    there: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    amounts: tuple[int, ...]
    dates: tuple[int, ...]
    tags: int
    currency: str | None


class FileReader:
    """Compares a file, piece by piece, with the file and payments it was written from.

    Memory is bounded by one piece. `feed` and `end` give findings; both raise `ReadBackError`.
    """

    def __init__(self, file: MessageFile, payments: Iterable[Payment]) -> None:
        self._file = file
        self._spec = SPECS[file.message_version]
        self._start, self._end = f"<{self._spec.element}>", f"</{self._spec.element}>"
        self._group = f"<{self._spec.group}>"
        self._next_group = f"</{self._spec.group}>{self._group}"
        self._head: str | None = None
        self._heads: list[tuple[Totals, str]] = []  # of later groups: all payments before, what stands there
        self._rest = b""
        self._given: Iterator[Any] = chain(payments, _nothing_more())
        self._compare = _PaymentReader(file)
        self._read = Totals(0, 0)

    def feed(self, data: bytes) -> list[Finding]:
        data = self._rest + data
        cut = data.rfind(self._end.encode())
        if cut < 0:
            self._rest = data
            return []
        cut += len(self._end)
        self._rest = data[cut:]
        pieces = _decoded(data[:cut]).split(self._end)
        if self._head is None:
            self._head, _, first = pieces[0].partition(self._start)
            pieces[0] = self._start + first
        return self._payments(pieces[:-1])

    def _payments(self, pieces: Sequence[str]) -> list[Finding]:
        findings: list[Finding] = []
        ordinal, total_minor, expects = self._read.count, self._read.total_minor, self._compare.expects
        for piece, given in zip(pieces, self._given, strict=False):
            ordinal += 1
            if not piece.startswith(self._start):
                piece = self._begin_group(Totals(ordinal - 1, total_minor), piece)
            # Everything between the payment's own tags; its end tag was cut off.
            if expects(piece, given):
                total_minor += given.amount_minor
                continue
            amount_minor, different = self._compare.read(ordinal, piece[len(self._start) :], given)
            total_minor += amount_minor
            if different:
                findings += different
        self._read = Totals(ordinal, total_minor)
        return findings

    def _begin_group(self, before: Totals, piece: str) -> str:
        """Keep what a group after the first says before its payments; its first payment."""
        head, start, payment = piece.partition(self._start)
        if not head.startswith(self._next_group) or not start:
            raise ReadBackError(f"payment {before.count + 1} has something before it")
        self._heads.append((before, head.removeprefix(self._next_group)))
        return start + payment

    def end(self, totals: Totals) -> list[Finding]:
        """What the header and the groups say, and count and sum of what was read."""
        tail = _decoded(self._rest)
        header, begins, first = (self._head or "").partition(self._group)
        texts = [header + begins + head + tail for head in (first, *(head for _, head in self._heads))]
        if len(texts) != len(self._file.groups):
            return [Finding("read-back", "file", f"holds {len(texts)} groups, given were {len(self._file.groups)}.")]
        findings: list[Finding] = []
        for ordinal, (text, group, of_group) in enumerate(
            zip(texts, self._file.groups, totals.by_group, strict=True), 1
        ):
            place = group_place(ordinal, len(texts))
            found = _envelope_differences(self._file, group, text, {"header": totals, "group": of_group}, place)
            findings += [finding for finding in found if ordinal == 1 or finding.place == place]
        return [*findings, *self._totals_differences(totals)]

    def _totals_differences(self, totals: Totals) -> Iterator[Finding]:
        ends = [before for before, _ in self._heads] + [self._read]
        starts = [Totals(0, 0), *ends]
        for ordinal, (start, end, wanted) in enumerate(zip(starts, ends, totals.by_group, strict=False), 1):
            read = Totals(end.count - start.count, end.total_minor - start.total_minor)
            if (read.count, read.total_minor) != (wanted.count, wanted.total_minor):
                place = "file" if len(ends) == 1 else group_place(ordinal, len(ends))
                yield Finding("totals", place, f"holds {_in_words(read)}, not {_in_words(wanted)}.")


class _PaymentReader:
    """Compares payments, layout by layout."""

    def __init__(self, file: MessageFile) -> None:
        spec = SPECS[file.message_version]
        self._spec, self._element, self._leaves = spec.payment, spec.element, leaves_of(spec.kind)
        self._exponent = currency(file_currency(file)).exponent
        self._amount_text = amount_writer(self._exponent)
        self._known: dict[str, tuple[_Layout, _Expected]] = {}
        self._values = self._leaves.values
        self._patterns: dict[tuple[type, ...], _Pattern] = {}

    def expects(self, piece: str, given: Any) -> bool:
        """Whether a payment is, letter by letter, an understood layout with the values given in their places.

        True needs no look at its elements; False says nothing. A piece with an entity, or with more tags than the
        layout (a value that is no plain text), is always looked at.
        """
        if given is None:
            return False
        values = self._values(given)
        pattern = self._patterns.get(tuple(map(type, values)))
        if pattern is None or given.currency != pattern.currency:
            return False
        expected = list(pattern.there(values))
        for at in pattern.amounts:
            expected[at] = self._amount_text(expected[at])
        for at in pattern.dates:
            expected[at] = as_text(expected[at])
        return (
            piece == pattern.text % tuple(expected)
            and piece.count("<") == pattern.tags
            and piece.count(">") == pattern.tags
            and "&" not in piece
        )

    def _learn(self, parts: Sequence[str], layout: _Layout, expected: _Expected, given: Any) -> None:
        """Keep the letters around the values of a payment that was found to be what was given."""
        pieces = [part.replace("%", "%%") for part in parts]
        for at in layout.places:
            pieces[2 * at + 2] = "%s"
        text = pieces[0] + "".join(f"<{tag}>{after}" for tag, after in zip(pieces[1::2], pieces[2::2], strict=True))
        order = sorted(range(len(layout.places)), key=layout.places.__getitem__)
        names = [layout.names[at] for at in order]
        self._patterns[tuple(map(type, self._values(given)))] = _Pattern(
            f"<{self._element}>{text}",
            _taken([self._leaves.names.index(name) for name in names]),
            tuple(at for at, place in enumerate(order) if place in expected.amounts),
            tuple(at for at, place in enumerate(order) if place in expected.dates),
            1 + len(parts) // 2,
            layout.currency,
        )

    def read(self, ordinal: int, text: str, given: Any) -> tuple[int, list[Finding]]:
        """The amount in minor units, and every difference."""
        parts = text.replace("<", ">").split(">")
        tags, texts = ">".join(parts[1::2]), parts[2::2]
        if "&" in text:
            texts = [_unescaped(piece) for piece in texts]
        try:
            known = self._known.get(tags)
            if known is None:
                layout = _layout(parts[1::2], self._spec, self._element)
                known = self._known[tags] = (layout, _Expected.of(layout, self._leaves))
            layout, expected = known
            layout.check(texts)
        except ReadBackError as error:
            raise ReadBackError(f"payment {ordinal}: {error}") from None
        if given is not None and not parts[0] and expected.met(layout.values(texts), given, self._amount_text):
            if "&" not in text:
                self._learn(parts, layout, expected, given)
            return given.amount_minor, _NOTHING
        return self._differences(ordinal, layout, texts, given)

    def _differences(
        self, ordinal: int, layout: _Layout, texts: Sequence[str], given: Any
    ) -> tuple[int, list[Finding]]:
        found = dict(zip(layout.names, layout.values(texts), strict=True))
        try:
            amount_minor = parse_amount_minor(found.get("amount_minor", ""), self._exponent)
        except RefusedError as error:
            raise ReadBackError(f"payment {ordinal}: {error}") from None
        if given is None:
            place = f"payment {ordinal} ({found.get('end_to_end_id')})"
            return amount_minor, [Finding("read-back", place, "is in the file, but was not given.")]
        place, findings = f"payment {ordinal} ({given.end_to_end_id})", []
        leaves = self._leaves
        if layout.currency is not None:
            found["currency"] = layout.currency
        for name, kind, value in zip(leaves.names, leaves.types, leaves.values(given), strict=True):
            there = found.get(name)
            if kind is int and value is not None and there is not None:
                findings += _amount_differences(place, name, there, int(str(value)), self._exponent)
            elif there != as_text(value):
                findings.append(Finding("read-back", place, f"{name} reads {there!r}, given was {as_text(value)!r}."))
        if not findings:
            findings.append(Finding("read-back", place, "has text where there should be none."))
        return amount_minor, findings


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the values of a payment must be for a layout: those it has, and None for all others."""

    there: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    amounts: tuple[int, ...]
    dates: tuple[int, ...]
    absent: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    nothing: tuple[None, ...]
    values: Callable[[Any], tuple[Any, ...]]
    currency: str | None

    @classmethod
    def of(cls, layout: _Layout, leaves: Leaves) -> _Expected:
        kinds = dict(zip(leaves.names, leaves.types, strict=True))
        missing = [n for n, name in enumerate(leaves.names) if name not in layout.names and name != "currency"]
        return cls(
            _taken([leaves.names.index(name) for name in layout.names]),
            tuple(at for at, name in enumerate(layout.names) if kinds[name] is int),
            tuple(at for at, name in enumerate(layout.names) if kinds[name] is dt.date),
            _taken(missing),
            (None,) * len(missing),
            leaves.values,
            layout.currency,
        )

    def met(self, found: tuple[str, ...], given: Any, amount_text: Callable[[int], str]) -> bool:
        values = self.values(given)
        expected = list(self.there(values))
        for at in self.amounts:
            if expected[at] is not None:
                expected[at] = amount_text(expected[at])
        for at in self.dates:
            expected[at] = as_text(expected[at])
        return found == tuple(expected) and given.currency == self.currency and self.absent(values) == self.nothing


def _layout(tags: Sequence[str], spec: Spec, place: str) -> _Layout:
    """Understand a row of tags element by element; refuse unknown elements, attributes and repeats."""
    open_elements: list[tuple[str, Spec]] = [(place, spec)]
    values: dict[str, int] = {}
    fixed: dict[int, str] = {}
    codes: set[str] = set()
    leaf: str | None = None
    for at, tag in enumerate(tags):
        name, _, attributes = tag.partition(" ")
        parent, inside = open_elements[-1]
        if leaf is not None or tag.startswith("/"):
            if tag != f"/{leaf or parent}":
                raise ReadBackError(f"element {leaf or parent} holds {tag!r}, which is never written")
            if leaf is None:
                open_elements.pop()
            leaf = None
            continue
        inner = inside.get(name)
        if inner is None:
            raise ReadBackError(f"element {name} in {parent} is never written")
        if not isinstance(inner, str):
            if attributes:
                raise ReadBackError(f"element {name} in {parent} has {attributes!r}, which is never written")
            open_elements.append((name, inner))
            continue
        leaf = name
        if inner.startswith("="):
            fixed[at] = inner[1:]
            codes.add(inner)
            continue
        chosen = _named(inner, values, codes)
        if chosen is None:
            raise ReadBackError(f"element {name} in {parent} is there twice")
        values[chosen] = at
        _keep_currency(codes, attributes, name, parent)
    if len(open_elements) != 1 or leaf is not None:
        raise ReadBackError(f"element {leaf or open_elements[-1][0]} does not end")
    currencies = [code[4:] for code in codes if code.startswith("Ccy=")]
    if len(currencies) > 1:
        raise ReadBackError(f"is in several currencies, {sorted(currencies)}")
    gaps = [at for at in range(len(tags)) if at not in fixed and at not in values.values()]
    return _Layout(
        tuple(values),
        _taken(list(values.values())),
        tuple(fixed.items()),
        _taken(gaps),
        next(iter(currencies), None),
        tuple(values.values()),
    )


def _named(inner: str, values: dict[str, int], codes: set[str]) -> str | None:
    """Which value an element is, by what stood before it; None when it has had all of its turns."""
    names = inner.split("|")
    for name in names[1:]:
        code, colon, named = name.partition(":")
        if colon:
            return _free(named if code in codes else names[0], values)
    return next((name for name in names if name not in values), None)


def _free(name: str, values: dict[str, int]) -> str | None:
    return None if name in values else name


def _keep_currency(codes: set[str], attributes: str, name: str, parent: str) -> None:
    if attributes:
        found = _CURRENCY.fullmatch(attributes)
        if found is None:
            raise ReadBackError(f"element {name} in {parent} has {attributes!r}, which is never written")
        codes.add(f"Ccy={found.group(1)}")


def _taken(positions: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The items at these positions, always as a tuple."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda items: tuple(items[at] for at in positions)


def _amount_differences(place: str, name: str, there: str, given_minor: int, exponent: int) -> list[Finding]:
    exact = format_amount(given_minor, exponent)
    if there == exact:
        return []
    try:
        same = parse_amount_minor(there, exponent) == given_minor
    except RefusedError:
        same = False
    if same:
        return [Finding("amount-decimals", place, f"the amount is written {there}, not {exact}.")]
    return [Finding("read-back", place, f"{name} reads {there!r}, given was {exact!r}.")]


def _envelope_differences(
    file: MessageFile, group: Group, text: str, totals: dict[str, Totals], place: str
) -> list[Finding]:
    """Every way the file with this group alone and without payments differs from what was given."""
    spec = SPECS[file.message_version]
    parts = text.replace("<", ">").split(">")
    tags, texts = parts[1::2], [_unescaped(piece) for piece in parts[2::2]]
    _check_root(file.message_version, tags)
    layout = _layout(tags[2:-1], {spec.root: spec.envelope}, "Document")
    layout.check(texts[2:-1])
    if (parts[0] + texts[0] + texts[1] + texts[-1]).strip():
        raise ReadBackError("the file has text outside of its elements")
    found = dict(zip(layout.names, layout.values(texts[2:-1]), strict=True))
    values = {**_named_leaves(file), **_named_leaves(group, "group.")}
    differences = [*_value_differences(values, found, spec.unwritten, place)]
    for name in spec.totals:
        differences += _stated_differences(found, name, totals[name], file_currency(file), place)
    return differences


def _check_root(version: MessageVersion, tags: Sequence[str]) -> None:
    if any(tag.startswith("!DOCTYPE") for tag in tags):
        raise ReadBackError("the file has a DOCTYPE, which is never written")
    declared = [tag for tag in tags[:1] if tag.startswith("?xml ") and 'encoding="UTF-8"' in tag]
    if not declared or list(tags[1:2]) != [f'Document xmlns="{version.namespace}"'] or tags[-1] != "/Document":
        raise ReadBackError(f"the file is not one {version.value} document in UTF-8")


def _named_leaves(part: Any, prefix: str = "") -> dict[str, object]:
    leaves = leaves_of(part.__class__)
    return {prefix + name: value for name, value in zip(leaves.names, leaves.values(part), strict=True)}


def _value_differences(
    values: dict[str, object], found: dict[str, str], unwritten: tuple[str, ...], place: str
) -> Iterator[Finding]:
    for name, value in values.items():
        there = found.get(name)
        if name not in unwritten and not _same(there, value):
            where = place if name.startswith("group.") else "header"
            yield Finding("read-back", where, f"{name.removeprefix('group.')} reads {there!r}, given was {value!r}.")


def _same(there: str | None, value: object) -> bool:
    if there is None or value is None:
        return there is value
    if isinstance(value, bool):
        return there == str(value).lower()
    if isinstance(value, dt.datetime):
        try:
            return dt.datetime.fromisoformat(there) == value
        except (ValueError, TypeError):
            return False
    return there == as_text(value)


def _stated_differences(found: dict[str, str], name: str, totals: Totals, code: str, place: str) -> Iterator[Finding]:
    wanted = (str(totals.count), format_amount(totals.total_minor, currency(code).exponent))
    stated = (found.get(f"{name}.count"), found.get(f"{name}.sum"))
    if stated != wanted:
        where = place if name == "group" else name
        message = f"says {stated[0]} payments and {stated[1]}, given were {wanted[0]} and {wanted[1]}."
        yield Finding("totals", where, message)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ReadBackError(f"the file is not UTF-8: {error}") from None


def _unescaped(text: str) -> str:
    if "&" not in text:
        return text
    if unknown := _ENTITY.search(text):
        raise ReadBackError(f"{text[unknown.start() :]!r} is an entity that is never written")
    return html.unescape(text)


def _nothing_more() -> Iterator[None]:
    while True:
        yield None


def _in_words(totals: Totals) -> str:
    return f"{totals.count} payments of {totals.total_minor} minor units"
