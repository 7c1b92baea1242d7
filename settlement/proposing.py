"""Proposing payment files: from one cut of the books to final bytes that passed every gate.

Lives here: the order of steps. Must not live here: what is owed and the rules of payees (Postgres), XML.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import kwargs_row

from ledger import Connection, transaction
from settlement.business_days import Calendar, execution_date
from settlement.composing import ComposedFile, RunFrame, broken_rules, compose, read_frame, read_obligations
from settlement.errors import NotKnownError, ProposalRefusedError
from settlement.iso20022 import Finding, Rail, gate_file, render
from settlement.model import FileState, ProposedFile
from settlement.reading import payment_files
from settlement.setup_model import Bank

_ACCOUNTS = """
SELECT b.bank_account_id, b.code, b.rail, p.body AS bank
  FROM settlement.bank_account b
  JOIN settlement.bank_profile p USING (profile_id)
 WHERE b.book_id = %s AND (%s::text IS NULL OR b.code = %s)
 ORDER BY b.bank_account_id
"""


@dataclass(frozen=True, slots=True)
class _PayingAccount:
    bank_account_id: int
    code: str
    rail: Rail
    bank: Bank


def propose(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date,
    now: dt.datetime,
    bank_account: str | None = None,
) -> list[ProposedFile]:
    """Propose what is owed on a business date, for one bank account or all; empty: nothing new to pay.

    The session's login is the preparer. `now` (aware) decides the execution date by the rail's cut-off and is
    printed in the files. Proposing again answers with the files that still wait and say the same; files that no
    longer do become void. Everything or nothing: raises `ProposalRefusedError` with every finding of every
    file, `NotKnownError` for an unknown bank account.
    """
    if now.utcoffset() is None:
        raise ValueError(f"the moment {now.isoformat()} has no time zone; pass an aware datetime")
    proposed: list[ProposedFile] = []
    findings: list[Finding] = []
    with transaction(conn):
        for account in _paying_accounts(conn, book_id, bank_account):
            proposed += _propose_account(conn, account, business_date, now, findings)
        if findings:
            raise ProposalRefusedError(
                f"nothing was proposed: {len(findings)} finding{'s' if len(findings) > 1 else ''}, "
                f"first: {findings[0]}",
                findings,
            )
    return proposed


def _paying_accounts(conn: Connection, book_id: int, code: str | None) -> list[_PayingAccount]:
    def account(bank_account_id: int, code: str, rail: str, bank: object) -> _PayingAccount:
        return _PayingAccount(bank_account_id, code, Rail(rail), Bank.model_validate(bank))

    with conn.cursor(row_factory=kwargs_row(account)) as cursor:
        found = cursor.execute(_ACCOUNTS, (book_id, code, code)).fetchall()
    if not found:
        raise NotKnownError(f"there is no bank account {code or ''} in book {book_id}; declare it by `nostro setup`.")
    return found


def _propose_account(
    conn: Connection, account: _PayingAccount, business_date: dt.date, now: dt.datetime, findings: list[Finding]
) -> list[ProposedFile]:
    calendar = Calendar(account.bank.holidays, account.bank.timezone)
    cutoff = dt.time.fromisoformat(account.bank.rails[account.rail].cutoff)
    executes = execution_date(now, cutoff, calendar, not_before=business_date)
    row = conn.execute(
        "SELECT run_id, is_new FROM settlement.open_run(%s, %s, %s, %s, %s)",
        (account.bank_account_id, business_date, now, executes, calendar.cutoff_at(executes, cutoff)),
    ).fetchone()
    assert row is not None
    if row[0] is None:
        return []
    run_id, is_new = int(str(row[0])), bool(row[1])
    if is_new:
        frame = read_frame(conn, run_id)
        obligations = read_obligations(conn, run_id)
        size = frame.bank.max_transactions
        for part, start in enumerate(range(0, len(obligations), size), 1):
            share = obligations[start : start + size]
            composed = compose(frame, part, share)
            findings += _record(conn, frame, part, composed, [owed.obligation_id for owed in share])
    waiting = payment_files(conn, run_id=run_id, states={FileState.PROPOSED})
    return [ProposedFile(file=file, is_new=is_new) for file in waiting]


def _record(
    conn: Connection, frame: RunFrame, part: int, composed: ComposedFile, obligation_ids: list[int]
) -> list[Finding]:
    """Render, gate and store one file; the findings when it did not pass."""
    if findings := broken_rules(frame, composed):
        return findings
    content = render(composed.file, composed.transfers)
    if findings := gate_file(content, composed.file, composed.transfers, composed.totals):
        return findings
    conn.execute(
        "SELECT settlement.record_file(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            frame.run_id,
            part,
            composed.file.msg_id,
            composed.file.group.payment_information_id,
            content,
            obligation_ids,
            [transfer.end_to_end_id for transfer in composed.transfers],
            [transfer.uetr for transfer in composed.transfers],
        ),
        binary=True,
    )
    return []
