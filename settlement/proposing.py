"""Proposing payment files: from one cut of the books to final bytes that passed every gate.

Lives here: the order of steps. Must not live here: what is owed and the rules of payees (Postgres), XML.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from ledger import Connection, transaction
from settlement.business_days import execution_date
from settlement.collecting import collection_parts, compose_collections, read_collections
from settlement.composing import (
    ComposedFile,
    KeptText,
    Obligation,
    RunFrame,
    batches_json,
    broken_rules,
    compose,
    payout_parts,
    read_frame,
    read_obligations,
)
from settlement.errors import NotKnownError, ProposalRefusedError
from settlement.iso20022 import Finding, Rail, gate_file, render
from settlement.model import FileState, NettedPayee, ProposedFile
from settlement.reading import payment_files
from settlement.schedules import cut_date, is_due, next_cycle
from settlement.setup_check import rail_calendar
from settlement.setup_model import Bank

_ACCOUNTS = """
SELECT b.bank_account_id, b.code, b.rail, p.body AS bank
  FROM settlement.bank_account b
  JOIN settlement.bank_profile p USING (profile_id)
 WHERE b.book_id = %s AND (%s::text IS NULL OR b.code = %s)
 ORDER BY b.bank_account_id
"""
_NETTING = """
SELECT p.code AS payee, c.code AS currency, n.owed_minor, n.pay_minor, n.rolling_minor + n.fixed_minor AS reserve_minor,
       n.outcome, cardinality(n.posting_ids) + n.whole_count AS item_count
  FROM settlement.netting(%s, %s, %s, ROW(%s::int[], %s::date[], %s::text[], %s::text[])::settlement.calendar_terms) n
  JOIN settlement.payee p ON p.payee_id = n.payee_id
  JOIN ledger.currency c ON c.currency_id = p.currency_id
 ORDER BY p.payee_id
"""
_WHO = """
SELECT o.obligation_id, p.code FROM settlement.obligation o JOIN settlement.payee p USING (payee_id)
 WHERE o.obligation_id = ANY (%s)
"""
_KNOWN = "SELECT code FROM settlement.payee WHERE book_id = %s AND code = ANY (%s)"
_RULES = "SELECT DISTINCT schedule, delay_days FROM settlement.payee_current WHERE bank_account_id = %s"

_AHEAD_MAX = dt.timedelta(days=366)

# Delays in use, the last effective date each lets through, schedules whose day it is, payees of an ad-hoc run.
CalendarTerms = tuple[list[int], list[dt.date], list[str], list[str] | None]


@dataclass(frozen=True, slots=True)
class PayingAccount:
    """One of our bank accounts, and how its bank wants to be used."""

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
    payees: Collection[str] | None = None,
) -> list[ProposedFile]:
    """Propose what is owed on a business date, for one bank account or all; empty: nothing new to pay.

    `payees` makes an ad-hoc run: these alone, whatever their schedule; without it, everybody whose day it is.

    The session's login is the preparer. `now` (aware) decides the execution date by the rail's cut-off and is
    printed in the files. Proposing again answers with the files that still wait and say the same; files that no
    longer do become void. Everything or nothing: raises `ProposalRefusedError` with every finding of every
    file, `NotKnownError` for an unknown bank account.
    """
    if now.utcoffset() is None:
        raise ValueError(f"the moment {now.isoformat()} has no time zone; pass an aware datetime")
    if business_date > now.date() + _AHEAD_MAX:
        raise ProposalRefusedError(
            f"nothing was proposed: {business_date} is more than a year ahead; no bank takes an order for that day.", ()
        )
    proposed: list[ProposedFile] = []
    findings: list[Finding] = []
    with transaction(conn):
        for account in paying_accounts(conn, book_id, bank_account, payees):
            terms = calendar_terms(conn, account, business_date, payees)
            proposed += _propose_account(conn, account, business_date, now, terms, findings)
        if findings:
            raise ProposalRefusedError(
                f"nothing was proposed: {len(findings)} finding{'s' if len(findings) > 1 else ''}, "
                f"first: {findings[0]}; correct it, or hold the payee by `nostro payee hold`, and propose again.",
                findings,
            )
    return proposed


def paying_accounts(
    conn: Connection, book_id: int, code: str | None, payees: Collection[str] | None = None
) -> list[PayingAccount]:
    """The bank accounts to pay from. Raises `NotKnownError` for an unknown one, and for unknown payees."""

    def account(bank_account_id: int, code: str, rail: str, bank: object) -> PayingAccount:
        return PayingAccount(bank_account_id, code, Rail(rail), Bank.model_validate(bank))

    if payees is not None:
        known = {str(row[0]) for row in conn.execute(_KNOWN, (book_id, list(payees))).fetchall()}
        if unknown := sorted(set(payees) - known):
            raise NotKnownError(f"there is no payee {unknown[0]} in book {book_id}; declare it by `nostro setup`.")
    with conn.cursor(row_factory=kwargs_row(account)) as cursor:
        found = cursor.execute(_ACCOUNTS, (book_id, code, code)).fetchall()
    if not found:
        raise NotKnownError(f"there is no bank account {code or ''} in book {book_id}; declare it by `nostro setup`.")
    return found


def calendar_terms(
    conn: Connection, account: PayingAccount, business_date: dt.date, payees: Collection[str] | None
) -> CalendarTerms:
    """What the bank's calendar makes of every schedule and delay its payees have, on a business date."""
    calendar = rail_calendar(account.bank, account.rail)
    rules = conn.execute(_RULES, (account.bank_account_id,)).fetchall()
    delays = sorted({int(str(row[1])) for row in rules})
    return (
        delays,
        [cut_date(delay, business_date, calendar) for delay in delays],
        sorted(text for text in {str(row[0]) for row in rules} if is_due(text, business_date, calendar)),
        None if payees is None else sorted(set(payees)),
    )


def _propose_account(
    conn: Connection,
    account: PayingAccount,
    business_date: dt.date,
    now: dt.datetime,
    terms: CalendarTerms,
    findings: list[Finding],
) -> list[ProposedFile]:
    calendar, rail = rail_calendar(account.bank, account.rail), account.bank.rails[account.rail]
    cutoff = dt.time.fromisoformat(rail.cutoff)
    executes = execution_date(now, cutoff, calendar, not_before=business_date)
    cycles = (*(dt.time.fromisoformat(cycle) for cycle in rail.cycles), cutoff)
    row = conn.execute(
        "SELECT run_id, is_new FROM settlement.open_run(%s, %s, %s, %s, %s,"
        " ROW(%s::int[], %s::date[], %s::text[], %s::text[])::settlement.calendar_terms)",
        (account.bank_account_id, business_date, now, executes, next_cycle(now, executes, cycles, calendar), *terms),
    ).fetchone()
    assert row is not None
    if row[0] is None:
        return []
    run_id, is_new = int(str(row[0])), bool(row[1])
    if is_new:
        frame = read_frame(conn, run_id)
        part = 0
        for part, batches in enumerate(payout_parts(frame, read_obligations(conn, run_id)), 1):
            composed = compose(frame, part, batches)
            findings += _record(conn, frame, part, composed, _ids(batches))
        collected = collection_parts(frame, read_collections(conn, run_id))
        for number, debits in enumerate(collected, part + 1):
            composed = compose_collections(frame, number, debits)
            findings += _record(conn, frame, number, composed, _ids(debits))
    waiting = payment_files(conn, run_id=run_id, states={FileState.PROPOSED})
    return [ProposedFile(file=file, is_new=is_new) for file in waiting]


def _ids(batches: Iterable[Iterable[Obligation]]) -> list[int]:
    return [owed.obligation_id for batch in batches for owed in batch]


def _record(
    conn: Connection, frame: RunFrame, part: int, composed: ComposedFile, obligation_ids: list[int]
) -> list[Finding]:
    """Render, gate and store one file; the findings when it did not pass."""
    if findings := broken_rules(frame, composed):
        return _naming_payees(conn, composed, obligation_ids, findings)
    content = render(composed.file, composed.transfers, composed.totals)
    if findings := gate_file(content, composed.file, composed.transfers, composed.totals):
        return findings
    row = conn.execute(
        "SELECT settlement.record_file(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            frame.run_id,
            part,
            composed.direction,
            composed.file.msg_id,
            content,
            batches_json(composed),
            obligation_ids,
            [transfer.end_to_end_id for transfer in composed.transfers],
            [transfer.uetr for transfer in composed.transfers],
        ),
        binary=True,
    ).fetchone()
    assert row is not None
    _record_written(conn, int(str(row[0])), composed.written)
    return []


def _naming_payees(
    conn: Connection, composed: ComposedFile, obligation_ids: list[int], findings: Sequence[Finding]
) -> list[Finding]:
    """The findings with the payee behind each payment's reference, which nobody has seen yet."""
    rows = conn.execute(_WHO, (obligation_ids,)).fetchall()
    payee_of = {int(str(obligation)): str(payee) for obligation, payee in rows}
    ids = (transfer.end_to_end_id for transfer in composed.transfers)
    by_place = {f"({e2e})": f"to {payee_of[id_]}" for e2e, id_ in zip(ids, obligation_ids, strict=True)}

    def named(finding: Finding) -> Finding:
        number, _, reference = finding.place.rpartition(" ")
        return replace(finding, place=f"{number} {by_place[reference]}") if reference in by_place else finding

    return [named(finding) for finding in findings]


def _record_written(conn: Connection, file_id: int, written: Sequence[KeptText]) -> None:
    """Keep what texts were before they were written in the bank's characters."""
    if written:
        conn.execute(
            "SELECT settlement.record_written_texts(%s, %s, %s, %s, %s, %s)",
            (
                file_id,
                [kept.ordinal for kept in written],
                [kept.field for kept in written],
                [kept.text.original for kept in written],
                [kept.text.written for kept in written],
                [
                    Jsonb(
                        [
                            {"at": c.position, "original": c.original, "written": c.written, "rule": c.rule}
                            for c in kept.text.changes
                        ]
                    )
                    for kept in written
                ],
            ),
        )


def netting(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date,
    now: dt.datetime | None = None,
    bank_account: str | None = None,
    payees: Collection[str] | None = None,
) -> list[NettedPayee]:
    """What a proposal made at `now` (default: the business date's end, UTC) would do with each payee, and why.

    Changes nothing: reserves that a proposal would give back first are still shown as reserved.
    Raises `NotKnownError` as `propose` does.
    """
    at = now or dt.datetime.combine(business_date, dt.time.max, dt.UTC)
    made: list[NettedPayee] = []
    with transaction(conn), conn.cursor(row_factory=class_row(NettedPayee)) as cursor:
        for account in paying_accounts(conn, book_id, bank_account, payees):
            terms = calendar_terms(conn, account, business_date, payees)
            made += cursor.execute(_NETTING, (account.bank_account_id, business_date, at, *terms)).fetchall()
    return made
