"""What a run found, for people and programs: the report of a day, and its breaks.

Lives here: reading published runs into records, and their text. Must not live here: finding anything out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from ledger import Connection, currency, format_amount, transaction
from recon.accounts import bank_accounts
from recon.certificate import SignOff
from recon.errors import NoRunError
from recon.knowledge import IS_KNOWN, KnownAt, known_seq


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule cleared in a run."""

    rule: str
    version: int
    set_count: int
    leg_count: int

    @property
    def is_routine(self) -> bool:
        return self.rule.startswith("routine-")


@dataclass(frozen=True, slots=True)
class BreakRow:
    """One break of a run. `amount_minor` is what its items leave on T, debit +."""

    break_id: str
    code: str
    item_ref: str
    bank_account: str
    currency: str
    amount_minor: int
    item_count: int
    first_date: dt.date | None
    age_days: int
    explanation: str
    proposal: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """Items within their time on one bank account."""

    bank_account: str
    currency: str
    item_count: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class AgeBucket:
    """Breaks of one age (business days) and currency. `amount_minor`: the sum without signs."""

    bucket: str
    currency: str
    break_count: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CarriedForward:
    """What became of the breaks of the day that was reconciled before: ids that are new, went on, closed."""

    previous_date: dt.date | None
    new: tuple[str, ...]
    carried: tuple[str, ...]
    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExplainedItem:
    """A bank line that policy answered. `amount_minor` is the bank's view, credit +."""

    rule: str
    bank_account: str
    currency: str
    reference: str | None
    amount_minor: int
    payee: str | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """A published run. `is_new` is False when the same inputs had been reconciled before."""

    run_id: int
    book_id: int
    business_date: dt.date
    input_sha256: str
    is_new: bool
    rules: tuple[RuleCount, ...]
    breaks: tuple[BreakRow, ...]
    in_flight: tuple[InFlight, ...]
    explained: tuple[ExplainedItem, ...]
    sign_offs: tuple[SignOff, ...]
    ageing: tuple[AgeBucket, ...]
    carried_forward: CarriedForward
    signed: dict[str, str]

    @property
    def certified(self) -> tuple[SignOff, ...]:
        return tuple(done for done in self.sign_offs if done.sha256 is not None)

    @property
    def uncertified(self) -> tuple[SignOff, ...]:
        """Accounts whose day should have a certificate and has none."""
        return tuple(s for s in self.sign_offs if s.sha256 is None and s.is_expected)

    def render(self) -> Iterator[str]:
        """The report as text lines."""
        yield f"Reconciliation of {self.business_date} (run {self.run_id})"
        yield "Cleared"
        for rule in self.rules:
            yield f"  {rule.rule:<20} {rule.set_count:>8} sets {rule.leg_count:>9} postings"
        yield "In flight, within their time" if self.in_flight else "Nothing in flight"
        for row in self.in_flight:
            yield f"  {row.bank_account:<20} {row.item_count:>8} items {_money(row.amount_minor, row.currency)}"
        if self.explained:
            yield "Explained by policy"
            for item in self.explained:
                amount = _money(item.amount_minor, item.currency)
                yield f"  {item.rule:<20} {item.reference or '':<22} {amount} {item.payee or ''}".rstrip()
        yield f"Breaks: {len(self.breaks)}"
        for found in self.breaks:
            amount = _money(found.amount_minor, found.currency)
            yield f"  {found.break_id:<16} {found.code:<22} {found.item_ref:<22} {amount}"
            yield f"    {found.explanation}"
        yield from self._ageing_lines()
        yield "Sign-off"
        for done in self.sign_offs:
            said = f"not certified: {done.reason}"
            if done.sha256:
                said = f"certified, residual 0, {done.sha256[:12]}, {self.signed.get(done.account, 'unsigned')}"
            yield f"  {done.account:<20} {said}"

    def _ageing_lines(self) -> Iterator[str]:
        went = self.carried_forward
        if went.previous_date is not None:
            yield (
                f"Since {went.previous_date}: {len(went.new)} new, {len(went.carried)} carried forward,"
                f" {len(went.closed)} closed"
            )
        if self.ageing:
            yield "Age in business days"
        for each in self.ageing:
            yield f"  {each.bucket:<20} {each.break_count:>8} breaks {_money(each.amount_minor, each.currency)}"


_BREAK_COLUMNS = (
    "b.break_id, b.code, b.item_ref, a.code, b.currency, b.amount_minor, b.item_count, b.first_date, b.age_days,"
    " b.explanation, b.proposal"
)


def run_report(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date | None = None,
    is_new: bool = False,
    known_at: KnownAt | None = None,
) -> RunReport:
    """The latest run of a day (of the last reconciled day when none is given), as known at a point.

    Raises `NoRunError` when that day has not been reconciled.
    """
    with transaction(conn):
        seq = known_seq(conn, book_id=book_id, at=known_at)
        run_id, date, digest = run_of(conn, book_id, business_date, seq)
        return RunReport(
            run_id=run_id,
            book_id=book_id,
            business_date=date,
            input_sha256=digest,
            is_new=is_new,
            rules=tuple(_rules(conn, run_id)),
            breaks=tuple(_breaks(conn, run_id)),
            in_flight=tuple(_in_flight(conn, run_id)),
            explained=tuple(_explained(conn, book_id, run_id, seq)),
            sign_offs=tuple(_sign_offs(conn, book_id, run_id, date)),
            ageing=tuple(_ageing(conn, run_id)),
            carried_forward=_carried_forward(conn, book_id, run_id, date, seq),
            signed=_signed(conn, book_id, run_id, seq),
        )


def run_of(
    conn: Connection, book_id: int, business_date: dt.date | None, seq: int | None = None
) -> tuple[int, dt.date, str]:
    """Id, day and digest of a day's latest run (of the last day that was reconciled when none is given).

    `seq`: of the runs known at this number. Raises `NoRunError` when there is none.
    """
    row = conn.execute(
        "SELECT run_id, business_date, input_sha256 FROM recon.run r"
        " WHERE book_id = %(book)s AND (%(date)s::date IS NULL OR business_date = %(date)s)"
        " AND " + IS_KNOWN + " ORDER BY business_date DESC, run_id DESC LIMIT 1",
        {"book": book_id, "date": business_date, "seq": seq},
    ).fetchone()
    if row is None:
        day = business_date or "any day"
        by = f" by number {seq}" if seq else ""
        raise NoRunError(f"{day} has not been reconciled{by}; run `nostro recon run` first.")
    assert isinstance(row[1], dt.date)
    return int(str(row[0])), row[1], str(row[2])


def _rules(conn: Connection, run_id: int) -> Iterator[RuleCount]:
    for row in conn.execute(
        "SELECT rule, rule_version, set_count::int, leg_count::int FROM recon.rule_summary"
        " WHERE run_id = %s ORDER BY rule, rule_version",
        (run_id,),
    ).fetchall():
        yield RuleCount(*row)  # type: ignore[arg-type]


def _breaks(conn: Connection, run_id: int) -> Iterator[BreakRow]:
    query = (
        "SELECT " + _BREAK_COLUMNS + " FROM recon.break_run b JOIN settlement.bank_account_root a"
        " USING (bank_account_id) WHERE b.run_id = %s ORDER BY a.code, b.item_ref, b.break_id"
    )
    for row in conn.execute(query, (run_id,)).fetchall():
        yield BreakRow(*row)  # type: ignore[arg-type]


_AGEING = """
SELECT recon.age_bucket(age_days), currency, count(*)::int, sum(abs(amount_minor))::bigint
  FROM recon.break_run WHERE run_id = %s GROUP BY 1, 2 ORDER BY min(age_days), 2
"""
_CARRIED = (
    """
WITH before AS (
    SELECT run_id, business_date FROM recon.run r
     WHERE book_id = %(book)s AND business_date < %(date)s AND """
    + IS_KNOWN
    + """
     ORDER BY business_date DESC, run_id DESC LIMIT 1),
was AS (SELECT b.break_id FROM recon.break_run b JOIN before USING (run_id)),
now AS (SELECT b.break_id FROM recon.break_run b WHERE b.run_id = %(run)s)
SELECT (SELECT business_date FROM before),
       (SELECT coalesce(array_agg(break_id ORDER BY break_id), '{}') FROM now WHERE break_id NOT IN (TABLE was)),
       (SELECT coalesce(array_agg(break_id ORDER BY break_id), '{}') FROM now WHERE break_id IN (TABLE was)),
       (SELECT coalesce(array_agg(break_id ORDER BY break_id), '{}') FROM was WHERE break_id NOT IN (TABLE now))
"""
)


def _ageing(conn: Connection, run_id: int) -> Iterator[AgeBucket]:
    for row in conn.execute(_AGEING, (run_id,)).fetchall():
        yield AgeBucket(*row)  # type: ignore[arg-type]


def _carried_forward(conn: Connection, book_id: int, run_id: int, date: dt.date, seq: int | None) -> CarriedForward:
    row = conn.execute(_CARRIED, {"book": book_id, "date": date, "seq": seq, "run": run_id}).fetchone()
    assert row is not None
    previous, *lists = row
    assert previous is None or isinstance(previous, dt.date)
    return CarriedForward(previous, *(tuple(ids) for ids in lists))  # type: ignore[arg-type]


def _signed(conn: Connection, book_id: int, run_id: int, seq: int | None) -> dict[str, str]:
    """Sign-off of each bank account's certificate: unsigned, prepared, signed or changed, with the names."""
    rows = conn.execute(
        "SELECT bank_account, concat_ws(' by ', state, nullif(concat_ws(' and ', prepared_by, reviewed_by), ''))"
        " FROM recon.run_signed(%s, %s, %s)",
        (book_id, run_id, seq),
    ).fetchall()
    return {str(account): str(said) for account, said in rows}


def _in_flight(conn: Connection, run_id: int) -> Iterator[InFlight]:
    for row in conn.execute(
        "SELECT a.code, c.code, count(*)::int, sum(o.amount_minor)::bigint FROM recon.open_item o"
        " JOIN settlement.bank_account_root a USING (bank_account_id) JOIN ledger.currency c USING (currency_id)"
        " WHERE o.run_id = %s AND o.code = 'TIMING' GROUP BY 1, 2 ORDER BY 1",
        (run_id,),
    ).fetchall():
        yield InFlight(*row)  # type: ignore[arg-type]


def _explained(conn: Connection, book_id: int, run_id: int, seq: int | None) -> Iterator[ExplainedItem]:
    for row in conn.execute("SELECT * FROM recon.run_explained(%s, %s, %s)", (book_id, run_id, seq)).fetchall():
        yield ExplainedItem(*row)  # type: ignore[arg-type]


def _sign_offs(conn: Connection, book_id: int, run_id: int, date: dt.date) -> Iterator[SignOff]:
    rows = conn.execute(
        "SELECT a.code, c.sha256 FROM recon.certificate c JOIN settlement.bank_account_root a USING (bank_account_id)"
        " WHERE c.run_id = %s",
        (run_id,),
    ).fetchall()
    certified = {str(code): str(digest) for code, digest in rows}
    reasons = {
        str(code): f"{kind}: {text}"
        for code, kind, text in conn.execute(
            "SELECT DISTINCT ON (a.code) a.code, b.code, b.explanation FROM recon.break_run b"
            " JOIN settlement.bank_account_root a USING (bank_account_id)"
            " WHERE b.run_id = %s AND b.code IN ('STATEMENT_IMBALANCE', 'STATEMENT_GAP', 'STATEMENT_REVISED')"
            " ORDER BY a.code, b.break_id",
            (run_id,),
        ).fetchall()
    }
    for account in bank_accounts(conn, book_id):
        digest = certified.get(account.code)
        reason = None
        if digest is None:
            reason = reasons.get(account.code, f"no proven statement of {account.code} closes on {date}")
        expected = account.code in reasons or (account.calendar.is_open(date) and date >= account.opening_date)
        yield SignOff(account.code, date, digest, reason, digest is not None or expected)


def _money(amount_minor: int, code: str) -> str:
    return f"{format_amount(amount_minor, currency(code).exponent)} {code}"
