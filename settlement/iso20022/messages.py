"""The messages that can be written, and where in each its payments stand.

Lives here: one row a version. Must not live here: what the elements are (`trees`), reading (`readback`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from settlement.iso20022.direct_debit import DirectDebit
from settlement.iso20022.follow_ups import Cancellation, Reversal
from settlement.iso20022.iso_objects import Tree
from settlement.iso20022.model import CreditTransfer, MessageVersion, Totals
from settlement.iso20022.trees import NEW, OLD, Dialect, credit_transfers
from settlement.iso20022.trees_more import cancellations, direct_debits, reversals


@dataclass(frozen=True, slots=True)
class Message:
    """A message: the class of its payments, their element, and the tree of a file with its payments group by group.

    Files and payments are those of the message's own classes, which the tree function names; here they are any.
    """

    payment: type
    element: str
    tree: Callable[[Any, Totals, Sequence[Sequence[Any]]], Tree]


def _credit_transfer(dialect: Dialect) -> Message:
    return Message(CreditTransfer, "CdtTrfTxInf", partial(credit_transfers, dialect))


def _direct_debit(dialect: Dialect) -> Message:
    return Message(DirectDebit, "DrctDbtTxInf", partial(direct_debits, dialect))


def _reversal(dialect: Dialect) -> Message:
    return Message(Reversal, "TxInf", partial(reversals, dialect))


def _cancellation(dialect: Dialect) -> Message:
    return Message(Cancellation, "TxInf", partial(cancellations, dialect))


MESSAGES: dict[MessageVersion, Message] = {
    MessageVersion.PAIN_001_001_03: _credit_transfer(OLD),
    MessageVersion.PAIN_001_001_09: _credit_transfer(NEW),
    MessageVersion.PAIN_001_001_11: _credit_transfer(NEW),
    MessageVersion.PAIN_007_001_02: _reversal(OLD),
    MessageVersion.PAIN_007_001_11: _reversal(NEW),
    MessageVersion.PAIN_008_001_02: _direct_debit(OLD),
    MessageVersion.PAIN_008_001_08: _direct_debit(NEW),
    MessageVersion.CAMT_055_001_08: _cancellation(NEW),
    MessageVersion.CAMT_055_001_11: _cancellation(NEW),
}
