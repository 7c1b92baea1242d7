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
    body = body_of(content)
    try:
        return Order(
            message=message,
            message_id=need(body, "GrpHdr/MsgId"),
            created=need(body, "GrpHdr/CreDtTm"),
            stated_count=int(need(body, "GrpHdr/NbOfTxs")),
            stated_sum=sum_at(body, "GrpHdr/CtrlSum"),
            batches=tuple(_batch(node) for node in all_of(body, "PmtInf")),
        )
    except (ValueError, InvalidOperation, NostroError) as fault:
        raise UnreadableOrderError(f"{message} cannot be read: {fault}") from fault


def read_recall(content: bytes) -> RecallOrder:
    """Read a camt.055. Raises `UnreadableOrderError`."""
    body = body_of(content)
    groups = all_of(body, "Undrlyg/OrgnlPmtInfAndCxl")
    if not groups:
        raise UnreadableOrderError("camt.055 names no payments to cancel")
    original = groups[0] if all_of(groups[0], "OrgnlGrpInf") else all_of(body, "Undrlyg")[0]
    prefix = "OrgnlGrpInf" if original is groups[0] else "OrgnlGrpInfAndCxl"
    return RecallOrder(
        message_id=need(body, "Assgnmt/Id"),
        created=need(body, "Assgnmt/CreDtTm"),
        original_message_id=need(original, f"{prefix}/OrgnlMsgId"),
        original_message=need(original, f"{prefix}/OrgnlMsgNmId"),
        payments=tuple(
            AskedPayment(
                need(group, "OrgnlPmtInfId"),
                text_of(node, "CxlId"),
                need(node, "OrgnlEndToEndId"),
                text_of(node, "CxlRsnInf/Rsn/Cd") or text_of(node, "CxlRsnInf/Rsn/Prtry"),
            )
            for group in groups
            for node in all_of(group, "TxInf")
        ),
    )


def _batch(node: etree._Element) -> OrderedBatch:
    count = text_of(node, "NbOfTxs")
    return OrderedBatch(
        payment_information_id=need(node, "PmtInfId"),
        debtor_iban=need(node, "CdtrAcct/Id/IBAN"),
        execution_date=dt.date.fromisoformat(need(node, "ReqdColltnDt")),
        stated_count=None if count is None else int(count),
        stated_sum=sum_at(node, "CtrlSum"),
        payments=tuple(_debits(node)),
        collects=True,
    )


def _debits(batch: etree._Element) -> Iterator[OrderedPayment]:
    for node in all_of(batch, "DrctDbtTxInf"):
        money = all_of(node, "InstdAmt")[0]
        code = money.get("Ccy", "")
        if text_of(node, "DrctDbtTx/MndtRltdInf/MndtId") is None:
            raise ValueError(f"direct debit {need(node, 'PmtId/EndToEndId')} names no mandate")
        yield OrderedPayment(
            instruction_id=text_of(node, "PmtId/InstrId"),
            end_to_end_id=need(node, "PmtId/EndToEndId"),
            uetr=text_of(node, "PmtId/UETR"),
            amount_minor=parse_amount_minor(money.text or "", currency(code).exponent),
            currency=code,
            creditor_name=need(node, "Dbtr/Nm"),
            creditor_iban=need(node, "DbtrAcct/Id/IBAN"),
            remittance=text_of(node, "RmtInf/Ustrd"),
        )


def body_of(content: bytes) -> etree._Element:
    """The message inside the document."""
    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as fault:
        raise UnreadableOrderError(f"not well-formed XML: {fault}") from fault
    if len(root) == 0:
        raise UnreadableOrderError("the document is empty")
    return root[0]


def all_of(node: etree._Element, path: str) -> list[etree._Element]:
    """Elements at a path of local names."""
    return node.findall("/".join(f"{{*}}{name}" for name in path.split("/")))


def text_of(node: etree._Element, path: str) -> str | None:
    """Text of the first of them."""
    found = all_of(node, path)
    return found[0].text if found else None


def need(node: etree._Element, path: str) -> str:
    """The same where it must be. Raises `UnreadableOrderError`."""
    text = text_of(node, path)
    if not text:
        raise UnreadableOrderError(f"{path} is missing in {etree.QName(node).localname}")
    return text


def sum_at(node: etree._Element, path: str) -> Decimal | None:
    """A control sum, when there is one."""
    text = text_of(node, path)
    return None if text is None else Decimal(text)
