"""The catalogue against the code: constraint names, privileges, definer functions, triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import recon.errors
import settlement.errors
from ledger import Connection, constraint_errors
from nostro.database import GROUPS, SERVICE, Database

SCHEMAS = ["ledger", "settlement", "recon"]
PACKAGES = (settlement.errors, recon.errors)  # importing them registers their constraint names
_RAISED = re.compile(r"CONSTRAINT\s*=\s*'([a-z0-9_]+)'")
_REFUSED = re.compile(r"refuse_adjustment\('([a-z0-9_]+)'")
_THEN = re.compile(r"THEN '([a-z0-9_]+)'")


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[Connection]:
    """A connection to the template with the owner's rights; this file only reads."""
    with template.owner() as connection:
        yield connection
    # the template must be free of connections, or no test can copy it


def sources(conn: Connection) -> dict[str, str]:
    """Body of every function by schema-qualified name."""
    rows = conn.execute(
        "SELECT pronamespace::regnamespace || '.' || proname, prosrc FROM pg_proc"
        " WHERE pronamespace = ANY (%s::regnamespace[])",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    return {str(name): str(body) for name, body in rows}


def declared(conn: Connection) -> set[str]:
    """Names of constraints and unique indexes of the three schemas."""
    rows = conn.execute(
        "SELECT conname FROM pg_constraint WHERE connamespace = ANY (%(s)s::regnamespace[])"
        " UNION SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  WHERE i.indisunique AND c.relnamespace = ANY (%(s)s::regnamespace[])",
        {"s": SCHEMAS},
    ).fetchall()
    conn.rollback()
    return {str(name) for (name,) in rows}


def raised(conn: Connection) -> set[str]:
    """Names that function bodies raise, `CONSTRAINT = 'name'`, and faults handed to ledger.raise_account_fault."""
    bodies = sources(conn)
    found = {name for body in bodies.values() for name in _RAISED.findall(body)}
    found |= {name for body in bodies.values() for name in _REFUSED.findall(body)}
    return found | set(_THEN.findall(bodies["ledger.check_accounts"]))


def test_every_registered_name_exists_in_the_database(conn: Connection) -> None:
    assert set(constraint_errors()) - declared(conn) - raised(conn) == set()


def test_every_raised_name_is_registered(conn: Connection) -> None:
    assert raised(conn) - set(constraint_errors()) == set()


def test_every_fault_raised_has_a_constraint_name_or_is_a_limit(conn: Connection) -> None:
    """`RAISE EXCEPTION` without CONSTRAINT would reach people as an unnamed refusal."""
    bare = re.compile(r"RAISE EXCEPTION(?!\s+USING)|RAISE EXCEPTION\s+USING(?:(?!;).)*;", re.DOTALL)
    allowed = {"program_limit_exceeded"}
    unnamed = [
        name
        for name, body in sources(conn).items()
        for statement in bare.findall(body)
        if "CONSTRAINT" not in statement and not any(code in statement for code in allowed)
    ]
    assert unnamed == []


# --- privileges ----------------------------------------------------------------------------------------------------


def test_the_app_writes_nothing_but_stage_tables(conn: Connection, template: Database) -> None:
    """The whole matrix role × table × verb, generated: everything but SELECT, and INSERT into stage_*, is absent."""
    rows = conn.execute(
        """
        SELECT r.role, n.nspname || '.' || c.relname, v.verb
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN unnest(%(roles)s::text[]) AS r (role)
         CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS v (verb)
         WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm')
           AND has_table_privilege(r.role, c.oid, v.verb)
           AND NOT (v.verb = 'INSERT' AND starts_with(c.relname, 'stage_') AND c.relpersistence = 'u')
        """,
        {
            "roles": [template.role(name) for name in ("app", SERVICE, *GROUPS, "alice", "bob", "ann")],
            "schemas": SCHEMAS,
        },
    ).fetchall()
    conn.rollback()
    assert rows == []


def test_column_privileges_are_to_read_below_views_and_nobody_has_a_sequence(
    conn: Connection, template: Database
) -> None:
    """Who has a view reads the columns below it; nothing else is granted by column."""
    roles = [template.role(name) for name in ("app", SERVICE, *GROUPS)]
    columns = conn.execute(
        "SELECT attrelid::regclass::text, attname, x.grantee::regrole::text, x.privilege_type"
        "  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN aclexplode(a.attacl) x"
        " WHERE c.relnamespace = ANY (%s::regnamespace[])"
        "   AND (x.grantee <> ALL (%s::regrole[]) OR x.privilege_type <> 'SELECT' OR x.is_grantable)",
        (SCHEMAS, [template.role("analyst"), template.role("app")]),
    ).fetchall()
    sequences = conn.execute(
        "SELECT r.role, c.oid::regclass FROM pg_class c CROSS JOIN unnest(%s::text[]) AS r (role)"
        " WHERE c.relkind = 'S' AND c.relnamespace = ANY (%s::regnamespace[])"
        "   AND has_sequence_privilege(r.role, c.oid, 'USAGE, UPDATE')"
        "   AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid"
        "                    WHERE d.objid = c.oid AND starts_with(t.relname, 'stage_'))",
        (roles, SCHEMAS),
    ).fetchall()
    conn.rollback()
    assert columns == []
    assert sequences == []


def test_public_may_execute_nothing(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a"
        " WHERE pronamespace = ANY (%s::regnamespace[]) AND a.grantee = 0",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    assert rows == []


def test_public_and_people_create_nothing(conn: Connection, template: Database) -> None:
    rows = conn.execute(
        "SELECT r.role, n.nspname FROM pg_namespace n CROSS JOIN unnest(%s::text[]) AS r (role)"
        " WHERE n.nspname = ANY (%s) AND has_schema_privilege(r.role, n.oid, 'CREATE')",
        ([template.role(name) for name in ("app", SERVICE, *GROUPS)], [*SCHEMAS, "public"]),
    ).fetchall()
    conn.rollback()
    assert rows == []


def test_definer_functions_have_a_fixed_search_path(conn: Connection) -> None:
    """A definer function that trusts the caller's search_path runs the caller's code as the owner."""
    rows = conn.execute(
        "SELECT oid::regprocedure::text, proconfig FROM pg_proc WHERE pronamespace = ANY (%s::regnamespace[])",
        (SCHEMAS,),
    ).fetchall()
    definers = conn.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND pronamespace = ANY (%s::regnamespace[])",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    fixed = {
        str(name)
        for name, config in rows
        if config is not None and "search_path=pg_catalog, pg_temp" in list(config)  # type: ignore[call-overload]
    }
    assert definers
    assert {str(name) for (name,) in definers} - fixed == set()


def test_internal_functions_are_not_for_the_app(conn: Connection, template: Database) -> None:
    rows = conn.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = ANY (%s::regnamespace[])"
        " AND has_function_privilege(%s, oid, 'EXECUTE') AND (proname LIKE '%%internal'"
        " OR proname IN ('record_certificate', 'make_append_only', 'raise_account_fault'))",
        (SCHEMAS, template.role("app")),
    ).fetchall()
    conn.rollback()
    assert rows == []


# --- triggers ------------------------------------------------------------------------------------------------------


def test_triggers_of_the_books_fire_always(conn: Connection) -> None:
    """ENABLE ALWAYS: session_replication_role = replica must not switch a rule off."""
    rows = conn.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE NOT tgisinternal AND c.relnamespace = ANY (%s::regnamespace[]) AND tgenabled <> 'A'",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    assert rows == []


def test_every_table_is_append_only_or_a_stage_or_an_index_of_what_happened(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p')"
        " AND c.relnamespace = ANY (%s::regnamespace[]) AND NOT starts_with(c.relname, 'stage_')"
        " AND NOT EXISTS (SELECT FROM pg_trigger t"
        " WHERE t.tgrelid = c.oid AND tgname = 'append_only' AND tgenabled = 'A')",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    assert {name for (name,) in rows} == {
        "ledger.balance",
        "ledger.balance_pending",
        "ledger.balance_shard",
        "settlement.file_standing",
        "settlement.outstanding",
    }


def test_stage_tables_are_unlogged(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND starts_with(c.relname, 'stage_')"
        " AND c.relnamespace = ANY (%s::regnamespace[]) AND c.relpersistence <> 'u'",
        (SCHEMAS,),
    ).fetchall()
    conn.rollback()
    assert rows == []
