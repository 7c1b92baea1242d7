"""Helpers that several test folders share."""

from __future__ import annotations

from psycopg import sql

from ledger import Connection

# Logs, and where netting may start to read (it moves with the books' time, not with what is decided).
_LOGS = ("%\\_attempt", "%\\_log", "stage\\_%", "batch\\_mark")


def table_hashes(conn: Connection) -> dict[str, str]:
    """A content hash of every table of the books outside the attempt and log tables, by name."""
    names = conn.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('ledger', 'settlement', 'recon')"
        " AND NOT tablename LIKE ANY(%s) ORDER BY 1, 2",
        (list(_LOGS),),
    ).fetchall()
    hashes = {}
    for schema, table in names:
        name = sql.Identifier(str(schema), str(table))
        row = conn.execute(
            sql.SQL("SELECT coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {} t").format(name)
        ).fetchone()
        assert row is not None
        hashes[f"{schema}.{table}"] = str(row[0])
    return hashes
