"""The tier of files: a data set's bank lines as statements in three formats, its receipts as a provider's report.

Lives here: writing camt.053, MT940 and BAI2 files of every account and business day with their balances, a payout
report and a journal; and the anomalies of files (delivered twice, revised, missing) in exact numbers. Must not live
here: reading them back (`files_read.py`).
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import polars as pl

from benchmarks.reconbench.spec import HOLIDAYS
from ledger import currency, format_amount
from recon.formats.psp import HEADER
from settlement.business_days import Calendar

FORMATS: Final = ("camt.053", "mt940", "bai2")
_SUFFIX: Final = {"camt.053": "xml", "mt940": "sta", "bai2": "bai"}
_CAMT: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
DELIVERED_TWICE, REVISED, MISSING = 0.002, 0.001, 0.002  # of the files, at least one each

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FileTruth:
    """What is wrong with the files, by statement id (`<account>-<date>`), and how many there are."""

    files: int
    delivered_twice: tuple[str, ...]
    revised: tuple[str, ...]
    missing: tuple[str, ...]
    after_missing: tuple[str, ...]  # the statements that show the gap


@dataclass(frozen=True, slots=True)
class Day:
    """One statement: an account's booked lines of a business day, in order, between two balances (minor units)."""

    account: str
    currency: str
    date: dt.date
    number: int
    opening_minor: int
    lines: tuple[Line, ...]

    @property
    def id(self) -> str:
        return f"{self.account}-{self.date}"

    @property
    def closing_minor(self) -> int:
        return self.opening_minor + sum(amount(line) for line in self.lines)

    def money(self, minor: int) -> str:
        return format_amount(abs(minor), currency(self.currency).exponent)


def amount(line: Line) -> int:
    """The bank's view: credit positive (T has the opposite sign)."""
    return -int(line["amount_minor"])


def format_of(account: str) -> str:
    """camt.053 for two accounts in four, MT940 and BAI2 for one each."""
    return ("camt.053", "mt940", "camt.053", "bai2")[int(account[:2]) % 4]


def write_files(inputs: Path, folder: Path, *, seed: int, accounts: int = 50) -> FileTruth:
    """Write `folder`/statements, `folder`/late (what was missing), payouts.csv and journal.csv."""
    for name in ("statements", "late"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    days = list(_days(pl.read_parquet(inputs / "bank.parquet"), accounts))
    truth = _faults(days, seed)
    for day in days:
        place = folder / ("late" if day.id in truth.missing else "statements")
        path = place / f"{day.date}-{day.account}-1.{_SUFFIX[format_of(day.account)]}"
        path.write_text(WRITERS[format_of(day.account)](day), encoding="utf-8")
        if day.id in truth.delivered_twice:
            again = path.with_name(path.name.replace("-1.", "-2."))
            again.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        if day.id in truth.revised:
            again = path.with_name(path.name.replace("-1.", "-2."))
            again.write_text(camt053(_revised(day)), encoding="utf-8")
    books = pl.read_parquet(inputs / "ledger.parquet")
    _write_payouts(books, folder / "payouts.csv")
    _write_journal(books, folder / "journal.csv")
    return truth


def _days(bank: pl.DataFrame, accounts: int) -> Iterator[Day]:
    """Statements of the first accounts for every business day of theirs, empty ones too, chained by their balances."""
    booked = bank.filter(pl.col("kind") == "LINE").with_columns(line_number())
    by_day = booked.sort("account", "date", "number").partition_by(["account", "date"], as_dict=True)
    first, last = booked.select(pl.col("date").min().alias("first"), pl.col("date").max().alias("last")).row(0)
    names = booked.select("account", "currency").unique().sort("account").head(accounts)
    for account, ccy in names.iter_rows():
        balance = 1_000_000
        calendar = Calendar(HOLIDAYS[ccy], "UTC")
        date, number = calendar.next_open(first - dt.timedelta(days=1)), 1
        while date <= last:
            part = by_day.get((account, date))
            day = Day(
                account, ccy, date, number, balance, tuple(part.iter_rows(named=True)) if part is not None else ()
            )
            balance = day.closing_minor
            yield day
            date, number = calendar.next_open(date), number + 1


def line_number() -> pl.Expr:
    """The line's number on its statement, from 1: pending lines are not on it."""
    place = pl.col("statement_line").str.split("/").list.get(2).cast(pl.Int64)
    return place.rank("ordinal").over("account", "date").cast(pl.Int64).alias("number")


def _faults(days: list[Day], seed: int) -> FileTruth:
    """Which statements come twice, revised (camt.053 only) or not at all (never an account's first or last two)."""
    rng = np.random.default_rng([seed, 77])
    last = {day.account: day.number for day in days}
    inner = [day for day in days if 1 < day.number < last[day.account] - 1 and day.lines]
    counts = [max(1, round(share * len(days))) for share in (DELIVERED_TWICE, REVISED, MISSING)]
    shuffled = [inner[n] for n in rng.permutation(len(inner))]
    revised = [day.id for day in shuffled if format_of(day.account) == "camt.053"][: counts[1]]
    rest = [day for day in shuffled if day.id not in revised]
    missing = rest[counts[0] : counts[0] + counts[2]]
    following = {(day.account, day.number - 1): day.id for day in days}
    return FileTruth(
        files=len(days),
        delivered_twice=tuple(sorted(day.id for day in rest[: counts[0]])),
        revised=tuple(sorted(revised)),
        missing=tuple(sorted(day.id for day in missing)),
        after_missing=tuple(sorted(following[day.account, day.number] for day in missing)),
    )


def _revised(day: Day) -> Day:
    """The same statement with one text changed: the balances still tie."""
    first = dict(day.lines[0]) | {"remittance": "corrected by the bank"}
    return Day(day.account, day.currency, day.date, day.number, day.opening_minor, (first, *day.lines[1:]))


def camt053(day: Day) -> str:
    """One camt.053.001.08 statement."""
    entries = "".join(_camt_entry(day, line) for line in day.lines)
    moment = f"{day.date}T22:00:00Z"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_CAMT}"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>RB-{day.id}</MsgId><CreDtTm>{moment}</CreDtTm></GrpHdr>\n"
        f"<Stmt><Id>{day.id}</Id><ElctrncSeqNb>{day.number}</ElctrncSeqNb><CreDtTm>{moment}</CreDtTm>"
        f"<Acct><Id><Othr><Id>{day.account}</Id></Othr></Id><Ccy>{day.currency}</Ccy></Acct>\n"
        f"{_camt_balance(day, 'OPBD', day.opening_minor)}{_camt_balance(day, 'CLBD', day.closing_minor)}{entries}"
        "</Stmt></BkToCstmrStmt></Document>\n"
    )


def _camt_balance(day: Day, code: str, minor: int) -> str:
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{day.currency}">{day.money(minor)}</Amt>'
        f"<CdtDbtInd>{_side(minor)}</CdtDbtInd><Dt><Dt>{day.date}</Dt></Dt></Bal>\n"
    )


def _side(minor: int) -> str:
    return "CRDT" if minor >= 0 else "DBIT"


def _element(tag: str, value: object) -> str:
    return "" if value is None else f"<{tag}>{escape(str(value))}</{tag}>"


def _camt_entry(day: Day, line: Line) -> str:
    minor = amount(line)
    money, side = f'<Amt Ccy="{day.currency}">{day.money(minor)}</Amt>', _side(minor)
    domain, family, sub = str(line["bank_tx_code"]).split("/")
    code = f"<Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn>"
    reversal = "<RvslInd>true</RvslInd>" if line["is_reversal"] else ""
    batch = ""
    if line["batch_count"] is not None or (line["msg_id"] and not line["end_to_end_id"] and not line["party_name"]):
        number = _element("NbOfTxs", line["batch_count"])
        ids = _element("MsgId", line["msg_id"]) + _element("PmtInfId", line["payment_information_id"])
        batch = f"<Btch>{ids}{number}</Btch>"
    original = line["original_ref"] if line["return_reason"] or line["is_reversal"] else None
    refs = (
        _element("MsgId", None if batch else line["msg_id"])
        + _element("AcctSvcrRef", line["servicer_ref"])
        + _element("PmtInfId", None if batch else line["payment_information_id"])
        + _element("EndToEndId", line["end_to_end_id"] or original or "NOTPROVIDED")
        + _element("UETR", line["uetr"])
    )
    detail = (
        ""
        if batch
        else f"<TxDtls><Refs>{refs}</Refs>{money}<CdtDbtInd>{side}</CdtDbtInd>{_camt_rest(day, line, side)}</TxDtls>"
    )
    return (
        f"<Ntry>{money}<CdtDbtInd>{side}</CdtDbtInd>{reversal}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day.date}</Dt></BookgDt><ValDt><Dt>{line['value_date']}</Dt></ValDt>"
        f"{_element('AcctSvcrRef', line['servicer_ref'])}<BkTxCd>{code}</BkTxCd>"
        f"<NtryDtls>{batch}{detail}</NtryDtls></Ntry>\n"
    )


def _camt_rest(day: Day, line: Line, side: str) -> str:
    """Amount details, charges, parties, remittance and return reason of a transaction, in the schema's order."""
    out = ""
    if line["instructed_currency"]:
        instructed = format_amount(int(line["instructed_amount_minor"]), currency(line["instructed_currency"]).exponent)
        out += f'<AmtDtls><InstdAmt><Amt Ccy="{line["instructed_currency"]}">{instructed}</Amt></InstdAmt></AmtDtls>'
    if line["charges_minor"]:
        charge = day.money(int(line["charges_minor"]))
        out += f'<Chrgs><TtlChrgsAndTaxAmt Ccy="{day.currency}">{charge}</TtlChrgsAndTaxAmt></Chrgs>'
    outgoing = (side == "DBIT") != bool(line["return_reason"])
    party = "Cdtr" if outgoing else "Dbtr"
    if line["party_name"]:
        out += f"<RltdPties><{party}><Pty><Nm>{escape(line['party_name'])}</Nm></Pty></{party}>"
        if line["party_account"]:
            out += f"<{party}Acct><Id><Othr><Id>{line['party_account']}</Id></Othr></Id></{party}Acct>"
        out += "</RltdPties>"
    structured = line["structured_ref"]
    inside = _element("Ustrd", line["remittance"])
    if structured:
        inside += f"<Strd><CdtrRefInf><Ref>{escape(structured)}</Ref></CdtrRefInf></Strd>"
    out += f"<RmtInf>{inside}</RmtInf>" if inside else ""
    if line["return_reason"]:
        out += f"<RtrInf><Rsn><Cd>{line['return_reason']}</Cd></Rsn></RtrInf>"
    return out


def mt940(day: Day) -> str:
    """One MT940 statement, details in code words."""
    rows = [
        f":20:RB{day.date:%y%m%d}{day.account[:2]}",
        f":25:{day.account}",
        f":28C:{day.number}/1",
        f":60F:{_mt_balance(day, day.opening_minor)}",
    ]
    for line in day.lines:
        minor = amount(line)
        mark = "C" if minor >= 0 else "D"
        if line["is_reversal"]:
            mark = "RD" if minor >= 0 else "RC"
        rows.append(
            f":61:{line['value_date']:%y%m%d}{day.date:%m%d}{mark}{_comma(day, minor)}NTRFNONREF"
            f"//{line['servicer_ref']}"
        )
        if told := _supplement(day, line):
            rows.append(told)
        rows += _wrapped(":86:" + _words(line))
    rows += [f":62F:{_mt_balance(day, day.closing_minor)}", "-"]
    return "\r\n".join(rows) + "\r\n"


def _supplement(day: Day, line: Line) -> str:
    """The second line of :61: original amount and charges."""
    text = ""
    if line["instructed_currency"]:
        places = currency(line["instructed_currency"]).exponent
        instructed = format_amount(int(line["instructed_amount_minor"]), places).replace(".", ",")
        text += f"/OCMT/{line['instructed_currency']}{instructed}"
    if line["charges_minor"]:
        text += f"/CHGS/{day.currency}{_comma(day, int(line['charges_minor']))}"
    return text


def _comma(day: Day, minor: int) -> str:
    text = day.money(minor).replace(".", ",")
    return text if "," in text else text + ","


def _mt_balance(day: Day, minor: int) -> str:
    return f"{'C' if minor >= 0 else 'D'}{day.date:%y%m%d}{day.currency}{_comma(day, minor)}"


def _words(line: Line) -> str:
    original = line["original_ref"] if line["return_reason"] or line["is_reversal"] else None
    words = {
        "EREF": line["end_to_end_id"] or original,
        "PREF": line["payment_information_id"],
        "RTRN": line["return_reason"],
        "IBAN": line["party_account"],
        "NAME": line["party_name"],
    }
    text = "".join(f"/{name}/{value}" for name, value in words.items() if value)
    if line["structured_ref"]:
        text += f"/REMI/STRD/CUR/{line['structured_ref']}"
    elif line["remittance"]:
        text += f"/REMI/USTD//{line['remittance']}"
    return text or "/TRTP/OTHER"


def _wrapped(text: str) -> list[str]:
    """Lines of 65 characters; no line may begin with what begins a field."""
    return [text[n : n + 65] for n in range(0, len(text), 65)]


def bai2(day: Day) -> str:
    """One BAI2 file with one account; amounts in minor units, texts in 88 records."""
    body = [f"03,{day.account},{day.currency},010,{day.opening_minor},,,015,{day.closing_minor},,/"]
    total = day.opening_minor + day.closing_minor
    for line in day.lines:
        minor = amount(line)
        total += abs(minor)
        body.append(
            f"16,{195 if minor >= 0 else 495},{abs(minor)},Z,{line['servicer_ref']},"
            f"{_bai_reference(line)},{_bai_text(line)}"
        )
    body.append(f"49,{total},{len(body) + 1}/")
    group = [f"02,RB,{day.account[:2]},1,{day.date:%y%m%d},2200,{day.currency},2/", *body]
    group.append(f"98,{total},1,{len(group) + 1}/")
    whole = [f"01,BANK,RB,{day.date:%y%m%d},2200,{day.number},80,,2/", *group]
    return "\n".join([*whole, f"99,{total},1,{len(whole) + 1}/"]) + "\n"


def _bai_reference(line: Line) -> str:
    return str(line["end_to_end_id"] or line["payment_information_id"] or "").replace(",", " ")


def _bai_text(line: Line) -> str:
    words = [line["remittance"] or line["structured_ref"] or "", line["party_name"] or ""]
    return " ".join(word for word in words if word).replace("/", " ").replace(",", " ") or "TRANSFER"


WRITERS: Final = {"camt.053": camt053, "mt940": mt940, "bai2": bai2}


def _write_payouts(books: pl.DataFrame, path: Path) -> None:
    """Receipts from which a provider's report says that something was deducted: gross, deductions, net."""
    told = books.filter(
        (pl.col("kind") == "RECEIPT") & (pl.col("fees_minor").is_not_null() | pl.col("chargebacks_minor").is_not_null())
    )
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(HEADER)
        for row in told.sort("end_to_end_id").iter_rows(named=True):
            places = currency(row["currency"]).exponent
            fees, back = int(row["fees_minor"] or 0), int(row["chargebacks_minor"] or 0)
            minors = (row["amount_minor"], 0, back, fees, row["amount_minor"] - back - fees)
            writer.writerow(
                [
                    row["end_to_end_id"],
                    "RB-PSP",
                    row["account"],
                    row["currency"],
                    row["date"],
                    *(format_amount(m, places) for m in minors),
                    1,
                ]
            )


def _write_journal(books: pl.DataFrame, path: Path) -> None:
    """The ledger side as a journal: each item on its transit account against a counter-account."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["entry_key", "effective_date", "account", "amount", "currency", "description", "reference"])
        for row in books.sort("item_id").iter_rows(named=True):
            places = currency(row["currency"]).exponent
            for account, sign in (
                (f"assets:transit:{row['account']}", 1),
                (f"liabilities:items:{row['currency'].lower()}", -1),
            ):
                minor = sign * int(row["amount_minor"])
                writer.writerow(
                    [
                        f"RB-{row['item_id']}",
                        row["date"],
                        account,
                        format_amount(minor, places),
                        row["currency"],
                        row["kind"],
                        row["reference"],
                    ]
                )
