"""What the steps ask of reconciliation."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ledger
import recon
from dagster_project.resources import Session
from dagster_project.rooms.answers import Report, Table, Verdict, money
from recon.accounts import bank_accounts
from recon.breaks import taxonomy_digest_parts
from recon.check import FileOutcome
from recon.matching.rules import rules_sha256

WAREHOUSE = "nostro.duckdb"

# Changes with every rule that could decide differently; the UI then marks older results as outdated.
RULES_VERSION = rules_sha256(taxonomy_digest_parts())[:12]


def inbox_files(session: Session) -> list[Path]:
    """Statements and payout reports in the banks' inboxes; what is still being written has a hidden name."""
    return recon.arrived_files(session.conn, book_id=session.book_id, home=session.home)


def closing_days(files: Sequence[Path]) -> list[tuple[Path, frozenset[dt.date]]]:
    """The days that end-of-day statements in each file close; none for notifications, reports and unreadable files."""
    statements = [file for file in files if file.suffix != ".csv"]
    closes = {Path(outcome.name): _closes(outcome) for outcome in recon.check_files(statements).files}
    return [(file, closes.get(file, frozenset())) for file in files]


def _closes(outcome: FileOutcome) -> frozenset[dt.date]:
    closings = (told.statement.closing for told in outcome.statements if told.statement.is_end_of_day)
    return frozenset(closing.day for closing in closings if closing is not None and closing.day is not None)


def ingest(session: Session) -> Report:
    """Take in every statement and payout report of the inboxes; one taken in before changes nothing."""
    taken = recon.ingest_files(session.conn, book_id=session.book_id, paths=inbox_files(session))
    fresh = [file for file in taken.files if file.outcome != "duplicate"]
    rows: list[tuple[object, ...]] = [
        (file.name, file.outcome, told.account, told.stmt_id, told.closing_date, told.state, told.message)
        for file in fresh
        for told in file.statements
    ]
    rows += [(file.name, file.outcome, "", "", "", "", file.reason) for file in fresh if not file.statements]
    columns = ("file", "outcome", "bank account", "statement", "closes", "state", "what")
    return Report(
        counts={
            "files": len(taken.files),
            "files_taken_in_now": len(fresh),
            "refused": len(taken.refused),
            "booked_lines": taken.booked_lines,
            "expected_receipts": taken.receipts,
        },
        table=Table("new files", columns, tuple(rows)),
    )


_STATEMENTS = """
SELECT bank_account, stmt_id, sequence, currency, opening_minor, closing_minor, row_count, proof, is_booked,
       findings
  FROM recon.statement_status
 WHERE book_id = %s AND closing_date = %s AND kind IN ('camt.053', 'mt940', 'bai2') ORDER BY bank_account, stmt_id
"""


@dataclass(frozen=True, slots=True)
class StatementStatus:
    """A statement that closes on the day, and whether its lines are in the books."""

    bank_account: str
    stmt_id: str
    sequence: int | None
    currency: str
    opening_minor: int | None
    closing_minor: int | None
    lines: int
    proof: str
    is_booked: bool
    findings: str | None


def statements_of(session: Session, day: dt.date) -> list[StatementStatus]:
    """The statements that close on a day."""
    with ledger.translate_errors():
        rows = session.conn.execute(_STATEMENTS, (session.book_id, day)).fetchall()
    return [StatementStatus(*row) for row in rows]  # type: ignore[arg-type]


def statement_table(statements: Sequence[StatementStatus], name: str = "statements") -> Table:
    """One row a statement."""
    columns = ("bank account", "statement", "number", "opening", "closing", "lines", "proof", "state", "findings")
    rows = tuple(
        (
            *(s.bank_account, s.stmt_id, s.sequence),
            *(money(s.opening_minor, s.currency), money(s.closing_minor, s.currency), s.lines, s.proof),
            *("booked" if s.is_booked else "not booked", s.findings),
        )
        for s in statements
    )
    return Table(name, columns, rows)


def statements_proven(session: Session, day: dt.date) -> Verdict:
    """Whether every statement that closes on the day is proven and booked."""
    statements = statements_of(session, day)
    broken = [statement for statement in statements if not statement.is_booked]
    counts = {"statements": len(statements), "unbooked": len(broken)}
    if not broken:
        return Verdict(True, f"{len(statements)} statements of {day} are proven and booked.", counts)
    first = f"{broken[0].stmt_id} of {broken[0].bank_account}: {broken[0].findings or broken[0].proof}"
    sentence = f"{len(broken)} statements of {day} are not booked, first: {first}."
    return Verdict(False, sentence, counts, (statement_table(broken, "not booked"),))


def statement_chain_complete(session: Session, day: dt.date) -> Verdict:
    """Whether every bank account that was open on the day has a booked statement for it."""
    booked = {statement.bank_account for statement in statements_of(session, day) if statement.is_booked}
    accounts = bank_accounts(session.conn, session.book_id)
    expected = [a.code for a in accounts if a.opening_date <= day and a.calendar.is_open(day)]
    missing = [code for code in expected if code not in booked]
    counts = {"expected": len(expected), "missing": len(missing)}
    if not missing:
        return Verdict(True, f"every statement of {day} that was due is booked ({len(expected)}).", counts)
    return Verdict(False, f"no booked statement of {day} for {', '.join(missing)}; ask the bank for it.", counts)


FULL_ON = 5  # Friday's run, ISO weekday: the week ends with one that reads the whole ledger


def reconcile(session: Session, day: dt.date) -> Report:
    """Clear cash in transit as of a day; the same inputs are the same run. A proof that fails raises.

    Once a week the run reads the whole ledger besides, and must see the same as from the run before and the news.
    Rules of which people found too many wrong sets only suggest from now on. Breaks that an approved policy covers get
    their entries, within its limits of a day; the next day's run clears those.
    """
    fallen = recon.demote_rules(session.conn, book_id=session.book_id, only_new=True)
    run = recon.reconcile(
        session.conn,
        book_id=session.book_id,
        business_date=day,
        home=session.home,
        full=day.isoweekday() == FULL_ON,
    )
    routine = recon.post_routine_breaks(session.conn, book_id=session.book_id)
    rows = tuple((r.rule, r.version, r.set_count, r.leg_count, "policy" if r.is_routine else "") for r in run.rules)
    return Report(
        counts={
            "run": run.run_id,
            "sets": sum(rule.set_count for rule in run.rules),
            "postings_cleared": sum(rule.leg_count for rule in run.rules),
            "open_breaks": len(run.breaks),
            "closed_by_policy": sum(each.state == "approved" for each in routine),
            "over_the_limit_of_a_policy": sum(each.state != "approved" for each in routine),
            "rules_that_fell_back": len(fallen),
            "items_in_flight": sum(row.item_count for row in run.in_flight),
        },
        table=Table("cleared", ("rule", "version", "sets", "postings", "by"), rows),
    )


def breaks(session: Session, day: dt.date) -> Report:
    """The breaks of a day's latest run, what they come to, and what is in flight."""
    run = _run(session, day)
    board = recon.breaks_list(session.conn, book_id=session.book_id, business_date=day)
    by_code: dict[tuple[str, str], tuple[int, int]] = {}
    for found in run.breaks:
        count, total = by_code.get((found.code, found.currency), (0, 0))
        by_code[found.code, found.currency] = count + 1, total + found.amount_minor
    sums = tuple((code, n, money(total, ccy)) for (code, ccy), (n, total) in sorted(by_code.items()))
    advice = tuple((found.break_id, found.bank_account, found.explanation, found.proposal) for found in run.breaks)
    in_flight = {f"in flight {row.bank_account}": money(row.amount_minor, row.currency) for row in run.in_flight}
    return Report(
        counts={
            "open_breaks": len(run.breaks),
            "oldest_in_business_days": max((found.age_days for found in run.breaks), default=0),
            "items_in_flight": sum(row.item_count for row in run.in_flight),
            "explained_by_policy": len(run.explained),
        },
        table=_board_table(board),
        more=(
            _counted("by owner", "owner", [row.owner or "nobody's" for row in board]),
            _counted("by severity", "severity", [row.severity for row in board], list(recon.Severity)),
            _counted("by age in business days", "age", [row.bucket for row in board], recon.BUCKETS),
            Table("what would close them", ("break", "bank account", "why", "proposal"), advice),
            Table("breaks by code", ("code", "number", "sum"), sums),
        ),
        texts=in_flight,
    )


def _board_table(board: Sequence[recon.BoardRow]) -> Table:
    """The breaks as people work on them, the most severe and the oldest first."""
    order = list(recon.Severity)
    rows = sorted(board, key=lambda b: (order.index(recon.Severity(b.severity)), -b.age_days, b.break_id))
    columns = ("break", "code", "item", "amount", "days", "severity", "state", "owner", "due")
    return Table(
        "breaks",
        columns,
        tuple(
            (
                *(b.break_id, b.code, b.item_ref, money(b.amount_minor, b.currency), b.age_days),
                *(b.severity, b.state, b.owner, b.due_date),
            )
            for b in rows
        ),
    )


def _counted(name: str, what: str, values: Sequence[str], order: Sequence[str] = ()) -> Table:
    """How often each value occurs, in this order or by name."""
    known = [value for value in order if value in values] or sorted(set(values))
    return Table(name, (what, "breaks"), tuple((str(value), values.count(value)) for value in known))


def _break_table(found: Sequence[recon.BreakRow], name: str = "breaks") -> Table:
    rows = tuple((b.break_id, b.code, b.item_ref, money(b.amount_minor, b.currency), b.age_days) for b in found)
    return Table(name, ("break", "code", "item", "amount", "days"), rows)


def certificates(session: Session, day: dt.date) -> Table:
    """Every bank account's sign-off of the day: its certificate, or why there is none."""
    rows = tuple(
        (done.account, "residual 0", done.sha256[:12], _certificate(session, done))
        if done.sha256
        else (done.account, "not certified" if done.is_expected else "closed", "", done.reason)
        for done in _run(session, day).sign_offs
    )
    return Table("sign-off", ("bank account", "state", "sha256", "certificate, or why there is none"), rows)


def _certificate(session: Session, done: recon.SignOff) -> str:
    path = session.home / "certificates" / done.account / f"{done.business_date}.json"
    return str(path.relative_to(session.home))


def certificate_residual_zero(session: Session, day: dt.date) -> Verdict:
    """Whether every bank account that should be certified for the day is. A residual above 0 is never stored."""
    run = _run(session, day)
    counts = {"certified": len(run.certified), "missing": len(run.uncertified)}
    if not run.uncertified:
        return Verdict(True, f"{len(run.certified)} bank accounts are certified for {day}, residual 0.", counts)
    first = run.uncertified[0]
    rows = tuple((s.account, s.reason) for s in run.uncertified)
    return Verdict(
        False,
        f"{first.account} is not certified for {day}: {first.reason}.",
        counts,
        (Table("not certified", ("bank account", "reason"), rows),),
    )


def signed_off(session: Session, day: dt.date) -> Verdict:
    """Whether two people have signed every certificate of the day that holds now."""
    stands = recon.sign_offs(session.conn, book_id=session.book_id, business_date=day)
    waiting = [each for each in stands if each.state != "signed"]
    counts = {"signed": len(stands) - len(waiting), "waiting": len(waiting)}
    if not waiting:
        return Verdict(bool(stands), f"{len(stands)} certificates of {day} are signed by two people.", counts)
    first = waiting[0]
    rows = tuple((w.bank_account, w.state, w.prepared_by, w.sha256[:12]) for w in waiting)
    return Verdict(
        False,
        f"{len(waiting)} certificates of {day} wait for sign-off; first: {first.bank_account} is {first.state}.",
        counts,
        (Table("waiting for sign-off", ("bank account", "state", "prepared by", "sha256"), rows),),
    )


FAULTS_SHOWN = 20


def run_verified(session: Session, day: dt.date) -> Verdict:
    """Whether the day's latest run holds before the independent verifier: on Friday whole, else from the run before.

    Every run since the last that was verified is looked at, in order: one published in between would else stand unseen.
    """
    latest = _run(session, day).run_id
    since = recon.unverified_runs(session.conn, book_id=session.book_id, run_id=latest)
    for run_id in dict.fromkeys((*since, latest)):
        found = recon.verify_run(
            session.conn,
            book_id=session.book_id,
            run_id=run_id,
            chained=run_id != latest or day.isoweekday() != FULL_ON,
            keep=True,
        )
        if found.faults:
            break
    counts = {"items": found.items, "sets": found.sets, "faults": len(found.faults)}
    if not found.faults:
        return Verdict(
            True, f"run {found.run_id} of {day} holds: {found.sets} sets, {found.breaks} breaks verified.", counts
        )
    first = found.faults[0]
    rows = tuple((fault.kind, fault.place, fault.message) for fault in found.faults[:FAULTS_SHOWN])
    told = f"{first.kind} {first.place}: {first.message}"
    sentence = f"run {found.run_id} of {found.business_date} has {len(found.faults)} faults; first: {told}."
    return Verdict(False, sentence, counts, (Table("faults", ("fault", "where", "what"), rows),))


def cash_identity_holds(session: Session, day: dt.date) -> Verdict:
    """Whether ledger cash is the bank's closing balance, what is in flight and what is unmatched, to the cent."""
    found = recon.cash_identity(session.conn, book_id=session.book_id, business_date=day)
    columns = ("bank account", "line", "item", "number", "amount")
    rows = tuple(
        (line.bank_account, line.line, line.item, line.item_count, money(line.amount_minor, line.currency))
        for line in found.lines
    )
    table = Table("cash identity", columns, rows)
    if found.holds:
        return Verdict(True, f"ledger cash of {day} = bank closing + in flight + unmatched.", tables=(table,))
    return Verdict(False, f"ledger cash of {day} leaves a difference; see the table.", tables=(table,))


AGED_AFTER_DAYS = 5


def aged_breaks(session: Session, day: dt.date) -> Verdict:
    """Whether every break is young enough."""
    old = [found for found in _run(session, day).breaks if found.age_days > AGED_AFTER_DAYS]
    counts = {"breaks_too_old": len(old)}
    if not old:
        return Verdict(True, f"no break is older than {AGED_AFTER_DAYS} business days.", counts)
    oldest = max(found.age_days for found in old)
    sentence = f"{len(old)} breaks are older than {AGED_AFTER_DAYS} business days, the oldest {oldest}."
    return Verdict(False, sentence, counts, (_break_table(old, "aged breaks"),))


def unreconciled_amount(session: Session, day: dt.date) -> Verdict:
    """Whether breaks leave nothing open on cash in transit."""
    sums: dict[str, int] = {}
    for found in _run(session, day).breaks:
        sums[found.currency] = sums.get(found.currency, 0) + abs(found.amount_minor)
    shown = ", ".join(money(total, code) for code, total in sorted(sums.items()) if total)
    if not shown:
        return Verdict(True, f"nothing is unreconciled on {day} beyond what is in flight.")
    return Verdict(False, f"{shown} is unreconciled on {day}; see the table of breaks.")


def _run(session: Session, day: dt.date) -> recon.RunReport:
    return recon.run_report(session.conn, book_id=session.book_id, business_date=day)


COMPLETE_BP, ON_TIME_BP, EXPLAINED_BP = 10_000, 9_500, 9_900


def quality(session: Session, day: dt.date) -> Verdict:
    """Whether the data of the day was complete, cleared in time, and explained; from the analysts' file."""
    accounts = bank_accounts(session.conn, session.book_id)
    due = {a.code for a in accounts if a.opening_date <= day and a.calendar.is_open(day)}
    scores = tuple(
        dataclasses.replace(score, completeness_bp=0)  # a day of which nothing came is not complete
        if score.completeness_bp is None and score.bank_account in due
        else score
        for score in recon.quality_scores(session.home / WAREHOUSE, day)
    )
    columns = ("bank account", "certified", "complete", "in time", "median days to clear", "value explained")
    rows = tuple(
        (s.bank_account, "yes" if s.is_certified else "no", _percent(s.completeness_bp), _percent(s.timeliness_bp),
         s.days_to_clear_median, _percent(s.value_explained_bp))
        for s in scores
    )  # fmt: skip
    shown = (Table("quality", columns, rows),)
    low = [
        f"{score.bank_account} {name} {_percent(found)}"
        for score in scores
        for name, found, least in (
            ("complete", score.completeness_bp, COMPLETE_BP),
            ("in time", score.timeliness_bp, ON_TIME_BP),
            ("explained", score.value_explained_bp, EXPLAINED_BP),
        )
        if found is not None and found < least
    ]
    counts = {"scored": len(scores), "low_scores": len(low)}
    if not low:
        return Verdict(
            True, f"{len(scores)} bank accounts of {day} are complete, in time and explained.", counts, shown
        )
    return Verdict(False, f"low scores of {day}: {'; '.join(low)}.", counts, shown)


def _percent(of_10_000: int | None) -> str:
    return "" if of_10_000 is None else f"{of_10_000 // 100}.{of_10_000 % 100:02d} %"


def export(session: Session) -> tuple[Path, Table, Table]:
    """Build the analysts' file: where it is, rows by table, and what each view answers.

    The morning's entries get their place in knowledge order first, so the file and the books know the same.
    """
    ledger.publish(session.conn)
    built = recon.build_warehouse(session.conn, session.home / WAREHOUSE)
    return (
        built.path,
        Table("tables", ("table", "rows"), tuple(sorted(built.tables.items()))),
        Table("views", ("view", "answers"), tuple(sorted(built.views.items()))),
    )
