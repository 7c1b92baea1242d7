"""Which ISO element carries which of our values: pain.001 credit transfers, and what other messages share with them.

Lives here: trees for `iso_objects`, one function a message. Only these (and `trees_more`) decide what a file looks
like. Must not live here: speed, checks.

Payments are given group by group. A tree function may look at whether a value is there, never at what it is: the
fast writer makes one tree for all payments that have the same values. What a version lacks is refused when it
is rendered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.money import currency
from settlement.iso20022.iso_objects import Tree
from settlement.iso20022.model import (
    CreditTransfer,
    PaymentFile,
    PaymentGroup,
    PostalAddress,
    Totals,
    file_currency,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where versions of a message say the same in other elements."""

    bic: str = "BICFI"
    dates_chosen: bool = True  # an execution date stands in a choice of date and moment

    def date(self, date: object) -> object:
        return {"Dt": date} if self.dates_chosen else date


OLD = Dialect(bic="BIC", dates_chosen=False)
NEW = Dialect()


def credit_transfers(
    dialect: Dialect, file: PaymentFile, totals: Totals, payments: Sequence[Sequence[CreditTransfer]]
) -> Tree:
    """pain.001."""
    header = {
        "MsgId": file.msg_id,
        "CreDtTm": file.created_at,
        **stated_totals(totals, file_currency(file)),
        "InitgPty": initiating_party(file.initiating_party_name, file.initiating_party_id),
    }
    information = [
        {
            **_group(dialect, group, of_group),
            "CdtTrfTxInf": [_credit_transfer(dialect, payment) for payment in inside],
        }
        for group, of_group, inside in zip(file.groups, totals.by_group, payments, strict=True)
    ]
    return {"CstmrCdtTrfInitn": {"GrpHdr": header, "PmtInf": information}}


def _group(dialect: Dialect, group: PaymentGroup, totals: Totals) -> Tree:
    return {
        "PmtInfId": group.payment_information_id,
        "PmtMtd": "TRF",
        "BtchBookg": group.batch_booking,
        **stated_totals(totals, group.currency),
        "PmtTpInf": {
            "SvcLvl": {"Cd": group.service_level},
            "LclInstrm": {"Cd": group.local_instrument},
            "CtgyPurp": {"Cd": group.category_purpose},
        },
        "ReqdExctnDt": dialect.date(group.execution_date),
        "Dbtr": {
            "Nm": group.debtor_name,
            "PstlAdr": postal_address(group.debtor_address),
            "Id": {"OrgId": {"LEI": group.debtor_lei}},
        },
        "DbtrAcct": {**account(group.debtor_iban, group.debtor_account), "Ccy": group.currency},
        "DbtrAgt": agent(dialect, group.debtor_bic, group.debtor_clearing_system, group.debtor_member_id)
        or UNKNOWN_AGENT,
        "ChrgBr": group.charge_bearer,
    }


def _credit_transfer(dialect: Dialect, payment: CreditTransfer) -> Tree:
    return {
        "PmtId": payment_ids(payment.instruction_id, payment.end_to_end_id, payment.uetr),
        "Amt": {"InstdAmt": amount(payment.amount_minor, payment.currency)},
        "IntrmyAgt1": agent(dialect, payment.intermediary_bic),
        "CdtrAgt": agent(dialect, payment.creditor_bic, payment.creditor_clearing_system, payment.creditor_member_id),
        "Cdtr": {
            "Nm": payment.creditor_name,
            "PstlAdr": postal_address(payment.creditor_address),
            "Id": {"OrgId": {"LEI": payment.creditor_lei}},
        },
        "CdtrAcct": account(payment.creditor_iban, payment.creditor_account),
        "Purp": {"Cd": payment.purpose},
        "RgltryRptg": {
            "Authrty": {"Ctry": payment.regulatory_country},
            "Dtls": {"Cd": payment.regulatory_code, "Inf": payment.regulatory_text},
        },
        "RmtInf": remittance(payment.remittance_unstructured, payment.creditor_reference, payment.qr_reference),
    }


def stated_totals(totals: Totals, code: str) -> Tree:
    """NbOfTxs and CtrlSum."""
    return {"NbOfTxs": str(totals.count), "CtrlSum": decimal(totals.total_minor, code)}


def initiating_party(name: str, identifier: str | None) -> Tree:
    """A party named, and perhaps known to the bank by a number."""
    return {"Nm": name, "Id": {"OrgId": {"Othr": {"Id": identifier}}}}


def payment_ids(instruction_id: str, end_to_end_id: str, uetr: str | None) -> Tree:
    return {"InstrId": instruction_id, "EndToEndId": end_to_end_id, "UETR": uetr}


def account(iban: str | None, other: str | None = None) -> dict[str, object]:
    """An account by IBAN, or by a national number."""
    return {"Id": {"IBAN": iban, "Othr": {"Id": other}}}


def agent(dialect: Dialect, bic: str | None, system: str | None = None, member: str | None = None) -> Tree | None:
    """A bank by BIC, by its membership of a clearing system, or both."""
    if bic is None and member is None:
        return None
    membership = {"ClrSysId": {"Cd": system}, "MmbId": member}
    return {"FinInstnId": {dialect.bic: bic, "ClrSysMmbId": membership}}


UNKNOWN_AGENT: Tree = {"FinInstnId": {"Othr": {"Id": "NOTPROVIDED"}}}  # the EPC's word where the schema wants a bank


def postal_address(address: PostalAddress | None) -> Tree | None:
    if address is None:
        return None
    return {
        "StrtNm": address.street,
        "PstCd": address.postcode,
        "TwnNm": address.town,
        "Ctry": address.country,
        "AdrLine": [address.line_1, address.line_2],
    }


def remittance(unstructured: str | None, creditor_reference: str | None, qr_reference: str | None = None) -> Tree:
    """What it is paid for: one text, or one reference with its type."""
    kind: Tree = {"Cd": "SCOR"} if creditor_reference is not None else {"Prtry": "QRR"}
    reference = creditor_reference if creditor_reference is not None else qr_reference
    structured = {"CdtrRefInf": {"Tp": {"CdOrPrtry": kind}, "Ref": reference}} if reference is not None else None
    return {"Ustrd": unstructured, "Strd": structured}


def amount(amount_minor: int, code: str) -> Tree:
    return {"value": decimal(amount_minor, code), "Ccy": code}


def decimal(amount_minor: int, code: str) -> Decimal:
    """The amount with exactly the currency's decimals; xsdata keeps the scale."""
    return Decimal(amount_minor).scaleb(-currency(code).exponent)
