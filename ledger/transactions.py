"""Transactions that really end: when a step's outcome must be committed before the next one begins.

Lives here: two context managers over psycopg's. Must not live here: SQL of anybody's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import ProgrammingError
from psycopg.pq import TransactionStatus

from ledger.db import Connection
from ledger.errors import OutcomeUnknownError, RefusedError, UnavailableError, translate_errors


@contextmanager
def transaction(conn: Connection) -> Iterator[None]:
    """One transaction, committed at the end; inside a caller's transaction with writes, part of it.

    A transaction that the caller's reads have opened by themselves is ended first, so that this one commits
    and no lock outlives the call. Raises `UnavailableError` when the connection is lost already.
    """
    with translate_errors():
        if not _has_writes(conn):
            _end_reads(conn)
    with _transaction(conn):
        yield


@contextmanager
def committed(conn: Connection) -> Iterator[None]:
    """Like `transaction`, but refuses inside a caller's: its outcome is committed when the block ends."""
    with translate_errors():
        alone = not _has_writes(conn) and _end_reads(conn)
    if not alone:
        raise RefusedError("commit or roll back your own transaction first; this step commits by itself.")
    with _transaction(conn):
        yield


@contextmanager
def _transaction(conn: Connection) -> Iterator[None]:
    """psycopg's transaction with our errors. A connection lost in COMMIT leaves the outcome unknown, and says so."""
    outermost, committing = conn.info.transaction_status is TransactionStatus.IDLE, False
    try:
        with translate_errors(), conn.transaction():
            yield
            committing = outermost
    except UnavailableError as error:
        if committing and conn.closed:
            raise OutcomeUnknownError(
                "the connection was lost in COMMIT, so the outcome is unknown; "
                "run the same step again: what is there already is recognised by its key and not posted twice."
            ) from error
        raise


def _has_writes(conn: Connection) -> bool:
    if conn.info.transaction_status is not TransactionStatus.INTRANS:
        return False
    row = conn.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _end_reads(conn: Connection) -> bool:
    if conn.info.transaction_status is TransactionStatus.IDLE:
        return True
    try:
        conn.rollback()
    except ProgrammingError:  # inside a `with conn.transaction()` of the caller
        return False
    return True
