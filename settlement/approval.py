"""Approving, rejecting and sealing a payment file.

Lives here: re-reading what is approved, and the calls that decide. Must not live here: who may (Postgres).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from itertools import islice

from ledger import Connection, committed, transaction
from settlement.collecting import compose_again
from settlement.composing import ComposedFile, Obligation, read_frame
from settlement.errors import FileTamperedError
from settlement.iso20022 import gate_file
from settlement.model import Approval, FileState, PaymentFileStatus, StepResult
from settlement.reading import file_content, payment_file
from settlement.screening import refuse_unclear, screen_file


def approve(conn: Connection, file_id: int) -> Approval:
    """Sign a file as the session's login, who must be an approver and not its preparer.

    The stored bytes are read back first and compared with what the books say is owed; what is signed is their
    hash, count, total and payees. Again by the same person: the same approval. A large file may need one more
    (`missing_count`). Hooks of the book are asked about its payees first. Raises `FourEyesError`,
    `ApprovalLimitError`, `PayeeHeldError`, `FileStateError`, `FileTamperedError`, `NotKnownError`.
    """
    if payment_file(conn, file_id).state is FileState.PROPOSED:
        screen_file(conn, file_id, moment="approval")
        refuse_unclear(conn, file_id, moment="approval")
    with transaction(conn):
        file = payment_file(conn, file_id)
        content, digest = _read_for_signing(conn, file)
        sha256 = hashlib.sha256(content).hexdigest()
        is_new = conn.execute(
            "SELECT settlement.approve(%s, %s, %s, %s, %s)",
            (file_id, sha256, file.instruction_count, file.total_minor, digest),
        ).fetchone()
        cash = conn.execute(
            "SELECT settlement.cash_after(bank_account_id), session_user, settlement.approvals_missing(file_id)"
            "  FROM settlement.payment_file"
            " WHERE file_id = %s",
            (file_id,),
        ).fetchone()
        file = payment_file(conn, file_id)
    assert is_new is not None and cash is not None
    return Approval(
        file=file,
        approved_by=str(cash[1]),
        payee_digest=digest,
        cash_after_minor=int(str(cash[0])),
        is_new=bool(is_new[0]),
        missing_count=int(str(cash[2])),
    )


def _read_for_signing(conn: Connection, file: PaymentFileStatus) -> tuple[bytes, str]:
    """The stored bytes, proven to say what the books say, and the digest of payees."""
    frame = read_frame(conn, file.run_id)
    composed, obligations = compose_again(conn, frame, part=file.part, file_id=file.file_id)
    content = file_content(conn, file.file_id)
    findings = gate_file(content, composed.file, composed.transfers, composed.totals)
    if findings:
        raise FileTamperedError(
            f"file {file.file_id} does not say what is owed ({len(findings)} differences, first: {findings[0]}); "
            "reject it and propose again."
        )
    return content, _payee_digest(composed, obligations)


def _payee_digest(composed: ComposedFile, obligations: Sequence[Obligation]) -> str:
    """As `settlement.payee_digest` in Postgres computes it from its own rows."""
    paid = zip(composed.transfers, obligations, strict=True)
    lines: list[str] = []
    for batch in composed.batches:
        lines.append("|".join("" if value is None else str(value) for value in astuple(batch)))
        lines += [
            f"{transfer.end_to_end_id}|{owed.name}|{owed.iban}|{owed.amount_minor}"
            for transfer, owed in islice(paid, batch.count)
        ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def reject(conn: Connection, file_id: int, *, reason: str) -> StepResult:
    """Refuse a file that is not sealed; what it would have paid stays owed. Raises `FileStateError`."""
    with transaction(conn):
        row = conn.execute("SELECT settlement.reject(%s, %s)", (file_id, reason)).fetchone()
    assert row is not None
    return StepResult(file_id=file_id, state=FileState.REJECTED, is_new=bool(row[0]), reason=reason)


def cancel(conn: Connection, file_id: int, *, reason: str) -> StepResult:
    """Take back a sealed file that never left: everything it paid is owed again, not held. Raises `FileStateError`."""
    with transaction(conn):
        row = conn.execute("SELECT settlement.cancel(%s, %s)", (file_id, reason)).fetchone()
    assert row is not None
    return StepResult(file_id=file_id, state=FileState.CANCELLED, is_new=bool(row[0]), reason=reason)


def seal(conn: Connection, file_id: int, *, now: dt.datetime) -> StepResult:
    """Turn an approved file into money in transit, all or nothing, and commit.

    Claims every posting it pays and posts Dr payable / Cr cash in transit. When something changed since the
    proposal, or the cut-off passed at `now`, the file becomes void instead: state ``void`` with the reason,
    committed; propose again. Hooks of the book are asked about its payees first. Sealing again answers with the
    file's state.
    Raises `FileStateError` when it is not approved, and the ledger's errors (closed period).
    """
    if payment_file(conn, file_id).state is FileState.APPROVED:
        screen_file(conn, file_id, moment="seal")
    with committed(conn):
        row = conn.execute("SELECT outcome, is_new, reason FROM settlement.seal(%s, %s)", (file_id, now)).fetchone()
    assert row is not None
    outcome, is_new, why = row
    return StepResult(
        file_id=file_id,
        state=FileState(str(outcome)),
        is_new=bool(is_new),
        reason=None if why is None else str(why),
    )
