"""Reading payment status reports: pain.002 .02 to .14, pacs.002 .02 to .15 and pain.014.

Lives here: a streaming reader that goes by local element names, inheritance of statuses from the file to its
groups to their payments, and the order in which a payment's status may advance.
Must not live here: what a status means for the books (only a statement posts cash), the database.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, cast

from lxml import etree

from settlement.iso20022.answer_xml import (
    MESSAGES,
    STATUS_KINDS,
    AnswerKind,
    Reason,
    StatusReportRefusedError,
    line_of,
    local,
    reasons,
    refuse_doctype,
    refused_when_malformed,
    text,
    uetr_text,
    version_of,
)


class PaymentStatus(StrEnum):
    """Statuses that order a payment's life. The bank may skip any; other codes only inform."""

    RCVD = "RCVD"
    ACTC = "ACTC"
    ACCP = "ACCP"
    ACSP = "ACSP"
    ACSC = "ACSC"
    ACCC = "ACCC"
    RJCT = "RJCT"
    CANC = "CANC"


_RANK = {status: rank for rank, status in enumerate(PaymentStatus)}
_TERMINAL = frozenset({PaymentStatus.RJCT, PaymentStatus.CANC})
_SETTLED = frozenset({PaymentStatus.ACSC, PaymentStatus.ACCC})
_ORDERED = frozenset(PaymentStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """What the report says about the whole original file [OrgnlGrpInfAndSts]; `original_count` as it is written."""

    original_message_id: str | None
    original_message_name: str | None
    status: str | None
    reasons: tuple[Reason, ...]
    original_count: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentInformationStatus:
    """What the report says about one payment group of it [OrgnlPmtInfAndSts]."""

    payment_information_id: str | None
    status: str | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStatus:
    """What the report says about one payment [TxInfAndSts].

    `status` is the payment's own; `effective_status` and `reasons` are inherited from its group or file when
    the payment has none of its own. `execution_date` is the date that the bank gives for it, as it wrote it.
    """

    payment_information_id: str | None
    instruction_id: str | None
    end_to_end_id: str | None
    uetr: str | None
    status: str | None
    effective_status: str | None
    reasons: tuple[Reason, ...]
    account_servicer_ref: str | None
    line: int
    execution_date: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """One status report: file, groups and payments, in the report's order."""

    kind: AnswerKind
    message_version: str | None
    message_id: str
    created_at: str | None
    group: GroupStatus
    payment_informations: tuple[PaymentInformationStatus, ...]
    transactions: tuple[TransactionStatus, ...]

    def covering_status(self, payment_information_id: str | None) -> tuple[str | None, tuple[Reason, ...]]:
        """Status and reasons for a payment of that group which the report does not list.

        The group's status when it has one, else the file's. ``PART`` and ``PATC`` say that payments differ, ``RCVC``,
        ``RCVM`` and ``RVNC`` how names compare: they cover nobody, and an unlisted payment keeps the status it has.
        """
        return dict(reversed(self.covering_of_groups())).get(payment_information_id or "", self.covering_of_file())

    def covering_of_file(self) -> tuple[str | None, tuple[Reason, ...]]:
        """Status and reasons for a payment of a group of which the report says nothing."""
        return (None, ()) if self.group.status is None else _covering(self.group.status, self.group.reasons)

    def covering_of_groups(self) -> list[tuple[str, tuple[str | None, tuple[Reason, ...]]]]:
        """Status and reasons for payments of each group that has a status of its own; the first of an id counts."""
        return [
            (each.payment_information_id, _covering(each.status, each.reasons))
            for each in self.payment_informations
            if each.payment_information_id is not None and each.status is not None
        ]


_DIFFERING = frozenset({"PART", "PATC", "RCVC", "RCVM", "RVNC"})


def _covering(status: str, reasons: tuple[Reason, ...]) -> tuple[str | None, tuple[Reason, ...]]:
    return (None, ()) if status in _DIFFERING else (status, reasons)


def advance(old: PaymentStatus | None, new: str) -> PaymentStatus | None:
    """The status after hearing `new`, whatever order reports arrive in.

    It only moves forward along RCVD, ACTC, ACCP, ACSP, ACSC, ACCC; RJCT and CANC are final, and the first of
    them stays. Every other code (PDNG, PART, ACWC, …) is information and changes nothing.
    """
    if new not in _ORDERED or old in _TERMINAL:
        return old
    heard = PaymentStatus(new)
    return heard if old is None or _RANK[heard] > _RANK[old] else old


def contradicts(old: PaymentStatus | None, new: str) -> bool:
    """Whether a bank says both that a payment settled and that it was refused; a person must look."""
    if old is None or new not in _ORDERED:
        return False
    heard = PaymentStatus(new)
    return (old in _SETTLED and heard in _TERMINAL) or (old in _TERMINAL and heard in _SETTLED)


def read_pain002(content: bytes | BinaryIO) -> StatusReport:
    """Read a status report; amounts and anything else not in `StatusReport` are passed over.

    Raises `StatusReportRefusedError`.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    reader = _Reader()
    with refused_when_malformed():
        elements = etree.iterparse(
            source, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
        )
        for event, element in elements:
            if isinstance(element.tag, str):  # not a comment or processing instruction
                reader.take(event, element)
    return reader.report()


class _Reader:
    """Collects the report while elements end; keeps the elements of one payment in memory."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_document = False
        self._base = 0  # depth of the message's own element; 0 while it has not come
        self._kind = AnswerKind.CUSTOMER_STATUS
        self._version: str | None = None
        self._message_id: str | None = None
        self._created_at: str | None = None
        self._group = GroupStatus(original_message_id=None, original_message_name=None, status=None, reasons=())
        self._informations: list[PaymentInformationStatus] = []
        # One list a group, the last one open; a payment outside every group is in none.
        self._transactions: list[list[TransactionStatus]] = [[]]
        self._alone: list[TransactionStatus] = []

    def take(self, event: str, element: etree._Element) -> None:
        if event == "start":
            self._depth += 1
            if self._depth == 1:
                refuse_doctype(element)
            if not self._base:
                self._look_for_message(element)
            return
        if self._base:
            self._end(element, self._depth - self._base)
        self._depth -= 1

    def _look_for_message(self, element: etree._Element) -> None:
        """Inside a Document, its one child is the message; in a bank's own envelope it may stand anywhere."""
        name = local(element)
        kind = MESSAGES.get(name)
        if kind in STATUS_KINDS:
            self._base, self._kind = self._depth, kind
            self._version = version_of(element, kind)
        elif self._in_document:
            raise StatusReportRefusedError(
                "message",
                f"line {line_of(element)}: the message is {name}, not a status report.",
                line=line_of(element),
            )
        elif name == "Document":
            self._in_document = True
            version_of(element, *sorted(STATUS_KINDS))

    def _end(self, element: etree._Element, depth: int) -> None:
        name = local(element)
        if name == "TxInfAndSts" and depth in (1, 2):
            told = _transaction_status(element)
            (self._transactions[-1] if depth == 2 else self._alone).append(told)
            cast(etree._Element, element.getparent()).remove(element)
        elif depth == 1:
            if name == "GrpHdr":
                self._message_id, self._created_at = text(element, "MsgId"), text(element, "CreDtTm")
            elif name == "OrgnlGrpInfAndSts":
                self._file(_group_status(element), line_of(element))
            elif name == "OrgnlPmtInfAndSts":
                self._informations.append(_information_status(element))
                self._transactions.append([])
            element.clear()

    def _file(self, told: GroupStatus, line: int) -> None:
        """What is said of the whole original file; of several files, one would move the payments of another."""
        before = self._group.original_message_id
        if before is not None and told.original_message_id != before:
            raise StatusReportRefusedError(
                "message",
                f"line {line}: the report answers {before} and {told.original_message_id}; ask for one report a file.",
                line=line,
            )
        self._group = self._group if before is not None else told

    def report(self) -> StatusReport:
        if self._depth:
            raise StatusReportRefusedError("xml-well-formed", "the status report ends before its end.")
        if not self._base:
            raise StatusReportRefusedError("message", "the file holds no status report (ISO 20022 pain.002).", line=1)
        if self._message_id is None:
            raise StatusReportRefusedError(
                "message-id", "the status report has no GrpHdr/MsgId; the bank must send it again."
            )
        return StatusReport(
            kind=self._kind,
            message_version=self._version,
            message_id=self._message_id,
            created_at=self._created_at,
            group=self._group,
            payment_informations=tuple(self._informations),
            transactions=tuple(self._inherited()),
        )

    def _inherited(self) -> Iterator[TransactionStatus]:
        above: GroupStatus | PaymentInformationStatus
        for information, transactions in zip(self._informations, self._transactions, strict=False):
            above = information if information.status is not None else self._group
            for transaction in transactions:
                yield _below(transaction, above, information.payment_information_id)
        for transaction in self._alone:
            yield _below(transaction, self._group, None)


def _below(
    transaction: TransactionStatus, above: GroupStatus | PaymentInformationStatus, payment_information_id: str | None
) -> TransactionStatus:
    own = transaction.status is not None
    return replace(
        transaction,
        payment_information_id=payment_information_id or transaction.payment_information_id,
        effective_status=transaction.status if own else above.status,
        reasons=transaction.reasons if own or transaction.reasons else above.reasons,
    )


def _group_status(element: etree._Element) -> GroupStatus:
    return GroupStatus(
        original_message_id=text(element, "OrgnlMsgId"),
        original_message_name=text(element, "OrgnlMsgNmId"),
        status=text(element, "GrpSts"),
        reasons=reasons(element),
        original_count=text(element, "OrgnlNbOfTxs"),
    )


def _information_status(element: etree._Element) -> PaymentInformationStatus:
    return PaymentInformationStatus(
        payment_information_id=text(element, "OrgnlPmtInfId"),
        status=text(element, "PmtInfSts"),
        reasons=reasons(element),
    )


def _transaction_status(element: etree._Element) -> TransactionStatus:
    status = text(element, "TxSts")
    return TransactionStatus(
        payment_information_id=text(element, "OrgnlPmtInfId"),
        instruction_id=text(element, "OrgnlInstrId"),
        end_to_end_id=text(element, "OrgnlEndToEndId"),
        uetr=uetr_text(element),
        status=status,
        effective_status=status,
        reasons=reasons(element),
        account_servicer_ref=text(element, "AcctSvcrRef"),
        execution_date=text(element, "OrgnlTxRef", "ReqdExctnDt") or text(element, "OrgnlTxRef", "IntrBkSttlmDt"),
        line=line_of(element),
    )
