"""One reconciliation: everything that is open on a day, cleared, explained, published, certified.

Lives here: the order of the steps and the one transaction around them. Must not live here: any rule.

The same inputs are the same run: a second call finds it and writes an attempt row, nothing else. A run reads what was
open in the run before and what is new since; a full run reads the whole ledger besides, and must see the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from psycopg import sql

from ledger import Connection, transaction
from recon.accounts import BankAccount, bank_accounts, tolerances
from recon.breaks import ACQUIRER_SCHEMA, CLEARED_LINE_SCHEMA, Break, taxonomy_digest_parts
from recon.certificate import certify, write_certificates
from recon.codes import BreakCode
from recon.deciding import DECIDED_SCHEMA, Decisions, Members, Remembered, RunInputs, decide
from recon.errors import NoRunError, ReconCheckError
from recon.explain import explain_statement
from recon.item_rows import row_hashes
from recon.matching import ITEM_SCHEMA, Tolerances, rules_sha256
from recon.matching.items import LINE, RECEIPT
from recon.material import code_sha256, keep, pack
from recon.report import RunReport, run_report
from recon.staging import fetch, stage
from recon.verifier_run import verify_run
from settlement import require_service

_FETCHED = {name: kind for name, kind in ITEM_SCHEMA.items() if name not in {"day", "age_days"}} | {
    "is_cleared_later": pl.Boolean()
}


def reconcile(
    conn: Connection, *, book_id: int, business_date: dt.date, home: Path, threads: int = 2, full: bool = False
) -> RunReport:
    """Reconcile every bank account of the book as of a day and certify what can be certified.

    `full`: read the whole ledger too, and refuse the run unless it is what the run before and the news come to; a run
    that was published already is verified whole instead. Raises `ReconCheckError` when a proof does not hold (nothing
    is published then), `ExclusiveLegError` when another run published at the same time (run again), `AccessError` for a
    person's login.
    """
    _refuse_before_opening(conn, book_id, business_date)
    with transaction(conn):
        require_service(conn, "runs are published")
        conn.execute("SELECT recon.post_routine(%s, %s)", (book_id, business_date))
        conn.execute("SELECT recon.take_in(%s)", (book_id,))
        if full:
            _refuse_other_cash(conn, book_id, business_date)
        rules = rules_sha256(taxonomy_digest_parts())
        digest = _input_sha256(conn, book_id, business_date, rules)
        run_id = _known_run(conn, book_id, business_date, digest)
        is_new = run_id is None
        if run_id is None:
            run_id = _publish(conn, book_id, business_date, digest, rules, threads=threads, full=full)
        elif full:
            _refuse_faults(conn, book_id, run_id)
        conn.execute("SELECT recon.log_run(%s, %s)", (run_id, is_new))
        report = run_report(conn, book_id=book_id, business_date=business_date, is_new=is_new)
    # Only now: a certificate on disk is one that is committed.
    with transaction(conn):
        write_certificates(conn, run_id=run_id, home=home)
    return report


def _refuse_before_opening(conn: Connection, book_id: int, business_date: dt.date) -> None:
    row = conn.execute(
        "SELECT min(opening_date) FROM settlement.bank_account WHERE book_id = %s", (book_id,)
    ).fetchone()
    opening = None if row is None else row[0]
    if not isinstance(opening, dt.date):
        raise NoRunError("the book has no bank account to reconcile; declare one by `nostro setup`.")
    if business_date < opening:
        raise NoRunError(f"nothing can be reconciled on {business_date}: the bank accounts open on {opening}.")


def _input_sha256(conn: Connection, book_id: int, business_date: dt.date, rules: str) -> str:
    row = conn.execute(
        "SELECT recon.run_input(%(book)s, %(date)s), recon.decisions_input(%(book)s, %(date)s)",
        {"book": book_id, "date": business_date},
    ).fetchone()
    assert row is not None
    calendars = "\n".join(f"{a.code} {a.calendar.holidays}" for a in bank_accounts(conn, book_id))
    return hashlib.sha256(f"{rules}\n{row[0]}\n{row[1]}\n{code_sha256()}\n{calendars}".encode()).hexdigest()


def _known_run(conn: Connection, book_id: int, business_date: dt.date, digest: str) -> int | None:
    row = conn.execute(
        "SELECT run_id FROM recon.run WHERE book_id = %s AND business_date = %s AND input_sha256 = %s",
        (book_id, business_date, digest),
    ).fetchone()
    return None if row is None else int(str(row[0]))


def _refuse_other_cash(conn: Connection, book_id: int, business_date: dt.date) -> None:
    """Raises `ReconCheckError` unless what was taken in of bank accounts and cash in transit is what the ledger has."""
    row = conn.execute(
        "SELECT a.code FROM recon.cash_at_full(%(book)s, %(date)s) f"
        " FULL JOIN recon.cash_at(%(book)s, %(date)s) c USING (account_id)"
        " FULL JOIN recon.cash_at(%(book)s, %(date)s, false) s USING (account_id)"
        " JOIN ledger.account a USING (account_id)"
        " WHERE (c.posting_count, c.net_minor, c.digest) IS DISTINCT FROM (f.posting_count, f.net_minor, f.digest)"
        " OR (s.posting_count, s.net_minor, s.digest) IS DISTINCT FROM (f.posting_count, f.net_minor, f.digest)"
        " ORDER BY a.code LIMIT 1",
        {"book": book_id, "date": business_date},
    ).fetchone()
    if row is not None:
        raise ReconCheckError(
            f"what was taken in of {row[0]} by {business_date} is not what the ledger has; nothing was published."
        )


def _refuse_faults(conn: Connection, book_id: int, run_id: int) -> None:
    faults = verify_run(conn, book_id=book_id, run_id=run_id).faults
    if faults:
        first = faults[0]
        raise ReconCheckError(
            f"run {run_id} has {len(faults)} faults, first: {first.kind} {first.place}: {first.message};"
            f" all of them: `nostro recon verify {run_id}`."
        )


def _publish(
    conn: Connection, book_id: int, business_date: dt.date, digest: str, rules: str, *, threads: int, full: bool
) -> int:
    accounts = bank_accounts(conn, book_id)
    inputs = read_inputs(conn, book_id, business_date, accounts)
    if full:
        _refuse_other_inputs(inputs, read_inputs(conn, book_id, business_date, accounts, full=True))
    look_up = Remembered(cleared_before(conn, book_id, business_date))
    found = decide(inputs, look_up, threads=threads)
    breaks = [*found.breaks, *_statement_breaks(conn, book_id, business_date, accounts)]
    _stage(conn, inputs, found, breaks)
    before = None if full else run_before(conn, book_id, business_date)
    row = conn.execute(
        "SELECT recon.publish_run(%s, %s, %s, %s, %s, %s, %s)",
        (book_id, business_date, digest, rules, *found.exact_keys, before),
    ).fetchone()
    assert row is not None
    run_id = int(str(row[0]))
    keep(conn, run_id=run_id, inputs=inputs, cleared_before=look_up.found)
    conn.execute("SELECT recon.mark_files(%s, %s)", (run_id, full or before is None))
    for account in accounts:
        certify(conn, run_id=run_id, business_date=business_date, account=account, full=full or before is None)
    conn.execute("SELECT recon.note_late_changes(%s)", (run_id,))
    conn.execute("SELECT recon.follow_breaks(%s)", (run_id,))
    return run_id


def _refuse_other_inputs(some: RunInputs, whole: RunInputs) -> None:
    """Raises `ReconCheckError` unless both are the same, byte for byte."""
    nothing = pl.DataFrame(schema=CLEARED_LINE_SCHEMA)
    if pack(some, nothing) != pack(whole, nothing):
        odd = pl.concat([some.items, some.later]).join(pl.concat([whole.items, whole.later]), on="item_id", how="anti")
        missing = whole.items.height + whole.later.height - some.items.height - some.later.height + odd.height
        raise ReconCheckError(
            f"the whole ledger has other open items than the run before and the news come to: {missing} are missing,"
            f" {odd.height} too many, or their details differ; nothing was published."
        )


def run_before(conn: Connection, book_id: int, business_date: dt.date) -> int | None:
    """The run that a run for this day goes on from; none: it reads everything."""
    row = conn.execute("SELECT recon.run_before(%s, %s)", (book_id, business_date)).fetchone()
    return None if row is None or row[0] is None else int(str(row[0]))


def read_inputs(
    conn: Connection,
    book_id: int,
    business_date: dt.date,
    accounts: Sequence[BankAccount] | None = None,
    *,
    full: bool = False,
) -> RunInputs:
    """Everything that a run for this day would decide from, as the books are now; `full`: from the whole ledger."""
    allowed = tolerances(conn, book_id)
    before = None if full else run_before(conn, book_id, business_date)
    items, later = open_items(conn, book_id, business_date, accounts or bank_accounts(conn, book_id), allowed, before)
    return RunInputs(
        items=items,
        later=later,
        decided=fetch(conn, _DECIDED, (book_id, business_date, before), DECIDED_SCHEMA),
        denied=_denied(conn, book_id, business_date, before, items),
        suggested=_suggested(conn, book_id),
        acquirers=fetch(conn, _ACQUIRERS, (book_id,), ACQUIRER_SCHEMA),
        tolerances=allowed,
    )


def _denied(
    conn: Connection, book_id: int, business_date: dt.date, before: int | None, items: pl.DataFrame
) -> dict[Members, str]:
    """Sets that people took back and a rule could find again, because all their members are open, by their members."""
    members: dict[int, list[int]] = {}
    reasons: dict[int, str] = {}
    for set_id, posting, said_by, reason in conn.execute(
        "SELECT match_set_id, posting_id, said_by, reason FROM recon.denied_sets(%s, %s, %s)",
        (book_id, business_date, before),
    ).fetchall():
        members.setdefault(int(str(set_id)), []).append(int(str(posting)))
        reasons[int(str(set_id))] = f"{said_by} had just this set taken back: {reason}."
    is_open = set(items["item_id"].to_list()) if members else set()
    return {
        tuple(sorted(postings)): reasons[set_id] for set_id, postings in members.items() if is_open.issuperset(postings)
    }


def _suggested(conn: Connection, book_id: int) -> dict[str, str]:
    """Rules that only suggest, and why."""
    rows = conn.execute(
        "SELECT rule, reason FROM recon.rule_status_current WHERE book_id = %s AND status = 'suggest'", (book_id,)
    ).fetchall()
    return {str(rule): f"It only suggests: {reason}." for rule, reason in rows}


_ACQUIRERS = sql.SQL("SELECT name, iban FROM settlement.acquirer WHERE book_id = {} ORDER BY code")
_DECIDED = sql.SQL("SELECT decision, rule, account_id, posting_id FROM recon.decided_sets({}, {}, {})")
_CLEARED = sql.SQL("SELECT * FROM recon.cleared_lines({}, {}, {}, {}, {}, {})")


def open_items(
    conn: Connection,
    book_id: int,
    business_date: dt.date,
    accounts: Sequence[BankAccount],
    allowed: Tolerances,
    before: int | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is open on T as of the day (`ITEM_SCHEMA`): what may be matched, and what a later day's set took."""
    columns = ", ".join(_FETCHED)
    query = sql.SQL("SELECT " + columns + " FROM recon.transit_items({}, {}, {})")
    frame = fetch(conn, query, (book_id, business_date, before), _FETCHED)
    ages = _ages(frame, accounts, business_date)
    frame = (
        frame.join(ages, on=["account", "date"], how="left", validate="m:1")
        .with_columns(
            (-pl.col("age_days")).alias("day"),
            pl.when(pl.col("kind") == RECEIPT)
            .then(pl.lit(allowed.window_days, dtype=pl.Int32))
            .otherwise(pl.col("sla_days"))
            .alias("sla_days"),
            pl.col("reference").fill_null(pl.format("posting {}", "item_id")),
        )
        .sort("item_id")
    )
    later = frame["is_cleared_later"]
    shaped = frame.select([pl.col(name).cast(kind) for name, kind in ITEM_SCHEMA.items()])
    return shaped.filter(~later), shaped.filter(later)


def _ages(frame: pl.DataFrame, accounts: Sequence[BankAccount], business_date: dt.date) -> pl.DataFrame:
    """Business days from each date to the run's, by the account's own calendar."""
    calendars = {account.code: account.calendar for account in accounts}
    pairs = frame.select("account", "date").unique().sort("account", "date").rows()
    rows = [(code, date, calendars[code].days_between(date, business_date)) for code, date in pairs]
    schema = {"account": pl.String(), "date": pl.Date(), "age_days": pl.Int32()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def cleared_before(conn: Connection, book_id: int, business_date: dt.date) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """How to find the lines of earlier sets that carry a reference of these open items."""

    def look_up(still_open: pl.DataFrame) -> pl.DataFrame:
        lines = still_open.filter(pl.col("kind") == LINE)
        keys = [
            lines[name].drop_nulls().unique().sort().to_list()
            for name in ("end_to_end_id", "uetr", "servicer_ref", "payment_information_id")
        ]
        return fetch(conn, _CLEARED, (book_id, business_date, *keys), CLEARED_LINE_SCHEMA)

    return look_up


def _statement_breaks(
    conn: Connection, book_id: int, business_date: dt.date, accounts: Sequence[BankAccount]
) -> list[Break]:
    calendars = {account.code: account.calendar for account in accounts}
    breaks = []
    for finding_id, account, currency, code, item_ref, message, closing_date in conn.execute(
        "SELECT finding_id, account, currency, code, item_ref, message, closing_date FROM recon.findings_at(%s, %s)",
        (book_id, business_date),
    ).fetchall():
        assert closing_date is None or isinstance(closing_date, dt.date)
        explanation, proposal = explain_statement(BreakCode(str(code)), str(message))
        age = calendars[str(account)].days_between(closing_date, business_date) if closing_date else 0
        breaks.append(
            Break(
                break_id=f"S{finding_id}",
                code=BreakCode(str(code)),
                item_ref=str(item_ref),
                account=str(account),
                currency=str(currency),
                amount_minor=0,
                item_ids=(),
                first_date=closing_date,
                age_days=age,
                explanation=explanation,
                proposal=proposal,
                finding_id=int(str(finding_id)),
            )
        )
    return breaks


def _stage(conn: Connection, inputs: RunInputs, found: Decisions, breaks: Sequence[Break]) -> None:
    hashes = row_hashes(pl.concat([inputs.items, inputs.later]))
    legs = found.sets.join(hashes, on="item_id", how="left", validate="1:1")
    open_rows = found.open_rows.join(hashes, on="item_id", how="left", validate="1:1")
    stage(conn, "stage_leg", legs.rename({"item_id": "posting_id"}))
    stage(conn, "stage_break", pl.DataFrame([_break_row(b) for b in breaks], schema=_BREAK_SCHEMA, orient="row"))
    stage(conn, "stage_open", open_rows.rename({"item_id": "posting_id", "date": "item_date"}))


_BREAK_SCHEMA: dict[str, pl.DataType] = {
    "break_id": pl.String(),
    "code": pl.String(),
    "item_ref": pl.String(),
    "account": pl.String(),
    "currency": pl.String(),
    "amount_minor": pl.Int64(),
    "item_count": pl.Int32(),
    "first_date": pl.Date(),
    "age_days": pl.Int32(),
    "explanation": pl.String(),
    "proposal": pl.String(),
    "proposal_legs": pl.String(),
    "finding_id": pl.Int64(),
    "suggested_rule": pl.String(),
}


def _break_row(found: Break) -> tuple[object, ...]:
    legs = json.dumps([{"account": leg.account, "amount_minor": leg.amount_minor} for leg in found.proposal.legs])
    return (
        found.break_id,
        found.code.value,
        found.item_ref,
        found.account,
        found.currency,
        found.amount_minor,
        len(found.item_ids),
        found.first_date,
        found.age_days,
        found.explanation,
        found.proposal.text,
        legs,
        found.finding_id,
        found.suggested_rule,
    )
