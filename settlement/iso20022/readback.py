"""Reading our own pain.001 files back into the values they were written from.

Lives here: a streaming reader that knows every element the writer may write and names any other.
Must not live here: the writer's code or pyiso20022 (a shared mistake would go unseen), comparing (`validate`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from lxml import etree

from ledger.errors import RefusedError
from ledger.money import currency, parse_amount_minor
from settlement.iso20022.rails import ChargeBearer
from settlement.iso20022.model import (
    CreditTransfer,
    MessageVersion,
    PaymentFile,
    PaymentGroup,
    PostalAddress,
)

# ISO path → our field. A nested mapping is an element with children.
_Spec = Mapping[str, "str | _Spec"]

_ADDRESS: _Spec = {
    "StrtNm": "street",
    "PstCd": "postcode",
    "TwnNm": "town",
    "Ctry": "country",
    "AdrLine": "line",
}
_AGENT: _Spec = {"FinInstnId": {"BICFI": "bic"}}
_HEADER: _Spec = {
    "MsgId": "msg_id",
    "CreDtTm": "created_at",
    "NbOfTxs": "count",
    "CtrlSum": "sum",
    "InitgPty": {"Nm": "party_name", "Id": {"OrgId": {"Othr": {"Id": "party_id"}}}},
}
_GROUP: _Spec = {
    "PmtInfId": "id",
    "PmtMtd": "method",
    "BtchBookg": "batch_booking",
    "NbOfTxs": "count",
    "CtrlSum": "sum",
    "PmtTpInf": {"SvcLvl": {"Cd": "service_level"}, "CtgyPurp": {"Cd": "category_purpose"}},
    "ReqdExctnDt": {"Dt": "execution_date"},
    "Dbtr": {"Nm": "name", "PstlAdr": _ADDRESS},
    "DbtrAcct": {"Id": {"IBAN": "iban"}, "Ccy": "currency"},
    "DbtrAgt": _AGENT,
    "ChrgBr": "charge_bearer",
}
_PAYMENT: _Spec = {
    "PmtId": {"InstrId": "instruction_id", "EndToEndId": "end_to_end_id", "UETR": "uetr"},
    "Amt": {"InstdAmt": "amount"},
    "CdtrAgt": _AGENT,
    "Cdtr": {"Nm": "name", "PstlAdr": _ADDRESS},
    "CdtrAcct": {"Id": {"IBAN": "iban"}},
    "RmtInf": {"Ustrd": "remittance"},
}


class ReadBackError(ValueError):
    """The file says something the writer never writes; the text names the element."""


class InvalidXMLError(ValueError):
    """Not well formed, or not valid by the schema; `faults` are (line, message)."""

    def __init__(self, faults: tuple[tuple[int, str], ...]) -> None:
        super().__init__("; ".join(f"line {line}: {message}" for line, message in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class StatedTotals:
    """NbOfTxs and CtrlSum as they stand in the file."""

    count: str
    total: str


@dataclass(frozen=True, slots=True)
class ReadPayment:
    """A payment, and its amount as it stands in the file."""

    transfer: CreditTransfer
    amount_text: str


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The file without its payments; comes last, because a group ends after its payments."""

    file: PaymentFile
    header_totals: StatedTotals
    group_totals: StatedTotals


def read_back(
    source: BinaryIO, version: MessageVersion, schema: etree.XMLSchema | None = None
) -> Iterator[ReadPayment | ReadFile]:
    """The payments in order, then the file; in memory bounded by one payment.

    With a schema the same pass validates. Raises `InvalidXMLError` (schema faults only at the end of the
    file), `ReadBackError` for what the writer never writes.
    """
    names = ("GrpHdr", "CdtTrfTxInf", "PmtInf", "Document")
    header_tag, payment_tag, group_tag, root_tag = (f"{{{version.namespace}}}{name}" for name in names)
    specs = {
        tag: _qualified(spec, version.namespace)
        for tag, spec in ((header_tag, _HEADER), (payment_tag, _PAYMENT), (group_tag, _GROUP))
    }
    parsed: dict[str, list[dict[str, str]]] = {header_tag: [], group_tag: []}
    ended = False
    # Not resolve_entities=False: together with a schema, lxml 6.1 then takes a truncated file for a whole one.
    elements = etree.iterparse(source, events=("end",), tag=[*specs, root_tag], schema=schema, no_network=True)
    try:
        for _, element in elements:
            if element.tag == root_tag:
                ended = element.getroottree().docinfo.internalDTD is None
                continue
            values: dict[str, str] = {}
            _collect(element, specs[element.tag], values)
            if element.tag == payment_tag:
                yield _payment(values)
                element.getparent().remove(element)
            else:
                parsed[element.tag].append(values)
    except etree.XMLSyntaxError as error:
        logged = tuple((entry.line, entry.message) for entry in elements.error_log)
        raise InvalidXMLError(logged or ((error.lineno or 0, str(error)),)) from None
    if not ended:
        raise ReadBackError("the file ends before its end, or has a DOCTYPE")
    headers, groups = parsed[header_tag], parsed[group_tag]
    if len(headers) != 1 or len(groups) != 1:
        raise ReadBackError(f"the file has {len(headers)} headers and {len(groups)} payment groups, not one")
    yield _file(headers[0], groups[0], version)


def _qualified(spec: _Spec, namespace: str) -> _Spec:
    return {
        f"{{{namespace}}}{name}": inner if isinstance(inner, str) else _qualified(inner, namespace)
        for name, inner in spec.items()
    }


def _collect(element: etree._Element, spec: _Spec, values: dict[str, str]) -> None:
    """Put the text of every known leaf into `values`; refuse unknown elements and repeats."""
    for child in element:
        inner = spec.get(child.tag)
        if inner is None:
            raise ReadBackError(f"element {_local(child)} in {_local(element)} is never written")
        if not isinstance(inner, str):
            _collect(child, inner, values)
            continue
        if inner == "line":
            inner = "line_2" if "line_1" in values else "line_1"
        if inner in values:
            raise ReadBackError(f"element {_local(child)} in {_local(element)} is there twice")
        values[inner] = child.text or ""
        if inner == "amount":
            values["currency"] = child.get("Ccy", "")


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _payment(values: dict[str, str]) -> ReadPayment:
    try:
        code = currency(values["currency"])
        transfer = CreditTransfer(
            instruction_id=values["instruction_id"],
            end_to_end_id=values["end_to_end_id"],
            uetr=values.get("uetr"),
            amount_minor=parse_amount_minor(values["amount"], code.exponent),
            currency=code.code,
            creditor_name=values["name"],
            creditor_iban=values["iban"],
            creditor_bic=values.get("bic"),
            creditor_address=_address(values),
            remittance_unstructured=values.get("remittance"),
        )
    except KeyError as missing:
        raise ReadBackError(f"payment {values.get('end_to_end_id')} has no {missing.args[0]}") from None
    except RefusedError as error:
        raise ReadBackError(f"payment {values.get('end_to_end_id')}: {error}") from None
    return ReadPayment(transfer, values["amount"])


def _address(values: dict[str, str]) -> PostalAddress | None:
    parts = {name: values[name] for name in PostalAddress.__slots__ if name in values}
    return PostalAddress(**({"country": "", "town": ""} | parts)) if parts else None


def _file(header: dict[str, str], group: dict[str, str], version: MessageVersion) -> ReadFile:
    try:
        if group["method"] != "TRF":
            raise ReadBackError(f"payment method {group['method']} is never written")
        file = PaymentFile(
            message_version=version,
            msg_id=header["msg_id"],
            created_at=dt.datetime.fromisoformat(header["created_at"]),
            initiating_party_name=header["party_name"],
            initiating_party_id=header.get("party_id"),
            group=PaymentGroup(
                payment_information_id=group["id"],
                execution_date=dt.date.fromisoformat(group["execution_date"]),
                currency=group["currency"],
                debtor_name=group["name"],
                debtor_iban=group["iban"],
                debtor_bic=group["bic"],
                debtor_address=_address(group),
                batch_booking=group["batch_booking"] == "true",
                service_level=group.get("service_level"),
                charge_bearer=ChargeBearer(group["charge_bearer"]),
                category_purpose=group.get("category_purpose"),
            ),
        )
        header_totals = StatedTotals(header["count"], header["sum"])
        group_totals = StatedTotals(group["count"], group["sum"])
    except KeyError as missing:
        raise ReadBackError(f"the file has no {missing.args[0]}") from None
    except ValueError as error:
        raise ReadBackError(f"the file's header cannot be read: {error}") from None
    return ReadFile(file, header_totals, group_totals)
