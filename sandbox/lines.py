"""What a bank books on an account in a day, before it becomes XML.

Lives here: the shapes of statement lines and their details, and the numbering of the bank's references.
Must not live here: why a line is there, XML.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.anomalies import Kind
from sandbox.setup_reader import BankAccount, BankProfile


@dataclass(slots=True)
class Mark:
    """Remembers which lines an anomaly touches, so that its reference is known once lines are numbered."""

    kind: Kind
    account: str
    refs: list[str] = field(default_factory=list)

    @property
    def item_ref(self) -> str:
        """The anchor: the smallest reference touched."""
        return min(self.refs)


@dataclass(slots=True)
class Detail:
    """One transaction inside a line (`TxDtls`). `amount_minor` > 0; the line gives the direction."""

    amount_minor: int
    end_to_end_id: str | None = None
    instruction_id: str | None = None
    uetr: str | None = None
    party_name: str | None = None
    party_iban: str | None = None
    remittance: str | None = None
    return_reason: str | None = None
    charges_minor: int = 0
    owner_pays: bool | None = None  # of the transfer itself; None: as the line's side and a return's reason say
    mark: Mark | None = None
    ref: str = ""


@dataclass(slots=True)
class Batch:
    """What a line says about the order it books as a whole (`Btch`)."""

    message_id: str
    payment_information_id: str
    count: int


@dataclass(slots=True)
class Line:
    """One statement line (`Ntry`). `amount_minor` is signed: credit +, debit −."""

    amount_minor: int
    code: str
    details: Sequence[Detail] = ()
    batch: Batch | None = None
    text: str = ""
    mark: Mark | None = None
    ref: str = ""
    is_reversal: bool = False


def number(lines: Sequence[Line], *, bank: BankProfile, account_no: int, day: dt.date) -> None:
    """Give every line and detail its account servicer reference, ascending in booking order.

    A line with a single detail shares its reference with it. Marks learn the references they touch.
    """
    head = f"{bank.bic[:4]}{day:%y%m%d}{account_no:02d}"
    count = 0
    for line in lines:
        count += 1
        line.ref = f"{head}{count:07d}"
        if line.mark is not None:
            line.mark.refs.append(line.ref)
        if len(line.details) == 1:
            detail = line.details[0]
            detail.ref = line.ref
            if detail.mark is not None:
                detail.mark.refs.append(line.ref)
            continue
        for detail in line.details:
            count += 1
            detail.ref = f"{head}{count:07d}"
            if detail.mark is not None:
                detail.mark.refs.append(detail.ref)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """A numbered day of one account, ready to be written. Balances in minor units."""

    bank: BankProfile
    account: BankAccount
    day: dt.date
    statement_number: int
    opening_minor: int
    closing_minor: int
    lines: Sequence[Line]

    @property
    def statement_id(self) -> str:
        """`Stmt/Id`: unique per account and day, for ever."""
        return f"{self.bank.bic[:4]}{self.account.iban[-10:]}{self.day:%Y%m%d}"
