"""Card acquirers: what they will pay, when, and the report they send about it.

Lives here: payouts, the file the simulated world keeps them in (`<home>/sandbox/payouts.csv`), and the PSP
report as the customer receives it. Must not live here: when a report is delivered (the bank simulator's day
decides) and whether the money agrees with it (`sandbox.injection`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ledger import currency, format_amount, parse_amount_minor
from sandbox.errors import SandboxError

BRANDS = ("VISA", "MC", "AMEX", "MAESTRO")
_HEADER = (
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


@dataclass(frozen=True, slots=True)
class Payout:
    """One acquirer payout. Amounts in minor units, all ≥ 0; net = gross − refunds − chargebacks − fees."""

    payout_id: str
    acquirer: str
    bank_account: str
    currency: str
    payout_date: dt.date
    gross_minor: int
    refunds_minor: int
    chargebacks_minor: int
    fees_minor: int
    line_count: int

    @property
    def net_minor(self) -> int:
        """What arrives at the bank."""
        return self.gross_minor - self.refunds_minor - self.chargebacks_minor - self.fees_minor


def payouts_path(home: Path) -> Path:
    """Where the simulated world keeps all payouts, due or not; no part of the product reads it."""
    return home / "sandbox" / "payouts.csv"


def report_name(payout: Payout) -> str:
    """The file name under which the acquirer delivers its report."""
    return f"psp-{payout.payout_id}.csv"


def report_text(payouts: Iterable[Payout]) -> str:
    """PSP report: a header and one row a payout."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADER)
    for payout in payouts:
        exponent = currency(payout.currency).exponent
        amounts = (
            payout.gross_minor,
            payout.refunds_minor,
            payout.chargebacks_minor,
            payout.fees_minor,
            payout.net_minor,
        )
        writer.writerow(
            [
                payout.payout_id,
                payout.acquirer,
                payout.bank_account,
                payout.currency,
                payout.payout_date.isoformat(),
                *(format_amount(amount, exponent) for amount in amounts),
                str(payout.line_count),
            ]
        )
    return out.getvalue()


def read_payouts(path: Path) -> tuple[Payout, ...]:
    """All payouts of the simulated world in payout date and id order; none when there is no such file."""
    if not path.exists():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        found = [_payout(row) for row in rows]
    except (KeyError, ValueError) as fault:
        raise SandboxError(f"{path}: not a payouts file of the sandbox: {fault!r}") from fault
    return tuple(sorted(found, key=lambda payout: (payout.payout_date, payout.payout_id)))


def _payout(row: dict[str, str]) -> Payout:
    exponent = currency(row["currency"]).exponent
    return Payout(
        payout_id=row["payout_id"],
        acquirer=row["acquirer"],
        bank_account=row["bank_account"],
        currency=row["currency"],
        payout_date=dt.date.fromisoformat(row["payout_date"]),
        gross_minor=parse_amount_minor(row["gross"], exponent),
        refunds_minor=parse_amount_minor(row["refunds"], exponent),
        chargebacks_minor=parse_amount_minor(row["chargebacks"], exponent),
        fees_minor=parse_amount_minor(row["fees"], exponent),
        line_count=int(row["line_count"]),
    )
