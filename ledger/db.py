"""Connections to the books. SQLAlchemy Core is used for reads whose shape varies; writes are SQL functions."""

from __future__ import annotations

import psycopg

from ledger.errors import RefusedError, UnavailableError

Connection = psycopg.Connection[tuple[object, ...]]


def connect(conninfo: str) -> Connection:
    """A psycopg connection (autocommit off).

    Raises `UnavailableError` when the server does not answer.
    """
    try:
        return psycopg.connect(conninfo)
    except psycopg.OperationalError as error:
        raise UnavailableError(f"Postgres does not answer: {str(error).strip()}") from error


def book_id(conn: Connection, name: str | None = None) -> int:
    """The id of the book with this name, or of the only book.

    Raises `RefusedError` when there is none, or several and no name.
    """
    rows = conn.execute("SELECT book_id, name FROM ledger.book ORDER BY book_id").fetchall()
    found = [int(str(row[0])) for row in rows if name is None or row[1] == name]
    if len(found) == 1:
        return found[0]
    if name is not None:
        raise RefusedError(f"there is no book {name!r}; run `nostro setup FILE.yaml` first.")
    if not found:
        raise RefusedError("there is no book yet; run `nostro setup FILE.yaml` first.")
    raise RefusedError(f"there are {len(found)} books; say which with --book ({', '.join(str(r[1]) for r in rows)}).")
