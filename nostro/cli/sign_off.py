"""Commands around sign-off: names under certificates, the cash identity, samples, rules, sets taken back."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger import RefusedError, format_amount, parse_amount_minor
from ledger.errors import AmountError
from ledger.money import CURRENCIES
from nostro.cli.common import (
    EXIT_CHECK_FAILED,
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
    reason_text,
    session,
    table,
)
from nostro.cli.reconciliation import recon_app
from recon import (
    AuditSample,
    cash_identity,
    demote_rules,
    draw_sample,
    request_unmatch,
    review_set,
    rule_precision,
    set_rule_status,
    sign_off,
    sign_offs,
    unmatch_set,
)

DayArgument = Annotated[str, typer.Argument(callback=date_text, help="Business date, like 2026-11-02.")]
AccountOption = Annotated[str | None, typer.Option("--account", help="Only this bank account (default: every one).")]


def register(app: typer.Typer) -> None:
    """The commands are in `nostro recon`, which is added by itself."""


@recon_app.command("unmatch")
def unmatch_command(
    match_set_id: Annotated[int, typer.Argument(help="The cleared set, as `nostro trace` names it.")],
    reason: Annotated[
        str | None,
        typer.Option("--reason", callback=reason_text, help="Why; another person then approves."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Do it, as another person asked.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Take a cleared set back: one person asks with a reason, another approves; the set stays in the history.

    Example: `nostro recon unmatch 17 --reason "another customer's payment" --as alice`
    """
    if approve == (reason is not None):
        raise typer.BadParameter("give --reason to ask for it, or --approve to do what another person asked")
    with session(person, book) as s:
        if reason is not None:
            number = request_unmatch(s.conn, match_set_id=match_set_id, reason=reason)
            value: dict[str, int | None] = {"match_set_id": match_set_id, "request_id": number, "open_again": 0}
            said = f"asked; another person does it: nostro recon unmatch {match_set_id} --approve --as NAME"
        else:
            count = unmatch_set(s.conn, match_set_id=match_set_id)
            value = {"match_set_id": match_set_id, "request_id": None, "open_again": count}
            said = f"{count} postings of set {match_set_id} are open again; run the reconciliation"
    emit(value, lambda: console.print(said), as_json=as_json)


@recon_app.command("signoff")
def signoff_command(
    day: DayArgument,
    account: AccountOption = None,
    certificate: Annotated[
        str | None,
        typer.Option("--certificate", help="Only if it is still this one, by the first letters of its hash."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Only say who has signed.")] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Sign a day's certificates by their hashes: the first person prepares, another (an approver) reviews.

    Impossible while a certificate is missing: across a gap, an unproven statement, a residual that is not 0. A day
    whose numbers change after sign-off is a LATE_CHANGE, and waits for two names again.

    Example: `nostro recon signoff 2026-11-02 --as alice`
    """
    date = parse_date(day)
    assert date is not None
    with session(person, book) as s:
        done = []
        if not show:
            done = sign_off(
                s.conn, book_id=s.book_id, business_date=date, bank_account=account, certificate=certificate
            )
        stands = sign_offs(s.conn, book_id=s.book_id, business_date=date)
    roles = {each.bank_account: each.role for each in done}

    def text() -> None:
        for each in stands:
            names = " and ".join(filter(None, (each.prepared_by, each.reviewed_by)))
            now = f"{roles[each.bank_account]} now; " if roles.get(each.bank_account) else ""
            console.print(f"{each.bank_account} {each.sha256[:12]}: {now}{each.state}{f' by {names}' if names else ''}")
        if not stands:
            console.print(f"no certificate holds for {day}")

    emit({"signed_now": done, "certificates": stands}, text, as_json=as_json)


@recon_app.command("identity")
def identity_command(
    day: RunDayOption = None,
    known_at: KnownOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """The cash identity, itemised: ledger cash = bank closing + files in flight + unmatched.

    Status 5 when it does not hold.

    Example: `nostro recon identity --date 2026-11-02`
    """
    with session(book=book) as s:
        found = cash_identity(s.conn, book_id=s.book_id, business_date=parse_date(day), known_at=parse_known(known_at))

    def text() -> None:
        for line in found.render():
            console.print(line)

    emit(found, text, as_json=as_json)
    if not found.holds:
        raise typer.Exit(EXIT_CHECK_FAILED)


@recon_app.command("sample")
def sample_command(
    day: DayArgument,
    account: Annotated[str, typer.Option("--account", help="The bank account.")],
    size: Annotated[int, typer.Option("--size", min=1, help="How many sets to look at, about.")] = 60,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Draw a day's audit sample (minor units weighed by risk, seeded by the certificate), or show it and its bound.

    Example: `nostro recon sample 2026-11-02 --account eur-payouts --as alice`
    """
    date = parse_date(day)
    assert date is not None
    with session(person, book) as s:
        found = draw_sample(s.conn, book_id=s.book_id, business_date=date, bank_account=account, wanted=size)
    _print_sample(found, as_json)


@recon_app.command("review")
def review_command(
    match_set_id: Annotated[int, typer.Argument(help="A set of the sample.")],
    sample: Annotated[int, typer.Option("--sample", help="The sample, as `nostro recon sample` numbers it.")],
    false: Annotated[
        str, typer.Option("--false", help="How much of it was cleared falsely, like 10.00; 0: it is right.")
    ] = "0",
    currency: Annotated[str, typer.Option("--currency", help="The currency of the amount.")] = "EUR",
    note: Annotated[str | None, typer.Option("--note", help="What is wrong with it.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Say what looking at a sampled set showed; with the last one, the bound on the value falsely cleared is known.

    Example: `nostro recon review 17 --sample 1 --false 10.00 --note "another payee" --as alice`
    """
    if currency not in CURRENCIES:
        raise typer.BadParameter(f"{currency!r} is not a currency", param_hint="--currency")
    try:
        amount = parse_amount_minor(false, CURRENCIES[currency].exponent)
    except AmountError as error:
        raise typer.BadParameter(str(error), param_hint="--false") from None
    with session(person, book) as s:
        found = review_set(
            s.conn, book_id=s.book_id, sample_id=sample, match_set_id=match_set_id, false_minor=amount, note=note
        )
    _print_sample(found, as_json)


def _print_sample(found: AuditSample, as_json: bool) -> None:
    def text() -> None:
        for line in found.render():
            console.print(line)

    emit(found, text, as_json=as_json)


@recon_app.command("rules")
def rules_command(
    demote: Annotated[
        bool, typer.Option("--demote", help="Rules surely below the target only suggest from now on.")
    ] = False,
    suggest: Annotated[str | None, typer.Option("--suggest", help="Let this rule only suggest.")] = None,
    trust: Annotated[str | None, typer.Option("--trust", help="Let it clear by itself again (approver).")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", callback=reason_text, help="Why, with --suggest or --trust.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="The precision asked for, in per cent.")] = "99.8",
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Each rule's precision by what people reviewed or took back, with exact 95 % bounds; rules that only suggest.

    Example: `nostro recon rules --demote --target 99.8`
    """
    if ((suggest or trust) is None) != (reason is None) or (suggest and trust):
        raise typer.BadParameter("--suggest or --trust goes with --reason")
    try:
        target_ppm = parse_amount_minor(target, 4)
    except AmountError as error:
        raise typer.BadParameter(str(error), param_hint="--target") from None
    with session(person, book) as s:
        if demote:
            demote_rules(s.conn, book_id=s.book_id, target_ppm=target_ppm)
        named = suggest or trust
        if named is not None:
            known = {found.rule: found for found in rule_precision(s.conn, book_id=s.book_id)}
            if named not in known:
                raise RefusedError(f"rule {named!r} has cleared nothing; rules are {', '.join(known) or 'none'}.")
            set_rule_status(
                s.conn,
                book_id=s.book_id,
                found=known[named],
                status="suggest" if suggest else "auto",
                reason=reason or "",
                target_ppm=target_ppm,
            )
        rules = rule_precision(s.conn, book_id=s.book_id)

    def percent(ppm: int) -> str:
        return f"{format_amount(ppm, 4)} %"

    cells = [
        (r.rule, r.sets, r.reviewed, r.wrong, percent(r.lower_ppm), percent(r.upper_ppm), r.status, r.reason)
        for r in rules
    ]
    columns = ("rule", "sets", "reviewed", "wrong", "at least", "at most", "clears", "why")
    emit({"rules": rules}, lambda: table(None, columns, cells, right=(1, 2, 3, 4, 5)), as_json=as_json)
