"""Ordinary entries are cut out of the byte stream before the XML parser sees them.

Lives here: recognising entries by their shape and what replaces them in the stream. Must not live here: the
meaning of a text (`camt_columns` for what is cut, `camt_entry` for everything else).

A bank writes thousands of entries of a few *shapes*: the same elements in the same order, other texts. A shape
seen once becomes one regular expression that takes the texts out of the next entry in a single match. What
matches is balanced and legal XML by construction, so the document is well-formed exactly when the rest of it is.
The rest (heads, balances, unusual entries) goes to the parser, with one marker element in place of each run of
entries, and as many line breaks as the run had. So every rule about where an entry may stand, and every line
number, is the careful reader's own; whatever a shape does not cover is the careful reader's too.

A comment, CDATA section, processing instruction or DOCTYPE ends the skimming for the rest of the file: inside one
of them, text may look like an entry.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from recon.formats.camt_shape import ENTRY, Paths, Take
from recon.formats.values import exponent_of, parse_day

_OPEN: Final = b"<Ntry>"
_CLOSE: Final = b"</Ntry>"
_LONGEST_ENTRY: Final = 64 * 1024  # longer ones are batches, never of an ordinary shape
_SHAPES_MAX: Final = 64
_EXAMINED_MAX: Final = 1024
_TOKEN: Final = re.compile(rb'<(/?)([A-Za-z][A-Za-z0-9]*)(?: Ccy="([A-Z]{3})")?>([^<]*)')
_TEXTS: Final = re.compile(rb">[^<]*")
_BETWEEN_TAGS: Final = re.compile(rb">\s+<")
_PROLOG: Final = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]*\?>")
_DECLARED_UTF8: Final = re.compile(rb"""<\?xml[^>]*encoding=["'](?:utf-8|us-ascii)["'][^>]*\?>""", re.IGNORECASE)
_SPACE: Final = rb"[ \t\r\n]*"

# Text without mark-up, control characters and carriage returns (which XML would change). 0xEF starts the two
# characters that UTF-8 can write and XML forbids.
_TEXT: Final = rb"[^<>&\x00-\x08\x0b-\x1f\x7f\xef]+"
_PLAIN_ACCOUNT: Final = rb"[ !-%'-;=?-~]+"
_DAY: Final = (
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.:][0-9]*)?)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
# What the text of a place must look like for its shape to be ordinary; every other text may be anything.
_PATTERNS: Final = {
    "entry.sign": rb"(CRDT|DBIT)",
    "entry.status": rb"(BOOK|PDNG|INFO|FUTR)",
    "entry.reversal": rb"(true|false|1|0)",
    "entry.booking_day": _DAY,
    "entry.value_day": _DAY,
    "detail.uetr": rb"([0-9A-Za-z-]+)",
    "detail.debtor_account": rb"(" + _PLAIN_ACCOUNT + rb")",
    "detail.creditor_account": rb"(" + _PLAIN_ACCOUNT + rb")",
    "group.count": rb"([1-9][0-9]{0,8})",
    "entry.charge.sign": rb"(CRDT|DBIT)",
    "detail.charge.sign": rb"(CRDT|DBIT)",
}
_AMOUNTS: Final = frozenset(
    {
        "entry.amount",
        "entry.instructed_amount",
        "detail.instructed_amount",
        "entry.charge.amount",
        "detail.charge.amount",
    }
)
# Read by the careful reader only to compare transactions with each other; an ordinary entry has one at most.
_UNUSED: Final = frozenset({"detail.amount", "detail.sign", "detail.transaction_amount"})
_REQUIRED: Final = ("entry.amount", "entry.sign", "entry.status")
_INNER: Final = {"charges": "charge", "records": "", "groups": "group", "details": "detail", "returns": "return"}


def _places(paths: Paths, record: str) -> dict[tuple[str, ...], str]:
    """`(element, …) -> record.attribute` of every text below an entry."""
    found: dict[tuple[str, ...], str] = {}
    for path, (take, attribute, *more) in paths.items():
        parts = tuple(path.split("/"))
        if take is Take.RECORD:
            name = _INNER[attribute]
            # Groups and details are records of their own; charges and returns belong to one of them.
            inner = record if not name else name if attribute in ("groups", "details") else f"{record}.{name}"
            for below, place in _places(more[1], inner).items():
                found[parts + below] = place
        else:
            found[parts] = f"{record}.{attribute}"
    return found


_PLACES: Final = {("Ntry", *path): place for path, place in _places(ENTRY, "entry").items()}
# One record of charges with one amount is ordinary; a total besides it is not used then.
_CHARGE_TOTAL: Final = frozenset({"entry.charge.total", "detail.charge.total"})
_DETAIL: Final = ("Ntry", "NtryDtls", "TxDtls")
_RETURN: Final = (*_DETAIL, "RtrInf")
_RECORDS_ONCE: Final = frozenset({"NtryDtls", "TxDtls", "Chrgs", "Rcrd", "RtrInf"})


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Entries of the same elements in the same order, one transaction or none.

    `places` names what each group of `pattern` took, an amount in two groups (whole and fraction); `day_groups`
    are the positions of days, whose shape the pattern has checked but not that the calendar has them.
    """

    pattern: re.Pattern[bytes]
    places: tuple[str, ...]
    day_groups: tuple[int, ...]
    currency: str
    instructed_currency: dict[str, str]
    has_detail: bool
    has_return: bool


@dataclass(slots=True, eq=False)
class Run:
    """Ordinary entries that stood one after the other.

    `texts` holds (place in the run from 0, line, text of each group) a shape; `content` is their bytes without
    white space between tags, as the content hash takes them.
    """

    count: int = 0
    first_line: int = 0
    content: bytes = b""
    texts: dict[Shape, list[tuple[object, ...]]] = field(default_factory=dict)


class Skimmer:
    """Takes the file in pieces; gives the rest of it, with a marker `Ntry` for each run.

    The marker's namespace is random, so no file can contain one.
    """

    def __init__(self) -> None:
        self.namespace = f"nostro:run:{secrets.token_hex(16)}"
        self._runs: list[Run] = []
        self._taken = 0
        self._shapes: list[Shape] = []
        self._examined: set[bytes] = set()
        self._days: set[bytes] = set()
        self._buffer = b""
        self._line = 1
        self._in_unusual = False
        self._last_byte = b""
        self._active: bool | None = None  # None: before the first piece

    def feed(self, piece: bytes, *, last: bool) -> bytes:
        """What the parser is to read next; may be empty while an entry is incomplete."""
        if self._active is None:
            self._active = _is_utf8(piece)
        if not self._active:
            rest, self._buffer = self._buffer + piece, b""
            return rest
        self._buffer += piece
        out: list[bytes] = []
        at = self._skim(out, last=last)
        self._buffer = self._buffer[at:]
        return b"".join(out)

    def run(self, number: int) -> Run:
        """The run of a marker; each is asked for once, in order."""
        if number != self._taken:
            raise AssertionError(f"marker {number} is read, {self._taken} was next")
        self._taken += 1
        found, self._runs[number] = self._runs[number], Run()
        return found

    @property
    def all_taken(self) -> bool:
        return self._taken == len(self._runs)

    def _skim(self, out: list[bytes], *, last: bool) -> int:
        """Work through the buffer; returns how much of it is done."""
        data, at = self._buffer, 0
        while True:
            if not self._active:
                out.append(data[at:])
                return len(data)
            if self._in_unusual:
                end = data.find(_CLOSE, at)
                stop = end + len(_CLOSE) if end >= 0 else len(data) if last else max(at, len(data) - len(_CLOSE))
                self._pass(data[at:stop], out)
                at = stop
                if end < 0:
                    return at
                self._in_unusual = False
                continue
            begin = data.find(_OPEN, at)
            stop = begin if begin >= 0 else len(data) if last else max(at, len(data) - len(_OPEN))
            self._pass(data[at:stop], out)
            at = stop
            if begin < 0:
                return at
            if not self._active:
                continue
            taken = self._cut(data, at, out)
            if taken > at:
                at = taken
                continue
            # Not of a known shape: whole and unusual, or not whole yet.
            end = data.find(_CLOSE, at)
            if end < 0 and not last and len(data) - at <= _LONGEST_ENTRY:
                return at
            if end < 0 or not self._learn(data[at : end + len(_CLOSE)]):
                self._in_unusual = True

    def _pass(self, data: bytes, out: list[bytes]) -> None:
        """Hand bytes to the parser as they are."""
        if not data:
            return
        seen = self._last_byte + data if self._last_byte else _PROLOG.sub(b"", data, count=1)
        if b"<!" in seen or b"<?" in seen:
            self._active = False
        self._last_byte = data[-1:]
        self._line += data.count(b"\n")
        out.append(data)

    def _cut(self, data: bytes, start: int, out: list[bytes]) -> int:
        """Take a run of ordinary entries from `start`; returns where it ends, `start` when there is none."""
        run = Run(first_line=self._line)
        line, at = self._line, start
        shapes, texts = self._shapes, run.texts
        count = 0
        while True:
            for shape in shapes:
                match = shape.pattern.match(data, at)
                if match is not None:
                    break
            else:
                break
            groups = match.groups()
            if not self._days_exist(shape, groups):
                break
            if shape is not shapes[0]:
                shapes.remove(shape)
                shapes.insert(0, shape)
            rows = texts.get(shape)
            if rows is None:
                rows = texts[shape] = []
            rows.append((count, line, *groups))
            count += 1
            stop = match.end()
            line += data.count(b"\n", at, stop)
            at = stop
        if not count:
            return start
        content = data[start:at].rstrip()
        if not content.isascii():
            try:
                content = content.decode("utf-8").encode("ascii", "xmlcharrefreplace")
            except UnicodeDecodeError:
                self._active = False  # the parser will say what is wrong, and where
                return start
        run.content = _BETWEEN_TAGS.sub(b"><", content)
        run.count = count
        out.append(b'<Ntry xmlns="%s">%d</Ntry>' % (self.namespace.encode(), len(self._runs)))
        out.append(b"\n" * (line - self._line))
        self._runs.append(run)
        self._line = line
        self._last_byte = b">"
        return at

    def _days_exist(self, shape: Shape, groups: Sequence[bytes]) -> bool:
        for group in shape.day_groups:
            day = groups[group]
            if day not in self._days:
                if parse_day(day.decode("ascii")) is None:
                    return False
                self._days.add(day)
        return True

    def _learn(self, entry: bytes) -> bool:
        """Add the shape of an entry that no known one matches; True when it matches now."""
        if len(entry) > _LONGEST_ENTRY or len(self._shapes) >= _SHAPES_MAX or entry.count(b"<TxDtls>") > 1:
            return False
        skeleton = _TEXTS.sub(b">", entry)
        if skeleton in self._examined or len(self._examined) >= _EXAMINED_MAX:
            return False
        self._examined.add(skeleton)
        shape = shape_of(entry)
        if shape is None:
            return False
        self._shapes.insert(0, shape)
        match = shape.pattern.match(entry)
        return match is not None and self._days_exist(shape, match.groups())


def shape_of(entry: bytes) -> Shape | None:
    """The shape of an entry; None when it is not an ordinary one."""
    learnt = _Learning()
    tokens = _TOKEN.findall(entry)
    for token, following in zip(tokens, [*tokens[1:], (b"/", b"", b"", b"")], strict=True):
        closing, name, currency, _ = token
        if closing:
            learnt.close(name)
        elif following[0] and following[1] == name:
            learnt.leaf(name, currency.decode())
        else:
            learnt.open(name, currency)
    return learnt.shape()


class _Learning:
    """What is known of a shape while its elements are walked; `ordinary` once lost stays lost."""

    def __init__(self) -> None:
        self.ordinary = True
        self._path: list[str] = []
        self._pattern: list[bytes] = []
        self._groups: list[str] = []
        self._seen: set[tuple[str, ...]] = set()
        self._at: dict[str, tuple[str, ...]] = {}
        self._currencies: dict[str, str] = {}

    def open(self, name: bytes, currency: bytes) -> None:
        self._path.append(name.decode())
        path = tuple(self._path)
        is_text = path in _PLACES and _PLACES[path] != "entry.status"
        is_second = path in self._seen and path[-1] in _RECORDS_ONCE
        if is_text or is_second or currency:
            self.ordinary = False
        self._seen.add(path)
        self._pattern.append(b"<" + name + b">" + _SPACE)

    def leaf(self, name: bytes, currency: str) -> None:
        self._path.append(name.decode())
        path = tuple(self._path)
        place = _PLACES.get(path)
        if path[-1] in _RECORDS_ONCE:
            self.ordinary = False
        self._seen.add(path)
        attribute = f' Ccy="{currency}"'.encode() if currency else b""
        self._pattern.append(b"<" + name + attribute + b">" + self._text(place, path, currency))

    def close(self, name: bytes) -> None:
        if not self._path or self._path.pop() != name.decode():
            self.ordinary = False
        self._pattern.append(b"</" + name + b">" + _SPACE)

    def _text(self, place: str | None, path: tuple[str, ...], currency: str) -> bytes:
        if place is None or place in _UNUSED or place in _CHARGE_TOTAL:
            return _TEXT
        if place in self._at:
            self.ordinary = False
            return _TEXT
        self._at[place] = path
        if place in _AMOUNTS:
            return self._amount(place, currency)
        self._groups.append(place)
        return _PATTERNS.get(place, b"(" + _TEXT + b")")

    def _amount(self, place: str, currency: str) -> bytes:
        exponent = exponent_of(currency) if currency else None
        if exponent is None:
            self.ordinary = False
            return _TEXT
        self._currencies[place] = currency
        whole = rb"([0-9]{1,%d})" % (18 - exponent)
        self._groups.append(place)
        if exponent == 0:
            return whole
        self._groups.append(f"{place}.fraction")
        return whole + rb"(?:\.([0-9]{1,%d}))?" % exponent

    def shape(self) -> Shape | None:
        if not self.ordinary or self._path or any(place not in self._at for place in _REQUIRED):
            return None
        has_detail = _DETAIL in self._seen
        currency = self._currencies["entry.amount"]
        pattern = b"".join(self._pattern)
        if has_detail and "group.count" in self._at:
            # Another count than the transactions shown is the careful reader's.
            pattern = pattern.replace(_PATTERNS["group.count"], b"(1)")
        for record in ("entry.charge", "detail.charge"):
            if not self._charge_is_plain(record, currency):
                return None
        return Shape(
            pattern=re.compile(pattern),
            places=tuple(self._groups),
            day_groups=tuple(n for n, place in enumerate(self._groups) if place.endswith("_day")),
            currency=currency,
            instructed_currency={
                place: code for place, code in self._currencies.items() if place.endswith("instructed_amount")
            },
            has_detail=has_detail,
            has_return=_RETURN in self._seen,
        )

    def _charge_is_plain(self, record: str, currency: str) -> bool:
        """No charges, or one amount in the entry's currency with its sign beside it."""
        inside = {place: path for place, path in self._at.items() if place.startswith(record)}
        above = ("Ntry", "Chrgs") if record.startswith("entry") else (*_DETAIL, "Chrgs")
        if above not in self._seen:
            return True
        amount, sign = inside.get(f"{record}.amount"), inside.get(f"{record}.sign")
        if amount is None or self._currencies.get(f"{record}.amount") != currency:
            return False
        return sign is None or sign[:-1] == amount[:-1]


def _is_utf8(head: bytes) -> bool:
    """Whether a file starts as UTF-8 without doubt; only such bytes are cut."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    if not text.lstrip().startswith(b"<"):
        return False
    declaration = text[: text.find(b"?>") + 2] if text.startswith(b"<?xml") else b""
    return b"encoding" not in declaration or _DECLARED_UTF8.fullmatch(declaration) is not None
