"""What a bank does with a recall (camt.055): cancels, sends back, or refuses, and says so by camt.029.

Lives here: the decision for each payment, and the XML text of the answer and of announced returns (pacs.004). Must not
live here: reading the request, statements. Codes: ISO external cancellation status and return reason lists.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ledger import format_amount
from sandbox.book import AskedBack, BankBook, LaterBooking
from sandbox.camt import escape, stamp
from sandbox.day_work import RETURN
from sandbox.debit_orders import AskedPayment, RecallOrder
from sandbox.fate import ASKED, Fates
from sandbox.setup_reader import BankAccount, BankProfile

_URN = "urn:iso:std:iso:20022:tech:xsd:"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
AGREED, REFUSED = "ACCR", "RJCR"
_UNKNOWN, _BACK_ALREADY = "NOOR", "ARDT"
_CANCELLED_FOR = "CUST"


@dataclass(frozen=True, slots=True)
class Answered:
    """What the bank answers about one payment; `reason` says why it refuses."""

    asked: AskedPayment
    status: str
    reason: str | None


def decide(order: RecallOrder, bank: BankProfile, book: BankBook, fates: Fates, day: dt.date) -> list[Answered]:
    """Cancel what was not executed yet, schedule what goes back, refuse the rest. Inside a transaction of the book.

    `day`: the last day the bank closed, from which returns are counted.
    """
    return [_decide(asked, bank, book, fates, day) for asked in order.payments]


def _decide(asked: AskedPayment, bank: BankProfile, book: BankBook, fates: Fates, day: dt.date) -> Answered:
    found = book.asked_back(bank.code, asked.end_to_end_id)
    if found is None or found.collects:
        return Answered(asked, REFUSED, _UNKNOWN)
    if found.rejected:
        return Answered(asked, AGREED, None)
    if found.closed_on is None:
        book.reject_payment(found.payment, _CANCELLED_FOR)
        return Answered(asked, AGREED, None)
    rest = found.payment.amount_minor - found.back_minor
    if rest <= 0:
        return Answered(asked, REFUSED, _BACK_ALREADY)
    if (refusal := fates.recall_refusal(asked.end_to_end_id)) is not None:
        return Answered(asked, REFUSED, refusal)
    _send_back(found, rest, bank, book, fates, max(day, found.closed_on))
    return Answered(asked, AGREED, None)


def _send_back(found: AskedBack, rest: int, bank: BankProfile, book: BankBook, fates: Fates, day: dt.date) -> None:
    days = fates.recall_days(found.payment.end_to_end_id)
    when = bank.calendar.after(day, open_days=days)
    book.add_later(found.payment, kind=RETURN, day=when, account=found.account, reason=ASKED, amount_minor=rest)


def answer_message(order: RecallOrder, bank: BankProfile, answered: Sequence[Answered], *, number: int) -> str:
    """The camt.029.001.09 about a recall."""
    refused = sum(each.status == REFUSED for each in answered)
    whole = "CNCL" if not refused else "RJCR" if refused == len(answered) else "PECR"
    return (
        f'{_HEAD}<Document xmlns="{_URN}camt.029.001.09"><RsltnOfInvstgtn>'
        f"<Assgnmt><Id>{bank.bic[:4]}C{number:09d}</Id><Assgnr><Agt><FinInstnId><BICFI>{bank.bic}</BICFI></FinInstnId>"
        f"</Agt></Assgnr><Assgne><Pty><Nm>{escape(order.message_id)}</Nm></Pty></Assgne>"
        f"<CreDtTm>{escape(order.created)}</CreDtTm></Assgnmt><Sts><Conf>{whole}</Conf></Sts>\n"
        f"<CxlDtls><OrgnlGrpInfAndSts><OrgnlMsgId>{escape(order.original_message_id)}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>{escape(order.original_message)}</OrgnlMsgNmId></OrgnlGrpInfAndSts>"
        + "".join(
            f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{escape(batch)}</OrgnlPmtInfId>\n"
            f"{''.join(map(_answer, inside))}</OrgnlPmtInfAndSts>"
            for batch, inside in groupby(answered, lambda each: each.asked.payment_information_id)
        )
        + "</CxlDtls></RsltnOfInvstgtn></Document>\n"
    )


def _answer(each: Answered) -> str:
    why = f"<CxlStsRsnInf><Rsn><Cd>{each.reason}</Cd></Rsn></CxlStsRsnInf>" if each.reason else ""
    reference = f"<OrgnlEndToEndId>{escape(each.asked.end_to_end_id)}</OrgnlEndToEndId>"
    number = f"<CxlStsId>{escape(each.asked.cancellation_id)}</CxlStsId>" if each.asked.cancellation_id else ""
    return f"<TxInfAndSts>{number}{reference}<TxCxlSts>{each.status}</TxCxlSts>{why}</TxInfAndSts>\n"


def return_message(
    account: BankAccount, bank: BankProfile, day: dt.date, returns: Sequence[LaterBooking], charge_minor: int
) -> str:
    """The pacs.004.001.09 that announces what comes back today, before the statement shows it."""
    return (
        f'{_HEAD}<Document xmlns="{_URN}pacs.004.001.09"><PmtRtr><GrpHdr>'
        f"<MsgId>{bank.bic[:4]}P{account.iban[-10:]}{day:%Y%m%d}</MsgId><CreDtTm>{stamp(day, hour=12)}</CreDtTm>"
        f"<NbOfTxs>{len(returns)}</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr>\n"
        + "".join(_return(account, number, later, charge_minor) for number, later in enumerate(returns, 1))
        + "</PmtRtr></Document>\n"
    )


def _return(account: BankAccount, number: int, later: LaterBooking, charge_minor: int) -> str:
    charge = charge_minor if charge_minor < later.amount_minor else 0
    amount = format_amount(later.amount_minor - charge, account.exponent)
    uetr = f"<OrgnlUETR>{later.payment.uetr}</OrgnlUETR>" if later.payment.uetr else ""
    return (
        f"<TxInf><RtrId>R{number:06d}</RtrId><OrgnlEndToEndId>{escape(later.payment.end_to_end_id)}</OrgnlEndToEndId>{uetr}"
        f'<RtrdIntrBkSttlmAmt Ccy="{account.currency}">{amount}</RtrdIntrBkSttlmAmt>'
        f"<RtrRsnInf><Rsn><Cd>{later.reason}</Cd></Rsn></RtrRsnInf></TxInf>\n"
    )
