"""Every fault on the way of the banks' files: the books absorb it, or name it as expected.

The faults strike one week, each an exact number of times. Whatever they were, in the end the books hold what the banks'
own book holds, no payment was executed twice, and nothing is reported but what must be.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from lxml import etree

from ledger import book_id, import_journal, verify
from nostro.database import Database
from nostro.day import Desk, fresh_home, open_shop
from sandbox import ABSORBED, Bank, BankBehaviour, Business, Fault, FaultDone, StatementVersion, read_setup
from settlement import apply_setup

SHARED = Path(os.environ.get("NOSTRO_SHARED", Path(__file__).parents[3] / "shared"))
ALONE = {
    Fault.STATEMENT_LOST,
    Fault.EXECUTION_AFTER_REJECT,
    Fault.REVERSAL_MARK,
}  # what they leave open is looked at apart
RECALLED = {
    fault for fault in Fault if fault.value.startswith(("return-", "recall-"))
}  # test_bank_recalls_and_debits.py
ONCE = {fault: 1 for fault in Fault if fault not in ALONE | RECALLED}
TWICE = {Fault.REPORT_LATE: 2, Fault.BYTE_ORDER_MARK: 2}


@dataclass(frozen=True)
class Trial:
    """A finished week with faults: what struck, what the banks hold, and the books."""

    desk: Desk
    home: Path
    struck: tuple[FaultDone, ...]
    held: Mapping[str, int]

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        found = self.desk.app.execute(query, values).fetchall()
        self.desk.app.rollback()
        return found


@contextmanager
def trial(
    server: str,
    home: Path,
    name: str,
    *,
    days: int,
    faults: Mapping[Fault, int],
    behaviour: BankBehaviour | None = None,
) -> Iterator[Trial]:
    fresh_home(home)
    database = Database(admin_conninfo=server, name=name, role_prefix=name)
    open_shop(database)
    business = Business(seed=3, days=days, payments_per_day=60, payees=30)
    files = business.write(home / "business", home=home)
    with database.app() as conn:
        apply_setup(conn, files.setup)
        desk = Desk(database, home=home, book_id=book_id(conn))
    with Bank(home, read_setup(files.setup), seed=11, faults=faults, behaviour=behaviour) as bank:
        for journal in files.journals:
            if journal.prior:
                import_journal(desk.app, book_id=desk.book_id, path=journal.path)
        for day in (*business.days, business.days[-1] + timedelta(days=3 if business.days[-1].weekday() == 4 else 1)):
            _day(desk, bank, day, [j.path for j in files.journals if j.date == day and not j.prior])
        held = {account.code: bank.balance(account.code) for account in read_setup(files.setup).accounts}
        yield Trial(desk, home, bank.faults(), held)
    desk.close()


def _day(desk: Desk, bank: Bank, day: date, journals: list[Path]) -> None:
    for path in journals:
        import_journal(desk.app, book_id=desk.book_id, path=path)
    if journals:
        desk.settle(day, now=datetime.combine(day, time(17, 30), tzinfo=UTC))
    bank.receive()
    desk.poll()
    bank.close_day(day)
    desk.poll()
    desk.prove(day)


@pytest.fixture(scope="module")
def week(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    home = tmp_path_factory.mktemp("faults") / "home"
    with trial(server, home, "nostro_faults", days=5, faults=ONCE | TWICE) as done:
        yield done


def test_each_fault_strikes_as_often_as_planned_and_no_file_twice(week: Trial) -> None:
    assert Counter(done.fault for done in week.struck) == Counter(ONCE | TWICE)
    places = [(done.bank, done.name) for done in week.struck]
    assert len(set(places)) == len(places)


def test_the_books_end_as_the_banks_own_book(week: Trial) -> None:
    assert verify(week.desk.app, book_id=week.desk.book_id) == ()
    nostro = week.rows(
        "SELECT b.code, l.posted_minor FROM settlement.bank_account b"
        " JOIN ledger.balance l ON l.account_id = b.nostro_account_id"
    )
    assert dict(nostro) == week.held
    executed = [
        json.loads(line)["end_to_end_id"]
        for line in (week.home / "sandbox" / "executions.jsonl").read_text().splitlines()
    ]
    assert len(set(executed)) == len(executed)
    assert week.rows("SELECT count(*) FROM settlement.instruction_current WHERE state = 'rejected'") == [(0,)]


def test_every_fault_is_absorbed_or_named(week: Trial) -> None:
    expected = Counter(done.outcome for done in week.struck if done.outcome != ABSORBED)
    findings = Counter(str(code) for (code,) in week.rows("SELECT code FROM recon.statement_finding"))
    refused = week.rows("SELECT name FROM recon.file_status WHERE outcome = 'refused'")
    reported = Counter(
        {str(code) for code, _ in week.rows("SELECT DISTINCT code, message_id FROM settlement.message_finding")}
    )
    found = Counter({code: n for code, n in findings.items() if code != "STATEMENT_GAP"})
    found["refused"] = len(refused)
    assert found == Counter({code: n for code, n in expected.items() if code not in ("reader", "file", "conflict")})
    assert reported == Counter({"reader": 1, "file": 1, "conflict": 1})
    refused_names = {done.name for done in week.struck if done.outcome == "refused"}
    assert {name for (name,) in refused} == refused_names
    # A statement that comes late leaves a gap until it comes; in the end every statement is booked.
    assert week.rows("SELECT count(*) FROM recon.statement_status WHERE kind = 'camt.053' AND NOT is_booked"
                     " AND findings IS NULL") == [(0,)]  # fmt: skip


def test_a_lost_statement_is_a_gap(server: str, tmp_path: Path) -> None:
    with trial(server, tmp_path / "home", "nostro_fault_lost", days=2, faults={Fault.STATEMENT_LOST: 1}) as done:
        (lost,) = done.struck
        gaps = done.rows(
            "SELECT DISTINCT b.iban FROM recon.statement_finding f"
            " JOIN settlement.bank_account b USING (bank_account_id) WHERE f.code = 'STATEMENT_GAP'"
        )
        assert [iban for (iban,) in gaps] == [lost.name.split("_")[1]]


def test_a_payment_that_is_executed_after_its_reject_is_a_break_and_never_paid_again(
    server: str, tmp_path: Path
) -> None:
    faults = {Fault.EXECUTION_AFTER_REJECT: 1}
    with trial(server, tmp_path / "home", "nostro_fault_reject", days=2, faults=faults) as done:
        rejected = done.rows(
            "SELECT i.end_to_end_id, i.amount_minor, r.payable_posting_id FROM settlement.instruction i"
            " JOIN settlement.reopening r USING (instruction_id) WHERE r.kind = 'reject'"
        )
        assert rejected
        held = {posting for (posting,) in done.rows("SELECT posting_id FROM settlement.open_item WHERE held")}
        assert {posting for *_, posting in rejected} <= held, "held until a person decides"
        codes = done.rows("SELECT DISTINCT code FROM settlement.message_finding")
        assert codes == [("conflict",)]
        breaks = done.rows(
            "SELECT b.item_ref, b.code, b.amount_minor FROM recon.break_current b WHERE b.business_date ="
            " (SELECT max(business_date) FROM recon.run)"
        )
        assert {code for _, code, _ in breaks} == {"UNAUTHORISED_DEBIT"}
        assert sum(int(str(minor)) for *_, minor in breaks) == sum(int(str(minor)) for _, minor, _ in rejected)


def test_returns_net_of_charges_on_statements_of_version_02(server: str, tmp_path: Path) -> None:
    behaviour = BankBehaviour(returns_per_mille=250, return_charge_minor=150, statement=StatementVersion.V02)
    with trial(server, tmp_path / "home", "nostro_old_camt", days=2, faults={}, behaviour=behaviour) as done:
        back = done.rows(
            "SELECT i.amount_minor - p.amount_minor FROM settlement.reopening r"
            " JOIN settlement.instruction i USING (instruction_id)"
            " JOIN recon.payout_bank_entry e ON e.instruction_id = r.instruction_id AND e.kind = 'return'"
            " CROSS JOIN LATERAL (SELECT e.line_minor AS amount_minor) p"
        )
        assert back and set(back) == {(150,)}
        assert done.rows("SELECT code FROM recon.break_current") == []
        nostro = done.rows(
            "SELECT b.code, l.posted_minor FROM settlement.bank_account b"
            " JOIN ledger.balance l ON l.account_id = b.nostro_account_id"
        )
        assert dict(nostro) == done.held
        written = sorted((done.home / "bank").glob("*/inbox/camt.053_*.xml"))
        assert written and all(b"camt.053.001.02" in path.read_bytes() for path in written)
        schema = SHARED / "xsd" / "camt.053.001.02.xsd"
        if schema.exists():
            checked = etree.XMLSchema(etree.parse(schema))
            for path in written:
                checked.assertValid(etree.parse(path))
