"""Commands that look at runs: list them, replay one from what it kept, say what changed between two and why."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import currency, format_amount
from nostro.cli.common import (
    EXIT_CHECK_FAILED,
    BookOption,
    JsonOption,
    KnownOption,
    RunDayOption,
    console,
    date_text,
    emit,
    parse_date,
    parse_known,
    progress,
    session,
    table,
)
from nostro.cli.reconciliation import recon_app
from recon import cleared_sets, list_runs, recorded_events, replay, run_diff

RunArgument = Annotated[int, typer.Argument(help="A run, as `nostro recon runs` numbers it.")]


def register(app: typer.Typer) -> None:
    """The commands are in `nostro recon`, which is added by itself."""


@recon_app.command("runs")
def runs_command(
    day: Annotated[str | None, typer.Option("--date", callback=date_text, help="Only of this business date.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Runs of the reconciliation, newest first: day, when, how much, by which rules.

    Example: `nostro recon runs --date 2026-11-02`
    """
    with session(book=book) as s:
        found = list_runs(s.conn, book_id=s.book_id, business_date=parse_date(day))
    columns = ("run", "day", "recorded", "items", "sets", "breaks", "rules", "by")
    cells = [
        (
            *(r.run_id, r.business_date, f"{r.recorded_at:%Y-%m-%d %H:%M:%S %Z}", r.items, r.sets, r.breaks),
            *(r.rules_sha256[:12], r.recorded_by),
        )
        for r in found
    ]
    emit({"runs": found}, lambda: table(None, columns, cells, right=(0, 3, 4, 5)), as_json=as_json)


@recon_app.command("events")
def events_command(
    about: Annotated[str | None, typer.Option("--about", help="Only of this break, set or rule.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 50,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What runs and people recorded, in the order in which it became known: the numbers that `--known-at` takes.

    Example: `nostro recon events --about B123`
    """
    with session(book=book) as s:
        found = recorded_events(s.conn, book_id=s.book_id, subject=about, limit=limit)
    cells = [(e.seq, f"{e.numbered_at:%Y-%m-%d %H:%M:%S %Z}", e.by, e.what, e.subject) for e in found]
    columns = ("number", "known since", "by", "what", "about")
    emit({"events": found}, lambda: table(None, columns, cells, right=(0,)), as_json=as_json)


@recon_app.command("sets")
def sets_command(
    day: RunDayOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Cleared sets that count on a day and stand: their rule or who decided, their proof, their value, their postings.

    Example: `nostro recon sets --date 2026-11-02`
    """
    with session(book=book) as s:
        found = cleared_sets(s.conn, book_id=s.book_id, business_date=parse_date(day), known_at=parse_known(known_at))
    columns = ("set", "rule", "bank account", "legs", "value", "ccy", "rivals", "margin", "run", "by")
    cells = [
        (
            *(c.match_set_id, c.rule, c.bank_account, c.leg_count),
            *(format_amount(c.value_minor, currency(c.currency).exponent), c.currency, c.rivals, c.margin, c.run_id),
            c.decided_by,
        )
        for c in found
    ]
    emit({"sets": found}, lambda: table(None, columns, cells, right=(0, 3, 4, 6, 7, 8)), as_json=as_json)


@recon_app.command("diff")
def diff_command(run_a: RunArgument, run_b: RunArgument, as_json: JsonOption = False, book: BookOption = None) -> None:
    """Every decision that changed from one run to another, and its cause: data, rule, calendar or code.

    The cause is computed: run A is decided again with one thing of run B after the other.

    Example: `nostro recon diff 3 4`
    """
    with session(book=book) as s, progress("comparing", quiet=as_json):
        found = run_diff(s.conn, book_id=s.book_id, run_a=run_a, run_b=run_b)

    def text() -> None:
        for line in found.render():
            console.print(line)

    emit(found, text, as_json=as_json)


@recon_app.command("rerun")
def rerun_command(run_id: RunArgument, as_json: JsonOption = False, book: BookOption = None) -> None:
    """Decide a run again from the inputs it kept, and compare; status 5 when anything is decided otherwise now.

    Example: `nostro recon rerun 3`
    """
    with session(book=book) as s, progress("replaying", quiet=as_json):
        found = replay(s.conn, book_id=s.book_id, run_id=run_id)

    def text() -> None:
        for posting, then, now in found.differences:
            console.print(f"  {posting}: {then} -> {now}")
        rules = "the same rules" if found.is_same_rules else "other rules"
        code = "the same code" if found.is_same_code else "other code"
        console.print(
            f"run {run_id}: {found.items} items, {len(found.differences)} decided otherwise ({rules}, {code})"
        )

    emit(found, text, as_json=as_json)
    if found.differences:
        raise typer.Exit(EXIT_CHECK_FAILED)
