"""What notifications and intraday reports of a bank say of our payments, told by reconciliation.

Lives here: handing booked lines to the books as answers of the bank. Must not live here: reading camt (reconciliation
does), posting cash (a statement proves it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import Connection
from settlement.answers import RECEIVE_ANSWER


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedLine:
    """A line that the bank has booked. `amount_minor` is what the account was debited (credited: negative)."""

    bank_account_id: int
    end_to_end_id: str | None
    uetr: str | None
    payment_information_id: str | None
    amount_minor: int


def take_notice(
    conn: Connection, *, book_id: int, kind: str, name: str, content: bytes, lines: Sequence[BookedLine]
) -> int:
    """Move the payments that these booked lines name on to executed; how many moved. The same bytes again: none.

    A file whose fate was unknown is at the bank, then. An amount that is not the ordered one moves nothing and is kept
    as a finding. In the caller's transaction.
    """
    paid: dict[str, set[str]] = {}
    findings: dict[str, list[str]] = {}
    for account in sorted({line.bank_account_id for line in lines}):
        bank, keys, faults = _matched(conn, account, [line for line in lines if line.bank_account_id == account])
        paid.setdefault(bank, set()).update(keys)
        findings.setdefault(bank, []).extend(faults)
    moved = 0
    for bank, told in paid.items():
        if not told and not findings[bank]:
            continue
        keys = sorted(told)
        none = [None] * len(keys)
        head: tuple[object, ...] = (book_id, bank, kind, name, content, None, None, None, None, [], [], [], [], [])
        row = conn.execute(
            RECEIVE_ANSWER, (*head, keys, none, ["ACSC"] * len(keys), none, none, none, none, findings[bank])
        ).fetchone()
        assert row is not None
        moved += int(str(row[3]))
    return moved


def _matched(conn: Connection, bank_account_id: int, lines: Sequence[BookedLine]) -> tuple[str, list[str], list[str]]:
    """The bank, EndToEndIds of payments that these lines are of, and what names a payment and is not it."""
    bank = conn.execute(
        "SELECT bank FROM settlement.bank_account_root WHERE bank_account_id = %s", (bank_account_id,)
    ).fetchone()
    assert bank is not None
    rows = conn.execute(
        "SELECT end_to_end_id, finding FROM settlement.noticed(%s, %s::text[], %s::text[], %s::text[], %s)",
        (
            bank_account_id,
            [line.end_to_end_id for line in lines],
            [line.uetr for line in lines],
            [line.payment_information_id for line in lines],
            [line.amount_minor for line in lines],
        ),
    ).fetchall()
    keys = [str(key) for key, finding in rows if finding is None]
    return str(bank[0]), keys, [str(finding) for _, finding in rows if finding is not None]
