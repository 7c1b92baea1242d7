"""docs/security.md: every bypass of append-only has its test, and what the table says about the catalogue is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Connection
from nostro.database import Database

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ["ledger", "settlement", "recon"]


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[Connection]:
    with template.owner() as connection:
        yield connection


def test_every_bypass_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) >= 13
    for row in rows:
        (named,) = re.findall(r"`(tests/[^`]+)`", row)
        path, _, function = named.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, named


def test_nothing_is_partitioned_or_inherited(conn: Connection) -> None:
    """A partition would take rows around its parent's triggers; whoever adds one gives it triggers of its own."""
    rows = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = ANY (%s::regnamespace[])"
        " AND (c.relkind = 'p' OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)))"
        " AND c.relkind NOT IN ('i', 'I')",
        (SCHEMAS,),
    ).fetchall()
    assert rows == []


def test_no_rule_rewrites_a_statement(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class"
        " WHERE c.relnamespace = ANY (%s::regnamespace[]) AND r.rulename <> '_RETURN'",
        (SCHEMAS,),
    ).fetchall()
    assert rows == []
