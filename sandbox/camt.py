"""Statements and notifications as a bank writes them: camt.053.001.08 and camt.054.001.08.

Lives here: the XML text, by string templates because a day may have 100,000 lines. Must not live here: what
is booked, file names. Amounts are exact texts from integers. Source: ISO 20022 schemas camt.053.001.08 and
camt.054.001.08; codes from the external bank transaction code list.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from ledger import format_amount
from sandbox.lines import AccountDay, Batch, Detail, Line

_URN = "urn:iso:std:iso:20022:tech:xsd:"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def escape(text: str) -> str:
    """Text content of an element."""
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


def stamp(day: dt.date, *, hour: int, minute: int = 0) -> str:
    """The bank's clock: a fixed UTC time of the simulated day."""
    return f"{day.isoformat()}T{hour:02d}:{minute:02d}:00Z"


def statement_element(day: AccountDay) -> str:
    """The `Stmt` of one account and day."""
    return (
        f"<Stmt><Id>{day.statement_id}</Id><ElctrncSeqNb>{day.statement_number}</ElctrncSeqNb>"
        f"<LglSeqNb>{day.statement_number}</LglSeqNb><CreDtTm>{stamp(day.day, hour=22)}</CreDtTm>"
        f"<FrToDt><FrDtTm>{stamp(day.day, hour=0)}</FrDtTm><ToDtTm>{stamp(day.day, hour=22)}</ToDtTm></FrToDt>"
        f"{_account(day)}{_balance(day, 'OPBD', day.opening_minor)}{_balance(day, 'CLBD', day.closing_minor)}"
        f"{_entries(day, day.lines)}</Stmt>\n"
    )


def statement_message(*, message_id: str, created: str, statement: str) -> str:
    """A camt.053.001.08 around one statement element."""
    return (
        f'{_HEAD}<Document xmlns="{_URN}camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>{message_id}</MsgId>'
        f"<CreDtTm>{created}</CreDtTm></GrpHdr>\n{statement}</BkToCstmrStmt></Document>\n"
    )


def page_elements(day: AccountDay, size: int) -> list[str]:
    """The `Stmt` of one account and day in pages of so many lines: all of one id, between balances that go on."""
    starts = range(0, max(len(day.lines), 1), size)
    pages, opening = [], day.opening_minor
    for number, start in enumerate(starts, 1):
        lines, last = day.lines[start : start + size], number == len(starts)
        closing = opening + sum(line.amount_minor for line in lines)
        page = f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></StmtPgntn>"
        codes = ("OPBD" if number == 1 else "ITBD", "CLBD" if last else "ITBD")
        pages.append(
            f"<Stmt><Id>{day.statement_id}</Id>{page}<ElctrncSeqNb>{day.statement_number}</ElctrncSeqNb>"
            f"<LglSeqNb>{day.statement_number}</LglSeqNb><CreDtTm>{stamp(day.day, hour=22)}</CreDtTm>"
            f"<FrToDt><FrDtTm>{stamp(day.day, hour=0)}</FrDtTm><ToDtTm>{stamp(day.day, hour=22)}</ToDtTm></FrToDt>"
            f"{_account(day)}{_balance(day, codes[0], opening)}{_balance(day, codes[1], closing)}"
            f"{_entries(day, lines)}</Stmt>\n"
        )
        opening = closing
    return pages


def intraday_message(day: AccountDay, lines: Sequence[Line]) -> str:
    """A camt.052.001.08 at noon: what is booked so far, under the references that the statement will have too."""
    interim = day.opening_minor + sum(line.amount_minor for line in lines)
    return (
        f'{_HEAD}<Document xmlns="{_URN}camt.052.001.08"><BkToCstmrAcctRpt><GrpHdr>'
        f"<MsgId>{day.statement_id}I</MsgId><CreDtTm>{stamp(day.day, hour=12)}</CreDtTm></GrpHdr>\n"
        f"<Rpt><Id>{day.statement_id}I</Id><ElctrncSeqNb>{day.statement_number}</ElctrncSeqNb>"
        f"<CreDtTm>{stamp(day.day, hour=12)}</CreDtTm>{_account(day)}{_balance(day, 'OPBD', day.opening_minor)}"
        f"{_balance(day, 'ITBD', interim)}{_entries(day, lines)}</Rpt>\n</BkToCstmrAcctRpt></Document>\n"
    )


def notification_message(day: AccountDay, credits: Sequence[Line]) -> str:
    """A camt.054.001.08 about incoming credits of the day."""
    number = f"{day.statement_number}"
    return (
        f'{_HEAD}<Document xmlns="{_URN}camt.054.001.08"><BkToCstmrDbtCdtNtfctn><GrpHdr>'
        f"<MsgId>{day.statement_id}N</MsgId><CreDtTm>{stamp(day.day, hour=21)}</CreDtTm></GrpHdr>\n"
        f"<Ntfctn><Id>{day.statement_id}N</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>"
        f"<CreDtTm>{stamp(day.day, hour=21)}</CreDtTm>{_account(day)}{_entries(day, credits)}</Ntfctn>\n"
        "</BkToCstmrDbtCdtNtfctn></Document>\n"
    )


def _account(day: AccountDay) -> str:
    account = day.account
    return (
        f"<Acct><Id><IBAN>{account.iban}</IBAN></Id><Ccy>{account.currency}</Ccy>"
        f"<Ownr><Nm>{escape(account.holder)}</Nm></Ownr>"
        f"<Svcr><FinInstnId><BICFI>{day.bank.bic}</BICFI></FinInstnId></Svcr></Acct>"
    )


def _balance(day: AccountDay, code: str, amount: int) -> str:
    side = "DBIT" if amount < 0 else "CRDT"
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="{day.account.currency}">{format_amount(abs(amount), day.account.exponent)}</Amt>'
        f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>{day.day}</Dt></Dt></Bal>\n"
    )


def _entries(day: AccountDay, lines: Sequence[Line]) -> str:
    writer = _EntryWriter(day)
    return "".join([writer.entry(line) for line in lines])


class _EntryWriter:
    """Writes the entries of one account and day; what they share is formatted once."""

    def __init__(self, day: AccountDay) -> None:
        self._currency = day.account.currency
        self._exponent = day.account.exponent
        self._date = day.day.isoformat()
        self._owner = f"<Nm>{escape(day.account.holder)}</Nm>"
        self._owner_account = f"<Id><IBAN>{day.account.iban}</IBAN></Id>"

    def entry(self, line: Line) -> str:
        side = "DBIT" if line.amount_minor < 0 else "CRDT"
        domain, family, sub = line.code.split("/")
        details = "".join([self._detail(detail, side, line.batch) for detail in line.details])
        batch = "" if line.batch is None else self._batch(line.batch, line.amount_minor, side)
        inside = f"<NtryDtls>{batch}{details}</NtryDtls>" if batch or details else ""
        reversal = "<RvslInd>true</RvslInd>" if line.is_reversal else ""
        text = f"<AddtlNtryInf>{escape(line.text)}</AddtlNtryInf>" if line.text else ""
        return (
            f'<Ntry><Amt Ccy="{self._currency}">{format_amount(abs(line.amount_minor), self._exponent)}</Amt>'
            f"<CdtDbtInd>{side}</CdtDbtInd>{reversal}<Sts><Cd>BOOK</Cd></Sts>"
            f"<BookgDt><Dt>{self._date}</Dt></BookgDt><ValDt><Dt>{self._date}</Dt></ValDt>"
            f"<AcctSvcrRef>{line.ref}</AcctSvcrRef><BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd>"
            f"<SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn></BkTxCd>{inside}{text}</Ntry>\n"
        )

    def _batch(self, batch: Batch, amount: int, side: str) -> str:
        return (
            f"<Btch><MsgId>{escape(batch.message_id)}</MsgId>"
            f"<PmtInfId>{escape(batch.payment_information_id)}</PmtInfId><NbOfTxs>{batch.count}</NbOfTxs>"
            f'<TtlAmt Ccy="{self._currency}">{format_amount(abs(amount), self._exponent)}</TtlAmt>'
            f"<CdtDbtInd>{side}</CdtDbtInd></Btch>\n"
        )

    def _detail(self, detail: Detail, side: str, batch: Batch | None) -> str:
        amount = f'<Amt Ccy="{self._currency}">{format_amount(detail.amount_minor, self._exponent)}</Amt>'
        rest = "" if detail.charges_minor == 0 else self._charges(detail)
        rest += self._parties(detail, side)
        if detail.remittance:
            rest += f"<RmtInf><Ustrd>{escape(detail.remittance)}</Ustrd></RmtInf>"
        if detail.return_reason:
            rest += f"<RtrInf><Rsn><Cd>{detail.return_reason}</Cd></Rsn></RtrInf>"
        gross = ""
        if detail.charges_minor:
            instructed = format_amount(detail.amount_minor + detail.charges_minor, self._exponent)
            gross = f'<AmtDtls><InstdAmt><Amt Ccy="{self._currency}">{instructed}</Amt></InstdAmt></AmtDtls>'
        return f"<TxDtls>{self._references(detail, batch)}{amount}<CdtDbtInd>{side}</CdtDbtInd>{gross}{rest}</TxDtls>\n"

    def _references(self, detail: Detail, batch: Batch | None) -> str:
        out = f"<AcctSvcrRef>{detail.ref}</AcctSvcrRef>"
        if batch is not None:
            out += f"<PmtInfId>{escape(batch.payment_information_id)}</PmtInfId>"
        if detail.instruction_id:
            out += f"<InstrId>{escape(detail.instruction_id)}</InstrId>"
        out += f"<EndToEndId>{escape(detail.end_to_end_id or 'NOTPROVIDED')}</EndToEndId>"
        if detail.uetr:
            out += f"<UETR>{detail.uetr}</UETR>"
        return f"<Refs>{out}</Refs>"

    def _charges(self, detail: Detail) -> str:
        amount = (
            f'<Amt Ccy="{self._currency}">{format_amount(detail.charges_minor, self._exponent)}</Amt>'
            "<CdtDbtInd>DBIT</CdtDbtInd><ChrgInclInd>true</ChrgInclInd>"
        )
        total = format_amount(detail.charges_minor, self._exponent)
        return (
            f'<Chrgs><TtlChrgsAndTaxAmt Ccy="{self._currency}">{total}</TtlChrgsAndTaxAmt><Rcrd>{amount}</Rcrd></Chrgs>'
        )

    def _parties(self, detail: Detail, side: str) -> str:
        """Both sides of the transfer. A return keeps the roles of the transfer it returns."""
        if not detail.party_name and not detail.party_iban:
            return ""
        other = f"<Pty><Nm>{escape(detail.party_name or '')}</Nm></Pty>" if detail.party_name else ""
        account = f"<Id><IBAN>{detail.party_iban}</IBAN></Id>" if detail.party_iban else ""
        owner = f"<Pty>{self._owner}</Pty>"
        outgoing = (side == "DBIT") != bool(detail.return_reason)
        outgoing = outgoing if detail.owner_pays is None else detail.owner_pays
        debtor, debtor_account = (owner, self._owner_account) if outgoing else (other, account)
        creditor, creditor_account = (other, account) if outgoing else (owner, self._owner_account)
        return (
            "<RltdPties>"
            + _element("Dbtr", debtor)
            + _element("DbtrAcct", debtor_account)
            + _element("Cdtr", creditor)
            + _element("CdtrAcct", creditor_account)
            + "</RltdPties>"
        )


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>" if content else ""
