"""Acquirer payout reports: CSV text to exact payouts, or every fault with its line.

Lives here: the one report layout the product knows, one row a payout. Must not live here: what is booked
for a payout, or whether the money arrived.

A report is all or nothing: with one bad row no payout of it is used, because a payout that is missing would
look like a receipt from a stranger.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from ledger import AmountError, parse_amount_minor
from recon.errors import FileRefusedError
from recon.formats.values import exponent_of, shown

HEADER: Final = (
    "payout_id",
    "acquirer",
    "bank_account",
    "currency",
    "payout_date",
    "gross",
    "refunds",
    "chargebacks",
    "fees",
    "net",
    "line_count",
)
_AMOUNTS: Final = ("gross", "refunds", "chargebacks", "fees", "net")
_NAMES: Final = ("payout_id", "acquirer", "bank_account")
_CHARACTERS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PspPayout:
    """One announced payout; minor units of `currency`. net = gross − refunds − chargebacks − fees."""

    payout_id: str
    acquirer: str
    bank_account: str
    currency: str
    payout_date: date
    gross_minor: int
    refunds_minor: int
    chargebacks_minor: int
    fees_minor: int
    net_minor: int
    line_count: int
    source_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PspReport:
    """A report that was read whole, in file order."""

    name: str
    sha256: str
    payouts: tuple[PspPayout, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PspFault:
    """One fault: line in the file, column (empty for the whole row), what is wrong and what to do."""

    line: int
    column: str
    message: str


class PspReportRefused(FileRefusedError):  # noqa: N818
    """The report is refused whole; `faults` has every fault of it, in line order."""

    def __init__(self, faults: Sequence[PspFault]) -> None:
        listed = "; ".join(f"line {fault.line}: {fault.message}" for fault in faults)
        super().__init__(f"{listed}; ask the acquirer for a corrected report")
        self.faults = tuple(faults)


def read_psp_report(path_or_bytes: Path | str | bytes, *, name: str) -> PspReport:
    """Read an acquirer's payout report (UTF-8 CSV with the columns of `HEADER`).

    Raises `PspReportRefused` with every fault at once.
    """
    data = _bytes(path_or_bytes)
    faults: list[PspFault] = []
    payouts: list[PspPayout] = []
    for line, row in _rows(data, faults):
        payout = _payout(line, row, faults)
        if payout is not None:
            payouts.append(payout)
    _refuse_repeats(payouts, faults)
    if faults:
        raise PspReportRefused(sorted(faults, key=lambda fault: fault.line))
    return PspReport(name=name, sha256=hashlib.sha256(data).hexdigest(), payouts=tuple(payouts))


def is_payout_report(data: bytes) -> bool:
    """Whether a file starts with this report's first columns."""
    return data[:200].lstrip(b"\xef\xbb\xbf").startswith(",".join(HEADER[:4]).encode())


def _bytes(path_or_bytes: Path | str | bytes) -> bytes:
    if isinstance(path_or_bytes, bytes):
        return path_or_bytes
    try:
        return Path(path_or_bytes).read_bytes()
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        raise PspReportRefused([PspFault(line=1, column="", message=f"cannot be read ({reason})")]) from None


def _rows(data: bytes, faults: list[PspFault]) -> list[tuple[int, dict[str, str]]]:
    """Rows by column name with their line; a file that is no such report gives faults and no rows."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        faults.append(PspFault(line=line, column="", message="a byte that is not UTF-8 text"))
        return []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(reader, [])
        if tuple(header) != HEADER:
            expected = ",".join(HEADER)
            faults.append(PspFault(line=1, column="", message=f"the header is not {expected}"))
            return []
        for cells in reader:
            if len(cells) == len(HEADER):
                rows.append((reader.line_num, dict(zip(HEADER, cells, strict=True))))
            elif cells:
                message = f"{len(cells)} cells instead of {len(HEADER)}"
                faults.append(PspFault(line=reader.line_num, column="", message=message))
    except csv.Error as fault:
        faults.append(PspFault(line=max(reader.line_num, 1), column="", message=f"not CSV ({fault})"))
    return rows


def _payout(line: int, row: dict[str, str], faults: list[PspFault]) -> PspPayout | None:
    """The payout of a row; None when the row has faults, which are added."""
    before = len(faults)
    for column in _NAMES:
        if not row[column].strip():
            faults.append(PspFault(line=line, column=column, message=f"{column} is empty"))
    amounts = _amounts(line, row, faults)
    day = _day(line, row["payout_date"], faults)
    count = row["line_count"].strip()
    if not (count.isascii() and count.isdigit() and len(count) <= 9):
        message = f"line_count {shown(count)} is not a whole number"
        faults.append(PspFault(line=line, column="line_count", message=message))
    if len(faults) > before or day is None:
        return None
    return PspPayout(
        payout_id=row["payout_id"].strip(),
        acquirer=row["acquirer"].strip(),
        bank_account=row["bank_account"].strip(),
        currency=row["currency"].strip(),
        payout_date=day,
        gross_minor=amounts["gross"],
        refunds_minor=amounts["refunds"],
        chargebacks_minor=amounts["chargebacks"],
        fees_minor=amounts["fees"],
        net_minor=amounts["net"],
        line_count=int(count),
        source_line=line,
    )


def _amounts(line: int, row: dict[str, str], faults: list[PspFault]) -> dict[str, int]:
    """The five amounts by column; fewer when some are faulty. Their equation is checked when all are there."""
    code = row["currency"].strip()
    exponent = exponent_of(code)
    if exponent is None:
        message = f"currency {shown(code)} is not an ISO 4217 code"
        faults.append(PspFault(line=line, column="currency", message=message))
        return {}
    amounts: dict[str, int] = {}
    for column in _AMOUNTS:
        fault = _amount(row[column].strip(), exponent, column, amounts)
        if fault is not None:
            faults.append(PspFault(line=line, column=column, message=fault))
    if len(amounts) == len(_AMOUNTS):
        net = amounts["gross"] - amounts["refunds"] - amounts["chargebacks"] - amounts["fees"]
        if net != amounts["net"]:
            message = f"net {row['net'].strip()} is not gross − refunds − chargebacks − fees"
            faults.append(PspFault(line=line, column="net", message=message))
    return amounts


def _amount(text: str, exponent: int, column: str, amounts: dict[str, int]) -> str | None:
    if len(text) > _CHARACTERS_MAX:
        return f"{column} {shown(text)} is not an amount"
    try:
        minor = parse_amount_minor(text, exponent)
    except AmountError as fault:
        return f"{column}: {fault}"
    if minor < 0 and column != "net":
        return f"{column} {shown(text)} is negative"
    amounts[column] = minor
    return None


def _day(line: int, text: str, faults: list[PspFault]) -> date | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        message = f"payout_date {shown(text)} is not a date like 2026-11-20"
        faults.append(PspFault(line=line, column="payout_date", message=message))
        return None


def _refuse_repeats(payouts: Sequence[PspPayout], faults: list[PspFault]) -> None:
    first: dict[tuple[str, str], int] = {}
    for payout in payouts:
        at = first.setdefault((payout.acquirer, payout.payout_id), payout.source_line)
        if at != payout.source_line:
            message = f"payout {shown(payout.payout_id)} stands on line {at} already"
            faults.append(PspFault(line=payout.source_line, column="payout_id", message=message))
