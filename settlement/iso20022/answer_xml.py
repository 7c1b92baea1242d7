"""XML that banks answer with: which message it is, what is refused, and texts by local names.

Lives here: what every reader of an answer needs. Must not live here: the layout of one message.

Banks wrap messages (business headers, FedNow, TCH and SIC envelopes), so the message is the first element of a known
name, wherever it stands. A file is refused whole, with a named rule (docs/file-validation.md), when it is not
well-formed XML, has a DOCTYPE, or is in another namespace or version. One without any namespace is read: banks send
them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final, cast

from lxml import etree

from ledger.errors import RefusedError

HEAD_BYTES: Final = 64 * 1024
# Namespace of a message: ISO's, with the German variants (pain.002.003.03) and the Swiss ones in SIX's own names.
_NAMESPACE: Final = re.compile(
    r"(?:urn:iso:std:iso:20022:tech:xsd:|http://www\.six-interbank-clearing\.com/\w\w/)"
    r"(([a-z]{4}\.[0-9]{3})\.[0-9]{3}\.([0-9]{2}))(?:\.ch\.[0-9]{2})?(?:\.xsd)?"
)


class StatusReportRefusedError(RefusedError):
    """The file is no answer that we read; `rule` names why, `line` where (0: nowhere in particular)."""

    def __init__(self, rule: str, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.rule = rule
        self.line = line


class AnswerKind(StrEnum):
    """Messages that banks answer with, by their ISO names."""

    CUSTOMER_STATUS = "pain.002"
    INTERBANK_STATUS = "pacs.002"
    REQUEST_STATUS = "pain.014"
    RETURN = "pacs.004"
    RECALL_ANSWER = "camt.029"
    CANCELLATION_REQUEST = "camt.056"
    UNABLE_TO_APPLY = "camt.026"
    MORE_INFORMATION = "camt.028"
    PROPRIETARY_CASE = "camt.035"


STATUS_KINDS: Final = frozenset({AnswerKind.CUSTOMER_STATUS, AnswerKind.INTERBANK_STATUS, AnswerKind.REQUEST_STATUS})
# What others ask of us; no program answers that.
ASKED_OF_US: Final = {
    AnswerKind.CANCELLATION_REQUEST: "a bank asks us to give a payment back (camt.056); answer it at the bank",
    AnswerKind.UNABLE_TO_APPLY: "a bank cannot apply a payment (camt.026); send it what it asks for",
    AnswerKind.MORE_INFORMATION: "a bank sends more about a payment (camt.028); read it",
    AnswerKind.PROPRIETARY_CASE: "a bank opens a case of its own form (camt.035); read it",
}
MESSAGES: Final = {
    "CstmrPmtStsRpt": AnswerKind.CUSTOMER_STATUS,
    "FIToFIPmtStsRpt": AnswerKind.INTERBANK_STATUS,
    "CdtrPmtActvtnReqStsRpt": AnswerKind.REQUEST_STATUS,
    "PmtRtr": AnswerKind.RETURN,
    "RsltnOfInvstgtn": AnswerKind.RECALL_ANSWER,
    "FIToFIPmtCxlReq": AnswerKind.CANCELLATION_REQUEST,
    "UblToApply": AnswerKind.UNABLE_TO_APPLY,
    "AddtlPmtInf": AnswerKind.MORE_INFORMATION,
    "PrtryFrmtInvstgtn": AnswerKind.PROPRIETARY_CASE,
    # The first versions called the element after themselves.
    "pain.002.001.02": AnswerKind.CUSTOMER_STATUS,
    "pacs.002.001.02": AnswerKind.INTERBANK_STATUS,
    "pacs.004.001.01": AnswerKind.RETURN,
}
_VERSIONS: Final = {
    AnswerKind.CUSTOMER_STATUS: range(2, 15),
    AnswerKind.INTERBANK_STATUS: range(2, 16),
    AnswerKind.REQUEST_STATUS: range(1, 12),
    AnswerKind.RETURN: range(1, 15),
    AnswerKind.RECALL_ANSWER: range(3, 14),
}
_STATEMENTS = ("BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn")
_TAG = re.compile(r"<(?:[\w.-]+:)?(%s)[\s/>]".replace("%s", "|".join([*MESSAGES, *_STATEMENTS])).encode())


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a status was given: an ISO code or the bank's own, and its words."""

    code: str | None
    proprietary: str | None
    additional: tuple[str, ...] = ()

    def __str__(self) -> str:
        code = self.code or self.proprietary or ""
        return ": ".join(text for text in (code, " ".join(self.additional)) if text)


def answer_kind(head: bytes) -> AnswerKind | None:
    """Which answer the first `HEAD_BYTES` of a file begin; None for statements and everything else.

    Works for UTF-8, UTF-16 and UTF-32 alike: without its zero bytes, markup is ASCII in all of them.
    """
    found = _TAG.search(head.replace(b"\0", b""))
    return None if found is None else MESSAGES.get(found.group(1).decode())


@contextmanager
def refused_when_malformed() -> Iterator[None]:
    """Turn a parser's complaints into the named refusal."""
    try:
        yield
    except etree.XMLSyntaxError as error:
        raise StatusReportRefusedError(
            "xml-well-formed",
            f"line {error.lineno}: the status report is not well-formed XML ({error.msg}); ask for it again.",
            line=error.lineno or 0,
        ) from None
    except (UnicodeDecodeError, LookupError) as error:
        raise StatusReportRefusedError(
            "xml-well-formed", f"the status report is not in a known encoding ({error}); ask for it again."
        ) from None


def message_element(content: bytes | BinaryIO, kind: AnswerKind) -> tuple[etree._Element, str | None]:
    """The element of the one message in the file, and the version that its namespace names.

    Raises `StatusReportRefusedError`.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    with refused_when_malformed():
        root = etree.parse(source, parser).getroot()
    refuse_doctype(root)
    for element in root.iter("{*}*"):
        if MESSAGES.get(local(element)) is kind:
            return element, version_of(element, kind)
    raise StatusReportRefusedError("message", f"line {line_of(root)}: there is no {kind} in {local(root)}.", line=1)


def refuse_doctype(root: etree._Element) -> None:
    if root.getroottree().docinfo.internalDTD is not None:
        raise StatusReportRefusedError(
            "doctype", "the status report has a DOCTYPE, which may hide text; the bank must send it without.", line=1
        )


def version_of(element: etree._Element, *kinds: AnswerKind) -> str | None:
    """The message version of the element's namespace; None without a namespace. Refused when we do not read it."""
    namespace = etree.QName(element).namespace
    if namespace is None:
        return None
    found = _NAMESPACE.fullmatch(namespace)
    if found is not None and any(found[2] == kind and int(found[3]) in _VERSIONS[kind] for kind in kinds):
        return found[1]
    read = ", ".join(f"{kind}.001.{_VERSIONS[kind][0]:02d} to .{_VERSIONS[kind][-1]}" for kind in kinds)
    raise StatusReportRefusedError(
        "namespace",
        f"line {line_of(element)}: namespace {namespace!r} is not {read}.",
        line=line_of(element),
    )


def line_of(element: etree._Element) -> int:
    return cast("int | None", element.sourceline) or 0


def local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def child(element: etree._Element, name: str) -> etree._Element | None:
    return next(iter(element.iterchildren(f"{{*}}{name}")), None)


def text(element: etree._Element, *path: str) -> str | None:
    """Text at the path of local names, stripped; None when missing or empty."""
    found: etree._Element | None = element
    for name in path:
        found = None if found is None else child(found, name)
    said = None if found is None else "".join(str(piece) for piece in found.itertext()).strip()
    return said or None


def uetr_text(element: etree._Element) -> str | None:
    """The original payment's UETR in small letters, as it is minted; some banks write it in capitals."""
    said = text(element, "OrgnlUETR")
    return None if said is None else said.lower()


def reasons(element: etree._Element, name: str = "StsRsnInf") -> tuple[Reason, ...]:
    """Every reason that stands directly below the element.

    The first versions repeat the name of the whole inside: ``StsRsnInf/StsRsn``, ``StsRsnInf/AddtlStsRsnInf``.
    """
    old = name.removesuffix("Inf")
    return tuple(
        Reason(
            code=text(reason, "Rsn", "Cd") or text(reason, old, "Cd"),
            proprietary=text(reason, "Rsn", "Prtry") or text(reason, old, "Prtry"),
            additional=tuple(
                " ".join(line.text.split())
                for line in reason.iterchildren("{*}AddtlInf", f"{{*}}Addtl{name}")
                if line.text and line.text.strip()
            ),
        )
        for reason in element.iterchildren(f"{{*}}{name}")
    )
