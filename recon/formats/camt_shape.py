"""Where things stand in camt.052/053/054, all versions together, and the walk that collects them.

Lives here: paths of ISO elements, which attribute of which raw record each fills, and one recursive walk
that enters only what it needs. Must not live here: the meaning of any text.

Versions differ little: .02 has plain `Sts` and `Chrgs/Amt`, transactions without `Amt` of their own and
`Dbtr/Nm`; later ones have `Sts/Cd`, `Chrgs/Rcrd/Amt`, `TxDtls/Amt` and `Dbtr/Pty/Nm`. No path means two things
in two versions, so one table reads them all. Source: ISO 20022 camt.052/053/054.001.02 to .14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from recon.formats.camt_records import (
    RawAmount,
    RawBalance,
    RawDetail,
    RawGroup,
    RawReturn,
)


class Take(IntEnum):
    """What the walk does at an element."""

    ENTER = 0  # nothing here, look inside
    TEXT = 1  # keep the text; the first one counts
    ONCE = 2  # keep the text; a second one marks the record as contradictory
    MONEY = 3  # keep text and Ccy; a second one marks the record as contradictory
    APPEND = 4  # append the text to a list
    RECORD = 5  # fill a new record with the inside and append it to a list
    TEXT_AND_ENTER = 6  # keep the text when there is one, and look inside


# (what, attribute, attribute of the currency or class of the record, table of the inside)
Node = tuple[Take, str, Any, "Table"]
Table = dict[str, Node]
# `path -> (what, attribute[, currency attribute | (record class, paths)])`
Paths = Mapping[str, tuple[Any, ...]]


def text(attribute: str) -> tuple[Any, ...]:
    return (Take.TEXT, attribute)


def once(attribute: str) -> tuple[Any, ...]:
    return (Take.ONCE, attribute)


def money(amount: str, currency: str) -> tuple[Any, ...]:
    return (Take.MONEY, amount, currency)


def append(attribute: str) -> tuple[Any, ...]:
    return (Take.APPEND, attribute)


def records(attribute: str, kind: Callable[[], Any], paths: Paths) -> tuple[Any, ...]:
    return (Take.RECORD, attribute, kind, paths)


def _day(path: str, attribute: str) -> Paths:
    return {f"{path}/Dt": text(attribute), f"{path}/DtTm": text(attribute)}


def _account(path: str, attribute: str) -> Paths:
    return {f"{path}/Id/IBAN": text(attribute), f"{path}/Id/Othr/Id": text(attribute)}


def _party(path: str, attribute: str) -> Paths:
    return {
        f"{path}/Nm": text(attribute),
        f"{path}/Pty/Nm": text(attribute),
        f"{path}/Agt/FinInstnId/Nm": text(attribute),
    }


_BANK_CODE: Final[Paths] = {
    "BkTxCd/Domn/Cd": text("domain"),
    "BkTxCd/Domn/Fmly/Cd": text("family"),
    "BkTxCd/Domn/Fmly/SubFmlyCd": text("sub_family"),
    "BkTxCd/Prtry/Cd": text("proprietary_code"),
}
_CHARGE_RECORD: Final[Paths] = {"Amt": money("amount", "currency"), "CdtDbtInd": text("sign")}
_CHARGES: Final[Paths] = {
    "Chrgs": records(
        "charges",
        RawAmount,
        {
            **_CHARGE_RECORD,
            "TtlChrgsAndTaxAmt": money("total", "total_currency"),
            "Rcrd": records("records", RawAmount, _CHARGE_RECORD),
        },
    )
}
_DETAIL: Final[Paths] = {
    "Refs/MsgId": text("message_id"),
    "Refs/AcctSvcrRef": text("servicer_ref"),
    "Refs/PmtInfId": text("payment_information_id"),
    "Refs/InstrId": text("instruction_id"),
    "Refs/EndToEndId": text("end_to_end_id"),
    "Refs/UETR": text("uetr"),
    "Refs/TxId": text("transaction_id"),
    "Refs/MndtId": text("mandate_id"),
    "Amt": money("amount", "currency"),
    "CdtDbtInd": once("sign"),
    "AmtDtls/TxAmt/Amt": money("transaction_amount", "transaction_currency"),
    "AmtDtls/InstdAmt/Amt": money("instructed_amount", "instructed_currency"),
    **_BANK_CODE,
    **_CHARGES,
    **_party("RltdPties/Dbtr", "debtor"),
    **_party("RltdPties/UltmtDbtr", "ultimate_debtor"),
    **_party("RltdPties/Cdtr", "creditor"),
    **_party("RltdPties/UltmtCdtr", "ultimate_creditor"),
    **_account("RltdPties/DbtrAcct", "debtor_account"),
    **_account("RltdPties/CdtrAcct", "creditor_account"),
    "RmtInf/Ustrd": append("remittance"),
    "RmtInf/Strd/CdtrRefInf/Ref": append("structured_refs"),
    "RmtInf/Strd/AddtlRmtInf": append("structured_texts"),
    "RtrInf": records(
        "returns",
        RawReturn,
        {"Rsn/Cd": text("code"), "Rsn/Prtry": text("proprietary")},
    ),
    "AddtlTxInf": text("additional_info"),
}
_GROUP: Final[Paths] = {
    "Btch/MsgId": text("message_id"),
    "Btch/PmtInfId": text("payment_information_id"),
    "Btch/NbOfTxs": text("count"),
    "TxDtls": records("details", RawDetail, _DETAIL),
}
ENTRY: Final[Paths] = {
    "NtryRef": text("reference"),
    "Amt": money("amount", "currency"),
    "CdtDbtInd": once("sign"),
    "RvslInd": text("reversal"),
    "Sts": (Take.TEXT_AND_ENTER, "status"),
    "Sts/Cd": once("status"),
    "Sts/Prtry": text("proprietary_status"),
    **_day("BookgDt", "booking_day"),
    **_day("ValDt", "value_day"),
    "AcctSvcrRef": text("servicer_ref"),
    **_BANK_CODE,
    **_CHARGES,
    "AmtDtls/InstdAmt/Amt": money("instructed_amount", "instructed_currency"),
    "NtryDtls": records("groups", RawGroup, _GROUP),
    "AddtlNtryInf": text("additional_info"),
}
BALANCE: Final[Paths] = {
    "Tp/CdOrPrtry/Cd": text("code"),
    "Tp/CdOrPrtry/Prtry": text("proprietary"),
    "Tp/SubTp/Cd": text("sub_type"),
    "Amt": money("amount", "currency"),
    "CdtDbtInd": once("sign"),
    "Dt/Dt": text("day"),
    "Dt/DtTm": text("moment"),
}
STATEMENT: Final[Paths] = {
    "Id": text("id"),
    "ElctrncSeqNb": text("electronic_sequence"),
    "LglSeqNb": text("legal_sequence"),
    **{f"{name}/PgNb": text("page") for name in ("StmtPgntn", "RptPgntn", "NtfctnPgntn")},
    **{f"{name}/LastPgInd": text("last_page") for name in ("StmtPgntn", "RptPgntn", "NtfctnPgntn")},
    "CreDtTm": text("created"),
    "FrToDt/FrDtTm": text("from_day"),
    "FrToDt/ToDtTm": text("to_day"),
    "Acct/Id/IBAN": text("iban"),
    "Acct/Id/Othr/Id": text("other_account_id"),
    "Acct/Ccy": text("currency"),
    "Acct/Ownr/Nm": text("owner"),
    "Acct/Svcr/FinInstnId/BIC": text("servicer_bic"),
    "Acct/Svcr/FinInstnId/BICFI": text("servicer_bic"),
    "TxsSummry/TtlNtries/NbOfNtries": text("entry_count"),
    "TxsSummry/TtlNtries/Sum": text("entry_sum"),
    "TxsSummry/TtlCdtNtries/Sum": text("credit_sum"),
    "TxsSummry/TtlDbtNtries/Sum": text("debit_sum"),
    "Bal": records("balances", RawBalance, BALANCE),
}
HEADER: Final[Paths] = {
    "MsgId": text("message_id"),
    "CreDtTm": text("created"),
    "MsgPgntn/PgNb": text("page"),
    "MsgPgntn/LastPgInd": text("last_page"),
}


@dataclass(frozen=True, slots=True)
class Tables:
    """The walk tables of one namespace."""

    header: Table
    statement: Table
    account: Table
    entry: Table


@lru_cache(maxsize=64)
def tables(namespace: str) -> Tables:
    """Tables whose element names carry this namespace."""
    account = {path: what for path, what in STATEMENT.items() if path.startswith("Acct/")}
    return Tables(
        header=_table(namespace, HEADER),
        statement=_table(namespace, STATEMENT),
        account=_table(namespace, account),
        entry=_table(namespace, ENTRY),
    )


def _table(namespace: str, paths: Paths) -> Table:
    table: Table = {}
    for path, what in paths.items():
        *parents, leaf = path.split("/")
        inside = table
        for parent in parents:
            node = inside.setdefault(f"{{{namespace}}}{parent}", (Take.ENTER, "", None, {}))
            inside = node[3]
        inside[f"{{{namespace}}}{leaf}"] = _node(namespace, what)
    return table


def _node(namespace: str, what: tuple[Any, ...]) -> Node:
    take, attribute, *more = what
    if take is Take.RECORD:
        kind, paths = more
        return (take, attribute, kind, _table(namespace, paths))
    return (take, attribute, more[0] if more else None, {})


def table_of_texts(namespace: str, paths: Paths) -> dict[str, dict[str, Any]]:
    """The same places as a plain tree of tags, empty at a text: what a walk without any meaning needs."""

    def plain(table: Table) -> dict[str, dict[str, Any]]:
        return {tag: plain(node[3]) for tag, node in table.items()}

    return plain(_table(namespace, paths))


# Members of an enum as module constants: looking them up in the class costs more than what the walk does.
_ENTER: Final = Take.ENTER
_TEXT: Final = Take.TEXT
_MONEY: Final = Take.MONEY
_RECORD: Final = Take.RECORD
_APPEND: Final = Take.APPEND


def fill(element: Any, table: Table, record: Any) -> None:
    """Collect the texts below an element into a record; elements the table does not name are not entered.

    Called for every element of every entry, so it is written for speed: a third of the reading time is here.
    """
    find = table.get
    for child in element[:]:  # a slice costs two thirds of an iterator
        node = find(child.tag)
        if node is None:
            continue
        take, attribute, more, inside = node
        if take is _TEXT:
            if getattr(record, attribute) is None:
                setattr(record, attribute, child.text)
        elif take is _ENTER:
            fill(child, inside, record)
        elif take is _RECORD:
            inner = more()
            inner.line = child.sourceline or 1
            fill(child, inside, inner)
            _append(record, attribute, inner)
        elif take is _APPEND:
            _append(record, attribute, child.text)
        elif take is _MONEY:
            if _once(child, attribute, record):
                setattr(record, more, child.get("Ccy"))
        elif take is Take.TEXT_AND_ENTER and len(child):
            fill(child, inside, record)
        else:
            _once(child, attribute, record)


def _append(record: Any, attribute: str, value: Any) -> None:
    found = getattr(record, attribute)
    if found is None:
        setattr(record, attribute, [value])
    else:
        found.append(value)


def _once(child: Any, attribute: str, record: Any) -> bool:
    """Keep the text of an element that may stand once; a second one only marks the record."""
    if getattr(record, attribute) is not None:
        record.repeated = True
        return False
    # An element inside would cut the text short: keep something that no rule accepts.
    setattr(record, attribute, "<element>" if len(child) else child.text or "")
    return True
