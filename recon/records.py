"""What ingest writes: calls of the database's functions, one Python function each.

Lives here: keeping files, statements, findings, outcomes. Must not live here: deciding any of them
(`recon.ingest`). Every function runs inside the caller's transaction.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger import Connection, transaction
from recon.accounts import BankAccount
from recon.model import ProofState, Statement, StatementFile
from recon.staging import stage


@dataclass(slots=True)
class Delivery:
    """State of one ingest call."""

    conn: Connection
    book_id: int
    accounts: Sequence[BankAccount]
    read: dict[int, StatementFile] = field(default_factory=dict)


def closing_date_of(statement: Statement) -> dt.date | None:
    return (statement.closing.day if statement.closing else None) or statement.to_date


def taken_in(delivery: Delivery, sha256: str) -> bool:
    with transaction(delivery.conn):
        row = delivery.conn.execute(
            "SELECT o.outcome FROM recon.source_file f JOIN recon.source_outcome o USING (file_id)"
            " WHERE f.book_id = %s AND f.sha256 = %s ORDER BY o.ordinal DESC LIMIT 1",
            (delivery.book_id, sha256),
        ).fetchone()
    return row is not None and row[0] != "refused"


def keep(delivery: Delivery, content: bytes, sha256: str, name: str) -> int:
    row = delivery.conn.execute(
        "SELECT recon.keep_file(%s, %s, %s, %s, %b)",
        (delivery.book_id, sha256, name, len(content), zlib.compress(content, 1)),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def set_outcome(delivery: Delivery, file_id: int, kind: str, outcome: str, reason: str | None) -> None:
    delivery.conn.execute("SELECT recon.set_outcome(%s, %s, %s, %s)", (file_id, kind, outcome, reason))


def log(delivery: Delivery, sha256: str, name: str, outcome: str) -> None:
    delivery.conn.execute("SELECT recon.log_ingest(%s, %s, %s, %s)", (delivery.book_id, sha256, name, outcome))


def quarantine(delivery: Delivery, file_id: int, file: StatementFile) -> None:
    bad = [(s.ordinal, q) for s in file.statements for q in s.quarantined]
    if bad:
        delivery.conn.execute(
            "SELECT recon.add_quarantine(%s, %s, %s, %s, %s, %s, %s)",
            (
                file_id,
                [ordinal for ordinal, _ in bad],
                [q.line_ordinal for _, q in bad],
                [q.rule for _, q in bad],
                [q.message for _, q in bad],
                [q.source_line for _, q in bad],
                [q.reference for _, q in bad],
            ),
        )


def add_statement(
    delivery: Delivery, file_id: int, kind: str, statement: Statement, account: BankAccount, proof: ProofState
) -> int:
    single = statement.proof
    sequence = statement.electronic_sequence
    row = delivery.conn.execute(
        "SELECT recon.add_statement(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            delivery.book_id,
            account.bank_account_id,
            file_id,
            statement.ordinal,
            kind,
            statement.id,
            sequence if sequence is not None else statement.legal_sequence,
            statement.page,
            statement.from_date,
            closing_date_of(statement),
            single.opening_minor,
            single.closing_minor,
            proof.value,
            statement.entry_count,
            statement.row_count,
            statement.content_sha256,
        ),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def keep_intraday(delivery: Delivery, file_id: int, statement_id: int, statement: Statement) -> None:
    """Keep the lines of an intraday report; they post nothing."""
    lines = delivery.read[file_id].lines_of(statement)
    stage(delivery.conn, "stage_line", lines.drop("statement_ordinal"))
    delivery.conn.execute("SELECT recon.keep_intraday(%s)", (statement_id,))


def add_finding(
    delivery: Delivery,
    account: BankAccount,
    file_id: int,
    statement_id: int | None,
    code: str,
    item_ref: str,
    message: str,
    closing_date: dt.date | None,
) -> None:
    delivery.conn.execute(
        "SELECT recon.add_finding(%s, %s, %s, %s, %s, %s, %s, %s)",
        (delivery.book_id, account.bank_account_id, file_id, statement_id, code, item_ref, message, closing_date),
    )
