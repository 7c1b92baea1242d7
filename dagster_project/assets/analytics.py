"""Group analytics: the file analysts read."""

from __future__ import annotations

from dagster_project import display
from dagster_project.assets.common import DUCKDB, DUCKDB_WRITER, Run, step
from dagster_project.assets.recon import certificates
from dagster_project.rooms import recon as room


@step("analytics", deps=[certificates], kinds=DUCKDB, pool=DUCKDB_WRITER)
def duckdb(run: Run) -> display.Shown:
    """`nostro.duckdb`, built as a new file and swapped in; whoever reads the old one keeps it."""
    with run.books.reader() as session:
        target, tables, views = room.export(session)
    return {
        **display.numbers(tables=len(tables.rows), views=len(views.rows)),
        **display.path("file", target),
        **display.table(views),
        **display.table(tables),
        **display.texts({"read it with": f"duckdb -readonly {target}"}),
    }


ASSETS = [duckdb]
