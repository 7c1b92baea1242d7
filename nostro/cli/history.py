"""Commands on the past of the books: statements by date and page, and what later knowledge changed."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from ledger import (
    Knowledge,
    Restatement,
    StatementCursor,
    StatementPage,
    balance,
    format_amount,
    knowledge_at,
    restatement,
    statement,
    statement_page,
)
from nostro.cli.books import AsOfOption, KnownOption
from nostro.cli.common import (
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    moment_text,
    parse_date,
    parse_moment,
    session,
    table,
)

PAGE = 15  # lines of a page: fewer than 200 buffers whatever the account (docs/as-of.md)


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("statement")(statement_command)
    app.command("restatement")(restatement_command)


def _cursor(text: str | None) -> StatementCursor | None:
    """What a page printed as its end, or a usage error."""
    if text is None:
        return None
    try:
        day, posting_id, balance_minor = text.split("/")
        return StatementCursor(date.fromisoformat(day), int(posting_id), int(balance_minor))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not what a page printed after --after") from None


def cursor_text(text: str | None) -> str | None:
    """The same text, once it is known to be a page's end."""
    _cursor(text)
    return text


def statement_command(
    account: Annotated[str, typer.Argument(help="An account code.")],
    first: Annotated[
        str | None, typer.Option("--from", callback=date_text, help="First effective date; prints one page.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", callback=cursor_text, help="Go on where a page ended; prints one page.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Lines of a page (default: 15).")] = None,
    as_of: AsOfOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """An account's postings with the running balance: all of them, or a page.

    Example: `nostro statement liabilities:payable:P000001 --from 2026-11-01 --limit 50`
    """
    if first is not None and after is not None:
        raise typer.BadParameter("take --from or --after, not both")
    day, moment = parse_date(as_of), parse_moment(known_at)
    with session(book=book) as s:
        known = None if moment is None else knowledge_at(s.conn, moment)
        head = balance(s.conn, book_id=s.book_id, account=account)[0]
        if (first, after, limit) == (None, None, None):
            rows = tuple(statement(s.conn, book_id=s.book_id, account=account, as_of=day, known=known))
            page = StatementPage(0, rows, None)
        else:
            start = _cursor(after) or parse_date(first) or date.min
            page = statement_page(
                s.conn, book_id=s.book_id, account=account, start=start, limit=limit or PAGE, as_of=day, known=known
            )

    def text() -> None:
        _print_knowledge(known)
        lines = [
            (
                r.effective_date,
                r.key,
                format_amount(r.amount_minor, head.exponent),
                format_amount(r.balance_minor, head.exponent),
                r.description,
            )
            for r in page.rows
        ]
        table(None, ("date", "entry", "amount", "balance", "text"), lines, right=(2, 3))
        if page.more is not None:
            more = page.more
            console.print(f"more: --after {more.day}/{more.posting_id}/{more.balance_minor}")

    emit(
        {
            "account": account,
            "currency": head.currency,
            "known": known,
            "rows": page.rows,
            "opening_minor": page.opening_minor,
            "more": page.more,
        },
        text,
        as_json=as_json,
    )


def _print_knowledge(known: Knowledge | None) -> None:
    if known is not None:
        console.print(f"as known at sequence {known.seq:,}, published {known.published_at.isoformat()}")


def _moments(text: tuple[str, str]) -> tuple[str, str]:
    for each in text:
        moment_text(each)
    return text


def restatement_command(
    as_of: Annotated[str, typer.Option("--as-of", callback=date_text, help="The date whose balances are compared.")],
    between: Annotated[
        tuple[str, str],
        typer.Option("--between", callback=_moments, help="Two moments with a time zone: as known then, and then."),
    ],
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What later knowledge changed in the balances as of a date, and the entries that changed it.

    Example: `nostro restatement --as-of 2026-10-31 --between 2026-11-02T08:00:00+00:00 2026-11-20T08:00:00+00:00`
    """
    day, then, now = parse_date(as_of), parse_moment(between[0]), parse_moment(between[1])
    assert day is not None and then is not None and now is not None
    with session(book=book) as s:
        report = restatement(
            s.conn,
            book_id=s.book_id,
            as_of=day,
            before=knowledge_at(s.conn, then),
            after=knowledge_at(s.conn, now),
        )
    emit(report, lambda: _print_restatement(report), as_json=as_json)


def _print_restatement(report: Restatement) -> None:
    _print_knowledge(report.before)
    _print_knowledge(report.after)
    if not report.balances and not report.postings:
        console.print(f"nothing changed in the balances as of {report.as_of}")
        return
    balances = [
        (
            b.code,
            *(format_amount(minor, b.exponent) for minor in (b.before_minor, b.after_minor, b.change_minor)),
            b.currency,
        )
        for b in report.balances
    ]
    table(None, ("account", "before", "after", "change", "ccy"), balances, right=(1, 2, 3))
    postings = [
        (p.effective_date, p.key, p.account, format_amount(p.amount_minor, p.exponent), p.currency, p.description)
        for p in report.postings
    ]
    table("because of", ("date", "entry", "account", "amount", "ccy", "text"), postings, right=(3,))
