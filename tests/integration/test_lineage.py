"""From a posting to the cent on the bank statement and back, and payouts in their parts, over a synthetic week.

The week runs once: itemised and batched statements, rejects and returns, payees with reserves.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from ledger import RefusedError, book_id, import_journal
from nostro.database import Database
from nostro.day import Desk, fresh_home, open_shop
from nostro.payout_page import LABELS, ReportedPayout, payout_csv, payout_html
from recon import Trace, TraceStep, TraceUnknownError, bank_entries, trace
from sandbox import Bank, BankBehaviour, BookingStyle, Business, read_setup
from settlement import apply_setup, payout_report

DAYS, PAYMENTS, PAYEES, SEED = 4, 240, 60, 5


@dataclass(frozen=True)
class Week:
    """A finished week without anomalies."""

    desk: Desk
    home: Path

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        found = self.desk.app.execute(query, values).fetchall()
        self.desk.app.rollback()
        return found

    def trace(self, key: object) -> Trace:
        return trace(self.desk.app, book_id=self.desk.book_id, key=str(key))


@pytest.fixture(scope="module")
def week(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    home = fresh_home(tmp_path_factory.mktemp("lineage") / "home")
    database = Database(admin_conninfo=server, name="nostro_lineage", role_prefix="nostro_lineage")
    open_shop(database)
    business = Business(seed=SEED, days=DAYS, payments_per_day=PAYMENTS, payees=PAYEES)
    files = business.write(home / "business", home=home)
    with database.app() as conn:
        apply_setup(conn, files.setup)
        desk = Desk(database, home=home, book_id=book_id(conn))
    behaviour = BankBehaviour(
        rejects_per_mille=40, returns_per_mille=80, booking=(("czk-main", BookingStyle.BATCH),), charges=True
    )
    with Bank(home, read_setup(files.setup), seed=SEED, behaviour=behaviour) as bank:
        for journal in files.journals:
            if journal.prior:
                import_journal(desk.app, book_id=desk.book_id, path=journal.path)
        for day in business.days:
            for journal in files.journals:
                if journal.date == day:
                    import_journal(desk.app, book_id=desk.book_id, path=journal.path)
            desk.settle(day, now=datetime.combine(day, time(17, 30), tzinfo=UTC))
            bank.receive()
            bank.close_day(day)
            desk.poll()
            desk.prove(day)
    yield Week(desk, home)
    desk.close()


def chain_of(found: Trace, instruction_id: int) -> dict[int, list[TraceStep]]:
    """The steps of one payment by their number."""
    steps: dict[int, list[TraceStep]] = defaultdict(list)
    for step in found.steps:
        if step.chain == instruction_id:
            steps[step.step].append(step)
    return steps


def total(steps: list[TraceStep]) -> int:
    return sum(step.amount_minor or 0 for step in steps)


def test_every_payment_leads_from_its_postings_to_the_cent_at_the_bank(week: Week) -> None:
    payments = week.rows(
        "SELECT instruction_id, end_to_end_id, amount_minor, state, reopened_by FROM settlement.instruction_current"
        " WHERE transit_posting_id IS NOT NULL ORDER BY 1"
    )
    assert {state for *_, state, _ in payments} >= {"executed", "rejected", "returned"}
    shown = 0
    for number, end_to_end_id, amount, state, back in payments:
        found = week.trace(end_to_end_id)
        assert found.payments == (number,)
        steps = chain_of(found, int(str(number)))
        shown += bool(steps[80])
        # The payee's postings and the clearing posting are zero; what was cleared went to transit, reserves, the rest.
        assert total(steps[10]) + total(steps[20]) == 0
        assert total(steps[20]) + total(steps[15]) + total(steps[60]) == 0
        assert total(steps[60]) == total(steps[30]) == -int(str(amount))
        assert len(steps[40]) == 1 and len(str(steps[40][0].sha256)) == 64
        assert steps[50] or state == "sent"
        if back == "reject":  # cleared against its own re-opening; the bank never showed it
            assert total(steps[160]) == amount and not steps[80]
            continue
        for line, cash in ((80, 90), (180, 190)):
            assert [s.amount_minor for s in steps[line]] == [s.amount_minor for s in steps[cash]]
        if back == "return":
            assert total(steps[160]) + total(steps[120]) == 0
            assert total(steps[180]) == amount
        if steps[80] and "batch of" not in str(steps[80][0].detail):
            assert total(steps[80]) == -int(str(amount))
    assert shown > len(payments) // 2


def test_every_bank_line_leads_back_to_all_it_paid(week: Week) -> None:
    lines = week.rows(
        "SELECT l.account_servicer_ref, l.amount_minor, l.t_posting_id, l.batch_count FROM recon.statement_line l"
        " WHERE l.t_posting_id IS NOT NULL AND (l.bank_tx_code LIKE '%%CT' OR l.batch_count > 1) AND l.amount_minor < 0"
    )
    assert any(int(str(count or 0)) > 1 for *_, count in lines)
    for reference, amount, posting, _ in lines:
        found = week.trace(reference)
        assert sum(total(chain_of(found, chain)[60]) for chain in found.payments) == amount
        assert week.trace(posting).payments == found.payments


def test_a_payees_posting_its_entry_and_its_file_lead_to_the_same_payment(week: Week) -> None:
    ((posting, key, group, msg_id),) = week.rows(
        "SELECT l.posting_id, e.idempotency_key, l.group_id, l.msg_id FROM settlement.lineage l"
        " JOIN ledger.entry e USING (entry_id) WHERE l.role = 'member' AND e.idempotency_key LIKE 'sale%%'"
        " ORDER BY 1 LIMIT 1"
    )
    assert week.trace(posting).payments == week.trace(key).payments == (group,)
    assert group in week.trace(msg_id).payments
    ((count,),) = week.rows("SELECT instruction_count FROM settlement.payment_file WHERE msg_id = %s", msg_id)
    assert len(week.trace(msg_id).payments) == count


def test_receipts_and_charges_are_traced_beside_payments(week: Week) -> None:
    ((payout, net),) = week.rows("SELECT payout_id, net_minor FROM recon.expected_receipt ORDER BY 1 LIMIT 1")
    steps = week.trace(payout).steps
    assert week.trace(payout).payments == ()
    assert [(s.kind, s.amount_minor) for s in steps if s.step in (60, 80, 90)] == [
        ("receipt expected", net),
        ("statement line", net),
        ("cash", net),
    ]
    ((charge, minor),) = week.rows(
        "SELECT account_servicer_ref, amount_minor FROM recon.statement_line"
        " WHERE bank_tx_code = 'PMNT/ICDT/CHRG' ORDER BY 1 LIMIT 1"
    )
    kinds = {step.kind: step.amount_minor for step in week.trace(charge).steps}
    assert kinds["routine-charge"] == kinds["statement line"] == minor


def test_what_nobody_knows_is_refused(week: Week) -> None:
    for key in ("nothing", "999999999999", "", "x/1/2"):
        with pytest.raises(TraceUnknownError, match="is called"):
            week.trace(key)
    with pytest.raises(RefusedError):
        trace(week.desk.app, book_id=0, key="nothing")


def test_payouts_in_parts_are_what_was_posted_and_what_the_bank_shows(week: Week) -> None:
    payouts = payout_report(week.desk.app, book_id=week.desk.book_id)
    posted = dict(
        week.rows(
            "SELECT g.group_id, -p.amount_minor FROM settlement.clearing_group g"
            " JOIN ledger.posting p ON p.posting_id = g.transit_posting_id"
        )
    )
    assert {p.instruction_id: p.net_minor for p in payouts} == posted
    assert all(p.gross_minor >= 0 and p.refunds_minor <= 0 and p.chargebacks_minor <= 0 for p in payouts)
    assert all(sum(getattr(p, f"{part}_minor") for p in payouts) != 0 for part in ("gross", "fees", "refunds"))
    assert any(p.reserve_taken_minor < 0 for p in payouts) and any(p.reserve_released_minor > 0 for p in payouts)

    shown = bank_entries(week.desk.app, book_id=week.desk.book_id, instruction_ids=[p.instruction_id for p in payouts])
    by_line: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    line_minor: dict[tuple[str, int, int], int] = {}
    for payout in payouts:
        for entry in shown.get(payout.instruction_id, []):
            if entry.kind == "payout":
                place = (entry.stmt_id, entry.line_ordinal, entry.detail_ordinal)
                by_line[place].append(payout.net_minor)
                line_minor[place] = entry.line_minor
    assert any(len(nets) > 1 for nets in by_line.values())
    assert {place: -sum(nets) for place, nets in by_line.items()} == line_minor


def test_the_report_for_a_payee_as_csv_and_page(week: Week) -> None:
    payouts = payout_report(week.desk.app, book_id=week.desk.book_id)
    one = payouts[0].payee
    mine = payout_report(week.desk.app, book_id=week.desk.book_id, payee=one)
    assert mine == [p for p in payouts if p.payee == one]
    shown = bank_entries(week.desk.app, book_id=week.desk.book_id, instruction_ids=[p.instruction_id for p in mine])
    reported = [ReportedPayout(p, tuple(shown.get(p.instruction_id, ()))) for p in mine]
    rows = list(csv.DictReader(io.StringIO(payout_csv(reported))))
    for row, payout in zip(rows, mine, strict=True):
        minor = {name: int(row[name].replace(".", "")) for name in (*LABELS, "net")}  # two decimals each
        assert sum(minor[name] for name in LABELS) == minor["net"] == payout.net_minor
    page = payout_html(reported)
    assert page.count('<section class="sheet">') == len(mine)
    assert "http" not in page and "<script" not in page and "src=" not in page
    assert all(p.end_to_end_id in page for p in mine)
