"""What a bank file becomes: statements, balances, findings, proofs and the frame of statement lines.

Lives here: frozen records and the schema of the columnar `StatementLines`. Must not live here: reading
files, proving, matching, anything of the database.

Money is always an integer in minor units of its currency. Credit is positive: the account holder's view.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

import polars as pl

# Kinds of statements that may book; reports and notifications inform.
END_OF_DAY: Final = frozenset({"camt.053", "mt940", "bai2"})
INTRADAY: Final = frozenset({"camt.052", "mt942", "bai2.intraday"})
OF_A_BANK: Final = END_OF_DAY | INTRADAY | {"camt.054"}


class EntryStatus(StrEnum):
    """Status of an entry (ISO external code set `ExternalEntryStatus1Code`). Only BOOK counts as money."""

    BOOK = "BOOK"
    PDNG = "PDNG"
    INFO = "INFO"
    FUTR = "FUTR"


class ProofState(StrEnum):
    """Outcome of the balance equation, worst first.

    `violated`: the equation was computed and does not hold. `unproven`: an entry or balance could not be
    read, so it was not computed. `impossible`: the bank gave no pair of book balances. `proven`: it holds.
    """

    VIOLATED = "violated"
    UNPROVEN = "unproven"
    IMPOSSIBLE = "impossible"
    PROVEN = "proven"


class ProofReason(StrEnum):
    """Why a proof has its state, in one word."""

    BALANCES_TIE = "balances-tie"
    INTERIM_BALANCES_TIE = "interim-balances-tie"
    PAGES_TIE = "pages-tie"
    BALANCES_DIFFER = "balances-differ"
    QUARANTINED = "quarantined"
    NO_BALANCES = "no-balances"
    NO_BOOK_BALANCES = "no-book-balances"
    INTERIM_ONLY = "interim-only"
    OPENING_MISSING = "opening-missing"
    CLOSING_MISSING = "closing-missing"
    AMBIGUOUS = "balances-ambiguous"
    PAGES_MISSING = "pages-missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One balance as the bank stated it. `amount_minor` is signed: credit +, debit −.

    `kind` is the ISO code (OPBD, PRCD, CLBD, ITBD, CLAV, …) or the bank's own. `intermediate` marks a page
    balance (sub-type INTM). `day` and `moment` are None when absent or unreadable.
    """

    kind: str
    intermediate: bool
    amount_minor: int
    currency: str
    day: date | None
    moment: datetime | None
    source_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a reader should know that did not stop the reading: rule, first line, how often."""

    rule: str
    message: str
    source_line: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An entry (or a book balance, `line_ordinal` 0) that could not be read exactly, and why."""

    line_ordinal: int
    rule: str
    message: str
    source_line: int
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """opening + Σ booked entries = closing, for one currency of one statement (minor units).

    `difference_minor` = closing − (opening + booked); None when there is nothing to compare.
    """

    state: ProofState
    reason: ProofReason
    currency: str | None
    opening_minor: int | None
    booked_minor: int
    closing_minor: int | None
    difference_minor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, report or notification of one account.

    `content_sha256` covers the statement's own content (entries, balances, account, identification), not
    the file, the message header, the creation time or a copy mark: a second delivery has the same value.
    `proofs` has one proof a currency; `proof` is the worst of them. Its rows in the file's `lines` are
    `row_count` ones from `first_row`.
    """

    ordinal: int
    id: str
    message_version: str
    message_id: str | None
    electronic_sequence: int | None
    legal_sequence: int | None
    page: int | None
    is_last_page: bool | None
    from_date: date | None
    to_date: date | None
    created_at: datetime | None
    iban: str | None
    other_account_id: str | None
    currency: str | None
    owner_name: str | None
    servicer_bic: str | None
    balances: tuple[Balance, ...]
    opening: Balance | None
    closing: Balance | None
    proofs: tuple[Proof, ...]
    entry_count: int
    first_row: int
    row_count: int
    quarantined: tuple[Quarantined, ...]
    findings: tuple[Finding, ...]
    content_sha256: str
    source_line: int

    @property
    def proof(self) -> Proof:
        """The worst proof: a statement is proven only when every currency of it is."""
        order = list(ProofState)
        return min(self.proofs, key=lambda proof: order.index(proof.state))

    @property
    def kind(self) -> str:
        """The message without its version: camt.053, mt940, bai2, …"""
        return self.message_version[:8] if self.message_version.startswith("camt.") else self.message_version

    @property
    def is_end_of_day(self) -> bool:
        """Whether it reports a closed day; only such statements book cash."""
        return self.kind in END_OF_DAY

    @property
    def is_of_a_bank(self) -> bool:
        """Whether it is about a bank account; a provider's report is about its own balance."""
        return self.kind in OF_A_BANK

    @property
    def account(self) -> str | None:
        """IBAN, or the other identification when there is none."""
        return self.iban or self.other_account_id

    @property
    def quarantined_entry_count(self) -> int:
        return len({bad.line_ordinal for bad in self.quarantined if bad.line_ordinal > 0})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatementFile:
    """A bank file that was read. `lines` has the columns of `STATEMENT_LINES`, in document order."""

    name: str
    sha256: str
    message_version: str
    message_id: str | None
    created_at: datetime | None
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    lines: pl.DataFrame

    @property
    def entry_count(self) -> int:
        """Entries in the file, quarantined ones included."""
        return sum(statement.entry_count for statement in self.statements)

    def lines_of(self, statement: Statement) -> pl.DataFrame:
        """The rows of one statement (no copy)."""
        return self.lines.slice(statement.first_row, statement.row_count)


STATEMENT_LINES: Final[dict[str, type[pl.DataType]]] = {
    "statement_ordinal": pl.Int32,
    "line_ordinal": pl.Int32,
    "detail_ordinal": pl.Int32,
    "amount_minor": pl.Int64,
    "entry_amount_minor": pl.Int64,
    "currency": pl.String,
    "status": pl.String,
    "is_reversal": pl.Boolean,
    "booking_date": pl.Date,
    "value_date": pl.Date,
    "account_servicer_ref": pl.String,
    "entry_ref": pl.String,
    "msg_id": pl.String,
    "payment_information_id": pl.String,
    "instruction_id": pl.String,
    "end_to_end_id": pl.String,
    "uetr": pl.String,
    "transaction_id": pl.String,
    "mandate_id": pl.String,
    "structured_ref": pl.String,
    "remittance": pl.String,
    "party_name": pl.String,
    "party_account": pl.String,
    "bank_tx_code": pl.String,
    "proprietary_code": pl.String,
    "return_reason": pl.String,
    "charges_minor": pl.Int64,
    "instructed_amount_minor": pl.Int64,
    "instructed_currency": pl.String,
    "batch_count": pl.Int32,
    "additional_info": pl.String,
    "source_line": pl.Int32,
}
