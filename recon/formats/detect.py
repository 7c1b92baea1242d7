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
from recon.formats.report_reader import layout_for
from recon.formats.rules import StatementRefused
from recon.formats.workbook import is_workbook

HEAD_BYTES: Final = 64 * 1024
_ZIP: Final = b"PK\x03\x04"


class FileFormat(StrEnum):
    """Formats of bank files."""

    CAMT = "camt"
    MT940 = "mt940"
    BAI2 = "bai2"
    REPORT = "report"


def detect_file(source: Path | bytes, layouts: Sequence[Layout] = ()) -> FileFormat:
    """The format of a file; what cannot be opened is left to the XML reader to refuse."""
    if isinstance(source, bytes):
        return detect(source if source.startswith(_ZIP) else source[:HEAD_BYTES], layouts)
    try:
        with source.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            return detect(head + stream.read() if head.startswith(_ZIP) else head, layouts)
    except (OSError, ValueError):
        return FileFormat.CAMT


def detect(head: bytes, layouts: Sequence[Layout] = ()) -> FileFormat:
    """The format of a file from its first `HEAD_BYTES` (a workbook: all of it).

    What is nothing else is left to the XML reader to refuse. Raises `StatementRefused` for a workbook that no layout
    knows.
    """
    if is_workbook(head):
        if layout_for(head, layouts) is None:
            raise StatementRefused(
                "layout-unknown",
                1,
                "no sheet of the workbook has the columns of a report we know: give a --layout",
            )
        return FileFormat.REPORT
    if b"\0" in head or head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return FileFormat.CAMT
    text = decoded(head)[0]
    if looks_like_bai2(text):
        return FileFormat.BAI2
    if looks_like_mt(text):
        return FileFormat.MT940
    if layout_for(head, layouts) is not None:
        return FileFormat.REPORT
    return FileFormat.CAMT
