"""What a file is, by its content alone.

Lives here: the look at a file's first bytes. Must not live here: names of files, reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from recon.formats.bai2 import looks_like_bai2
from recon.formats.mt940 import decoded, looks_like_mt
from recon.formats.report_layout import Layout
from recon.formats.report_reader import columns_of, layout_for, whole_lines
from recon.formats.rules import StatementRefused
from recon.formats.workbook import is_workbook

HEAD_BYTES: Final = 64 * 1024
_ZIP: Final = b"PK\x03\x04"
# What banks and people also send, by its first bytes.
_OTHERS: Final = {
    b"%PDF-": "a PDF: ask the bank for the statement as camt.053, MT940, BAI2 or CSV",
    b"\xd0\xcf\x11\xe0": "an old workbook (XLS): save it as XLSX or CSV",
    b"OFXHEADER": "OFX, which is not read: ask the bank for the statement as camt.053, MT940, BAI2 or CSV",
    b"!Type:": "QIF, which is not read: ask the bank for the statement as camt.053, MT940, BAI2 or CSV",
}


class FileFormat(StrEnum):
    """Formats of bank files."""

    CAMT = "camt"
    MT940 = "mt940"
    BAI2 = "bai2"
    REPORT = "report"


def detect_file(source: Path | bytes, layouts: Sequence[Layout] = ()) -> FileFormat:
    """The format of a file; what cannot be opened is left to the XML reader to refuse."""
    if isinstance(source, bytes):
        return detect(source if source.startswith(_ZIP) else whole_lines(source, HEAD_BYTES), layouts)
    try:
        with source.open("rb") as stream:
            head = stream.read(HEAD_BYTES + 1)
            return detect(head + stream.read() if head.startswith(_ZIP) else whole_lines(head, HEAD_BYTES), layouts)
    except (OSError, ValueError):
        return FileFormat.CAMT


def detect(head: bytes, layouts: Sequence[Layout] = ()) -> FileFormat:
    """The format of a file from its first `HEAD_BYTES` (a workbook: all of it).

    What is nothing else is left to the XML reader to refuse. Raises `StatementRefused` for a workbook or a table that
    no layout knows, and for what is known to be something else.
    """
    if is_workbook(head):
        if layout_for(head, layouts) is None:
            raise StatementRefused(
                "layout-unknown",
                1,
                "no sheet has the columns of a report we know: `nostro recon layout` proposes a --layout",
            )
        return FileFormat.REPORT
    for start, what in _OTHERS.items():
        if head.startswith(start):
            raise StatementRefused("not-xml", 1, f"this is {what}")
    text = decoded(head)[0].lstrip()
    if "\0" in text or text.startswith("<"):
        return FileFormat.CAMT
    if looks_like_bai2(text):
        return FileFormat.BAI2
    if looks_like_mt(text):
        return FileFormat.MT940
    if layout_for(head, layouts) is not None:
        return FileFormat.REPORT
    if columns := columns_of(text):
        raise StatementRefused(
            "layout-unknown",
            1,
            f"a table with the columns {columns}, which no layout knows: `nostro recon layout` proposes a --layout",
        )
    return FileFormat.CAMT
