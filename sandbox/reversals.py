"""What a bank does with a reversal of direct debits (pain.007): gives back or refuses, and says so by pain.002.

Lives here: reading pain.007.001.02 and .11 by element name, apart from the product's own writer, and the decision for
each collection. Must not live here: statements, the XML of reports. Reasons: ISO external status reason codes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby
from operator import attrgetter

from ledger import NostroError, currency, parse_amount_minor
from sandbox.book import BankBook
from sandbox.day_work import REVERSAL
from sandbox.debit_orders import all_of, body_of, need, sum_at
from sandbox.orders import UnreadableOrderError, message_name
from sandbox.setup_reader import BankProfile
from sandbox.status import BatchStatus, RejectedPayment

REVERSALS = ("pain.007.001.02", "pain.007.001.11")
_OPEN_DAYS = 5  # after the collection, as the SEPA rulebooks say
_UNKNOWN, _AMOUNT, _AGAIN, _LATE = "RR04", "AM09", "AM05", "DT01"


@dataclass(frozen=True, slots=True)
class ReversedDebit:
    """One collection to give back (`TxInf`), of which block."""

    payment_information_id: str
    end_to_end_id: str
    amount_minor: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ReversalOrder:
    """A whole pain.007: its own id and totals, and the collections it gives back."""

    message: str
    message_id: str
    created: str
    stated_count: int
    stated_sum: Decimal | None
    debits: tuple[ReversedDebit, ...]


def read_reversal(content: bytes) -> ReversalOrder:
    """Read a pain.007. Raises `UnreadableOrderError`."""
    message = message_name(content, REVERSALS)
    body = body_of(content)
    try:
        return ReversalOrder(
            message=message,
            message_id=need(body, "GrpHdr/MsgId"),
            created=need(body, "GrpHdr/CreDtTm"),
            stated_count=int(need(body, "GrpHdr/NbOfTxs")),
            stated_sum=sum_at(body, "GrpHdr/CtrlSum"),
            debits=tuple(
                ReversedDebit(
                    need(group, "OrgnlPmtInfId"),
                    need(node, "OrgnlEndToEndId"),
                    parse_amount_minor(money.text or "", currency(money.get("Ccy", "")).exponent),
                    Decimal(money.text or ""),
                )
                for group in all_of(body, "OrgnlPmtInfAndRvsl")
                for node in all_of(group, "TxInf")
                for money in all_of(node, "RvsdInstdAmt")
            ),
        )
    except (ValueError, InvalidOperation, NostroError) as fault:
        raise UnreadableOrderError(f"{message} cannot be read: {fault}") from fault


def totals_refusal(order: ReversalOrder) -> str | None:
    """The reason code of the refusal of the whole file: its count or sum is not what it holds."""
    if order.stated_count != len(order.debits):
        return "AM18"
    if order.stated_sum is not None and order.stated_sum != sum(debit.amount for debit in order.debits):
        return "AM10"
    return None


def give_back(order: ReversalOrder, bank: BankProfile, book: BankBook, day: dt.date) -> list[BatchStatus]:
    """Schedule what goes back on the open day after `day`, the last the bank closed; refuse the rest. Inside a
    transaction of the book."""
    refused = [(debit, _give_back(debit, bank, book, day)) for debit in order.debits]
    return [_status(name, list(inside)) for name, inside in groupby(refused, key=lambda each: _block(each[0]))]


_block = attrgetter("payment_information_id")


def _give_back(debit: ReversedDebit, bank: BankProfile, book: BankBook, day: dt.date) -> str | None:
    """The reason of the refusal; None when the money goes back."""
    found = book.asked_back(bank.code, debit.end_to_end_id)
    if found is None or not found.collects or found.rejected or found.closed_on is None:
        return _UNKNOWN
    if debit.amount_minor > found.payment.amount_minor:
        return _AMOUNT
    if found.back_minor + debit.amount_minor > found.payment.amount_minor:
        return _AGAIN
    when = bank.calendar.after(max(day, found.closed_on), open_days=1)
    if when > bank.calendar.after(found.closed_on, open_days=_OPEN_DAYS + 1):
        return _LATE
    book.add_later(found.payment, kind=REVERSAL, day=when, account=found.account, amount_minor=debit.amount_minor)
    return None


def _status(block: str, decided: Sequence[tuple[ReversedDebit, str | None]]) -> BatchStatus:
    rejected = [RejectedPayment(None, debit.end_to_end_id, None, why) for debit, why in decided if why is not None]
    return BatchStatus(block, len(decided), "ACCP", rejected)
