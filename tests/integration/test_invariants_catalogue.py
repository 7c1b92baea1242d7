"""docs/invariants.md against pg_constraint and pg_trigger: no rule of the database is missing from the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Connection, constraint_errors
from nostro.database import Database

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "invariants.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z0-9_]+)`", PAGE))
SCHEMAS = ["ledger", "settlement", "recon"]


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[Connection]:
    with template.owner() as connection:
        yield connection


def test_every_trigger_is_on_the_page(conn: Connection) -> None:
    """By its own name or its function's."""
    rows = conn.execute(
        "SELECT DISTINCT t.tgname, p.proname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND c.relnamespace = ANY (%s::regnamespace[])",
        (SCHEMAS,),
    ).fetchall()
    assert len(rows) > 20
    assert [name for name, function in rows if not {str(name), str(function)} & NAMED] == []


def test_every_constraint_of_the_books_is_on_the_page(conn: Connection) -> None:
    """Whether it has an error of its own or not; only keys with the name that Postgres gives them are left out."""
    rows = conn.execute(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'ledger'::regnamespace AND ("
        "       contype IN ('c', 'u', 'x') OR contype IN ('p', 'f') AND conname !~ '_(pkey|fkey[0-9]*)$')"
        " UNION SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  WHERE i.indisunique AND NOT i.indisprimary AND c.relnamespace = 'ledger'::regnamespace"
    ).fetchall()
    found = {str(name) for (name,) in rows}
    assert len(found) > 60 and len(found & set(constraint_errors())) > 25
    assert found - NAMED == set()


def test_the_page_names_no_shape_that_is_gone(conn: Connection) -> None:
    """The table of single rows names constraints that stand."""
    table = PAGE.partition("## Shapes of single rows")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9_]+)`", "".join(re.findall(r"^\| `.*? \|", table, re.M))))
    rows = conn.execute("SELECT conname FROM pg_constraint WHERE connamespace = 'ledger'::regnamespace").fetchall()
    assert len(named) > 20
    assert named - {str(name) for (name,) in rows} == set()
