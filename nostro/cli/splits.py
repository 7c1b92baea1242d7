"""Commands that post sales owed to several payees: one by its options, many from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ledger import ImportReport, format_amount, publish
from nostro.cli.books import import_app, import_each
from nostro.cli.common import BookOption, JsonOption, Session, console, date_text, emit, session, table
from settlement import SPLIT_COLUMNS, SplitLeg, SplitRow, composed_splits, import_splits, read_splits, split_row


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    import_app.command("splits")(import_splits_command)
    app.command("split")(split_command)


def import_splits_command(
    files: Annotated[list[Path], typer.Argument(help="Files of sales (.csv), a row a share.", metavar="FILE…")],
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Post sales that are owed to several payees; each file whole or not at all, up to the first that is refused.

    Columns: entry_key,effective_date,received,amount,currency,payee,weight and, where needed, commission (percent),
    commission_account,fees (net or gross),receivable,description,reference. The rows of a sale share its key.
    Importing a file again changes nothing.

    Example: `nostro import splits sales-2026-11-02.csv`
    """

    def post(s: Session, path: Path) -> ImportReport:
        content = path.read_bytes()
        rows = read_splits(path.name, content)
        return import_splits(s.conn, book_id=s.book_id, name=path.name, content=content, rows=rows)

    def said(r: ImportReport) -> str:
        return f"{r.entries:,} sales, {r.new_entries:,} new, {r.postings:,} postings"

    import_each(files, post, said, as_json=as_json, book=book)


def split_command(
    key: Annotated[str, typer.Argument(help="The sale's own key; posting it again changes nothing.")],
    amount: Annotated[str, typer.Option("--amount", help="What was sold for, like 100.00; negative: its refund.")],
    currency: Annotated[str, typer.Option("--currency", help="Like EUR.")],
    received: Annotated[str, typer.Option("--received", help="The account that the money came to.")],
    day: Annotated[str, typer.Option("--date", callback=date_text, help="Effective date.")],
    share: Annotated[
        list[str],
        typer.Option("--share", help="PAYEE=WEIGHT: a payee (or account) and its part; may be given again."),
    ],
    commission: Annotated[str, typer.Option("--commission", help="What the platform keeps, in percent.")] = "",
    income: Annotated[str, typer.Option("--commission-account", help="The income account of the commission.")] = "",
    gross: Annotated[
        str, typer.Option("--gross", help="Payees get the whole and owe the commission on this account.")
    ] = "",
    description: Annotated[str, typer.Option("--description", help="Kept with the entry.")] = "",
    reference: Annotated[str, typer.Option("--reference", help="Kept with the entry.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the postings; nothing is posted.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Post one sale that is owed to several payees, less the platform's commission, to the cent.

    Example: `nostro split s-7 --date 2026-11-02 --received assets:cash --amount 9 --currency EUR --share A --share B`
    """
    head = SplitRow(
        line=1,
        entry_key=key,
        effective_date=day,
        received=received,
        amount=amount,
        currency=currency,
        commission=commission,
        commission_account=income,
        fees="gross" if gross else "",
        receivable=gross,
        description=description,
        reference=reference,
    )
    rows = [split_row(head, share=each) for each in share]
    with session(book=book) as s:
        legs = composed_splits(s.conn, book_id=s.book_id, rows=rows)
        report = None
        if not dry_run:
            content = json.dumps([[getattr(row, name) for name in SPLIT_COLUMNS] for row in rows]).encode()
            report = import_splits(s.conn, book_id=s.book_id, name=f"split {key}", content=content, rows=rows)
            publish(s.conn)

    def text() -> None:
        table(None, ("account", "amount", "ccy"), [_cells(leg) for leg in legs], right=(1,))
        console.print("nothing was posted" if report is None else "posted" if report.new_entries else "posted before")

    emit({"entry": key, "postings": legs, "posted": report}, text, as_json=as_json)


def _cells(leg: SplitLeg) -> tuple[object, ...]:
    return leg.account, format_amount(leg.amount_minor, leg.exponent), leg.currency
