"""XML from strangers: one forward pass, bounded memory, no entity is ever expanded.

Lives here: hashing and limiting the byte source, the look at the prolog, element events, and the mapping
of every parser fault to a named refusal. Must not live here: any knowledge of a statement.

A DOCTYPE is refused twice: when the parser meets its name, before one declaration of it is read (in every
encoding the parser knows, because the parser says so), and again by the document that is built.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Protocol

from lxml import etree

from recon.formats.rules import StatementRefused

PIECE_BYTES: Final = 32 * 1024
FILTERED_PIECE_BYTES: Final = 2 * 1024 * 1024
# A document that shows nothing of a statement for this long is not one; it would only fill the memory.
SILENCE_BYTES_MAX: Final = 64 * 1024 * 1024

_FETCH_AGAIN: Final = "the file is cut short or damaged: fetch it again from the bank"


class _DoctypeFoundError(Exception):
    pass


class _RootFoundError(Exception):
    pass


class _Prolog:
    """Parser target that stops at the DOCTYPE or at the root element, whichever comes first."""

    def __init__(self) -> None:
        self.root: str = ""

    def doctype(self, name: str | None, public: str | None, system: str | None) -> None:
        raise _DoctypeFoundError

    def start(self, tag: Any, attrib: Any) -> None:
        self.root = str(tag)
        raise _RootFoundError

    def end(self, tag: Any) -> None:
        """Never reached: the start of the root ends the look."""

    def data(self, data: Any) -> None:
        """White space before the root."""

    def comment(self, text: Any) -> None:
        """A comment before the root."""

    def close(self) -> None:
        return None


class Filter(Protocol):
    """Takes the stream in pieces and gives what the parser is to read instead."""

    def feed(self, piece: bytes, *, last: bool) -> bytes: ...


class ByteSource:
    """What the parser reads from: hashes everything, and gives up on a document that shows nothing."""

    def __init__(self, stream: BinaryIO, through: Filter | None = None) -> None:
        self._stream = stream
        self._through = through
        self._hash = hashlib.sha256()
        self.silent_bytes = 0
        self.head = b""

    def read(self, size: int = -1) -> bytes:
        data = self._read(size) if self._through is None else self._filtered(self._through)
        self.silent_bytes += len(data)
        if self.silent_bytes > SILENCE_BYTES_MAX:
            raise StatementRefused(
                "not-a-camt-report",
                1,
                f"no statement or entry within {SILENCE_BYTES_MAX // 2**20} MiB: send a camt.052, camt.053 or camt.054",
            )
        return data

    def _filtered(self, through: Filter) -> bytes:
        while data := self._read(FILTERED_PIECE_BYTES):
            if out := through.feed(data, last=False):
                return out
        return through.feed(b"", last=True)

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        if len(self.head) < 4 * PIECE_BYTES:
            self.head += data
        return data

    def sha256(self) -> str:
        """Hash of the whole stream; what the parser left unread is read now."""
        while data := self._stream.read(PIECE_BYTES):
            self._hash.update(data)
        return self._hash.hexdigest()


def line_of(head: bytes, needle: str) -> int:
    """Line of the first occurrence of an ASCII text near the start of a file, in any encoding; else 1."""
    plain = head.replace(b"\0", b"")
    at = plain.find(needle.encode("ascii", "ignore"))
    return plain[:at].count(b"\n") + 1 if at >= 0 else 1


def root_tag(stream: BinaryIO) -> tuple[str, int]:
    """Tag (`{namespace}name`) and line of the root element; the stream is put back to its start.

    Raises `StatementRefused`: empty-file, not-xml, xml-doctype, xml-not-well-formed.
    """
    head = stream.read(PIECE_BYTES)
    _refuse_what_is_not_xml(head)
    target = _Prolog()
    parser = etree.XMLParser(target=target, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    seen, piece = b"", head
    try:
        while piece:
            seen = (seen + piece)[: 4 * PIECE_BYTES]
            parser.feed(piece)
            piece = stream.read(PIECE_BYTES)
        parser.close()
    except _DoctypeFoundError:
        raise _doctype(line_of(seen, "<!DOCTYPE")) from None
    except _RootFoundError:
        stream.seek(0)
        name = target.root.rpartition("}")[2]
        return target.root, max(line_of(seen, f"<{name}"), line_of(seen, f":{name}"))
    except etree.XMLSyntaxError as fault:
        raise _syntax_refusal(fault) from None
    except (ValueError, LookupError) as fault:
        raise StatementRefused("xml-not-well-formed", 1, f"{_one_line(str(fault))}; {_FETCH_AGAIN}") from None
    raise StatementRefused("xml-not-well-formed", 1, f"no root element; {_FETCH_AGAIN}")


def element_ends(source: ByteSource, names: tuple[str, ...]) -> Iterator[Any]:
    """Elements of these local names, in any namespace, each as soon as its end is read.

    The caller clears what it has used. Comments and processing instructions are dropped, so they cannot
    split a text. Raises `StatementRefused` for every fault of the XML.
    """
    events = etree.iterparse(
        source,
        events=("end",),
        tag=[f"{{*}}{name}" for name in names],
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        attribute_defaults=False,
        dtd_validation=False,
        huge_tree=False,
    )
    checked = False
    try:
        for _, element in events:
            if not checked:
                info = element.getroottree().docinfo
                if info.internalDTD is not None or info.doctype:
                    raise _doctype(line_of(source.head, "<!DOCTYPE"))
                checked = True
            yield element
    except etree.XMLSyntaxError as fault:
        raise _syntax_refusal(fault) from None
    except (UnicodeDecodeError, LookupError) as fault:
        raise StatementRefused("xml-not-well-formed", 1, f"{_one_line(str(fault))}; {_FETCH_AGAIN}") from None


def open_bytes(data: bytes) -> BinaryIO:
    """The bytes as a stream."""
    return io.BytesIO(data)


def _refuse_what_is_not_xml(head: bytes) -> None:
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff", b"\xff\xfe", b"\xfe\xff"):
        head = head.removeprefix(mark)
    text = head.replace(b"\0", b"").lstrip()
    if not text:
        raise StatementRefused("empty-file", 1, "the file is empty: fetch it again from the bank")
    if not text.startswith(b"<"):
        raise StatementRefused(
            "not-xml",
            1,
            "this is not XML, MT940, MT942, BAI2 or a table: send the file as the bank delivered it",
        )


def _doctype(line: int) -> StatementRefused:
    return StatementRefused(
        "xml-doctype", line, "a bank statement has no DOCTYPE: ask the bank for the file without it"
    )


def _syntax_refusal(fault: Any) -> StatementRefused:
    text = _one_line(str(fault.msg or "not well-formed"))
    line = max(int(fault.lineno or 1), 1)
    lower = text.lower()
    if "excessive depth" in lower:
        return StatementRefused(
            "too-deep", line, "elements are nested deeper than 255 levels: this is not a bank's file, do not use it"
        )
    if "xml_parse_huge" in lower or "too long" in lower or "amplification" in lower or "resource limit" in lower:
        return StatementRefused(
            "resource-limit", line, "a text or name in it is larger than a statement can need: do not use this file"
        )
    if "document is empty" in lower:
        return StatementRefused("xml-not-well-formed", line, f"no root element; {_FETCH_AGAIN}")
    return StatementRefused("xml-not-well-formed", line, f"{text}; {_FETCH_AGAIN}")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r", line \d+, column \d+.*", "", text)).strip()
