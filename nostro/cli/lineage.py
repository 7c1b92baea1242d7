"""Commands that follow money: what a payout is made of, and from a posting to the bank statement and back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ledger import format_amount
from nostro.cli.common import (
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    parse_date,
    session,
    table,
)
from nostro.payout_page import ReportedPayout, payout_csv, payout_html
from recon import Trace, TraceStep, bank_entries, trace
from settlement import payee_view, payout_report

_POSTINGS_SHOWN = 12
_PAYMENTS_SHOWN = 5
_HASH_SHOWN = 12


class ReportFormat(Enum):
    """How the payout report is written."""

    TABLE = "table"
    CSV = "csv"
    HTML = "html"


def register(app: typer.Typer, settle: typer.Typer) -> None:
    """Add these commands to the program and to its `settle` group."""
    app.command("trace")(trace_command)
    settle.command("payout-report")(payout_report_command)


def payout_report_command(
    payee: Annotated[str | None, typer.Argument(help="Only this payee.", metavar="[PAYEE]")] = None,
    day: Annotated[str | None, typer.Option("--date", callback=date_text, help="Only this business date.")] = None,
    run_id: Annotated[int | None, typer.Option("--run", help="Only this run.")] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="How to write it.")] = ReportFormat.TABLE,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of the screen.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Every payout in its parts, tied to the bank's entry: as a table, CSV, or HTML pages that a payee can print.

    Example: `nostro settle payout-report P000001 --format html --out payouts.html`
    """
    if out is not None and form is ReportFormat.TABLE:
        raise typer.BadParameter("a file needs --format csv or html")
    with session(book=book) as s:
        payouts = payout_report(s.conn, book_id=s.book_id, business_date=parse_date(day), payee=payee, run_id=run_id)
        shown = bank_entries(s.conn, book_id=s.book_id, instruction_ids=[p.instruction_id for p in payouts])
        if payee is not None and not payouts:
            # so that an unknown one is refused
            payee_view(s.conn, book_id=s.book_id, payee=payee, now=datetime.now(UTC))
    reported = [ReportedPayout(p, tuple(shown.get(p.instruction_id, ()))) for p in payouts]
    if form is not ReportFormat.TABLE and not as_json:
        content = payout_html(reported) if form is ReportFormat.HTML else payout_csv(reported)
        if out is None:
            sys.stdout.write(content)
        else:
            out.write_text(content, encoding="utf-8")
            console.print(f"{len(reported):,} payouts written to {out}")
        return
    rows = [{**_fields(row), "bank": row.bank} for row in reported]
    emit({"payouts": rows}, lambda: _print_payouts(reported), as_json=as_json)


def _fields(row: ReportedPayout) -> dict[str, object]:
    return {name: getattr(row.payout, name) for name in type(row.payout).__slots__}


def _print_payouts(reported: list[ReportedPayout]) -> None:
    if not reported:
        console.print("nothing was paid")
        return
    columns = ("date", "payee", "sales", "refunds", "chargebacks", "fees", "reserves", "other", "net", "ccy")
    cells = []
    for row in reported:
        p = row.payout
        reserves = p.reserve_taken_minor + p.reserve_released_minor
        other = p.adjustments_minor + p.reopened_minor + p.carried_in_minor + p.carried_out_minor
        sums = (p.gross_minor, p.refunds_minor, p.chargebacks_minor, p.fees_minor, reserves, other, p.net_minor)
        amounts = [format_amount(minor, p.exponent) for minor in sums]
        bank = "" if row.shown_by is None else row.shown_by.bank_reference
        cells.append((p.business_date, p.payee, *amounts, p.currency, p.end_to_end_id, p.state, bank))
    table(None, (*columns, "EndToEndId", "state", "bank reference"), cells, right=range(2, 9))


def trace_command(
    key: Annotated[
        str,
        typer.Argument(
            help="A posting's number, an entry's key, an EndToEndId, UETR or MsgId, an acquirer's payout, or a bank "
            "line (its reference, or statement/entry)."
        ),
    ],
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Follow money from a posting to the cent on the bank statement, and back from a bank line to what it paid.

    Example: `nostro trace sale:20261102-000001`
    """
    with session(book=book) as s:
        found = trace(s.conn, book_id=s.book_id, key=key)
    emit(found, lambda: _print_trace(found), as_json=as_json)


def _print_trace(found: Trace) -> None:
    chains: dict[int | None, list[TraceStep]] = {}
    for step in found.steps:
        chains.setdefault(step.chain, []).append(step)
    for chain in [*found.payments[:_PAYMENTS_SHOWN], *([None] if None in chains else [])]:
        title = "beside payments" if chain is None else f"payment {chain}"
        table(title, ("step", "reference", "day", "amount", "ccy", "what"), _trace_cells(chains[chain]), right=(3,))
        console.print()
    if len(found.payments) > _PAYMENTS_SHOWN:
        console.print(f"and {len(found.payments) - _PAYMENTS_SHOWN:,} more payments; --json lists all")


def _trace_cells(steps: list[TraceStep]) -> list[tuple[object, ...]]:
    """Rows of one chain; of a payee's many postings the first, with the number and sum of the rest."""
    postings = [step for step in steps if step.kind == "posting"]
    rest = postings[_POSTINGS_SHOWN:]
    cells: list[tuple[object, ...]] = []
    for step in steps:
        if step in rest:
            if step is rest[0]:
                total = format_amount(sum(each.amount_minor or 0 for each in rest), step.exponent or 0)
                cells.append(("posting", f"{len(rest):,} more", "", total, step.currency, "--json lists all"))
            continue
        amount = ""
        if step.amount_minor is not None and step.exponent is not None:
            amount = format_amount(step.amount_minor, step.exponent)
        number = None if step.posting_id is None else f"posting {step.posting_id}"
        digest = None if step.sha256 is None else f"sha256 {step.sha256[:_HASH_SHOWN]}…"
        what = ", ".join(part for part in (step.account, number, step.detail, digest) if part)
        cells.append((step.kind, step.reference, step.day, amount, step.currency, what))
    return cells
