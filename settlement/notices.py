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
    """A line that the bank has booked. `amount_minor` is what the account was debited (credited: negative).

    `return_reason` is the ISO reason of money that comes back; `message_id` the file that a batch line names.
    """

    bank_account_id: int
    end_to_end_id: str | None
    uetr: str | None
    payment_information_id: str | None
    amount_minor: int
    return_reason: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Noticed:
    """What a line says of one payment: executed, or (with reason and amount) on its way back."""

    end_to_end_id: str
    status: str
    reason: str | None
    amount_minor: int | None


def take_notice(
    conn: Connection, *, book_id: int, kind: str, name: str, content: bytes, lines: Sequence[BookedLine]
) -> int:
    """Move the payments that these booked lines name on to executed; how many moved. The same bytes again: none.

    A file whose fate was unknown is at the bank, then. Money that comes back was executed before, and is noted as
    returning until a statement books it. An amount that is not the ordered one moves nothing and is kept as a finding.
    In the caller's transaction.
    """
    noticed: dict[str, set[_Noticed]] = {}
    findings: dict[str, list[str]] = {}
    for account in sorted({line.bank_account_id for line in lines}):
        bank, told, faults = _matched(conn, account, [line for line in lines if line.bank_account_id == account])
        noticed.setdefault(bank, set()).update(told)
        findings.setdefault(bank, []).extend(faults)
    moved = 0
    for bank, said in noticed.items():
        if not said and not findings[bank]:
            continue
        rows = sorted(said, key=lambda each: (each.end_to_end_id, each.status))
        none = [None] * len(rows)
        head: tuple[object, ...] = (book_id, bank, kind, name, content, None, None, None, None, [], [], [], [], [])
        row = conn.execute(
            RECEIVE_ANSWER,
            (
                *head,
                [each.end_to_end_id for each in rows],
                none,
                [each.status for each in rows],
                [each.reason for each in rows],
                none,
                none,
                [each.amount_minor for each in rows],
                findings[bank],
            ),
        ).fetchone()
        assert row is not None
        moved += int(str(row[3]))
    return moved


def _matched(
    conn: Connection, bank_account_id: int, lines: Sequence[BookedLine]
) -> tuple[str, list[_Noticed], list[str]]:
    """The bank, what these lines say of payments, and why what names a payment is not it."""
    bank = conn.execute(
        "SELECT bank FROM settlement.bank_account_root WHERE bank_account_id = %s", (bank_account_id,)
    ).fetchone()
    assert bank is not None
    rows = conn.execute(
        "SELECT end_to_end_id, status, reason, amount_minor, finding"
        " FROM settlement.noticed(%s, %s::text[], %s::text[], %s::text[], %s, %s::text[], %s::text[])",
        (
            bank_account_id,
            [line.end_to_end_id for line in lines],
            [line.uetr for line in lines],
            [line.payment_information_id for line in lines],
            [line.amount_minor for line in lines],
            [line.return_reason for line in lines],
            [line.message_id for line in lines],
        ),
    ).fetchall()
    told = [_Noticed(*row[:4]) for row in rows if row[4] is None]  # type: ignore[arg-type]
    return str(bank[0]), told, [str(row[4]) for row in rows if row[4] is not None]
