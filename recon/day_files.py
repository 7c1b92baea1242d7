"""The analysts' tables as Parquet, one file for each bank account and day.

Lives here: the layout of the folder and its swap. Must not live here: the tables (`recon.warehouse`), any rule.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from ledger import Connection, RefusedError
from recon.warehouse import build_warehouse

MARK: Final = "nostro-export.json"
_BY_ACCOUNT: Final = ("bank_account", "day")
# Table of the folder -> (query, partition columns). Postings have no bank account: theirs is the day alone.
_TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "breaks": ("SELECT *, business_date AS day FROM break ORDER BY break_id", _BY_ACCOUNT),
    "cash_items": ("SELECT *, item_date AS day FROM cash_items ORDER BY posting_id", _BY_ACCOUNT),
    "certificates": ("SELECT *, business_date AS day FROM certificate", _BY_ACCOUNT),
    "open_items": ("SELECT *, business_date AS day FROM open_item ORDER BY posting_id", _BY_ACCOUNT),
    "postings": (
        "SELECT p.*, a.account, a.currency, a.exponent, e.entry_key, e.known_seq, p.effective_date AS day"
        " FROM posting p JOIN account a USING (account_id) JOIN entry e USING (entry_id)"
        " ORDER BY a.account, p.posting_id",
        ("day",),
    ),
    "quality": ("SELECT *, business_date AS day FROM quality", _BY_ACCOUNT),
    "statement_lines": (
        "SELECT *, booking_date AS day FROM statement_line ORDER BY stmt_id, line_ordinal, detail_ordinal",
        _BY_ACCOUNT,
    ),
}


@dataclass(frozen=True, slots=True)
class DayFilesReport:
    """The folder that was written, and the number of files of each table."""

    folder: Path
    files: dict[str, int]


def export_days(conn: Connection, folder: Path) -> DayFilesReport:
    """Write `folder/<table>/bank_account=…/day=…/*.parquet` from one snapshot of the books, swapped in at once.

    The same books give the same files. An earlier export at that place is replaced; anything else that is there is
    refused (`RefusedError`), and left alone.
    """
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} holds something else than an export of ours; name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".days-") as name:
        work = Path(name)
        build_warehouse(conn, work / "nostro.duckdb")
        new = work / "new"
        new.mkdir()
        files = _write(work / "nostro.duckdb", new)
        (new / MARK).write_text(json.dumps({"tables": files}, indent=2, sort_keys=True) + "\n")
        if folder.exists():
            folder.rename(work / "old")
        new.rename(folder)
    return DayFilesReport(folder, files)


def _write(source: Path, target: Path) -> dict[str, int]:
    with duckdb.connect(str(source), read_only=True) as db:
        db.execute("SET threads = 1")  # one file a partition, rows in order
        for table, (query, partitions) in _TABLES.items():
            (target / table).mkdir()
            db.sql(query).write_parquet(
                str(target / table), compression="zstd", partition_by=list(partitions), overwrite=True
            )
    return {table: len(list((target / table).rglob("*.parquet"))) for table in _TABLES}
