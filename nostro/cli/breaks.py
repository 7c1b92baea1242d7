"""Commands of breaks: what is open and why, whose it is, what closes it, and who approved that."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import format_amount, parse_amount_minor
from ledger.errors import AmountError
from ledger.money import CURRENCIES
from nostro.cli.common import (
    AsOption,
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
    reason_text,
    session,
    table,
)
from recon import (
    BoardRow,
    BreakCode,
    BreakStateError,
    EntryLeg,
    Filters,
    Proposed,
    Severity,
    Wish,
    approve_proposal,
    assign_break,
    break_counterfactuals,
    break_explain,
    break_show,
    breaks_list,
    end_proposal,
    note_break,
    open_proposal,
    propose,
    reopen_break,
    resolve_break,
)

breaks_app = typer.Typer(no_args_is_help=True, help="What is open and why, and what closes it.")

BreakArgument = Annotated[str, typer.Argument(help="A break, as `nostro breaks list` names it.")]
ReasonOption = Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")]
DueOption = Annotated[str | None, typer.Option("--due", callback=date_text, help="Until when, like 2026-11-06.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(breaks_app, name="breaks")


def _code(text: str | None) -> str | None:
    if text is not None and text not in set(BreakCode):
        raise typer.BadParameter(f"{text!r} is not a break code; codes are {', '.join(BreakCode)}")
    return text


def _severity(text: str | None) -> str | None:
    if text is not None and text not in set(Severity):
        raise typer.BadParameter(f"{text!r} is not critical, high, medium or low")
    return text


def _amount(minor: int, code: str) -> str:
    return format_amount(minor, CURRENCIES[code].exponent)


_COLUMNS = (
    *("break", "code", "severity", "state", "owner", "due", "bank account", "reference"),
    *("amount", "ccy", "items", "since", "age"),
)


def _cells(row: BoardRow) -> tuple[object, ...]:
    amount = _amount(row.amount_minor, row.currency)
    return (
        *(row.break_id, row.code, row.severity, row.state, row.owner, row.due_date, row.bank_account, row.item_ref),
        *(amount, row.currency, row.item_count, row.first_date, row.age_days),
    )


@breaks_app.command("list")
def list_command(
    day: RunDayOption = None,
    code: Annotated[str | None, typer.Option("--code", callback=_code, help="Only breaks of this code.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only of this bank account.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only of this person; '' for nobody's.")] = None,
    severity: Annotated[
        str | None, typer.Option("--severity", callback=_severity, help="critical, high, medium or low.")
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="open, assigned, proposed, approved, reopened.")] = None,
    age: Annotated[int | None, typer.Option("--age", min=0, help="Only this many business days old, or more.")] = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Open breaks, each with exactly one code, its severity, state, owner and due date.

    Example: `nostro breaks list --severity high --owner alice`
    """
    filters = Filters(code=code, bank_account=account, owner=owner, severity=severity, state=state, min_age_days=age)
    with session(book=book) as s:
        rows = breaks_list(
            s.conn,
            book_id=s.book_id,
            business_date=parse_date(day),
            filters=filters,
            known_at=parse_known(known_at),
        )
    cells = [_cells(row) for row in rows]
    emit(
        {"breaks": rows},
        lambda: table(None, _COLUMNS, cells, right=(8, 10, 12)) if rows else console.print("no breaks"),
        as_json=as_json,
    )


@breaks_app.command("show")
def show_command(
    break_id: BreakArgument,
    day: RunDayOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """One break: its items, why it is open, what was proposed, decided and posted, and its history.

    Example: `nostro breaks show B123`
    """
    with session(book=book) as s:
        found = break_show(
            s.conn,
            book_id=s.book_id,
            break_id=break_id,
            business_date=parse_date(day),
            known_at=parse_known(known_at),
        )

    def text() -> None:
        for line in found.render():
            console.print(line)

    emit(found, text, as_json=as_json)


@breaks_app.command("explain")
def explain_command(
    break_id: BreakArgument,
    day: RunDayOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Why a break is open, and each single change that would close it, proved by running the rules with it.

    Example: `nostro breaks explain B123`
    """
    at = parse_known(known_at)
    with session(book=book) as s:
        on = parse_date(day)
        said = break_explain(s.conn, book_id=s.book_id, break_id=break_id, business_date=on, known_at=at)
        ways = break_counterfactuals(s.conn, book_id=s.book_id, break_id=break_id, business_date=on, known_at=at)

    def text() -> None:
        console.print(said)
        for way in ways:
            console.print(f"  closes {way.text}")

    emit({"break": break_id, "explanation": said, "closes": ways}, text, as_json=as_json)


@breaks_app.command("assign")
def assign_command(
    break_id: BreakArgument,
    owner: Annotated[str, typer.Argument(help="The person whose it is from now on.")],
    due: DueOption = None,
    note: Annotated[str | None, typer.Option("--note", help="A word with it.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Give a break to a person, with a due date.

    Example: `nostro breaks assign B123 alice --due 2026-11-06 --as bob`
    """
    with session(person, book) as s:
        state = assign_break(s.conn, book_id=s.book_id, break_id=break_id, owner=owner, due=parse_date(due), note=note)
    _said({"break": break_id, "owner": owner, "state": state}, f"{break_id} is {owner}'s, {state}", as_json)


@breaks_app.command("note")
def note_command(
    break_id: BreakArgument,
    note: Annotated[str, typer.Argument(callback=reason_text, help="What there is to say.")],
    due: DueOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Add a note to a break; nothing else changes, except the due date when one is given.

    Example: `nostro breaks note B123 "asked the bank, ticket 4711" --as alice`
    """
    with session(person, book) as s:
        state = note_break(s.conn, book_id=s.book_id, break_id=break_id, note=note, due=parse_date(due))
    _said({"break": break_id, "state": state}, f"noted; {break_id} is {state}", as_json)


def _leg(text: str) -> EntryLeg:
    account, _, amount = text.rpartition("=")
    code = account.rsplit(":", 1)[-1].upper()
    if not account or code not in CURRENCIES:
        raise typer.BadParameter(f"{text!r} is not like expenses:bank-fees:eur=2.50 (account, debit +)")
    try:
        return EntryLeg(account, code, parse_amount_minor(amount, CURRENCIES[code].exponent))
    except AmountError as error:
        raise typer.BadParameter(str(error)) from None


@breaks_app.command("propose")
def propose_command(
    break_id: BreakArgument,
    reason: ReasonOption,
    template: Annotated[
        str | None, typer.Option("--template", help="How to book it; default: the usual one of its code.")
    ] = None,
    leg: Annotated[
        list[str] | None,
        typer.Option("--leg", help="ACCOUNT=AMOUNT of an entry of your own (debit +), may be given again."),
    ] = None,
    match: Annotated[
        bool, typer.Option("--match", help="No entry: its items belong together and add up to zero.")
    ] = False,
    items: Annotated[
        list[int] | None, typer.Option("--item", help="Only this posting of the break, may be given again.")
    ] = None,
    payment: Annotated[
        str | None, typer.Option("--payment", help="Its line is the return of this payment (EndToEndId).")
    ] = None,
    day: Annotated[
        str | None, typer.Option("--date", callback=date_text, help="Accounting date (default: the first free day).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only try: will this close it? Nothing is recorded.")
    ] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Propose what closes a break: an entry, a match by hand, or (for a statement's finding) to accept it.

    The reconciliation is run with it in memory; what would not close the break is refused. Another person approves.

    Example: `nostro breaks propose B123 --reason "new fee of the bank" --as alice`
    """
    legs = tuple(_leg(text) for text in leg or ())
    wish = Wish(template=template, legs=legs, match=match, items=tuple(items or ()), payment=payment)
    with session(person, book) as s, progress("trying it out", quiet=as_json):
        made = propose(
            s.conn,
            book_id=s.book_id,
            break_id=break_id,
            wish=wish,
            reason=reason,
            day=parse_date(day),
            only_try=dry_run,
        )
    emit(made, lambda: _print_proposed(made), as_json=as_json)


def _print_proposed(made: Proposed) -> None:
    plan = made.plan
    for leg in plan.legs:
        side = "Dr" if leg.amount_minor > 0 else "Cr"
        console.print(f"  {side} {leg.account:<40} {_amount(abs(leg.amount_minor), leg.currency)} {leg.currency}")
    console.print(made.dry_run.sentence())
    if made.adjustment_id is not None:
        console.print(f"proposal {made.adjustment_id} ({plan.kind} {plan.template}, {plan.effective_date})")
        number = made.adjustment_id
        console.print(f"another person approves: nostro breaks approve {plan.break_id} --proposal {number} --as NAME")


@breaks_app.command("approve")
def approve_command(
    break_id: BreakArgument,
    proposal: Annotated[
        int | None, typer.Option("--proposal", help="Only this proposal, as you saw it; another one is refused.")
    ] = None,
    reject: Annotated[
        str | None,
        typer.Option("--reject", callback=reason_text, help="Reject it (the proposer: withdraw it), and why."),
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Approve what another person proposed for a break: its entry is posted; the next run clears it.

    Who gives --proposal approves what they saw, and not what was proposed instead since.

    Example: `nostro breaks approve B123 --proposal 7 --as bob`
    """
    with session(person, book) as s:
        number = open_proposal(s.conn, book_id=s.book_id, break_id=break_id)
        if proposal not in (None, number):
            raise BreakStateError(f"proposal {proposal} of break {break_id} does not stand; {number} does: look at it.")
        if reject is not None:
            outcome = end_proposal(s.conn, book_id=s.book_id, adjustment_id=number, reason=reject)
            said, entry = f"proposal {number} is {outcome}", None
        else:
            entry = approve_proposal(s.conn, book_id=s.book_id, adjustment_id=number)
            outcome = "approved"
            said = f"proposal {number} is approved" + ("" if entry is None else f"; posted as adjustment:{number}")
    value = {"break": break_id, "proposal": number, "outcome": outcome, "entry_id": entry}
    _said(value, said, as_json)


@breaks_app.command("resolve")
def resolve_command(
    break_id: BreakArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say that a break is over; the last run must no longer have it. (Runs do so by themselves.)

    Example: `nostro breaks resolve B123 --reason "the bank reversed it" --as alice`
    """
    with session(person, book) as s:
        state = resolve_break(s.conn, book_id=s.book_id, break_id=break_id, note=reason)
    _said({"break": break_id, "state": state}, f"{break_id} is {state}", as_json)


@breaks_app.command("reopen")
def reopen_command(
    break_id: BreakArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Take a break up again: one that is still there, or a statement's finding that was accepted.

    Example: `nostro breaks reopen S3 --reason "the bank sent a third version" --as alice`
    """
    with session(person, book) as s:
        state = reopen_break(s.conn, book_id=s.book_id, break_id=break_id, reason=reason)
    _said({"break": break_id, "state": state}, f"{break_id} is {state}", as_json)


def _said(value: dict[str, object], text: str, as_json: bool) -> None:
    emit(value, lambda: console.print(text), as_json=as_json)
