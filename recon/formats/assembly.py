"""From the drafts of a text reader to a finished `StatementFile`.

Lives here: what MT940, BAI2 and report readers share: a line with names, the draft of a statement, its proof,
the frame. Must not live here: the grammar of any format.

A line of several parts (an amount and its fee) is one entry with detail ordinals from 1, as in `StatementLines`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Final

import polars as pl

from recon.formats.camt_progress import Notes
from recon.formats.proof import bracket, prove
from recon.formats.values import Fault
from recon.model import STATEMENT_LINES, Balance, EntryStatus, Quarantined, Statement, StatementFile


@dataclass(slots=True, kw_only=True)
class Line:
    """One row of `StatementLines`, without its statement."""

    line_ordinal: int
    detail_ordinal: int = 0
    amount_minor: int
    entry_amount_minor: int
    currency: str
    status: str = EntryStatus.BOOK.value
    is_reversal: bool = False
    booking_date: date | None = None
    value_date: date | None = None
    account_servicer_ref: str | None = None
    entry_ref: str | None = None
    msg_id: str | None = None
    payment_information_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    uetr: str | None = None
    transaction_id: str | None = None
    mandate_id: str | None = None
    structured_ref: str | None = None
    remittance: str | None = None
    party_name: str | None = None
    party_account: str | None = None
    bank_tx_code: str | None = None
    proprietary_code: str | None = None
    return_reason: str | None = None
    charges_minor: int | None = None
    instructed_amount_minor: int | None = None
    instructed_currency: str | None = None
    batch_count: int | None = None
    additional_info: str | None = None
    source_line: int


_COLUMNS: Final = tuple(part.name for part in fields(Line))


@dataclass(slots=True, kw_only=True)
class Draft:
    """A statement while it is read. `content` is what its hash covers: no envelope, no message reference."""

    version: str
    source_line: int
    id: str | None = None
    message_id: str | None = None
    sequence: int | None = None
    page: int | None = None
    is_last_page: bool | None = None
    from_date: date | None = None
    to_date: date | None = None
    created_at: datetime | None = None
    iban: str | None = None
    account: str | None = None
    currency: str | None = None
    owner: str | None = None
    bic: str | None = None
    entry_count: int = 0
    balances: list[Balance] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    content: list[str] = field(default_factory=list)

    def set_aside(self, ordinal: int, fault: Fault, line: int, *, reference: str | None = None) -> None:
        """Quarantine an entry (`ordinal` from 1) or a book balance (0); the rule's prefix says which."""
        what = "balance" if ordinal == 0 else "entry"
        self.quarantined.append(
            Quarantined(
                line_ordinal=ordinal,
                rule=f"{what}-{fault.rule}",
                message=f"{what}: {fault.message}; ask the bank for a corrected statement",
                source_line=line,
                reference=reference,
            )
        )


def finish_file(name: str, data: bytes, drafts: Sequence[Draft], notes: Notes | None = None) -> StatementFile:
    """The file of these statements, each with its proofs, in document order."""
    statements: list[Statement] = []
    first_row = 0
    for ordinal, draft in enumerate(drafts, 1):
        statements.append(_statement(draft, ordinal, first_row))
        first_row += len(draft.lines)
    return StatementFile(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        message_version=drafts[0].version,
        message_id=drafts[0].message_id,
        created_at=drafts[0].created_at,
        statements=tuple(statements),
        findings=(notes or Notes()).findings(),
        lines=_frame(drafts),
    )


def _statement(draft: Draft, ordinal: int, first_row: int) -> Statement:
    booked: dict[str, int] = {}
    for line in draft.lines:
        if line.status == EntryStatus.BOOK.value:
            booked[line.currency] = booked.get(line.currency, 0) + line.amount_minor
    balances = tuple(draft.balances)
    main = bracket(balances, draft.currency, intraday=False)
    digest = hashlib.sha256("\n".join(draft.content).encode("utf-8", "surrogatepass")).hexdigest()
    id_ = draft.id
    if id_ is None:
        id_ = f"unnamed-{digest[:12]}"
        draft.notes.add("statement-id-missing", f"no identification; named {id_} after its content", draft.source_line)
    if draft.iban is None and draft.account is None:
        draft.notes.add("account-missing", "the statement names no account", draft.source_line)
    return Statement(
        ordinal=ordinal,
        id=id_,
        message_version=draft.version,
        message_id=draft.message_id,
        electronic_sequence=draft.sequence,
        legal_sequence=None,
        page=draft.page,
        is_last_page=draft.is_last_page,
        from_date=draft.from_date,
        to_date=draft.to_date,
        created_at=draft.created_at,
        iban=draft.iban,
        other_account_id=draft.account,
        currency=draft.currency,
        owner_name=draft.owner,
        servicer_bic=draft.bic,
        balances=balances,
        opening=main.opening,
        closing=main.closing,
        proofs=prove(
            balances,
            booked,
            account_currency=draft.currency,
            intraday=False,
            has_quarantined=bool(draft.quarantined),
            is_one_page_of_several=False,
        ),
        entry_count=draft.entry_count,
        first_row=first_row,
        row_count=len(draft.lines),
        quarantined=tuple(draft.quarantined),
        findings=draft.notes.findings(),
        content_sha256=digest,
        source_line=draft.source_line,
    )


def _frame(drafts: Sequence[Draft]) -> pl.DataFrame:
    ordinals = [ordinal for ordinal, draft in enumerate(drafts, 1) for _ in draft.lines]
    lines = [line for draft in drafts for line in draft.lines]
    columns = [pl.Series("statement_ordinal", ordinals, dtype=STATEMENT_LINES["statement_ordinal"])]
    columns += [
        pl.Series(name, [getattr(line, name) for line in lines], dtype=STATEMENT_LINES[name], strict=True)
        for name in _COLUMNS
    ]
    return pl.DataFrame(columns)


def day_of(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
