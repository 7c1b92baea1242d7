"""Invariant 2 over the whole catalogue: no table of the books takes UPDATE, DELETE, TRUNCATE or an upsert.

The tables come from pg_catalog, so a table added by any package is under test the day it is created.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from ledger import AccessError, AppendOnlyError, Connection, translate_errors
from nostro.database import Database
from tests.ledger_books import Books, as_role, books_with_an_entry, fresh_database

REFUSALS = {"append_only", "balance_by_posting", "block_by_posting", "standing_by_event"}


@pytest.fixture(scope="module")
def books(template: Database) -> Iterator[Books]:
    """One set of books for this file: nothing here can change them."""
    with fresh_database(template, "nostro_test_append_only") as opened:
        yield books_with_an_entry(opened)


def tables(conn: Connection) -> list[tuple[str, str, str]]:
    """(schema, table, a column) of everything but stage tables."""
    rows = conn.execute(
        """
        SELECT n.nspname, c.relname,
               (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                   AND attidentity = '' AND attgenerated = '' ORDER BY attnum LIMIT 1)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('ledger', 'settlement', 'recon') AND c.relkind IN ('r', 'p')
           AND NOT starts_with(c.relname, 'stage_') ORDER BY 1, 2
        """
    ).fetchall()
    return [(str(schema), str(table), str(column)) for schema, table, column in rows]


def attacks(schema: str, table: str, column: str) -> dict[str, sql.Composed]:
    """Statements that would change what is written, by name; none needs a row to exist."""
    name, col = sql.Identifier(schema, table), sql.Identifier(column)
    return {
        "update": sql.SQL("UPDATE {t} SET {c} = {c}").format(t=name, c=col),
        "update of nothing": sql.SQL("UPDATE {t} SET {c} = {c} WHERE false").format(t=name, c=col),
        "delete": sql.SQL("DELETE FROM {t}").format(t=name),
        "truncate": sql.SQL("TRUNCATE {t} CASCADE").format(t=name),
        "merge": sql.SQL(
            "MERGE INTO {t} AS t USING (SELECT 1) AS one ON true WHEN MATCHED THEN UPDATE SET {c} = t.{c}"
        ).format(t=name, c=col),
    }


def upsert(conn: Connection, schema: str, table: str) -> sql.Composed | None:
    """INSERT … ON CONFLICT DO UPDATE of no row at all (the rule must not wait for a row)."""
    found = conn.execute(
        "SELECT i.indexrelid, array_agg(a.attname ORDER BY a.attnum),"
        " bool_or(a.attidentity = 'a' OR a.attgenerated <> '')"
        "  FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        "   AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])"
        " WHERE i.indrelid = %s::regclass AND i.indisprimary GROUP BY 1",
        (f"{schema}.{table}",),
    ).fetchone()
    if found is None:
        return None
    name = sql.Identifier(schema, table)
    key: list[str] = found[1]  # type: ignore[assignment]
    columns = sql.SQL(", ").join(map(sql.Identifier, key))
    target = sql.Identifier(key[0])
    overriding = sql.SQL("OVERRIDING SYSTEM VALUE") if found[2] else sql.SQL("")
    assignment = sql.SQL("DEFAULT") if found[2] else sql.SQL("EXCLUDED.{}").format(target)
    return sql.SQL(
        "INSERT INTO {t} ({cols}) {o} SELECT {cols} FROM {t} WHERE false ON CONFLICT ({cols}) DO UPDATE SET {c} = {a}"
    ).format(t=name, cols=columns, o=overriding, c=target, a=assignment)


@pytest.mark.parametrize("role", ["owner", "replica"])
def test_every_table_refuses_every_change_whoever_asks(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn:
        found = tables(conn)
        assert {schema for schema, *_ in found} >= {"ledger"} and len(found) >= 16
        for schema, table, column in found:
            statements = attacks(schema, table, column)
            if (conflict := upsert(conn, schema, table)) is not None:
                statements["upsert"] = conflict
            for what, statement in statements.items():
                with pytest.raises(AppendOnlyError) as caught, translate_errors(), conn.transaction():
                    conn.execute(statement)
                assert caught.value.constraint in REFUSALS, f"{what} on {schema}.{table}"


def test_the_app_has_not_even_the_right(books: Books) -> None:
    with as_role(books.db, "app") as conn:
        for schema, table, column in tables(conn):
            for statement in attacks(schema, table, column).values():
                with pytest.raises(AccessError), translate_errors(), conn.transaction():
                    conn.execute(statement)


@pytest.mark.parametrize("role", ["owner", "replica"])
def test_a_balance_moves_only_with_postings(books: Books, role: str) -> None:
    cash = books["assets:cash"]
    with as_role(books.db, role) as conn:
        for statement in (
            "UPDATE ledger.balance SET posted_minor = posted_minor + 1 WHERE account_id = %s",
            "UPDATE ledger.balance SET floor_minor = NULL WHERE account_id = %s",
            "DELETE FROM ledger.balance WHERE account_id = %s",
            "INSERT INTO ledger.balance (account_id, book_id, normal_side, posted_minor) VALUES (%s + 1000, 1, 1, 5)",
        ):
            with pytest.raises(AppendOnlyError) as caught, translate_errors(), conn.transaction():
                conn.execute(statement, (cash,))
            assert caught.value.constraint == "balance_by_posting"


def test_a_copy_is_checked_like_any_insert(books: Books) -> None:
    """COPY fires the same statement triggers: loading rows around the functions changes nothing."""
    with as_role(books.db, "owner") as conn:
        with (
            pytest.raises(psycopg.errors.CheckViolation) as caught,
            conn.cursor() as cursor,
            cursor.copy(
                "COPY ledger.posting (posting_id, entry_id, amount_minor, account_id, book_id, effective_date,"
                " currency_id) FROM STDIN"
            ) as copy,
        ):
            copy.write_row((1, 1, 5, books["assets:cash"], books.book, "2026-11-02", 978))
            copy.write_row((2, 1, -5, books["income:sales"], books.book, "2026-11-02", 978))
        assert caught.value.diag.constraint_name == "posting_entry"
