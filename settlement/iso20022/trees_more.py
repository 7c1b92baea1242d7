"""Which ISO element carries which of our values: direct debits, their reversal, requests to cancel transfers.

Lives here: trees for `iso_objects`, one function a message, under the rules of `trees`.
"""

from __future__ import annotations

from collections.abc import Sequence

from settlement.iso20022.direct_debit import Amendment, CollectionFile, CollectionGroup, DirectDebit
from settlement.iso20022.follow_ups import Cancellation, CancellationFile, OriginalGroup, Reversal, ReversalFile
from settlement.iso20022.iso_objects import Tree
from settlement.iso20022.model import Totals, file_currency
from settlement.iso20022.trees import (
    UNKNOWN_AGENT,
    Dialect,
    account,
    agent,
    amount,
    initiating_party,
    payment_ids,
    postal_address,
    remittance,
    stated_totals,
)


def direct_debits(
    dialect: Dialect, file: CollectionFile, totals: Totals, payments: Sequence[Sequence[DirectDebit]]
) -> Tree:
    """pain.008."""
    header = {
        "MsgId": file.msg_id,
        "CreDtTm": file.created_at,
        **stated_totals(totals, file_currency(file)),
        "InitgPty": initiating_party(file.initiating_party_name, file.initiating_party_id),
    }
    information = [
        {
            **_collection_group(dialect, group, of_group),
            "DrctDbtTxInf": [_direct_debit(dialect, payment) for payment in inside],
        }
        for group, of_group, inside in zip(file.groups, totals.by_group, payments, strict=True)
    ]
    return {"CstmrDrctDbtInitn": {"GrpHdr": header, "PmtInf": information}}


def _collection_group(dialect: Dialect, group: CollectionGroup, totals: Totals) -> Tree:
    return {
        "PmtInfId": group.payment_information_id,
        "PmtMtd": "DD",
        "BtchBookg": group.batch_booking,
        **stated_totals(totals, group.currency),
        "PmtTpInf": {
            "SvcLvl": {"Cd": "SEPA"},
            "LclInstrm": {"Cd": group.scheme},
            "SeqTp": group.sequence_type,
            "CtgyPurp": {"Cd": group.category_purpose},
        },
        "ReqdColltnDt": group.collection_date,
        "Cdtr": {"Nm": group.creditor_name, "PstlAdr": postal_address(group.creditor_address)},
        "CdtrAcct": {**account(group.creditor_iban), "Ccy": group.currency},
        "CdtrAgt": agent(dialect, group.creditor_bic) or UNKNOWN_AGENT,
        "ChrgBr": "SLEV",
        "CdtrSchmeId": _creditor_id(group.creditor_id),
    }


def _creditor_id(identifier: str | None, name: str | None = None) -> Tree:
    known = {"Id": identifier, "SchmeNm": {"Prtry": "SEPA"}} if identifier is not None else None
    return {"Nm": name, "Id": {"PrvtId": {"Othr": known}}}


def _direct_debit(dialect: Dialect, payment: DirectDebit) -> Tree:
    return {
        "PmtId": payment_ids(payment.instruction_id, payment.end_to_end_id, payment.uetr),
        "InstdAmt": amount(payment.amount_minor, payment.currency),
        "DrctDbtTx": {
            "MndtRltdInf": {
                "MndtId": payment.mandate_id,
                "DtOfSgntr": payment.mandate_signed_on,
                **_amendment(payment.amendment),
            }
        },
        "DbtrAgt": agent(dialect, payment.debtor_bic) or UNKNOWN_AGENT,
        "Dbtr": {"Nm": payment.debtor_name, "PstlAdr": postal_address(payment.debtor_address)},
        "DbtrAcct": account(payment.debtor_iban),
        "Purp": {"Cd": payment.purpose},
        "RmtInf": remittance(payment.remittance_unstructured, payment.creditor_reference),
    }


def _amendment(amendment: Amendment | None) -> dict[str, object]:
    if amendment is None:
        return {}
    details = {
        "OrgnlMndtId": amendment.original_mandate_id,
        "OrgnlCdtrSchmeId": _creditor_id(amendment.original_creditor_id, amendment.original_creditor_name),
        "OrgnlDbtrAcct": account(amendment.original_debtor_iban, amendment.original_debtor_account),
    }
    return {"AmdmntInd": True, "AmdmntInfDtls": details}


def reversals(dialect: Dialect, file: ReversalFile, totals: Totals, payments: Sequence[Sequence[Reversal]]) -> Tree:
    """pain.007."""
    del dialect  # names no bank
    header = {
        "MsgId": file.msg_id,
        "CreDtTm": file.created_at,
        **stated_totals(totals, file_currency(file)),
        "GrpRvsl": False,
        "InitgPty": {"Nm": file.initiating_party_name},
    }
    information = [
        {
            "OrgnlPmtInfId": group.payment_information_id,
            "BtchBookg": file.batch_booking,
            "PmtInfRvsl": False,
            "TxInf": [_reversal(payment) for payment in inside],
        }
        for group, inside in zip(file.groups, payments, strict=True)
    ]
    original = _original_file(file.groups[0])
    return {"CstmrPmtRvsl": {"GrpHdr": header, "OrgnlGrpInf": original, "OrgnlPmtInfAndRvsl": information}}


def _original_file(group: OriginalGroup) -> Tree:
    return {"OrgnlMsgId": group.message_id, "OrgnlMsgNmId": group.message_name}


def _reversal(payment: Reversal) -> Tree:
    return {
        "RvslId": payment.reversal_id,
        "OrgnlInstrId": payment.instruction_id,
        "OrgnlEndToEndId": payment.end_to_end_id,
        "OrgnlUETR": payment.uetr,
        "OrgnlInstdAmt": amount(payment.original_amount_minor, payment.currency),
        "RvsdInstdAmt": amount(payment.amount_minor, payment.currency),
        "RvslRsnInf": {"Rsn": {"Cd": payment.reason}},
    }


def cancellations(
    dialect: Dialect, file: CancellationFile, totals: Totals, payments: Sequence[Sequence[Cancellation]]
) -> Tree:
    """camt.055."""
    assignment = {
        "Id": file.msg_id,
        "Assgnr": {"Pty": {"Nm": file.initiating_party_name}},
        "Assgne": {"Agt": agent(dialect, file.bank_bic)},
        "CreDtTm": file.created_at,
    }
    information = [
        {
            "OrgnlPmtInfId": group.payment_information_id,
            "OrgnlGrpInf": _original_file(group),
            **stated_totals(of_group, group.currency),
            "PmtInfCxl": False,
            "TxInf": [_cancellation(dialect, payment) for payment in inside],
        }
        for group, of_group, inside in zip(file.groups, totals.by_group, payments, strict=True)
    ]
    return {
        "CstmrPmtCxlReq": {
            "Assgnmt": assignment,
            "CtrlData": stated_totals(totals, file_currency(file)),
            "Undrlyg": {"OrgnlPmtInfAndCxl": information},
        }
    }


def _cancellation(dialect: Dialect, payment: Cancellation) -> Tree:
    return {
        "CxlId": payment.cancellation_id,
        "OrgnlInstrId": payment.instruction_id,
        "OrgnlEndToEndId": payment.end_to_end_id,
        "OrgnlUETR": payment.uetr,
        "OrgnlInstdAmt": amount(payment.amount_minor, payment.currency),
        "OrgnlReqdExctnDt": dialect.date(payment.execution_date),
        "CxlRsnInf": {"Rsn": {"Cd": payment.reason}, "AddtlInf": payment.text},
    }
