"""The bank's answer to a payment order: pain.002.001.10.

Lives here: the XML text of a status report. Must not live here: what is accepted. Statuses and reasons are
codes of the ISO external code lists (payment group status, transaction status, status reason).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.camt import escape

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
)


@dataclass(frozen=True, slots=True)
class RejectedPayment:
    """A transaction that will not be executed, with its reason code; or one of which something else is said
    (`status`), such as that its payee's name is not the account's."""

    instruction_id: str | None
    end_to_end_id: str
    uetr: str | None
    reason: str | None
    status: str = "RJCT"


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One `PmtInf`: its payments, the status of those that are not listed as rejected, and the rejected; `named` are
    payments of which something else is said, under the batch's own status. `reason`: the batch is refused whole, and
    nothing is said of single payments."""

    payment_information_id: str
    count: int
    status: str
    rejected: Sequence[RejectedPayment] = ()
    named: Sequence[RejectedPayment] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A whole report; `status` is the group's (PART when its payments differ)."""

    report_id: str
    created: str
    message: str
    message_id: str
    count: int
    status: str
    reason: str | None = None
    reason_text: str | None = None
    batches: Sequence[BatchStatus] = ()


def status_report(report: FileStatus) -> str:
    """The pain.002.001.10 of one report."""
    reason = ""
    if report.reason is not None:
        more = f"<AddtlInf>{escape(report.reason_text[:105])}</AddtlInf>" if report.reason_text else ""
        reason = f"<StsRsnInf><Rsn><Cd>{report.reason}</Cd></Rsn>{more}</StsRsnInf>"
    return (
        f"{_HEAD}<GrpHdr><MsgId>{report.report_id}</MsgId><CreDtTm>{report.created}</CreDtTm></GrpHdr>\n"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{escape(report.message_id)}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>{report.message}</OrgnlMsgNmId><OrgnlNbOfTxs>{report.count}</OrgnlNbOfTxs>"
        f"<GrpSts>{report.status}</GrpSts>{reason}</OrgnlGrpInfAndSts>\n"
        f"{''.join(_batch(batch) for batch in report.batches)}</CstmrPmtStsRpt></Document>\n"
    )


def _batch(batch: BatchStatus) -> str:
    status = batch.status
    tally, listed = "", (*batch.rejected, *batch.named)
    if batch.reason is not None:
        status, listed = "RJCT", ()
        tally = f"<StsRsnInf><Rsn><Cd>{batch.reason}</Cd></Rsn></StsRsnInf>"
    elif batch.rejected and len(batch.rejected) < batch.count:
        tally = _tally(batch.count - len(batch.rejected), status) + _tally(len(batch.rejected), "RJCT")
    elif batch.rejected:
        status = "RJCT"
    return (
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{escape(batch.payment_information_id)}</OrgnlPmtInfId>"
        f"<OrgnlNbOfTxs>{batch.count}</OrgnlNbOfTxs><PmtInfSts>{status}</PmtInfSts>{tally}\n"
        f"{''.join(_rejected(payment) for payment in listed)}</OrgnlPmtInfAndSts>\n"
    )


def _tally(count: int, status: str) -> str:
    return f"<NbOfTxsPerSts><DtldNbOfTxs>{count}</DtldNbOfTxs><DtldSts>{status}</DtldSts></NbOfTxsPerSts>"


def _rejected(payment: RejectedPayment) -> str:
    instruction = f"<OrgnlInstrId>{escape(payment.instruction_id)}</OrgnlInstrId>" if payment.instruction_id else ""
    uetr = f"<OrgnlUETR>{payment.uetr}</OrgnlUETR>" if payment.uetr else ""
    reason = f"<StsRsnInf><Rsn><Cd>{payment.reason}</Cd></Rsn></StsRsnInf>" if payment.reason else ""
    return (
        f"<TxInfAndSts>{instruction}<OrgnlEndToEndId>{escape(payment.end_to_end_id)}</OrgnlEndToEndId>{uetr}"
        f"<TxSts>{payment.status}</TxSts>{reason}</TxInfAndSts>\n"
    )
