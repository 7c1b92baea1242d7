"""A payment order as the bank understands it: the content of a pain.001, and how it is read.

Lives here: reading pain.001.001.03, .09 and .11 with pyiso20022's model and xsdata, written apart from the
product's own writer and reader so that the two prove each other. Must not live here: deciding whether an
order is accepted (`sandbox.bank`), files on disk, the bank's state.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any
from xml.etree.ElementTree import ParseError

from lxml import etree
from xsdata.exceptions import ParserError
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.parsers.handlers import XmlEventHandler

from ledger import NostroError, currency, parse_amount_minor
from sandbox.errors import SandboxError

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
_VERSIONS = ("pain.001.001.03", "pain.001.001.09", "pain.001.001.11")


class UnreadableOrderError(SandboxError):
    """The file is not a pain.001 this bank reads."""


@dataclass(frozen=True, slots=True)
class OrderedPayment:
    """One credit transfer of an order (`CdtTrfTxInf`), or one direct debit, whose debtor then stands as the creditor:
    the other party. `amount_minor` > 0."""

    instruction_id: str | None
    end_to_end_id: str
    uetr: str | None
    amount_minor: int
    currency: str
    creditor_name: str
    creditor_iban: str
    remittance: str | None


@dataclass(frozen=True, slots=True)
class OrderedBatch:
    """One `PmtInf`: the customer's account, execution date, its totals and payments; `collects`: direct debits."""

    payment_information_id: str
    debtor_iban: str
    execution_date: dt.date
    stated_count: int | None
    stated_sum: Decimal | None
    payments: tuple[OrderedPayment, ...]
    collects: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A whole pain.001, or pain.008: group header and batches."""

    message: str
    message_id: str
    created: str
    stated_count: int
    stated_sum: Decimal | None
    batches: tuple[OrderedBatch, ...]

    @property
    def count(self) -> int:
        """Payments really in the file."""
        return sum(len(batch.payments) for batch in self.batches)


def sum_of(payments: tuple[OrderedPayment, ...]) -> Decimal:
    """The control sum ISO 20022 asks for: amounts added without regard to currency."""
    total = Decimal(0)
    by_exponent: dict[int, int] = {}
    for payment in payments:
        exponent = currency(payment.currency).exponent
        by_exponent[exponent] = by_exponent.get(exponent, 0) + payment.amount_minor
    for exponent, minor in by_exponent.items():
        total += Decimal(minor).scaleb(-exponent)
    return total


def read_order(content: bytes) -> Order:
    """Read a pain.001 of a version this bank knows.

    Raises `UnreadableOrderError` when the XML is broken, of another message or version, or misses what the
    message requires.
    """
    message = message_name(content, _VERSIONS)
    model = import_module(f"pyiso20022.pain.{message.replace('.', '_')}")
    parser = XmlParser(context=_CONTEXT, handler=XmlEventHandler, config=ParserConfig(fail_on_converter_warnings=True))
    try:
        document = parser.from_bytes(content, model.Document)
        return _order(message, document.cstmr_cdt_trf_initn)
    except (ParserError, ParseError, TypeError, AttributeError, ValueError, NostroError) as fault:
        raise UnreadableOrderError(f"{message} cannot be read: {fault}") from fault


_CONTEXT = XmlContext()


def message_name(content: bytes, known: tuple[str, ...]) -> str:
    """The message name from the root's namespace; refuses a DOCTYPE and any message that does not begin like these."""
    try:
        events = etree.iterparse(_Bytes(content), events=("start",), resolve_entities=False, no_network=True)
        _, root = next(iter(events))
    except (etree.XMLSyntaxError, StopIteration) as fault:
        raise UnreadableOrderError(f"not well-formed XML: {fault}") from fault
    if root.getroottree().docinfo.doctype:
        raise UnreadableOrderError("a document type declaration is not accepted")
    namespace = etree.QName(root).namespace or ""
    message = namespace.removeprefix(_NAMESPACE)
    if not message.startswith(known):
        raise UnreadableOrderError(f"namespace {namespace!r} is none of {', '.join(known)}")
    return message


class _Bytes:
    """A file over bytes that hands out little at a time, so that the first element costs little."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def read(self, _size: int = -1) -> bytes:
        piece = self._content[self._at : self._at + 4096]
        self._at += len(piece)
        return piece


# The generated model is untyped for us; everything below turns it into the dataclasses above at once.
def _order(message: str, body: Any) -> Order:
    header = body.grp_hdr
    return Order(
        message=message,
        message_id=header.msg_id,
        created=str(header.cre_dt_tm),
        stated_count=int(header.nb_of_txs),
        stated_sum=header.ctrl_sum,
        batches=tuple(_batch(batch) for batch in body.pmt_inf),
    )


def _batch(node: Any) -> OrderedBatch:
    wanted = node.reqd_exctn_dt
    day = getattr(wanted, "dt", wanted)
    if day is None:
        day = wanted.dt_tm
    return OrderedBatch(
        payment_information_id=node.pmt_inf_id,
        debtor_iban=node.dbtr_acct.id.iban or "",
        execution_date=dt.date(day.year, day.month, day.day),
        stated_count=None if node.nb_of_txs is None else int(node.nb_of_txs),
        stated_sum=node.ctrl_sum,
        payments=tuple(_payments(node.cdt_trf_tx_inf)),
    )


def _payments(nodes: list[Any]) -> Iterator[OrderedPayment]:
    exponents: dict[str, int] = {}
    for node in nodes:
        ids, money, account = node.pmt_id, node.amt.instd_amt, node.cdtr_acct.id
        code = money.ccy
        exponent = exponents.setdefault(code, currency(code).exponent)
        remittance = node.rmt_inf
        yield OrderedPayment(
            instruction_id=ids.instr_id,
            end_to_end_id=ids.end_to_end_id,
            uetr=getattr(ids, "uetr", None),
            amount_minor=parse_amount_minor(format(money.value, "f"), exponent),
            currency=code,
            creditor_name=node.cdtr.nm,
            creditor_iban=account.iban or account.othr.id,
            remittance=remittance.ustrd[0] if remittance is not None and remittance.ustrd else None,
        )


__all__ = ["Order", "OrderedBatch", "OrderedPayment", "UnreadableOrderError", "message_name", "read_order", "sum_of"]
