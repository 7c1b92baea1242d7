"""Statements that banks send in pages, of which no page proves alone.

Lives here: when the pages are all there, and the one statement they make. Must not live here: the equation
(`recon.formats.prove_pages`), booking (`recon.statements`).
"""

from __future__ import annotations

from recon.accounts import BankAccount
from recon.formats import prove_pages
from recon.model import ProofState, Statement
from recon.records import Delivery
from recon.statements import stored_file

_GAP, _IMBALANCE = "STATEMENT_GAP", "STATEMENT_IMBALANCE"


def waits_for_pages(statement: Statement) -> bool:
    """Whether it is a page that can only be proven together with the others."""
    is_a_page = statement.is_last_page is False or (statement.page or 1) > 1
    return statement.is_end_of_day and is_a_page and statement.proof.state is ProofState.IMPOSSIBLE


def join_pages(delivery: Delivery, account: BankAccount, kind: str, stmt_id: str) -> tuple[str, str] | None:
    """Make one statement of the pages that have arrived; None when that succeeds, else a finding's code and why."""
    rows = delivery.conn.execute(
        "SELECT s.statement_id, s.file_id, s.ordinal, s.page FROM recon.statement s"
        " WHERE s.bank_account_id = %s AND s.kind = %s AND s.stmt_id = %s AND s.page IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM recon.statement_page p WHERE p.page_statement_id = s.statement_id)"
        " ORDER BY s.page, s.statement_id",
        (account.bank_account_id, kind, stmt_id),
    ).fetchall()
    found = [tuple(int(str(value)) for value in row) for row in rows]
    numbers = [page for *_, page in found]
    twice = {page for page in numbers if numbers.count(page) > 1}
    if twice:
        return "STATEMENT_REVISED", f"page {min(twice)} came twice with different content: ask the bank which is right"
    missing = sorted(set(range(1, max(numbers, default=0))) - set(numbers))
    if missing:
        return _GAP, f"page {missing[0]} is missing: get it from the bank"
    pages = [_page(delivery, file_id, ordinal) for _, file_id, ordinal, _ in found]
    if not pages or not pages[-1].is_last_page:
        return _GAP, f"pages after {max(numbers, default=0)} are missing: get them from the bank"
    proofs = prove_pages(pages) or ()
    if len(proofs) != 1 or proofs[0].currency != account.currency:
        return _IMBALANCE, "its pages give no opening and closing balance in the account's currency: ask the bank"
    (proof,) = proofs
    if proof.state is not ProofState.PROVEN:
        difference = f"{proof.difference_minor} minor units"
        return _IMBALANCE, f"opening + booked lines of all pages differ from closing by {difference}"
    delivery.conn.execute(
        "SELECT recon.join_pages(%s, %s, %s)",
        ([statement_id for statement_id, *_ in found], proof.opening_minor, proof.closing_minor),
    )
    return None


def _page(delivery: Delivery, file_id: int, ordinal: int) -> Statement:
    file = delivery.read.get(file_id) or stored_file(delivery.conn, file_id)
    return file.statements[ordinal - 1]
