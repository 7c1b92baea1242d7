"""Commands of decisions about many breaks: spreadsheets, routine classes, severity thresholds, what policies post."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger import format_amount, parse_amount_minor
from ledger.errors import AmountError
from ledger.money import CURRENCIES
from nostro.cli.breaks import ReasonOption, breaks_app
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    RunDayOption,
    console,
    date_text,
    emit,
    parse_date,
    progress,
    session,
    table,
    today,
)
from recon import (
    DAILY_COUNT,
    TEMPLATES,
    BreakCode,
    Filters,
    Policy,
    Threshold,
    approve_policy,
    declare_policy,
    end_policy,
    export_breaks,
    import_decisions,
    policies,
    post_routine_breaks,
    set_severity,
    severity_thresholds,
    suspense_buckets,
    suspense_items,
)

FileArgument = Annotated[Path, typer.Argument(help="A .csv or .xlsx file.")]
PolicyArgument = Annotated[int, typer.Argument(help="Its number, as `nostro breaks policies` lists it.")]


def register(app: typer.Typer) -> None:
    """The commands are in `nostro breaks`, which is added by itself."""


def _money(text: str, code: str) -> int:
    try:
        return parse_amount_minor(text, CURRENCIES[code].exponent)
    except AmountError as error:
        raise typer.BadParameter(str(error)) from None


def _currency(text: str) -> str:
    if text not in CURRENCIES:
        raise typer.BadParameter(f"{text!r} is not a currency")
    return text


@breaks_app.command("export")
def export_command(
    file: FileArgument,
    day: RunDayOption = None,
    code: Annotated[str | None, typer.Option("--code", help="Only breaks of this code.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only of this person; '' for nobody's.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Write the open breaks to a spreadsheet with empty columns for decisions: action, owner, due, template, reason.

    Example: `nostro breaks export breaks.xlsx`
    """
    if file.suffix.lower() not in (".csv", ".xlsx"):
        raise typer.BadParameter(f"{file.name!r} ends with neither .csv nor .xlsx", param_hint="FILE")
    with session(book=book) as s:
        filters = Filters(code=code, owner=owner)
        count = export_breaks(s.conn, book_id=s.book_id, path=file, business_date=parse_date(day), filters=filters)
    emit({"file": file, "breaks": count}, lambda: console.print(f"{count} breaks written to {file}"), as_json=as_json)


@breaks_app.command("import")
def import_command(
    file: FileArgument, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Carry out the decisions of an exported spreadsheet, all or none; every fault is listed with its row.

    Rows whose break changed since the export are faults. The same file again changes nothing.

    Example: `nostro breaks import breaks.xlsx --as alice`
    """
    with session(person, book) as s, progress("deciding", quiet=as_json):
        done = import_decisions(s.conn, book_id=s.book_id, path=file)

    def text() -> None:
        if not done.is_new:
            console.print(f"{file.name} was carried out before; nothing changed")
            return
        counts = ", ".join(f"{count} {action}" for action, count in done.carried_out.items()) or "nothing to do"
        console.print(f"{counts}; {done.in_effect} in effect already, {done.without} rows without a decision")

    emit(done, text, as_json=as_json)


@breaks_app.command("routine")
def routine_command(as_json: JsonOption = False, book: BookOption = None, person: AsOption = None) -> None:
    """Close what approved policies cover: their entries are posted; the next run clears the breaks. Again: nothing.

    What a policy's limit of the day leaves is proposed only: another person approves it.

    Example: `nostro breaks routine --as alice`
    """
    with session(person, book) as s, progress("posting", quiet=as_json):
        posted = post_routine_breaks(s.conn, book_id=s.book_id)

    def text() -> None:
        waiting = [each for each in posted if each.state != "approved"]
        for each in posted:
            if each.state == "approved":
                console.print(f"{each.plan.break_id} closed by {each.plan.template}: adjustment:{each.adjustment_id}")
        for each in waiting:
            console.print(f"{each.plan.break_id} waits for another person: the policy has reached its limit of the day")
        console.print(f"{len(posted) - len(waiting)} breaks closed by policy, {len(waiting)} over its limit of the day")

    emit({"posted": posted}, text, as_json=as_json)


@breaks_app.command("policies")
def policies_command(as_json: JsonOption = False, book: BookOption = None) -> None:
    """Routine classes: which breaks are closed by which template, up to what amount and how much a day, by whose word.

    Example: `nostro breaks policies`
    """
    with session(book=book) as s:
        found = policies(s.conn, book_id=s.book_id)
    columns = (
        *("policy", "code", "template", "account", "up to", "a day", "breaks", "ccy", "used", "state"),
        *("declared by", "approved by", "reason"),
    )

    def cells(p: Policy) -> tuple[object, ...]:
        exponent = CURRENCIES[p.currency].exponent
        used = f"{format_amount(p.used_minor, exponent)} in {p.used_count} on {p.used_date}" if p.used_date else None
        return (
            *(p.policy_id, p.code, p.template, p.account, format_amount(p.maximum_minor, exponent)),
            *(format_amount(p.daily_minor, exponent), p.daily_count, p.currency, used, p.state),
            *(p.declared_by, p.approved_by, p.reason),
        )

    emit(
        {"policies": found},
        lambda: table(None, columns, [cells(p) for p in found], right=(0, 4, 5, 6)) if found else console.print("none"),
        as_json=as_json,
    )


@breaks_app.command("policy")
def policy_command(
    code: Annotated[str, typer.Argument(help="The code of the breaks.")],
    template: Annotated[str, typer.Argument(help="How they are booked.")],
    maximum: Annotated[str, typer.Option("--max", help="Up to this amount a break, like 5.00.")],
    reason: ReasonOption,
    daily: Annotated[
        str | None, typer.Option("--daily", help="Up to this amount a business date (default: ten times --max).")
    ] = None,
    daily_count: Annotated[
        int, typer.Option("--daily-count", min=1, help="In how many breaks a business date.")
    ] = DAILY_COUNT,
    currency: Annotated[str, typer.Option("--currency", callback=_currency, help="Of which currency.")] = "EUR",
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Declare a routine class; it is in force once another person approved it. Beyond its limits a day people decide.

    Example: `nostro breaks policy FEE_DIFF bank-fee --max 5.00 --reason "small fees are ours" --as alice`
    """
    if code not in set(BreakCode):
        raise typer.BadParameter(f"{code!r} is not a break code; codes are {', '.join(BreakCode)}")
    if template not in TEMPLATES:
        raise typer.BadParameter(f"{template!r} is not a template; there are {', '.join(TEMPLATES)}")
    amount = _money(maximum, currency)
    with session(person, book) as s:
        number = declare_policy(
            s.conn,
            book_id=s.book_id,
            code=BreakCode(code),
            template=template,
            currency=currency,
            maximum_minor=amount,
            reason=reason,
            daily_minor=None if daily is None else _money(daily, currency),
            daily_count=daily_count,
        )
    said = f"policy {number} is declared; another person approves: nostro breaks policy-approve {number} --as NAME"
    emit({"policy": number}, lambda: console.print(said), as_json=as_json)


@breaks_app.command("policy-approve")
def policy_approve_command(
    policy_id: PolicyArgument, as_json: JsonOption = False, book: BookOption = None, person: AsOption = None
) -> None:
    """Put a policy in force that another person declared.

    Example: `nostro breaks policy-approve 1 --as bob`
    """
    with session(person, book) as s:
        is_new = approve_policy(s.conn, book_id=s.book_id, policy_id=policy_id)
    said = f"policy {policy_id} is in force{'' if is_new else ' already, or not known'}"
    emit({"policy": policy_id, "is_new": is_new}, lambda: console.print(said), as_json=as_json)


@breaks_app.command("policy-end")
def policy_end_command(
    policy_id: PolicyArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """End a policy; what it would have covered waits for people again.

    Example: `nostro breaks policy-end 1 --reason "the fees have changed" --as bob`
    """
    with session(person, book) as s:
        is_new = end_policy(s.conn, book_id=s.book_id, policy_id=policy_id, reason=reason)
    said = f"policy {policy_id} has ended{'' if is_new else ' before, or is not known'}"
    emit({"policy": policy_id, "is_new": is_new}, lambda: console.print(said), as_json=as_json)


def _threshold(text: str) -> Threshold:
    """One line like ``high:EUR:10000.00``, ``medium:age:2`` or ``critical:code:DUP_BANK``."""
    severity, _, rest = text.partition(":")
    kind, _, value = rest.partition(":")
    if severity in ("critical", "high", "medium") and value:
        if kind == "age" and value.isdigit():
            return Threshold(severity=severity, age_days=int(value))
        if kind == "code" and value in set(BreakCode):
            return Threshold(severity=severity, code=value)
        if kind in CURRENCIES:
            return Threshold(severity=severity, currency=kind, amount_minor=_money(value, kind))
    raise typer.BadParameter(f"{text!r} is not like high:EUR:10000.00, medium:age:2 or critical:code:DUP_BANK")


@breaks_app.command("thresholds")
def thresholds_command(
    lines: Annotated[
        list[str] | None, typer.Option("--set", help="high:EUR:10000.00, medium:age:2 or critical:code:DUP_BANK.")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """From what amount, age or code on a break is critical, high or medium; `--set` declares all of them anew.

    Example: `nostro breaks thresholds --set high:EUR:10000.00 --set high:age:5 --as alice`
    """
    wanted = [_threshold(line) for line in lines or ()]
    with session(person, book) as s:
        if wanted:
            set_severity(s.conn, book_id=s.book_id, thresholds=wanted)
        found = severity_thresholds(s.conn, book_id=s.book_id)

    def text() -> None:
        for line in found:
            amount = ""
            if line.amount_minor is not None and line.currency is not None:
                amount = f"{format_amount(line.amount_minor, CURRENCIES[line.currency].exponent)} {line.currency}"
            age = f"{line.age_days} business days" if line.age_days is not None else ""
            console.print(f"{line.severity}: {line.code or amount or age}")
        if not found:
            console.print("the built-in thresholds hold; docs/breaks.md lists them")

    emit({"thresholds": found}, text, as_json=as_json)


@breaks_app.command("suspense")
def suspense_command(
    day: Annotated[
        str | None, typer.Option("--date", callback=date_text, help="Accounting day (default: today).")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """What waits on suspense accounts, the oldest first, with the break it came from and totals by age.

    An entry with the same reference takes it on.

    Example: `nostro breaks suspense --date 2026-11-30`
    """
    with session(book=book) as s:
        items = suspense_items(s.conn, book_id=s.book_id, as_of=parse_date(day) or today())
    buckets = suspense_buckets(items)

    def text() -> None:
        if not items:
            console.print("nothing waits on a suspense account")
            return
        cells = [
            (
                i.age_days,
                i.account,
                format_amount(i.amount_minor, i.exponent),
                i.currency,
                i.reference,
                i.code,
                i.since,
                i.reason,
            )
            for i in items
        ]
        heads = ("days", "account", "amount", "ccy", "reference", "code", "since", "reason")
        table(None, heads, cells, right=(0, 2))
        sums = [
            (b.account, b.bucket, b.item_count, format_amount(b.amount_minor, b.exponent), b.currency) for b in buckets
        ]
        table(None, ("account", "days", "items", "amount", "ccy"), sums, right=(2, 3))

    emit({"items": items, "buckets": buckets}, text, as_json=as_json)
