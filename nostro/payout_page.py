"""The payout report for people outside: an HTML page a merchant can read and print, and CSV.

Lives here: text from payouts and their bank entries. Must not live here: reading or computing them
(`settlement.payout_report`, `recon.lineage`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ledger import format_amount
from recon import BankEntry
from recon.sheet_cells import guarded
from settlement import Payout

# What a part is called, by its name in `Payout.parts`.
LABELS = {
    "gross": "Sales",
    "refunds": "Refunds",
    "chargebacks": "Chargebacks",
    "fees": "Fees",
    "adjustments": "Adjustments",
    "reserve_taken": "Reserve held back",
    "reserve_released": "Reserve released",
    "reopened": "Earlier payouts that came back",
    "carried_in": "Brought forward",
    "carried_out": "Carried forward",
}
_ALWAYS = ("gross", "refunds", "chargebacks", "fees")
_GROUP = 4  # signs of an IBAN written together
_STATES = {
    "reconciled": "paid; the bank's statement shows it",
    "executed": "executed by the bank",
    "returning": "paid; the receiving bank announced that it sends it back",
    "rejected": "rejected by the bank; the amount is owed again",
    "returned": "came back from the receiving bank; the amount is owed again",
    "partly_returned": "paid; a part came back from the receiving bank and is owed again",
    "cancelled": "cancelled before it was sent; the amount is owed again",
}
_ENTRIES = {"payout": "Bank entry", "taken_back": "Taken again"}
# One page of A4 paper a payout; nothing is loaded from anywhere.
_STYLE = """
@page { size: A4; margin: 18mm 16mm; }
* { box-sizing: border-box; }
html { font: 10.5pt/1.45 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; color: #1c2430; background: #eef0f3; }
body { margin: 0; }
.sheet { background: #fff; max-width: 178mm; margin: 8mm auto; padding: 14mm 16mm; }
header { display: flex; justify-content: space-between; border-bottom: 2px solid #1c2430; padding-bottom: 4mm; }
h1 { font-size: 17pt; font-weight: 600; margin: 0; }
header p { margin: 0; text-align: right; }
dl { display: grid; grid-template-columns: 34mm 1fr; row-gap: 1mm; margin: 7mm 0; }
dt { color: #5b6675; } dd { margin: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th { font-weight: 400; text-align: left; padding: 2mm 0; border-bottom: 1px solid #dde1e6; }
td { text-align: right; padding: 2mm 0; border-bottom: 1px solid #dde1e6; font-variant-numeric: tabular-nums; }
tr.net th, tr.net td { font-weight: 600; font-size: 13pt; border-top: 2px solid #1c2430; border-bottom: 0; }
h2 { font-size: 11pt; margin: 9mm 0 0; }
h2 + dl { margin-top: 2mm; }
footer { color: #5b6675; font-size: 8.5pt; margin-top: 10mm; }
@media print {
  html { background: #fff; }
  .sheet { margin: 0; padding: 0; max-width: none; }
  .sheet + .sheet { break-before: page; }
}
"""


@dataclass(frozen=True, slots=True)
class ReportedPayout:
    """A payout with the bank entries that show it (and brought it back)."""

    payout: Payout
    bank: tuple[BankEntry, ...]

    @property
    def shown_by(self) -> BankEntry | None:
        """The statement line that shows the payment; None before a statement has cleared it."""
        return next((entry for entry in self.bank if entry.kind == "payout"), None)


def payout_html(reported: Sequence[ReportedPayout]) -> str:
    """One self-contained HTML document, one A4 page a payout."""
    names = sorted({row.payout.payee_name for row in reported})
    title = f"Payouts to {names[0]}" if len(names) == 1 else "Payouts"
    body = "".join(_sheet(row) for row in reported) or '<section class="sheet"><p>Nothing was paid.</p></section>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )


def payout_csv(reported: Sequence[ReportedPayout]) -> str:
    """One row a payout; amounts as decimal text, parts positive when they add to the payout."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            *(
                "business_date",
                "payee",
                "name",
                "iban",
                "currency",
                *LABELS,
                "net",
                "end_to_end_id",
                "batch",
                "msg_id",
                "state",
            ),
            *("bank_reference", "booking_date", "statement", "line"),
        )
    )
    for row in reported:
        p, shown = row.payout, row.shown_by
        bank: tuple[object, ...] = ("", "", "", "")
        if shown is not None:
            bank = (shown.bank_reference or "", shown.booking_date, shown.stmt_id, shown.line_ordinal)
        cells = (
            *(p.business_date, p.payee, p.payee_name, p.payee_iban, p.currency),
            *(format_amount(minor, p.exponent) for minor in p.parts.values()),
            *(
                format_amount(p.net_minor, p.exponent),
                p.end_to_end_id,
                p.payment_information_id,
                p.msg_id,
                p.state,
                *bank,
            ),
        )
        writer.writerow(guarded(str(cell)) for cell in cells)  # payees choose their names
    return out.getvalue()


def _sheet(row: ReportedPayout) -> str:
    p = row.payout
    told = "Payout" if p.net_minor >= 0 else "Collection"
    lines = "".join(
        f"<tr><th>{LABELS[name]}</th><td>{_amount(minor, p.exponent)}</td></tr>\n"
        for name, minor in p.parts.items()
        if minor or name in _ALWAYS
    )
    net = "Paid to you" if p.net_minor >= 0 else "Collected from you"
    return (
        f'<section class="sheet">\n<header><h1>{told}</h1><p>{escape(p.payer_name)}<br>{_day(p.business_date)}</p>'
        f"</header>\n{_facts(_payment_facts(p))}"
        f"<table>\n{lines}"
        f'<tr class="net"><th>{net}</th><td>{_amount(abs(p.net_minor), p.exponent)} {p.currency}</td></tr>\n</table>\n'
        f"<h2>At the bank</h2>\n{_facts(_bank_facts(row))}"
        f"<footer>{_bookings(p.item_count)} up this {told.lower()}. Amounts in {p.currency}; "
        "a minus reduces what is paid.</footer>\n</section>\n"
    )


def _bookings(count: int) -> str:
    return "1 booking makes" if count == 1 else f"{count:,} bookings make"


def _payment_facts(p: Payout) -> list[tuple[str, str]]:
    iban = p.payee_iban if not p.payee_iban[:2].isalpha() else _spaced(p.payee_iban)
    return [
        ("To" if p.net_minor >= 0 else "From", f"{p.payee_name} ({p.payee})"),
        ("Account", iban),
        ("Payment date", _day(p.execution_date)),
        ("Reference", p.end_to_end_id),
    ]


def _bank_facts(row: ReportedPayout) -> list[tuple[str, str]]:
    p, facts = row.payout, []
    reason = f" ({p.reason_code})" if p.reason_code else ""
    facts.append(("Status", _STATES.get(p.state, p.state.replace("_", " ")) + reason))
    for entry in row.bank:
        said = f"booked {_day(entry.booking_date)}, reference {entry.bank_reference or '–'}"
        amount = f"{_amount(abs(entry.line_minor), p.exponent)} {p.currency}"
        if entry.kind != "payout":  # a line of its own, of what came or was taken
            said = f"{amount}, {said}"
        elif abs(entry.line_minor) != p.amount_minor:
            said += f", part of an entry of {amount}"
        facts.append((_ENTRIES.get(entry.kind, "Came back"), said))
    return facts


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts) + "</dl>\n"


def _amount(minor: int, exponent: int) -> str:
    """Decimal text with thousands grouped and a real minus sign."""
    whole, dot, rest = format_amount(abs(minor), exponent).partition(".")
    return f"{'−' if minor < 0 else ''}{int(whole):,}{dot}{rest}"


def _day(day: dt.date) -> str:
    return f"{day.day} {day:%B %Y}"


def _spaced(iban: str) -> str:
    return " ".join(iban[at : at + _GROUP] for at in range(0, len(iban), _GROUP))
