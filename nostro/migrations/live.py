"""What an upgrade of live books must leave as it was, checked in its own transaction before it commits.

Writers go on posting meanwhile, and for 20 million postings nobody waits for a comparison of contents while the upgrade
holds its locks. So the rule is stricter and takes no time to check: a migration adds, it never writes to a row that is
there. A table whose file is the same, of which this transaction updated and deleted nothing, and which has its columns
still, has its rows still. Must not live here: the migrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ledger.errors import CheckFailedError

Connection = psycopg.Connection[tuple[object, ...]]

# The tables whose rows never change, with what the running transaction did to them.
_TABLES = """
SELECT n.nspname || '.' || c.relname, pg_relation_filenode(c.oid),
       (SELECT array_agg(a.attname::text || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'append_only'
 WHERE n.nspname IN ('ledger', 'settlement', 'recon') AND c.relkind = 'r' ORDER BY 1
"""
_IMBALANCE = """
SELECT a.book_id, c.code, sum(b.posted_minor) FROM ledger.balance b JOIN ledger.account a USING (account_id)
  JOIN ledger.currency c USING (currency_id) GROUP BY 1, 2 HAVING sum(b.posted_minor) <> 0 ORDER BY 1, 2 LIMIT 1
"""


# Accounts first: whoever posts has looked them up before anything else. Who is at work finishes; who comes waits there,
# and holds nothing that the upgrade wants next.
_LOCKED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('ledger', 'settlement', 'recon') AND c.relkind IN ('r', 'p')
 ORDER BY (n.nspname, c.relname) <> ('ledger', 'account'), c.oid
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One append-only table: the file it is in, its columns with their types, rows changed in this transaction."""

    filenode: int
    columns: tuple[str, ...]
    changed: int


def lock_books(conn: Connection, *, timeout: str) -> None:
    """Take every table for this transaction, at once: an upgrade that met writers one table at a time would deadlock.

    Raises ``LockNotAvailable`` when somebody holds one for longer than ``timeout`` (also of later waits).
    """
    conn.execute("SELECT set_config('lock_timeout', %s, true)", (timeout,))
    tables = [sql.Identifier(str(schema), str(name)) for schema, name in conn.execute(_LOCKED).fetchall()]
    if tables:
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.SQL(", ").join(tables)))


def look(conn: Connection) -> Mapping[str, Table]:
    """Every append-only table as this transaction sees it, by name.

    Raises `CheckFailedError` when the server does not count what transactions do.
    """
    if conn.execute("SHOW track_counts").fetchone() != ("on",):
        raise CheckFailedError("an upgrade needs track_counts = on, to see that it changed no row of the books.")
    return {
        str(name): Table(int(str(filenode)), tuple(columns), int(str(changed)))  # type: ignore[arg-type]
        for name, filenode, columns, changed in conn.execute(_TABLES).fetchall()
    }


def require_unchanged(conn: Connection, before: Mapping[str, Table]) -> None:
    """Refuse to commit an upgrade after which the books may not be what they were.

    Raises `CheckFailedError` naming the table; the caller's transaction must roll back.
    """
    now = look(conn)
    for name, table in before.items():
        if name not in now:
            raise CheckFailedError(f"the upgrade is taken back: {name} is gone, or no longer append-only.")
        if lost := set(table.columns) - set(now[name].columns):
            raise CheckFailedError(f"the upgrade is taken back: {name} lost or changed the column {min(lost)}.")
        if changed := now[name].changed - table.changed:
            raise CheckFailedError(f"the upgrade is taken back: it changed or deleted {changed} rows of {name}.")
        if now[name].filenode != table.filenode:
            raise CheckFailedError(f"the upgrade is taken back: it emptied or rewrote {name}; add a table instead.")
    exists = conn.execute("SELECT to_regclass('ledger.balance') IS NOT NULL").fetchone()
    if exists == (True,) and (off := conn.execute(_IMBALANCE).fetchone()) is not None:
        book, currency, total = off
        raise CheckFailedError(f"the upgrade is taken back: the balances of book {book} sum to {total} in {currency}.")
