"""Readers of bank and acquirer files.

    read_statement_file   camt.052, camt.053, camt.054 of every version, MT940, MT942, BAI2,
                          reports by a layout -> StatementFile
    unpacked              members of a zip or gzip file
    read_psp_report       acquirer payout report (CSV) -> PspReport

Nothing here knows a database. What is refused, quarantined or noted, and by which rule: docs/statement-rules.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon.formats.archive import is_packed, unpacked
from recon.formats.bai2 import read_bai2
from recon.formats.camt import read_camt
from recon.formats.detect import HEAD_BYTES, FileFormat, detect
from recon.formats.mt940 import read_mt940
from recon.formats.proof import prove_pages
from recon.formats.psp import PspFault, PspPayout, PspReport, PspReportRefused, is_payout_report, read_psp_report
from recon.formats.report_layout import Layout, LayoutRefused, read_layouts
from recon.formats.report_reader import layout_for, read_report
from recon.formats.rules import ENTRY_RULES, FILE_RULES, FINDING_RULES, StatementRefused
from recon.model import StatementFile

__all__ = [
    "ENTRY_RULES",
    "FILE_RULES",
    "FINDING_RULES",
    "Layout",
    "LayoutRefused",
    "PspFault",
    "PspPayout",
    "PspReport",
    "PspReportRefused",
    "StatementRefused",
    "is_packed",
    "is_payout_report",
    "prove_pages",
    "read_layouts",
    "read_psp_report",
    "read_statement_file",
    "unpacked",
]


def read_statement_file(
    path_or_bytes: Path | str | bytes, *, name: str, layouts: Sequence[Layout] = ()
) -> StatementFile:
    """Read one bank statement file or report of any supported kind, recognised by its content.

    `name` is what people call the file; `layouts` are declared ones, tried before those the program knows. Raises
    `StatementRefused` (rule, line, one sentence) when the whole file is refused; a bad entry is quarantined in its
    statement instead, which is then unproven.
    """
    if isinstance(path_or_bytes, bytes):
        kind = detect(path_or_bytes[:HEAD_BYTES], layouts)
    else:
        try:
            with Path(path_or_bytes).open("rb") as stream:
                kind = detect(stream.read(HEAD_BYTES), layouts)
        except (OSError, ValueError):
            kind = FileFormat.CAMT  # which says why it cannot be read
    if kind is FileFormat.CAMT:
        return read_camt(path_or_bytes, name=name)
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
    if kind is FileFormat.MT940:
        return read_mt940(data, name=name)
    if kind is FileFormat.BAI2:
        return read_bai2(data, name=name)
    layout = layout_for(data, layouts)
    if layout is None:
        raise AssertionError("a report is detected by its layout")
    return read_report(data, layout, name=name)
