"""Group analytics: the file analysts read."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from dagster_project import display
from dagster_project.assets.common import DUCKDB, DUCKDB_WRITER, Run, check, step
from dagster_project.assets.recon import certificates
from dagster_project.resources import Session
from dagster_project.rooms import recon as room
from dagster_project.rooms.answers import Verdict


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


@check(duckdb, severity=dg.AssetCheckSeverity.WARN)
def quality(session: Session, day: dt.date) -> Verdict:
    """The day's data is complete, cleared in time, and its value explained."""
    return room.quality(session, day)


ASSETS = [duckdb]
CHECKS = [quality]
