"""Small camt files written here, piece by piece, so that a test shows only what it is about."""

from __future__ import annotations

from recon.formats import read_statement_file
from recon.model import Statement, StatementFile

IBAN = "DE89370400440532013000"
_REPORTS = {
    "camt.052": ("BkToCstmrAcctRpt", "Rpt"),
    "camt.053": ("BkToCstmrStmt", "Stmt"),
    "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}


def balance(
    kind: str,
    amount: str,
    *,
    sign: str | None = "CRDT",
    ccy: str = "EUR",
    day: str = "2026-11-20",
    sub_type: str = "",
    moment: str = "",
) -> str:
    indicator = "" if sign is None else f"<CdtDbtInd>{sign}</CdtDbtInd>"
    sub = f"<SubTp><Cd>{sub_type}</Cd></SubTp>" if sub_type else ""
    when = f"<Dt><DtTm>{moment}</DtTm></Dt>" if moment else f"<Dt><Dt>{day}</Dt></Dt>"
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry>{sub}</Tp>"
        f'<Amt Ccy="{ccy}">{amount}</Amt>{indicator}{when}</Bal>'
    )


def entry(
    amount: str = "10.00",
    sign: str | None = "CRDT",
    *,
    ccy: str = "EUR",
    status: str = "<Sts><Cd>BOOK</Cd></Sts>",
    booked: str = "<BookgDt><Dt>2026-11-20</Dt></BookgDt>",
    inside: str = "",
    ref: str = "",
) -> str:
    indicator = "" if sign is None else f"<CdtDbtInd>{sign}</CdtDbtInd>"
    servicer = f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else ""
    return f'<Ntry><Amt Ccy="{ccy}">{amount}</Amt>{indicator}{status}{booked}{servicer}{inside}</Ntry>'


def details(*transactions: str, batch: str = "") -> str:
    head = f"<Btch>{batch}</Btch>" if batch else ""
    return f"<NtryDtls>{head}{''.join(f'<TxDtls>{inside}</TxDtls>' for inside in transactions)}</NtryDtls>"


def statement(
    *parts: str,
    kind: str = "camt.053",
    id_: str = "S1",
    ccy: str | None = "EUR",
    account: str = f"<IBAN>{IBAN}</IBAN>",
    created: str = "2026-11-20T22:00:00+01:00",
    head: str = "",
) -> str:
    tag = _REPORTS[kind][1]
    currency = "" if ccy is None else f"<Ccy>{ccy}</Ccy>"
    named = f"<Acct><Id>{account}</Id>{currency}</Acct>" if account else ""
    return f"<{tag}><Id>{id_}</Id><CreDtTm>{created}</CreDtTm>{head}{named}{''.join(parts)}</{tag}>"


def document(*statements: str, version: str = "camt.053.001.08", message_id: str = "M1", page: str = "") -> str:
    report = _REPORTS[version[:8]][0]
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{version}"><{report}>'
        f"<GrpHdr><MsgId>{message_id}</MsgId><CreDtTm>2026-11-20T23:00:00+01:00</CreDtTm>{page}</GrpHdr>"
        f"{''.join(statements)}</{report}></Document>"
    )


def read(text: str | bytes, name: str = "test.xml") -> StatementFile:
    return read_statement_file(text.encode() if isinstance(text, str) else text, name=name)


def read_one(*parts: str, version: str = "camt.053.001.08", ccy: str | None = "EUR") -> Statement:
    """The only statement of a file with these parts."""
    found = read(document(statement(*parts, kind=version[:8], ccy=ccy), version=version)).statements
    assert len(found) == 1
    return found[0]
