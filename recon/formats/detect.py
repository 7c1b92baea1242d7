"""What a file is, by its content alone.

Lives here: the look at a file's first bytes. Must not live here: names of files, reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from recon.formats.bai2 import looks_like_bai2
from recon.formats.mt940 import decoded, looks_like_mt
from recon.formats.report_layout import Layout
from recon.formats.report_reader import layout_for

HEAD_BYTES: Final = 64 * 1024


class FileFormat(StrEnum):
    """Formats of bank files."""

    CAMT = "camt"
    MT940 = "mt940"
    BAI2 = "bai2"
    REPORT = "report"


def detect(head: bytes, layouts: Sequence[Layout] = ()) -> FileFormat:
    """The format of a file from its first `HEAD_BYTES`. What is nothing else is left to the XML reader to refuse."""
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
