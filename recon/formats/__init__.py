"""Readers of bank and acquirer files.

    read_statement_file   camt.052, camt.053, camt.054 of every version, MT940, MT942, BAI2,
                          reports by a layout (CSV or XLSX) -> StatementFile
    unpacked              members of a zip or gzip file
    read_statement_to_parquet   the same, its lines in a Parquet file: any size in the same memory
    prove_statement_file  the same without its lines
    read_psp_report       acquirer payout report (CSV) -> PspReport

Nothing here knows a database. What is refused, quarantined or noted, and by which rule: docs/statement-rules.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recon.formats.archive import is_packed, unpacked
from recon.formats.bai2 import read_bai2
from recon.formats.camt import read_camt
from recon.formats.camt_spool import MemorySpool, NoRows, Spool
from recon.formats.detect import FileFormat, detect_file
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
    "prove_statement_file",
    "read_layouts",
    "read_psp_report",
    "read_statement_file",
    "read_statement_to_parquet",
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
    return _read(path_or_bytes, name, layouts, MemorySpool())


def prove_statement_file(
    path_or_bytes: Path | str | bytes, *, name: str, layouts: Sequence[Layout] = ()
) -> StatementFile:
    """As `read_statement_file`, with empty `lines`: a camt file of any size is read in the same memory."""
    return _read(path_or_bytes, name, layouts, NoRows())


def read_statement_to_parquet(
    path_or_bytes: Path | str | bytes, out: Path, *, name: str, layouts: Sequence[Layout] = ()
) -> StatementFile:
    """As `read_statement_file`, with the lines in the Parquet file `out` and none in memory.

    The columns are those of `STATEMENT_LINES`, rows in document order. `out` appears only when the whole file was
    read; a refused file (`StatementRefused`) leaves nothing behind.
    """
    from recon.formats.parquet_spool import ParquetSpool

    with ParquetSpool(out) as spool:
        return _read(path_or_bytes, name, layouts, spool)


def _read(path_or_bytes: Path | str | bytes, name: str, layouts: Sequence[Layout], spool: Spool) -> StatementFile:
    kind = detect_file(path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes), layouts)
    if kind is FileFormat.CAMT:
        return read_camt(path_or_bytes, name=name, spool=spool)
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
    file = _read_text(data, kind, layouts, name)
    spool.add(file.lines)
    return replace(file, lines=spool.finish(lambda rows: rows))


def _read_text(data: bytes, kind: FileFormat, layouts: Sequence[Layout], name: str) -> StatementFile:
    if kind is FileFormat.MT940:
        return read_mt940(data, name=name)
    if kind is FileFormat.BAI2:
        return read_bai2(data, name=name)
    layout = layout_for(data, layouts)
    if layout is None:
        raise AssertionError("a report is detected by its layout")
    return read_report(data, layout, name=name)
