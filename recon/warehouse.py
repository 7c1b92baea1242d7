"""`nostro.duckdb`: the books for analysts, as a file of their own.

Lives here: building the file anew and swapping it in. Must not live here: SQL (the `warehouse_*.sql` beside
this file), any rule. An open reader keeps the file it has; the next one sees the new file.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import astuple, dataclass
from importlib import resources
from pathlib import Path

import duckdb
from psycopg import sql

from ledger import Connection, transaction
from recon.suspense import suspense_items

_MARK = "\n-- table: "


@dataclass(frozen=True, slots=True)
class WarehouseReport:
    """The file that was built: rows of each table, and the comment of each view."""

    path: Path
    tables: dict[str, int]
    views: dict[str, str]


def build_warehouse(conn: Connection, path: Path) -> WarehouseReport:
    """Build the DuckDB file from one snapshot of the books and put it in place at once.

    The content is the same for the same books, view by view. `path` gets a new file; its folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".warehouse-") as folder:
        built = Path(folder) / "nostro.duckdb"
        with duckdb.connect(str(built)) as target:
            target.execute(_script("warehouse_schema.sql"))
            with transaction(conn):
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                tables = {name: _copy(conn, target, name, query, Path(folder)) for name, query in _queries()}
                tables["suspense_item"] = _copy_suspense(conn, target)
            target.execute(_script("warehouse_views.sql"))
            views = _views(target)
        built.replace(path)
    return WarehouseReport(path=path, tables=tables, views=views)


@dataclass(frozen=True, slots=True)
class QualityScore:
    """Scores of one bank account and day. `_bp`: of 10,000; None where there is nothing to score."""

    bank_account: str
    is_certified: bool
    completeness_bp: int | None
    timeliness_bp: int | None
    days_to_clear_median: int | None
    value_explained_bp: int | None


def quality_scores(path: Path, business_date: dt.date) -> tuple[QualityScore, ...]:
    """The scores of a reconciled day in a file that `build_warehouse` built, by bank account; empty for other days."""
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute(
            "SELECT bank_account, is_certified, completeness_bp, timeliness_bp, days_to_clear_median,"
            " value_explained_bp FROM quality WHERE business_date = ? ORDER BY book, bank_account",
            [business_date],
        ).fetchall()
    return tuple(QualityScore(*row) for row in rows)


def _script(name: str) -> str:
    return resources.files("recon").joinpath(name).read_text(encoding="utf-8")


def _queries() -> list[tuple[str, str]]:
    """Table name and query of everything that is copied."""
    parts = (part.partition("\n") for part in _script("warehouse_tables.sql").split(_MARK)[1:])
    return [(name.strip(), query.strip()) for name, _, query in parts]


def _copy(conn: Connection, target: duckdb.DuckDBPyConnection, name: str, query: str, folder: Path) -> int:
    """Move one table through a CSV file whose NULLs and texts cannot be confused. Gives its rows."""
    file = folder / f"{name}.csv"
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, NULL '\\N', FORCE_QUOTE *)").format(sql.SQL(query))
    with file.open("wb") as out, conn.cursor().copy(statement) as copy:
        for block in copy:
            out.write(block)
    if file.stat().st_size:
        into = duckdb.ColumnExpression(name)
        target.execute(
            "INSERT INTO " + str(into) + " SELECT * FROM read_csv(?, header = false, all_varchar = true,"
            " nullstr = '\\N', quote = '\"', escape = '\"', delim = ',', auto_detect = true)",
            [str(file)],
        )
    file.unlink()
    row = target.execute("SELECT count(*) FROM " + str(duckdb.ColumnExpression(name))).fetchone()
    assert row is not None
    return int(row[0])


def _copy_suspense(conn: Connection, target: duckdb.DuckDBPyConnection) -> int:
    """Open items of suspense accounts on each book's last reconciled day. Gives their number."""
    books = conn.execute(
        "SELECT k.book_id, k.name, max(r.business_date) FROM ledger.book k JOIN recon.run_current r USING (book_id)"
        " GROUP BY k.book_id, k.name ORDER BY k.book_id"
    ).fetchall()
    rows: list[tuple[object, ...]] = []
    for book_id, name, day in books:
        assert isinstance(day, dt.date)
        rows += [(name, *astuple(item)) for item in suspense_items(conn, book_id=int(str(book_id)), as_of=day)]
    if rows:
        target.executemany("INSERT INTO suspense_item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return len(rows)


def _views(target: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = target.execute(
        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
    ).fetchall()
    return {str(name): str(comment) for name, comment in rows}
