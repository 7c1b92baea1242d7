"""Reading pacs.004 payment returns, versions .01 to .14.

Lives here: the reader. Must not live here: booking (a return is announced here; only a statement posts cash).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from lxml import etree

from settlement.iso20022.answer_xml import AnswerKind, Reason, child, line_of, message_element, reasons, text, uetr_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedPayment:
    """One payment that comes back. `amount` is decimal text as the bank wrote it, in `currency`."""

    original_message_id: str | None
    instruction_id: str | None
    end_to_end_id: str | None
    uetr: str | None
    amount: str | None
    currency: str | None
    reasons: tuple[Reason, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnReport:
    """One pacs.004; its payments in the message's order."""

    message_version: str | None
    message_id: str | None
    created_at: str | None
    returns: tuple[ReturnedPayment, ...]


def read_pacs004(content: bytes | BinaryIO) -> ReturnReport:
    """Read a payment return. Raises `StatusReportRefusedError`."""
    message, version = message_element(content, AnswerKind.RETURN)
    original = text(message, "OrgnlGrpInf", "OrgnlMsgId")
    covering = reasons(inf, "RtrRsnInf") if (inf := child(message, "OrgnlGrpInf")) is not None else ()
    return ReturnReport(
        message_version=version,
        message_id=text(message, "GrpHdr", "MsgId"),
        created_at=text(message, "GrpHdr", "CreDtTm"),
        returns=tuple(_returned(element, original, covering) for element in message.iterchildren("{*}TxInf")),
    )


def _returned(element: etree._Element, original: str | None, covering: tuple[Reason, ...]) -> ReturnedPayment:
    amount = child(element, "RtrdIntrBkSttlmAmt")
    return ReturnedPayment(
        original_message_id=text(element, "OrgnlGrpInf", "OrgnlMsgId") or original,
        instruction_id=text(element, "OrgnlInstrId"),
        end_to_end_id=text(element, "OrgnlEndToEndId"),
        uetr=uetr_text(element),
        amount=None if amount is None else (amount.text or "").strip() or None,
        currency=None if amount is None else amount.get("Ccy"),
        reasons=reasons(element, "RtrRsnInf") or covering,
        line=line_of(element),
    )
