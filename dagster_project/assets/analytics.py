"""Group analytics: the file analysts read."""

from __future__ import annotations

from dagster_project import display, rooms
from dagster_project.assets.common import DUCKDB, DUCKDB_WRITER, Run, step
from dagster_project.assets.recon import certificates


@step("analytics", deps=[certificates], kinds=DUCKDB, pool=DUCKDB_WRITER)
def duckdb(run: Run) -> display.Shown:
    """`nostro.duckdb`, built as a new file and swapped in; whoever reads the old one keeps it."""
    with run.books.reader() as session:
        target, tables = rooms.export(session)
    return {
        **display.numbers(tables=len(tables.rows)),
        **display.path("file", target),
        **display.table(tables),
        **display.texts({"read it with": f"duckdb -readonly {target}"}),
    }


ASSETS = [duckdb]
