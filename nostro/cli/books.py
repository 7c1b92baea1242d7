"""Commands on the books: import, balances, statements, reversal. Closing and proving them have modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ledger import (
    AccountBalance,
    ImportReport,
    Knowledge,
    balance,
    format_amount,
    functional_trial_balance,
    import_journal,
    knowledge_at,
    publish,
    reverse,
    trial_balance,
)
from ledger.errors import CheckFailedError, RefusedError
from nostro.cli import accounts, fx, holds, periods
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    Session,
    console,
    date_text,
    emit,
    moment_text,
    parse_date,
    parse_moment,
    progress,
    reason_text,
    session,
    table,
    today,
)

AsOfOption = Annotated[str | None, typer.Option("--as-of", callback=date_text, help="Effective date, e.g. 2026-11-30.")]
KnownOption = Annotated[
    str | None,
    typer.Option("--known-at", callback=moment_text, help="As the books knew it then, e.g. 2026-12-02T08:00:00+01:00."),
]
import_app = typer.Typer(no_args_is_help=True, help="Bring data into the books.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(import_app, name="import")
    app.command("balance")(balance_command)
    app.command("trial-balance")(trial_balance_command)
    app.command("reverse")(reverse_command)
    periods.register(app)
    accounts.register(app)
    holds.register(app)


@import_app.command("journal")
def import_journal_command(
    files: Annotated[list[Path], typer.Argument(help="Journal files: .csv, .csv.gz or .parquet.", metavar="FILE…")],
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Post every entry of journal files; each file whole or not at all, up to the first that is refused.

    Columns: entry_key,effective_date,account,amount,currency,description,reference (debit positive).
    Importing a file again changes nothing.

    Example: `nostro import journal sales-2026-11-02.csv`
    """

    def post(s: Session, path: Path) -> ImportReport:
        with progress(f"importing {path.name}", quiet=as_json) as report:
            return import_journal(s.conn, book_id=s.book_id, path=path, on_progress=report)

    def said(r: ImportReport) -> str:
        return (
            f"{r.entries:,} entries, {r.new_entries:,} new, {r.postings:,} postings, "
            f"{r.accounts_opened:,} accounts opened"
        )

    import_each(files, post, said, as_json=as_json, book=book)


def import_each(
    files: Sequence[Path],
    post: Callable[[Session, Path], ImportReport],
    said: Callable[[ImportReport], str],
    *,
    as_json: bool,
    book: str | None,
) -> None:
    """Post file after file, up to the first that is refused, publish, and say what came of each.

    The files before a refused one are in the books: that is said first, then the refusal is raised.
    """
    reports: list[tuple[str, ImportReport]] = []
    refusal: RefusedError | None = None
    with session(book=book) as s:
        for path in files:
            try:
                reports.append((path.name, post(s, path)))
            except RefusedError as refused:
                refusal = refused
                break
        if reports:
            publish(s.conn)

    def text() -> None:
        for name, report in reports:
            console.print(f"{name}: {said(report)}")

    if reports:
        emit({"files": [{"file": name, "report": report} for name, report in reports]}, text, as_json=as_json)
    if refusal is not None:
        raise refusal


def _knowledge(s: Session, known_at: str | None) -> Knowledge | None:
    moment = parse_moment(known_at)
    return None if moment is None else knowledge_at(s.conn, moment)


def _print_knowledge(known: Knowledge | None) -> None:
    if known is not None:
        console.print(f"as known at sequence {known.seq:,}, published {known.published_at.isoformat()}")


def balance_command(
    account: Annotated[str, typer.Argument(help="An account code, or a prefix of codes such as liabilities:payable.")],
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """The balance of an account, positive on its normal side.

    Without a date it also says what open holds keep of it.

    Example: `nostro balance assets:bank:eur-payouts --as-of 2026-11-06`
    """
    with session(book=book) as s:
        known = _knowledge(s, known_at)
        rows = balance(s.conn, book_id=s.book_id, account=account, as_of=parse_date(as_of), known=known)

    def text() -> None:
        _print_knowledge(known)
        if not any(r.held_minor for r in rows):
            return table(
                None, ("account", "balance", "currency"), [(r.code, r.text, r.currency) for r in rows], right=(1,)
            )
        lines = [(r.code, r.text, *_held(r), r.currency) for r in rows]
        return table(None, ("account", "balance", "held", "available", "currency"), lines, right=(1, 2, 3))

    emit({"known": known, "balances": rows}, text, as_json=as_json)


def _held(row: AccountBalance) -> tuple[str, str]:
    """What open holds keep, and what they leave, as decimal text."""
    held = row.held_minor or 0
    return format_amount(held, row.exponent), format_amount(row.balance_minor - held, row.exponent)


def trial_balance_command(
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    functional: Annotated[
        bool, typer.Option("--functional", help="In the book's functional currency, at the rates of --as-of.")
    ] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Every account with postings and the proof that debits equal credits.

    Example: `nostro trial-balance --as-of 2026-11-30`
    """
    if functional:
        return _functional(parse_date(as_of), known_at, as_json=as_json, book=book)
    with session(book=book) as s:
        known = _knowledge(s, known_at)
        result = trial_balance(s.conn, book_id=s.book_id, as_of=parse_date(as_of), known=known)

    def text() -> None:
        _print_knowledge(known)
        rows = [(r.code, r.text, r.currency) for r in result.rows]
        table(None, ("account", "balance", "currency"), rows, right=(1,))
        for code, total in sorted(result.totals_minor.items()):
            console.print(f"debits minus credits {code}: {total}")

    emit({"known": known, "trial_balance": result}, text, as_json=as_json)
    if not result.is_zero:
        raise CheckFailedError("the trial balance is not zero; run `nostro verify`.")
    return None


def _functional(as_of: date | None, known_at: str | None, *, as_json: bool, book: str | None) -> None:
    if as_of is None:
        raise typer.BadParameter("--functional needs --as-of: balances are valued at the rates of a date")
    with session(book=book) as s:
        known, moment = _knowledge(s, known_at), parse_moment(known_at)
        told = functional_trial_balance(s.conn, book_id=s.book_id, as_of=as_of, known=known, known_at=moment)
    emit({"known": known, "trial_balance": told}, lambda: fx.print_functional(told), as_json=as_json)


def reverse_command(
    key: Annotated[str, typer.Argument(help="The idempotency key of the entry.")],
    reason: Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept with the reversal.")],
    on: Annotated[str | None, typer.Option("--on", callback=date_text, help="Effective date (default: today).")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Reverse an entry whole, citing it. Books are never changed; they are corrected.

    Example: `nostro reverse sale-17 --reason "booked twice by the shop"`
    """
    day = parse_date(on) or today()
    with session(person, book) as s:
        entry_id = reverse(s.conn, book_id=s.book_id, key=key, effective_date=day, reason=reason)
    emit(
        {"reversed": key, "entry_id": entry_id, "effective_date": day},
        lambda: console.print(f"{key} is reversed by entry {entry_id}, effective {day}"),
        as_json=as_json,
    )
