"""Reading camt.029 answers to a recall (camt.055 or camt.056), versions .03 to .13.

Lives here: the reader. Must not live here: what an answer means for the books.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from lxml import etree

from settlement.iso20022.answer_xml import AnswerKind, Reason, child, message_element, reasons, text, uetr_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledPayment:
    """What is said of one payment that was asked back; `status` is its own, else its group's, else the case's."""

    end_to_end_id: str | None
    uetr: str | None
    status: str | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledBatch:
    """What the bank says of a whole payment group [OrgnlPmtInfAndSts]; it covers those of its payments not listed."""

    payment_information_id: str
    status: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallAnswer:
    """One camt.029. `original_message_id` is of the payment file; `status` covers payments that are not listed."""

    message_version: str | None
    message_id: str | None
    created_at: str | None
    original_message_id: str | None
    status: str | None
    payments: tuple[RecalledPayment, ...]
    reasons: tuple[Reason, ...] = ()
    batches: tuple[RecalledBatch, ...] = ()


def read_camt029(content: bytes | BinaryIO) -> RecallAnswer:
    """Read the answer to a recall. Raises `StatusReportRefusedError`."""
    message, version = message_element(content, AnswerKind.RECALL_ANSWER)
    status = text(message, "Sts", "Conf") or text(message, "Sts", "RjctdMod")
    original, payments, of_all = None, [], None
    batches: list[RecalledBatch] = []
    why_all: tuple[Reason, ...] = ()
    for details in message.iterchildren("{*}CxlDtls"):
        original = original or text(details, "OrgnlGrpInfAndSts", "OrgnlMsgId")
        covering = text(details, "OrgnlGrpInfAndSts", "GrpCxlSts") or status
        group = child(details, "OrgnlGrpInfAndSts")
        why = reasons(group, "CxlStsRsnInf") if group is not None else ()
        of_all, why_all = of_all or covering, why_all or why
        payments += [_recalled(element, covering, why) for element in details.iterchildren("{*}TxInfAndSts")]
        for information in details.iterchildren("{*}OrgnlPmtInfAndSts"):
            own = text(information, "PmtInfCxlSts") or covering
            said = reasons(information, "CxlStsRsnInf") or why
            name, whole = text(information, "OrgnlPmtInfId"), text(information, "PmtInfCxlSts")
            if name is not None and whole is not None:
                batches.append(RecalledBatch(payment_information_id=name, status=whole, reasons=said))
            payments += [_recalled(element, own, said) for element in information.iterchildren("{*}TxInfAndSts")]
    return RecallAnswer(
        message_version=version,
        message_id=text(message, "Assgnmt", "Id"),
        created_at=text(message, "Assgnmt", "CreDtTm"),
        original_message_id=original,
        status=of_all or status,
        payments=tuple(payments),
        reasons=why_all,
        batches=tuple(batches),
    )


def _recalled(element: etree._Element, covering: str | None, why: tuple[Reason, ...]) -> RecalledPayment:
    return RecalledPayment(
        end_to_end_id=text(element, "OrgnlEndToEndId"),
        uetr=uetr_text(element),
        status=text(element, "TxCxlSts") or covering,
        reasons=reasons(element, "CxlStsRsnInf") or why,
    )
