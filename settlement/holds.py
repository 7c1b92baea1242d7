"""Holding open items and letting them go: decisions of people.

Lives here: the two calls. Must not live here: what is held automatically (after a reject or return: Postgres).
"""

from __future__ import annotations

import datetime as dt

from ledger import Connection, transaction
from settlement.errors import NotKnownError


def release_hold(
    conn: Connection, *, posting_id: int | None = None, end_to_end_id: str | None = None, reason: str
) -> bool:
    """Let a held posting be paid again, named by itself, by the payment that came back, or by the one that was stopped.

    Only members of the preparer and approver groups may (`AccessError`); what an approver stopped, approvers alone.
    False when it was released before. What came back of a payment in parts is released together.
    Raises `NotKnownError` when nothing of that name is held.
    """
    if (posting_id is None) == (end_to_end_id is None):
        raise ValueError("name the held posting by its id or by the EndToEndId of its payment")
    with transaction(conn):
        held = [posting_id]
        if posting_id is None:
            found = conn.execute(
                "SELECT r.payable_posting_id FROM settlement.instruction i"
                " JOIN settlement.reopening r USING (instruction_id) WHERE i.end_to_end_id = %(id)s UNION"
                " SELECT h.posting_id FROM settlement.instruction i"
                " JOIN settlement.hold h ON h.stopped_id = i.instruction_id WHERE i.end_to_end_id = %(id)s ORDER BY 1",
                {"id": end_to_end_id},
            ).fetchall()
            if not found:
                raise NotKnownError(
                    f"payment {end_to_end_id} has not come back and was not stopped; nothing of it is held."
                )
            held = [int(str(row[0])) for row in found]
        rows = [conn.execute("SELECT settlement.release_hold(%s, %s)", (each, reason)).fetchone() for each in held]
    return any(row is not None and int(str(row[0])) > 0 for row in rows)


def hold_item(conn: Connection, *, posting_id: int, reason: str) -> bool:
    """Keep an open item from being paid until a person releases it. False when it is held or cleared already."""
    with transaction(conn):
        row = conn.execute("SELECT settlement.hold_item(%s, %s)", (posting_id, reason)).fetchone()
    return row is not None and bool(row[0])


def hold_instruction(conn: Connection, *, end_to_end_id: str, reason: str) -> int:
    """Hold what a proposed or approved payment would pay: its file becomes void, the next proposal goes without it.

    How many postings are held now and were not. Raises `FileStateError` when it is sealed.
    """
    with transaction(conn):
        row = conn.execute("SELECT settlement.hold_instruction(%s, %s)", (end_to_end_id, reason)).fetchone()
    return 0 if row is None else int(str(row[0]))


def hold_run(conn: Connection, *, run_id: int, reason: str) -> bool:
    """Let no file of a run be sealed or sent until a person releases it. False when it is held already."""
    with transaction(conn):
        row = conn.execute("SELECT settlement.hold_run(%s, %s)", (run_id, reason)).fetchone()
    return row is not None and bool(row[0])


def release_run(conn: Connection, *, run_id: int, reason: str) -> bool:
    """Let the files of a held run go on. False when it is not held."""
    with transaction(conn):
        row = conn.execute("SELECT settlement.release_run(%s, %s)", (run_id, reason)).fetchone()
    return row is not None and bool(row[0])


def decide_names(conn: Connection, *, file_id: int, release: bool, reason: str) -> int:
    """An approver's answer to a bank that compared names with accounts: go on, or ask the doubtful payments back.

    How many are asked back. Raises `FileStateError` when no name is doubted or it was decided before.
    """
    with transaction(conn):
        row = conn.execute("SELECT settlement.decide_names(%s, %s, %s)", (file_id, release, reason)).fetchone()
    return 0 if row is None else int(str(row[0]))


def decide_dispute(
    conn: Connection, *, end_to_end_id: str, was_executed: bool, reason: str, effective_date: dt.date
) -> None:
    """What an approver found out about a payment that the bank calls both executed and rejected.

    Rejected: it is owed again, and held. Raises `FileStateError` when it is not disputed.
    """
    with transaction(conn):
        conn.execute(
            "SELECT settlement.decide_dispute(%s, %s, %s, %s)", (end_to_end_id, was_executed, reason, effective_date)
        )


def dismiss_message(conn: Connection, *, book_id: int, message_id: int, reason: str) -> bool:
    """Say what became of a bank's message that is of payments or files not ours, or that could not be read.

    It leaves the exceptions. False when somebody said so before. Raises `NotKnownError` when it left nothing open.
    """
    with transaction(conn):
        row = conn.execute("SELECT settlement.dismiss_message(%s, %s, %s)", (book_id, message_id, reason)).fetchone()
    return row is not None and bool(row[0])
