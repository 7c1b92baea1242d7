"""What settlement hands out: files, runs, and the outcome of each step, as plain values.

Lives here: states and result types. Must not live here: SQL, rules.
Amounts are integer minor units of the value's currency.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from ledger import format_amount


class FileState(StrEnum):
    """States of a payment file (`settlement.file_transition` holds the lattice)."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    SEALED = "sealed"
    SENDING = "sending"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PARTLY_REJECTED = "partly_rejected"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXECUTED = "executed"
    DISPUTED = "disputed"
    RECONCILED = "reconciled"
    VOID = "void"


AT_THE_BANK = frozenset(
    {
        FileState.SENT,
        FileState.ACKNOWLEDGED,
        FileState.PARTLY_REJECTED,
        FileState.EXECUTED,
        FileState.DISPUTED,
        FileState.RECONCILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFileStatus:
    """A payment file and where it stands. `reason` is given for void, rejected, failed and unknown files."""

    file_id: int
    run_id: int
    part: int
    bank_account: str
    rail: str
    currency: str
    exponent: int
    business_date: dt.date
    cycle: int
    execution_date: dt.date
    cutoff_at: dt.datetime
    msg_id: str
    sha256: str
    instruction_count: int
    total_minor: int
    prepared_by: str
    approved_by: str | None
    state: FileState
    reason: str | None

    @property
    def total(self) -> str:
        """The sum as decimal text."""
        return format_amount(self.total_minor, self.exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentBatch:
    """A block of a payment file [PmtInf]: payments of one execution date and of the same terms.

    `sequence_type` and (as `local_instrument`) the scheme are those of direct debits. The last counts say what the bank
    answered: how many of its payments it has executed, and refused.
    """

    batch: int
    payment_information_id: str
    execution_date: dt.date
    service_level: str | None
    local_instrument: str | None
    sequence_type: str | None
    charge_bearer: str
    currency: str
    exponent: int
    instruction_count: int
    total_minor: int
    executed_count: int
    rejected_count: int

    @property
    def total(self) -> str:
        """The control sum as decimal text."""
        return format_amount(self.total_minor, self.exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedFile:
    """A proposed file. `is_new` is false when an earlier, identical proposal is still waiting."""

    file: PaymentFileStatus
    is_new: bool

    @property
    def file_id(self) -> int:
        return self.file.file_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A second person's signature. `cash_after_minor` is N + T less every approved file of the bank account."""

    file: PaymentFileStatus
    approved_by: str
    payee_digest: str
    cash_after_minor: int
    is_new: bool
    missing_count: int = 0  # more people who must sign

    @property
    def warning(self) -> str | None:
        """Said when the bank account would be overdrawn by what is approved."""
        if self.cash_after_minor >= 0:
            return None
        missing = format_amount(-self.cash_after_minor, self.file.exponent)
        return f"{self.file.bank_account} would be short of {missing} {self.file.currency}; fund it before the cut-off."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A file after a step: its state, whether this call moved it, and why when it is void, failed or unknown."""

    file_id: int
    state: FileState
    is_new: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run and its files. State: that of its files, ``mixed``, or ``closed`` (only zero nets)."""

    run_id: int
    bank_account: str
    business_date: dt.date
    cycle: int
    execution_date: dt.date
    prepared_by: str
    state: str
    instruction_count: int
    total_minor: int
    files: tuple[PaymentFileStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFinding:
    """Something in a bank's answer that could not be applied."""

    code: str
    reference: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """One status report taken in. `is_new` is false for bytes seen before; nothing is applied then."""

    name: str
    bank: str
    message_id: int
    file_id: int | None
    is_new: bool
    changed: int
    rejected: int
    findings: tuple[MessageFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PollReport:
    """What a poll did: interrupted sends looked up, files fetched, and status reports read.

    `recalls` are interrupted sends of recalls, by the file they are about. `unreachable` says of each bank that could
    not be asked why; polling again is safe.
    """

    resolved: tuple[StepResult, ...]
    messages: tuple[ReceivedMessage, ...]
    fetched: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    recalls: tuple[StepResult, ...] = ()

    @property
    def findings(self) -> tuple[MessageFinding, ...]:
        return tuple(finding for message in self.messages for finding in message.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenText:
    """A text of a file that is not written as it was given; ordinal 0, without payee, is the file's header.

    `changes` are sentences such as ``ü → ue (letter)``, in order of place.
    """

    ordinal: int
    payee: str | None
    end_to_end_id: str | None
    field: str
    original: str
    written: str
    changes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NettedPayee:
    """What a run would make of a payee: pay, collect, zero, negative, below_minimum, not_due or payee_held.

    `pay_minor` is negative when it is collected; `reserve_minor` is what the payment would hold back.
    """

    payee: str
    currency: str
    owed_minor: int
    pay_minor: int
    reserve_minor: int
    outcome: str
    item_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementException:
    """Something that waits for a person because of a bank's answer, or for want of one.

    `kind`: held, stopped, disputed, names, noted, returning, recall, reversal, overdue, unknown, unclear or nobody.
    `policy`: stop, human, fix_data, re_date, retry or none. Without a payment it is of the whole file. `amount_minor`
    is in minor units of `currency`. What is unknown or unclear is of a bank's message (`message_id`): no file, no
    amount, and, as `end_to_end_id`, the reference that it names. nobody: owed on an account (`end_to_end_id`) without
    a payee.
    """

    kind: str
    policy: str
    file_id: int | None
    end_to_end_id: str | None
    payee: str | None
    currency: str | None
    exponent: int | None
    amount_minor: int | None
    since: dt.date
    code: str | None
    meaning: str | None
    message_id: int | None
