"""Numbered migrations: from nothing to the newest in one step or one by one, twice harmless, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from nostro.database import Database, initialise, migrate

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0009",
    "0020",
    "0024",
    "0026",
    "0028",
    "0030",
    "0032",
    "0046",
    "0040",
    "0041",
    "0047",
    "0048",
    "0049",
    "0050",
    "0060",
)
_SHAPE = """
SELECT 'column', c.table_schema || '.' || c.table_name || '.' || c.column_name,
       c.data_type || coalesce(c.column_default, '')
  FROM information_schema.columns c WHERE c.table_schema IN ('ledger', 'settlement', 'recon')
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace IN ('ledger'::regnamespace, 'settlement'::regnamespace, 'recon'::regnamespace)
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
       md5(prosrc) || coalesce(proconfig::text, '') || prosecdef || coalesce(proacl::text, '')
  FROM pg_proc p WHERE pronamespace IN ('ledger'::regnamespace, 'settlement'::regnamespace, 'recon'::regnamespace)
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid) || tgenabled::text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE NOT tgisinternal
   AND c.relnamespace IN ('ledger'::regnamespace, 'settlement'::regnamespace, 'recon'::regnamespace)
ORDER BY 1, 2, 3
"""


@contextmanager
def empty_database(template: Database, name: str) -> Iterator[Database]:
    """A database without a schema, with the roles of the template."""
    owner = sql.Identifier(template.role("owner"))
    with psycopg.connect(template.admin_conninfo, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), owner))
        try:
            yield replace(template, name=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def shape(database: Database) -> list[tuple[object, ...]]:
    with database.owner() as conn:
        return conn.execute(_SHAPE).fetchall()


def version(database: Database) -> object:
    with database.owner() as conn:
        row = conn.execute("SELECT version_num FROM schema_version").fetchone()
    assert row is not None
    return row[0]


def test_step_by_step_is_the_same_as_at_once(template: Database) -> None:
    with empty_database(template, "nostro_test_steps") as database:
        for revision in REVISIONS:
            migrate(database, revision)
            assert version(database) == revision
        assert shape(database) == shape(template)


def test_running_it_again_changes_nothing(template: Database) -> None:
    with empty_database(template, "nostro_test_again") as database:
        initialise(database)
        before = shape(database)
        initialise(database)
        assert shape(database) == before
        assert version(database) == REVISIONS[-1]


def test_a_migration_that_fails_leaves_nothing(template: Database) -> None:
    """All migrations of a run are one transaction: the third cannot run, so the first is not there either."""
    with empty_database(template, "nostro_test_failing") as database:
        with database.owner() as conn:
            conn.execute("CREATE SCHEMA recon")  # in the way of the third
        with pytest.raises(psycopg.errors.DuplicateSchema):
            migrate(database)
        with database.owner() as conn:
            found = conn.execute(
                "SELECT count(*) FROM pg_namespace WHERE nspname IN ('ledger', 'settlement')"
            ).fetchone()
        assert found == (0,)


def test_every_object_belongs_to_the_owner(template: Database) -> None:
    with template.owner() as conn:
        rows = conn.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('ledger', 'settlement', 'recon') AND c.relowner <> %s::regrole",
            (template.role("owner"),),
        ).fetchall()
    assert rows == []
