"""Orders to collect money (pain.008) and to give it back (camt.055), as a bank understands them.

Lives here: reading pain.008.001.02 and .08 and camt.055 of any version, by element name, apart from the product's own
readers and writers. Must not live here: deciding what becomes of them. `read_order` of `sandbox.orders` has checked the
namespace and refused a document type.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from lxml import etree

from ledger import NostroError, currency, parse_amount_minor
from sandbox.orders import Order, OrderedBatch, OrderedPayment, UnreadableOrderError, message_name

DEBITS = ("pain.008.001.02", "pain.008.001.08")


@dataclass(frozen=True, slots=True)
class AskedPayment:
    """One payment that is asked back (`TxInf`), of which block, with the reason code of the request."""

    payment_information_id: str
    cancellation_id: str | None
    end_to_end_id: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class RecallOrder:
    """A whole camt.055: its own id, the order it is about, and the payments asked back."""

    message_id: str
    created: str
    original_message_id: str
    original_message: str
    payments: tuple[AskedPayment, ...]


def read_debits(content: bytes) -> Order:
    """Read a pain.008. Raises `UnreadableOrderError`."""
    message = message_name(content, DEBITS)
    body = _body(content)
    try:
        return Order(
            message=message,
            message_id=_need(body, "GrpHdr/MsgId"),
            created=_need(body, "GrpHdr/CreDtTm"),
            stated_count=int(_need(body, "GrpHdr/NbOfTxs")),
            stated_sum=_sum(body, "GrpHdr/CtrlSum"),
            batches=tuple(_batch(node) for node in _all(body, "PmtInf")),
        )
    except (ValueError, InvalidOperation, NostroError) as fault:
        raise UnreadableOrderError(f"{message} cannot be read: {fault}") from fault


def read_recall(content: bytes) -> RecallOrder:
    """Read a camt.055. Raises `UnreadableOrderError`."""
    body = _body(content)
    groups = _all(body, "Undrlyg/OrgnlPmtInfAndCxl")
    if not groups:
        raise UnreadableOrderError("camt.055 names no payments to cancel")
    original = groups[0] if _all(groups[0], "OrgnlGrpInf") else _all(body, "Undrlyg")[0]
    prefix = "OrgnlGrpInf" if original is groups[0] else "OrgnlGrpInfAndCxl"
    return RecallOrder(
        message_id=_need(body, "Assgnmt/Id"),
        created=_need(body, "Assgnmt/CreDtTm"),
        original_message_id=_need(original, f"{prefix}/OrgnlMsgId"),
        original_message=_need(original, f"{prefix}/OrgnlMsgNmId"),
        payments=tuple(
            AskedPayment(
                _need(group, "OrgnlPmtInfId"),
                _text(node, "CxlId"),
                _need(node, "OrgnlEndToEndId"),
                _text(node, "CxlRsnInf/Rsn/Cd") or _text(node, "CxlRsnInf/Rsn/Prtry"),
            )
            for group in groups
            for node in _all(group, "TxInf")
        ),
    )


def _batch(node: etree._Element) -> OrderedBatch:
    count = _text(node, "NbOfTxs")
    return OrderedBatch(
        payment_information_id=_need(node, "PmtInfId"),
        debtor_iban=_need(node, "CdtrAcct/Id/IBAN"),
        execution_date=dt.date.fromisoformat(_need(node, "ReqdColltnDt")),
        stated_count=None if count is None else int(count),
        stated_sum=_sum(node, "CtrlSum"),
        payments=tuple(_debits(node)),
        collects=True,
    )


def _debits(batch: etree._Element) -> Iterator[OrderedPayment]:
    for node in _all(batch, "DrctDbtTxInf"):
        money = _all(node, "InstdAmt")[0]
        code = money.get("Ccy", "")
        if _text(node, "DrctDbtTx/MndtRltdInf/MndtId") is None:
            raise ValueError(f"direct debit {_need(node, 'PmtId/EndToEndId')} names no mandate")
        yield OrderedPayment(
            instruction_id=_text(node, "PmtId/InstrId"),
            end_to_end_id=_need(node, "PmtId/EndToEndId"),
            uetr=_text(node, "PmtId/UETR"),
            amount_minor=parse_amount_minor(money.text or "", currency(code).exponent),
            currency=code,
            creditor_name=_need(node, "Dbtr/Nm"),
            creditor_iban=_need(node, "DbtrAcct/Id/IBAN"),
            remittance=_text(node, "RmtInf/Ustrd"),
        )


def _body(content: bytes) -> etree._Element:
    """The message inside the document."""
    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as fault:
        raise UnreadableOrderError(f"not well-formed XML: {fault}") from fault
    if len(root) == 0:
        raise UnreadableOrderError("the document is empty")
    return root[0]


def _all(node: etree._Element, path: str) -> list[etree._Element]:
    return node.findall("/".join(f"{{*}}{name}" for name in path.split("/")))


def _text(node: etree._Element, path: str) -> str | None:
    found = _all(node, path)
    return found[0].text if found else None


def _need(node: etree._Element, path: str) -> str:
    text = _text(node, path)
    if not text:
        raise UnreadableOrderError(f"{path} is missing in {etree.QName(node).localname}")
    return text


def _sum(node: etree._Element, path: str) -> Decimal | None:
    text = _text(node, path)
    return None if text is None else Decimal(text)
