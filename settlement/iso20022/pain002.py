"""Reading pain.002 payment status reports, versions .03 to .14.

Lives here: a streaming reader that goes by local element names, inheritance of statuses from the file to its
groups to their payments, and the order in which a payment's status may advance.
Must not live here: what a status means for the books (only a statement posts cash), the database.

A report is refused whole, with a named rule (docs/file-validation.md), when it is not well-formed XML, has a
DOCTYPE, is in another namespace or version, is another message, or has no message id. A report without any
namespace is read: banks send them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, cast

from lxml import etree

from ledger.errors import RefusedError

_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:(pain\.002\.001\.(?:0[3-9]|1[0-4]))")
_MESSAGE = "CstmrPmtStsRpt"


class StatusReportRefusedError(RefusedError):
    """The file is no status report we read; `rule` names why, `line` where (0: nowhere in particular)."""

    def __init__(self, rule: str, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.rule = rule
        self.line = line


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


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a status was given: an ISO code or the bank's own, and its words."""

    code: str | None
    proprietary: str | None
    additional: tuple[str, ...] = ()

    def __str__(self) -> str:
        code = self.code or self.proprietary or ""
        return ": ".join(text for text in (code, " ".join(self.additional)) if text)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """What the report says about the whole original file [OrgnlGrpInfAndSts]."""

    original_message_id: str | None
    original_message_name: str | None
    status: str | None
    reasons: tuple[Reason, ...]


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
    the payment has none of its own.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """One pain.002: file, groups and payments, in the report's order."""

    message_version: str | None
    message_id: str
    created_at: str | None
    group: GroupStatus
    payment_informations: tuple[PaymentInformationStatus, ...]
    transactions: tuple[TransactionStatus, ...]

    def covering_status(self, payment_information_id: str | None) -> tuple[str | None, tuple[Reason, ...]]:
        """Status and reasons for a payment of that group which the report does not list.

        The group's status when it has one, else the file's. ``PART`` and ``PATC`` cover nobody: they say that
        payments differ, so a payment left unlisted keeps the status it has.
        """
        for information in self.payment_informations:
            if payment_information_id == information.payment_information_id and information.status:
                return _covering(information.status, information.reasons)
        if self.group.status is None:
            return None, ()
        return _covering(self.group.status, self.group.reasons)


_DIFFERING = frozenset({"PART", "PATC"})


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
    """Read a status report; amounts and anything else not in `StatusReport` is passed over.

    Raises `StatusReportRefusedError`.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    reader = _Reader()
    try:
        elements = etree.iterparse(
            source, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
        )
        for event, element in elements:
            if isinstance(element.tag, str):  # not a comment or processing instruction
                reader.take(event, element)
    except etree.XMLSyntaxError as error:
        raise StatusReportRefusedError(
            "xml-well-formed",
            f"line {error.lineno}: the status report is not well-formed XML ({error.msg}); ask for it again.",
            line=error.lineno or 0,
        ) from None
    return reader.report()


class _Reader:
    """Collects the report while elements end; keeps the elements of one payment in memory."""

    def __init__(self) -> None:
        self._depth = 0
        self._version: str | None = None
        self._message_id: str | None = None
        self._created_at: str | None = None
        self._group = GroupStatus(original_message_id=None, original_message_name=None, status=None, reasons=())
        self._informations: list[PaymentInformationStatus] = []
        self._transactions: list[list[TransactionStatus]] = [[]]  # one list a group, the last one open

    def take(self, event: str, element: etree._Element) -> None:
        if event == "start":
            self._depth += 1
            if self._depth == 1:
                self._version = _version(element)
            elif self._depth == 2:
                _check_message(element)
            return
        self._end(element, self._depth)
        self._depth -= 1

    def _end(self, element: etree._Element, depth: int) -> None:
        name = _local(element)
        if depth == 4 and name == "TxInfAndSts":
            self._transactions[-1].append(_transaction_status(element))
            cast(etree._Element, element.getparent()).remove(element)
        elif depth == 3:
            if name == "GrpHdr":
                self._message_id, self._created_at = _text(element, "MsgId"), _text(element, "CreDtTm")
            elif name == "OrgnlGrpInfAndSts":
                self._group = _group_status(element)
            elif name == "OrgnlPmtInfAndSts":
                self._informations.append(_information_status(element))
                self._transactions.append([])
            element.clear()

    def report(self) -> StatusReport:
        if self._depth:
            raise StatusReportRefusedError("xml-well-formed", "the status report ends before its end.")
        if self._message_id is None:
            raise StatusReportRefusedError(
                "message-id", "the status report has no GrpHdr/MsgId; the bank must send it again."
            )
        return StatusReport(
            message_version=self._version,
            message_id=self._message_id,
            created_at=self._created_at,
            group=self._group,
            payment_informations=tuple(self._informations),
            transactions=tuple(self._inherited()),
        )

    def _inherited(self) -> Iterator[TransactionStatus]:
        for information, transactions in zip(self._informations, self._transactions, strict=False):
            above = information if information.status is not None else self._group
            for transaction in transactions:
                own = transaction.status is not None
                yield replace(
                    transaction,
                    payment_information_id=information.payment_information_id,
                    effective_status=transaction.status if own else above.status,
                    reasons=transaction.reasons if own or transaction.reasons else above.reasons,
                )


def _version(root: etree._Element) -> str | None:
    """The message version the root's namespace names; None without a namespace."""
    if root.getroottree().docinfo.internalDTD is not None:
        raise StatusReportRefusedError(
            "doctype", "the status report has a DOCTYPE, which may hide text; the bank must send it without.", line=1
        )
    name = etree.QName(root)
    if name.localname != "Document":
        raise StatusReportRefusedError(
            "message", f"line {_line(root)}: the root is {name.localname}, not an ISO 20022 Document.", line=1
        )
    if name.namespace is None:
        return None
    found = _NAMESPACE.fullmatch(name.namespace)
    if found is None:
        raise StatusReportRefusedError(
            "namespace",
            f"line {_line(root)}: namespace {name.namespace!r} is not pain.002.001.03 to .14.",
            line=_line(root),
        )
    return found.group(1)


def _check_message(element: etree._Element) -> None:
    if _local(element) != _MESSAGE:
        raise StatusReportRefusedError(
            "message",
            f"line {_line(element)}: the message is {_local(element)}, not a status report ({_MESSAGE}).",
            line=_line(element),
        )


def _line(element: etree._Element) -> int:
    return cast("int | None", element.sourceline) or 0


def _local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _child(element: etree._Element, name: str) -> etree._Element | None:
    return next(iter(element.iterchildren(f"{{*}}{name}")), None)


def _text(element: etree._Element, *path: str) -> str | None:
    """Text at the path of local names, stripped; None when missing or empty."""
    found: etree._Element | None = element
    for name in path:
        found = None if found is None else _child(found, name)
    text = None if found is None else found.text
    return (text.strip() or None) if text else None


def _reasons(element: etree._Element) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            code=_text(reason, "Rsn", "Cd"),
            proprietary=_text(reason, "Rsn", "Prtry"),
            additional=tuple(
                line.text.strip() for line in reason.iterchildren("{*}AddtlInf") if line.text and line.text.strip()
            ),
        )
        for reason in element.iterchildren("{*}StsRsnInf")
    )


def _group_status(element: etree._Element) -> GroupStatus:
    return GroupStatus(
        original_message_id=_text(element, "OrgnlMsgId"),
        original_message_name=_text(element, "OrgnlMsgNmId"),
        status=_text(element, "GrpSts"),
        reasons=_reasons(element),
    )


def _information_status(element: etree._Element) -> PaymentInformationStatus:
    return PaymentInformationStatus(
        payment_information_id=_text(element, "OrgnlPmtInfId"),
        status=_text(element, "PmtInfSts"),
        reasons=_reasons(element),
    )


def _transaction_status(element: etree._Element) -> TransactionStatus:
    status = _text(element, "TxSts")
    return TransactionStatus(
        payment_information_id=None,
        instruction_id=_text(element, "OrgnlInstrId"),
        end_to_end_id=_text(element, "OrgnlEndToEndId"),
        uetr=_text(element, "OrgnlUETR"),
        status=status,
        effective_status=status,
        reasons=_reasons(element),
        account_servicer_ref=_text(element, "AcctSvcrRef"),
        line=_line(element),
    )
