"""Readers of bank and acquirer files.

    read_statement_file   camt.052, camt.053, camt.054 of every version, MT940, MT942, BAI2 -> StatementFile
    read_psp_report       acquirer payout report (CSV) -> PspReport

Nothing here knows a database. What is refused, quarantined or noted, and by which rule: docs/statement-rules.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recon.formats.bai2 import read_bai2
from recon.formats.camt import read_camt
from recon.formats.detect import HEAD_BYTES, FileFormat, detect
from recon.formats.mt940 import read_mt940
from recon.formats.proof import prove_pages
from recon.formats.psp import PspFault, PspPayout, PspReport, PspReportRefused, read_psp_report
from recon.formats.rules import ENTRY_RULES, FILE_RULES, FINDING_RULES, StatementRefused
from recon.model import StatementFile

__all__ = [
    "ENTRY_RULES",
    "FILE_RULES",
    "FINDING_RULES",
    "PspFault",
    "PspPayout",
    "PspReport",
    "PspReportRefused",
    "StatementRefused",
    "prove_pages",
    "read_psp_report",
    "read_statement_file",
]


def read_statement_file(path_or_bytes: Path | str | bytes, *, name: str) -> StatementFile:
    """Read one bank statement file of any supported kind.

    `name` is what people call the file. Raises `StatementRefused` (rule, line, one sentence) when the whole
    file is refused; a bad entry is quarantined in its statement instead, which is then unproven.
    """
    if isinstance(path_or_bytes, bytes):
        kind = detect(path_or_bytes[:HEAD_BYTES])
    else:
        try:
            with Path(path_or_bytes).open("rb") as stream:
                kind = detect(stream.read(HEAD_BYTES))
        except (OSError, ValueError):
            kind = FileFormat.CAMT  # which says why it cannot be read
    if kind is FileFormat.CAMT:
        return read_camt(path_or_bytes, name=name)
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
    return _TEXT_READERS[kind](data, name=name)


_TEXT_READERS: Final = {FileFormat.MT940: read_mt940, FileFormat.BAI2: read_bai2}
