"""docs/invariants.md against pg_constraint and pg_trigger: no rule of the database is missing from the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Connection, constraint_errors
from nostro.database import Database

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "invariants.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z_]+)`", PAGE))
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


def test_every_constraint_of_the_books_with_an_error_of_its_own_is_on_the_page(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'ledger'::regnamespace"
        "   AND contype IN ('c', 'u', 'p', 'f', 'x')"
        " UNION SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  WHERE i.indisunique AND c.relnamespace = 'ledger'::regnamespace"
    ).fetchall()
    ours = {str(name) for (name,) in rows} & set(constraint_errors())
    assert len(ours) > 25
    assert ours - NAMED == set()
