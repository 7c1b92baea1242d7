"""The privilege matrix, pinned: every role × object × verb of the three schemas, generated from the catalogue.

A change of rights shows as a diff of the golden file. When it is meant:

    NOSTRO_WRITE_GOLDEN=1 make test ARGS=tests/integration/test_access_matrix.py

The rules below it hold for whatever the matrix says.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Connection
from nostro.access import Privilege, matrix_text, privileges
from nostro.database import Database

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "access-matrix.txt"
KNOWN = {"app", "service", "preparer", "approver", "analyst", "restricted"}
SCHEMAS = ["ledger", "settlement", "recon"]


@pytest.fixture(scope="module")
def matrix(template: Database) -> tuple[Privilege, ...]:
    with template.owner() as conn:
        return privileges(conn)


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[Connection]:
    with template.owner() as connection:
        yield connection


def test_the_matrix_is_the_pinned_one(matrix: tuple[Privilege, ...], template: Database) -> None:
    text = matrix_text(matrix, role_prefix=template.role_prefix)
    if os.environ.get("NOSTRO_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    pinned = GOLDEN.read_text(encoding="utf-8")
    diff = "\n".join(difflib.unified_diff(pinned.splitlines(), text.splitlines(), "pinned", "catalogue", "", "", 0, ""))
    hint = (
        "rights changed; if that is meant: NOSTRO_WRITE_GOLDEN=1 make test ARGS=tests/integration/test_access_matrix.py"
    )
    assert text == pinned, f"{hint}\n{diff}"


def test_nobody_but_the_owner_changes_a_row(matrix: tuple[Privilege, ...]) -> None:
    """INSERT is into stage tables alone; no UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES, MAINTAIN anywhere."""
    verbs = {(p.name, verb.split(" ")[0]) for p in matrix if p.kind in {"table", "view"} for verb in p.verbs}
    assert {verb for _, verb in verbs} == {"SELECT", "INSERT"}
    assert all(name.split(".")[1].startswith("stage_") for name, verb in verbs if verb == "INSERT")


def test_only_these_roles_have_rights_and_public_has_none(matrix: tuple[Privilege, ...], template: Database) -> None:
    assert {p.role.removeprefix(f"{template.role_prefix}_") for p in matrix} == KNOWN


def test_what_the_program_publishes_no_person_can(
    matrix: tuple[Privilege, ...], template: Database, conn: Connection
) -> None:
    """Statements, runs of rules, certificates, banks' answers: the service's alone, by any way of inheriting."""
    service = template.role("service")
    own = {(p.kind, p.name) for p in matrix if p.role == service}
    assert {p.role for p in matrix if (p.kind, p.name) in own and "EXECUTE" in p.verbs} == {service}
    names = " ".join(name for _, name in sorted(own))
    for published in (
        *("recon.publish_run", "recon.book_statement", "recon.keep_file", "recon.expect_receipts", "recon.stage_leg"),
        *("recon.add_certificate", "settlement.receive_answer", "settlement.noticed"),
    ):
        assert published in names
    inherited = conn.execute(
        "SELECT r.rolname, p.oid::regprocedure::text FROM pg_proc p, pg_roles r WHERE r.rolname = ANY (%(people)s)"
        "   AND EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = %(service)s::regrole)"
        "   AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
        " UNION ALL "
        "SELECT r.rolname, c.oid::regclass::text FROM pg_class c, pg_roles r WHERE r.rolname = ANY (%(people)s)"
        "   AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = %(service)s::regrole)"
        "   AND has_table_privilege(r.oid, c.oid, 'INSERT')",
        {"people": [template.role(name) for name in ("alice", "bob", "carol", "ann")], "service": service},
    ).fetchall()
    assert inherited == []


def test_schemas_are_used_and_nothing_is_created_in_them(matrix: tuple[Privilege, ...]) -> None:
    assert {verb for p in matrix if p.kind == "schema" for verb in p.verbs} == {"USAGE"}


def test_nobody_draws_numbers(matrix: tuple[Privilege, ...]) -> None:
    """No right on a sequence, but those of stage tables."""
    assert [p for p in matrix if p.kind == "sequence" and ".stage_" not in p.name] == []


def test_analysts_read_and_execute_nothing(matrix: tuple[Privilege, ...], template: Database) -> None:
    of_analysts = [p for p in matrix if p.role == template.role("analyst")]
    assert {p.kind for p in of_analysts} == {"schema", "table", "view"}
    assert {verb.split(" ")[0] for p in of_analysts for verb in p.verbs} == {"USAGE", "SELECT"}


def test_analysts_do_not_read_the_bytes_of_files(matrix: tuple[Privilege, ...], template: Database) -> None:
    """What views do not show, their readers cannot fetch from the tables below."""
    columns = " ".join(
        f"{p.name} {verb}"
        for p in matrix
        if p.role == template.role("analyst") and p.kind == "table"
        for verb in p.verbs
    )
    assert "recon.source_file SELECT (" in columns and "settlement.payment_file SELECT (" in columns
    assert re.search(r"\bcontent(_zlib)?\b", columns) is None


# Every table of any schema, and how it comes to have rows of a book: by a book_id, by a foreign key to such a table
# (of any number of columns, nullable or not), or by a column that is called like the key of one, step by step.
_OF_A_BOOK = """
WITH RECURSIVE relation AS (
    SELECT c.oid, c.oid::regclass::text COLLATE "C" AS name, c.relrowsecurity,
           EXISTS (SELECT FROM pg_attribute a, aclexplode(coalesce(a.attacl, c.relacl)) x
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND x.grantee <> c.relowner) AS is_readable,
           (SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy p
             WHERE p.polrelid = c.oid AND p.polname = 'granted_books' AND NOT p.polpermissive AND p.polcmd IN ('r', '*')
               AND p.polroles = ARRAY[%(restricted)s::regrole::oid]) AS shows
      FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm', 'f')
       AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
), named AS (
    SELECT i.indrelid AS oid, a.attname FROM pg_index i
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indisprimary AND i.indnkeyatts = 1
), points AS (
    SELECT f.conrelid AS child, f.confrelid AS parent, f.conname::text AS how FROM pg_constraint f WHERE f.contype = 'f'
    UNION ALL
    SELECT a.attrelid, n.oid, a.attname::text FROM named n JOIN pg_attribute a USING (attname)
     WHERE a.attrelid <> n.oid AND a.attnum > 0 AND NOT a.attisdropped
), of_book (oid, how) AS (
    SELECT r.oid, 'book_id' COLLATE "C" FROM relation r
      JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = 'book_id'
    UNION
    SELECT r.oid, p.how COLLATE "C" FROM of_book b
      JOIN points p ON p.parent = b.oid JOIN relation r ON r.oid = p.child
)
SELECT r.name, min(b.how), r.is_readable, r.relrowsecurity, r.shows
  FROM relation r LEFT JOIN of_book b USING (oid) GROUP BY r.name, r.is_readable, r.relrowsecurity, r.shows ORDER BY 1
"""
# Readable, of a book, and without a policy: why no other book's login sees a row of it.
UNCOMMITTED = "its rows end with the transaction that wrote them; test_access_books.py"
WITHOUT_POLICY = {
    "recon.stage_break": UNCOMMITTED,
    "recon.stage_leg": UNCOMMITTED,
    "recon.stage_line": UNCOMMITTED,
    "recon.stage_open": UNCOMMITTED,
}
# Readable, and of no book that can be derived: why everybody may read it, or what its policy is.
OF_NO_BOOK = {
    "ledger.balance_fold": "how far deferred balances are folded, for all books at once",
    "ledger.control": "which module posts to a class of accounts",
    "ledger.currency": "ISO 4217",
    "ledger.event_consumer": "names of programs",
    "ledger.event_offset": "how far a program has read",
    "ledger.publication": "points of the knowledge order, which all books share",
    "ledger.rollup_step": "how far history is rolled up, for all books at once",
    "recon.stage_receipt": UNCOMMITTED,
    "settlement.batch_mark": "the last number drawn",
    "settlement.file_transition": "a lattice",
    "settlement.instruction_state": "a lattice",
    "settlement.instruction_transition": "a lattice",
    "settlement.reason_policy": "ISO 20022 codes",
    "settlement.recall_outcome": "ISO 20022 codes",
    "settlement.send_journal": "the deployment's journals",
    "settlement.send_review": "findings about all books: a policy shows them to nobody who is restricted",
    "settlement.send_review_word": "by the policy of its review",
    "settlement.status_code": "ISO 20022 codes",
}


def protection(conn: Connection, restricted: str) -> dict[str, set[str]]:
    """Readable tables that no policy parts by book: of a book and without one, of no known book, shown to nobody."""
    found: dict[str, set[str]] = {"bare": set(), "of no book": set(), "blind": set()}
    rows = conn.execute(_OF_A_BOOK, {"restricted": f'"{restricted}"'}).fetchall()
    assert len(rows) > 100
    for name, how, is_readable, has_policies, shows in rows:
        if how is None and is_readable:
            found["of no book"].add(str(name))
        elif is_readable and (not has_policies or shows is None):
            found["bare"].add(str(name))
        elif is_readable and shows == "false":
            found["blind"].add(str(name))  # safe, and hides a book's own rows: say in ledger.granted_rows how it points
    return found


def test_a_table_with_rows_of_a_book_shows_them_to_the_logins_of_that_book(
    template: Database, conn: Connection
) -> None:
    """Derived from the catalogue: a new table is under test the day it is created, and what is let off has a reason."""
    found = protection(conn, template.role("restricted"))
    assert found == {"bare": set(WITHOUT_POLICY), "of no book": set(OF_NO_BOOK), "blind": set()}


def test_a_table_that_forgot_its_policy_is_found(template: Database, conn: Connection) -> None:
    for change, kind, table in (
        ("DROP POLICY granted_books ON settlement.outstanding", "bare", "settlement.outstanding"),
        ("ALTER TABLE settlement.obligation DISABLE ROW LEVEL SECURITY", "bare", "settlement.obligation"),
        ("CREATE TABLE public.note (file_id bigint); GRANT SELECT ON public.note TO PUBLIC", "bare", "note"),
        ("ALTER POLICY granted_books ON settlement.file_standing USING (false)", "blind", "settlement.file_standing"),
    ):
        with conn.transaction(force_rollback=True):
            conn.execute("RESET ROLE")
            conn.execute(change)
            assert table in protection(conn, template.role("restricted"))[kind], change


def test_definer_functions_trust_nothing_of_the_caller(conn: Connection) -> None:
    """search_path fixed, pg_catalog before pg_temp; not for PUBLIC; owned by the owner."""
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text, coalesce(proconfig, '{}'),"
        "       EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)"
        "  FROM pg_proc p WHERE prosecdef AND pronamespace = ANY (%s::regnamespace[])",
        (SCHEMAS,),
    ).fetchall()
    assert len(rows) > 50
    for name, config, is_public in rows:
        assert "search_path=pg_catalog, pg_temp" in config, name  # type: ignore[operator]
        assert is_public is False, name


_NAME = re.compile(
    r"(?<!DISTINCT )\b(?:FROM|JOIN|INSERT INTO|UPDATE|DELETE FROM|MERGE INTO|LOCK TABLE|TABLE)\s+"
    r"(?:ONLY\s+|LATERAL\s+)?"
    r"([a-z_][a-z0-9_]*)\b(?!\s*[.(])"
)
_CTE = re.compile(r"\b([a-z_][a-z0-9_]*)\s*(?:\([^()]*\)\s*)?AS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\(")
_COMMENT = re.compile(r"--[^\n]*")
_TEXT = re.compile(r"'(?:[^']|'')*'")


def test_no_definer_function_reads_pg_temp(conn: Connection) -> None:
    """A table named without its schema could be one that the caller put into pg_temp; so none is, but what the
    statement itself names (CTEs, transition tables) and the catalogue's, which come first."""
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text, prosrc, array_agg(coalesce(t.tgnewtable, '')) FROM pg_proc p"
        "  LEFT JOIN pg_trigger t ON t.tgfoid = p.oid WHERE pronamespace = ANY (%s::regnamespace[]) GROUP BY p.oid",
        (SCHEMAS,),
    ).fetchall()
    found = []
    for name, source, transition in rows:
        body = _TEXT.sub("''", _COMMENT.sub("", str(source)))
        own = {*_CTE.findall(body), *transition}  # type: ignore[misc]
        found += [f"{name}: {used}" for used in _NAME.findall(body) if used not in own and not used.startswith("pg_")]
        assert "pg_temp" not in body and "TEMP TABLE" not in body.upper(), name
    assert found == []
