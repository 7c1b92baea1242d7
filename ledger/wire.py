"""One prepared call and its COMMIT over libpq itself, for the micro-batcher.

Lives here: three blocking calls that let other threads run meanwhile. psycopg's own way asks for the interpreter's
lock at each step of its waiting, and a busy event loop gives it back late; the database would wait for that. Must not
live here: what is called and what a lost connection means.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.errors import InFailedSqlTransaction, error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from ledger.db import Connection

_GOOD = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_BINARY = 1


class PreparedCall:
    """A statement prepared on one connection; parameters and rows are binary."""

    def __init__(self, conn: Connection, *, name: bytes, statement: bytes, types: Sequence[int]) -> None:
        self._conn, self._name, self._formats = conn, name, [_BINARY] * len(types)
        _good(conn, conn.pgconn.prepare(name, statement, types))

    def rows(self, parameters: Sequence[bytes | None]) -> list[tuple[bytes | None, ...]]:
        """Call it in the transaction that is open, or in one that begins now.

        Raises psycopg's errors.
        """
        conn = self._conn
        if conn.pgconn.transaction_status == TransactionStatus.IDLE:
            _good(conn, conn.pgconn.exec_(b"BEGIN"))
        done = conn.pgconn.exec_prepared(
            self._name,
            parameters,  # type: ignore[arg-type]  # its type leaves out NULL
            self._formats,
            _BINARY,
        )
        result = _good(conn, done)
        return [tuple(result.get_value(row, n) for n in range(result.nfields)) for row in range(result.ntuples)]


def commit(conn: Connection) -> None:
    """Commit the transaction.

    Raises psycopg's errors.
    """
    if _good(conn, conn.pgconn.exec_(b"COMMIT")).command_status != b"COMMIT":
        raise InFailedSqlTransaction("the transaction had failed before, so COMMIT rolled it back")


def _good(conn: Connection, result: PGresult) -> PGresult:
    if result.status not in _GOOD:
        raise error_from_result(result, encoding=conn.info.encoding)
    return result
