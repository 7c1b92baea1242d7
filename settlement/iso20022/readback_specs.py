"""What our own files may say, element by element: the reader's knowledge, made without the writer's.

Lives here: for every message, ISO path → our value. Must not live here: the writer's trees or pyiso20022 (a shared
mistake would go unseen), the reader itself (`readback`).

A text names a value of the payment, or of the file (``group.`` before those of a group); ``=TEXT`` is a text that
is always the same; ``a|b`` is an element that may stand twice, first a, then b; ``a|=TEXT:b`` is b when that fixed
text stood before, else a; ``header.count`` and the like are the totals, checked apart. A nested mapping is an
element with children.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from settlement.iso20022.direct_debit import DirectDebit
from settlement.iso20022.follow_ups import Cancellation, Reversal
from settlement.iso20022.model import CreditTransfer, MessageVersion

Spec = Mapping[str, "str | Spec"]


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """A message without its payments (from the root's child down), one payment, and where the payments stand.

    `group`: the element that may come again, each with payments at its end; `envelope` has one of it. `totals`: where
    count and sum are stated. `unwritten`: values of the file that no element carries.
    """

    root: str
    envelope: Spec
    group: str
    element: str
    payment: Spec
    kind: type
    totals: tuple[str, ...] = ("header", "group")
    unwritten: tuple[str, ...] = ("message_version", "charset")


def _address(prefix: str) -> Spec:
    parts = {"StrtNm": "street", "PstCd": "postcode", "TwnNm": "town", "Ctry": "country"}
    return {iso: f"{prefix}.{name}" for iso, name in parts.items()} | {"AdrLine": f"{prefix}.line_1|{prefix}.line_2"}


def _agent(bic: str, *, element: str = "BICFI", system: str = "", member: str = "", unknown: bool = False) -> Spec:
    spec: dict[str, str | Spec] = {element: bic}
    if system:
        spec["ClrSysMmbId"] = {"ClrSysId": {"Cd": system}, "MmbId": member}
    if unknown:
        spec["Othr"] = {"Id": "=NOTPROVIDED"}
    return {"FinInstnId": spec}


def _remittance(*, qr: bool) -> Spec:
    kinds: Spec = {"Cd": "=SCOR", "Prtry": "=QRR"} if qr else {"Cd": "=SCOR"}
    reference = "creditor_reference|=QRR:qr_reference"
    return {"Ustrd": "remittance_unstructured", "Strd": {"CdtrRefInf": {"Tp": {"CdOrPrtry": kinds}, "Ref": reference}}}


_TOTALS: Spec = {"NbOfTxs": "header.count", "CtrlSum": "header.sum"}
_GROUP_TOTALS: Spec = {"NbOfTxs": "group.count", "CtrlSum": "group.sum"}
_HEADER: Spec = {"MsgId": "msg_id", "CreDtTm": "created_at", **_TOTALS}
_PARTY: Spec = {"Nm": "initiating_party_name", "Id": {"OrgId": {"Othr": {"Id": "initiating_party_id"}}}}
_IDS: Spec = {"InstrId": "instruction_id", "EndToEndId": "end_to_end_id", "UETR": "uetr"}


def _pain_001(bic: str, *, plain_date: bool) -> MessageSpec:
    group: Spec = {
        "PmtInfId": "group.payment_information_id",
        "PmtMtd": "=TRF",
        "BtchBookg": "group.batch_booking",
        **_GROUP_TOTALS,
        "PmtTpInf": {
            "SvcLvl": {"Cd": "group.service_level"},
            "LclInstrm": {"Cd": "group.local_instrument"},
            "CtgyPurp": {"Cd": "group.category_purpose"},
        },
        "ReqdExctnDt": "group.execution_date" if plain_date else {"Dt": "group.execution_date"},
        "Dbtr": {
            "Nm": "group.debtor_name",
            "PstlAdr": _address("group.debtor_address"),
            "Id": {"OrgId": {"LEI": "group.debtor_lei"}},
        },
        "DbtrAcct": {
            "Id": {"IBAN": "group.debtor_iban", "Othr": {"Id": "group.debtor_account"}},
            "Ccy": "group.currency",
        },
        "DbtrAgt": _agent(
            "group.debtor_bic",
            element=bic,
            system="group.debtor_clearing_system",
            member="group.debtor_member_id",
            unknown=True,
        ),
        "ChrgBr": "group.charge_bearer",
    }
    payment: Spec = {
        "PmtId": _IDS,
        "Amt": {"InstdAmt": "amount_minor"},
        "IntrmyAgt1": _agent("intermediary_bic", element=bic),
        "CdtrAgt": _agent("creditor_bic", element=bic, system="creditor_clearing_system", member="creditor_member_id"),
        "Cdtr": {
            "Nm": "creditor_name",
            "PstlAdr": _address("creditor_address"),
            "Id": {"OrgId": {"LEI": "creditor_lei"}},
        },
        "CdtrAcct": {"Id": {"IBAN": "creditor_iban", "Othr": {"Id": "creditor_account"}}},
        "Purp": {"Cd": "purpose"},
        "RgltryRptg": {
            "Authrty": {"Ctry": "regulatory_country"},
            "Dtls": {"Cd": "regulatory_code", "Inf": "regulatory_text"},
        },
        "RmtInf": _remittance(qr=True),
    }
    envelope: Spec = {"GrpHdr": {**_HEADER, "InitgPty": _PARTY}, "PmtInf": group}
    return MessageSpec("CstmrCdtTrfInitn", envelope, "PmtInf", "CdtTrfTxInf", payment, CreditTransfer)


def _pain_008(bic: str) -> MessageSpec:
    scheme: Spec = {"PrvtId": {"Othr": {"Id": "group.creditor_id", "SchmeNm": {"Prtry": "=SEPA"}}}}
    group: Spec = {
        "PmtInfId": "group.payment_information_id",
        "PmtMtd": "=DD",
        "BtchBookg": "group.batch_booking",
        **_GROUP_TOTALS,
        "PmtTpInf": {
            "SvcLvl": {"Cd": "=SEPA"},
            "LclInstrm": {"Cd": "group.scheme"},
            "SeqTp": "group.sequence_type",
            "CtgyPurp": {"Cd": "group.category_purpose"},
        },
        "ReqdColltnDt": "group.collection_date",
        "Cdtr": {"Nm": "group.creditor_name", "PstlAdr": _address("group.creditor_address")},
        "CdtrAcct": {"Id": {"IBAN": "group.creditor_iban"}, "Ccy": "group.currency"},
        "CdtrAgt": _agent("group.creditor_bic", element=bic, unknown=True),
        "ChrgBr": "=SLEV",
        "CdtrSchmeId": {"Id": scheme},
    }
    original: Spec = {"PrvtId": {"Othr": {"Id": "amendment.original_creditor_id", "SchmeNm": {"Prtry": "=SEPA"}}}}
    mandate: Spec = {
        "MndtId": "mandate_id",
        "DtOfSgntr": "mandate_signed_on",
        "AmdmntInd": "=true",
        "AmdmntInfDtls": {
            "OrgnlMndtId": "amendment.original_mandate_id",
            "OrgnlCdtrSchmeId": {"Nm": "amendment.original_creditor_name", "Id": original},
            "OrgnlDbtrAcct": {
                "Id": {
                    "IBAN": "amendment.original_debtor_iban",
                    "Othr": {"Id": "amendment.original_debtor_account"},
                }
            },
        },
    }
    payment: Spec = {
        "PmtId": _IDS,
        "InstdAmt": "amount_minor",
        "DrctDbtTx": {"MndtRltdInf": mandate},
        "DbtrAgt": _agent("debtor_bic", element=bic, unknown=True),
        "Dbtr": {"Nm": "debtor_name", "PstlAdr": _address("debtor_address")},
        "DbtrAcct": {"Id": {"IBAN": "debtor_iban"}},
        "Purp": {"Cd": "purpose"},
        "RmtInf": _remittance(qr=False),
    }
    envelope: Spec = {"GrpHdr": {**_HEADER, "InitgPty": _PARTY}, "PmtInf": group}
    return MessageSpec("CstmrDrctDbtInitn", envelope, "PmtInf", "DrctDbtTxInf", payment, DirectDebit)


_NO_CURRENCY = ("message_version", "charset", "group.currency")  # it stands in the amounts only
_ORIGINAL: Spec = {"OrgnlMsgId": "group.message_id", "OrgnlMsgNmId": "group.message_name"}
_ORIGINAL_IDS: Spec = {
    "OrgnlInstrId": "instruction_id",
    "OrgnlEndToEndId": "end_to_end_id",
    "OrgnlUETR": "uetr",
}


def _pain_007() -> MessageSpec:
    envelope: Spec = {
        "GrpHdr": {**_HEADER, "GrpRvsl": "=false", "InitgPty": {"Nm": "initiating_party_name"}},
        "OrgnlGrpInf": _ORIGINAL,
        "OrgnlPmtInfAndRvsl": {
            "OrgnlPmtInfId": "group.payment_information_id",
            "BtchBookg": "batch_booking",
            "PmtInfRvsl": "=false",
        },
    }
    payment: Spec = {
        "RvslId": "reversal_id",
        **_ORIGINAL_IDS,
        "OrgnlInstdAmt": "original_amount_minor",
        "RvsdInstdAmt": "amount_minor",
        "RvslRsnInf": {"Rsn": {"Cd": "reason"}},
    }
    group = "OrgnlPmtInfAndRvsl"
    return MessageSpec("CstmrPmtRvsl", envelope, group, "TxInf", payment, Reversal, ("header",), _NO_CURRENCY)


def _camt_055() -> MessageSpec:
    envelope: Spec = {
        "Assgnmt": {
            "Id": "msg_id",
            "Assgnr": {"Pty": {"Nm": "initiating_party_name"}},
            "Assgne": {"Agt": _agent("bank_bic")},
            "CreDtTm": "created_at",
        },
        "CtrlData": _TOTALS,
        "Undrlyg": {
            "OrgnlPmtInfAndCxl": {
                "OrgnlPmtInfId": "group.payment_information_id",
                "OrgnlGrpInf": _ORIGINAL,
                **_GROUP_TOTALS,
                "PmtInfCxl": "=false",
            }
        },
    }
    payment: Spec = {
        "CxlId": "cancellation_id",
        **_ORIGINAL_IDS,
        "OrgnlInstdAmt": "amount_minor",
        "OrgnlReqdExctnDt": {"Dt": "execution_date"},
        "CxlRsnInf": {"Rsn": {"Cd": "reason"}, "AddtlInf": "text"},
    }
    group = "OrgnlPmtInfAndCxl"
    return MessageSpec("CstmrPmtCxlReq", envelope, group, "TxInf", payment, Cancellation, unwritten=_NO_CURRENCY)


SPECS: dict[MessageVersion, MessageSpec] = {
    MessageVersion.PAIN_001_001_03: _pain_001("BIC", plain_date=True),
    MessageVersion.PAIN_001_001_09: _pain_001("BICFI", plain_date=False),
    MessageVersion.PAIN_001_001_11: _pain_001("BICFI", plain_date=False),
    MessageVersion.PAIN_007_001_02: _pain_007(),
    MessageVersion.PAIN_007_001_11: _pain_007(),
    MessageVersion.PAIN_008_001_02: _pain_008("BIC"),
    MessageVersion.PAIN_008_001_08: _pain_008("BICFI"),
    MessageVersion.CAMT_055_001_08: _camt_055(),
    MessageVersion.CAMT_055_001_11: _camt_055(),
}
