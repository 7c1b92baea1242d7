"""What the bank answers: statuses forward only, rejects re-opened and held, returns, and what cannot be applied."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import pytest

from ledger import Connection, NostroError, translate_errors
from nostro.database import Database
from settlement import FileState, PollReport, apply_setup, payment_file, poll, release_hold
from tests.settlement_world import DAY, PayeeRow, World, make_world, pain002, write_setup

NEXT = DAY + dt.timedelta(days=1)
PAYEES = [PayeeRow(code="P1"), PayeeRow(code="P2"), PayeeRow(code="P3")]
AMOUNTS = {"P1": 700, "P2": 900, "P3": 1100}


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES)
    for payee, amount in AMOUNTS.items():
        made.owe(payee, amount)
    yield made
    made.close()


class Sent:
    """A sent file and the ids of its three payments."""

    def __init__(self, world: World) -> None:
        self.world = world
        (self.file_id,) = world.pay()
        self.msg_id = payment_file(world.app, self.file_id).msg_id
        rows = world.rows("SELECT payee_code, end_to_end_id, instruction_id FROM settlement.instruction")
        self.e2e = {str(row[0]): str(row[1]) for row in rows}
        self.ids = {str(row[0]): int(str(row[2])) for row in rows}

    def states(self) -> dict[str, str]:
        rows = self.world.rows(
            "SELECT payee_code, state FROM settlement.instruction_current WHERE file_id = %s ORDER BY 1", self.file_id
        )
        return {str(payee): str(state) for payee, state in rows}

    @property
    def state(self) -> FileState:
        return payment_file(self.world.app, self.file_id).state

    def hear(self, *reports: str) -> PollReport:
        for report in reports:
            self.world.answer(f"r{hash(report)}.xml", report)
        return poll(self.world.app, home=self.world.home)


def test_group_status_covers_every_payment(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACCP", report="R1"))
    assert (sent.state, set(sent.states().values())) == (FileState.ACKNOWLEDGED, {"accepted"})
    sent.hear(pain002(sent.msg_id, group="ACSC", report="R2"))
    assert (sent.state, set(sent.states().values())) == (FileState.EXECUTED, {"executed"})
    assert world.balance("assets:bank:eur-payouts") == 100_000_000, "only a statement posts cash"


def test_a_reject_is_reopened_held_released_and_paid_the_next_night(world: World) -> None:
    sent = Sent(world)
    report = sent.hear(pain002(sent.msg_id, group="PART", statuses=[(sent.e2e["P2"], "RJCT", "AC04")]))
    assert [(m.changed, m.rejected, m.findings) for m in report.messages] == [(1, 1, ())]
    assert sent.state is FileState.PARTLY_REJECTED
    assert sent.states() == {"P1": "sent", "P2": "rejected", "P3": "sent"}, "what is not listed is not accepted"
    assert world.balance("assets:transit:eur-payouts") == -1800
    assert world.balance("liabilities:payable:P2") == -900
    reject = world.rows(
        "SELECT p.amount_minor, code FROM settlement.instruction_current i JOIN ledger.posting p"
        " ON p.posting_id = i.reject_posting_id JOIN ledger.account USING (account_id)"
    )
    assert reject == [(900, "assets:transit:eur-payouts")]
    assert world.rows("SELECT payee, owed_minor, held FROM settlement.open_item") == [("P2", 900, True)]

    assert world.propose(NEXT) == []
    assert release_hold(world.alice, end_to_end_id=sent.e2e["P2"], reason="account reopened, confirmed by phone")
    world.pay(NEXT)
    assert world.balance("liabilities:payable:P2") == 0
    assert world.balance("assets:transit:eur-payouts") == -2700


def test_new_bank_details_release_the_hold(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, statuses=[(sent.e2e["P1"], "RJCT", "AC01")]))
    assert world.propose(NEXT) == []
    write_setup(world.home, [PayeeRow(code="P1", minimum="0.02"), *PAYEES[1:]])
    apply_setup(world.app, world.home / "setup.yaml")
    assert world.propose(NEXT) == [], "another rule is not another bank account"
    write_setup(world.home, [PayeeRow(code="P1", iban="BG80BNBG96611020345678"), *PAYEES[1:]])
    apply_setup(world.app, world.home / "setup.yaml")
    (proposed,) = world.propose(NEXT)
    assert proposed.file.total_minor == 700


def test_a_rejected_file_reopens_everything(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="RJCT", group_reason="AM05"))
    assert sent.state is FileState.REJECTED
    assert world.balance("assets:transit:eur-payouts") == 0
    held = world.rows("SELECT payee, owed_minor, hold_reason FROM settlement.open_item ORDER BY payee")
    assert [(payee, owed) for payee, owed, _ in held] == list(AMOUNTS.items())
    assert all("AM05" in str(reason) for *_, reason in held)
    assert sent.hear(pain002(sent.msg_id, group="RJCT", group_reason="AM05", report="R9")).messages[-1].changed == 0


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_order_of_three_reports_gives_one_outcome(world: World, order: Sequence[int]) -> None:
    sent = Sent(world)
    e2e = sent.e2e
    reports = [
        pain002(sent.msg_id, group="ACTC", report="A"),
        pain002(sent.msg_id, group="PART", report="B", statuses=[(e2e["P1"], "ACSP", ""), (e2e["P2"], "RJCT", "AC04")]),
        pain002(sent.msg_id, report="C", statuses=[(e2e["P1"], "ACSC", ""), (e2e["P3"], "ACSC", "")]),
    ]
    for number in order:
        sent.hear(reports[number])
    assert sent.states() == {"P1": "executed", "P2": "rejected", "P3": "executed"}
    assert sent.state is FileState.EXECUTED
    assert world.balance("assets:transit:eur-payouts") == -1800


@pytest.mark.parametrize("said", list(permutations(["ACSC", "RJCT"])))
def test_a_contradiction_ends_in_one_state_and_asks_a_person(world: World, said: Sequence[str]) -> None:
    sent = Sent(world)
    for status in said:
        sent.hear(pain002(sent.msg_id, report=status, statuses=[(sent.e2e["P1"], status, "AC04")]))
    assert sent.states()["P1"] == "disputed"
    assert sent.state is FileState.DISPUTED
    found = world.rows("SELECT code, reference FROM settlement.message_finding")
    assert found == [("conflict", sent.e2e["P1"])]
    again = sent.hear(pain002(sent.msg_id, group="ACSC", report="again"))
    assert sum(message.changed for message in again.messages) == 2, "the other two"
    assert sent.states()["P1"] == "disputed"
    assert world.propose(NEXT) == [], "nothing is paid again while the bank says both"


def test_what_cannot_be_applied_is_kept_as_a_finding(world: World) -> None:
    sent = Sent(world)
    world.owe("P1", 5)
    (waiting,) = world.propose()
    world.answer("a.xml", pain002("NOBODY", group="ACSC", report="A"))
    world.answer("b.xml", pain002(sent.msg_id, report="B", statuses=[("NOT-OURS", "RJCT", "AC04")]))
    world.answer("c.xml", pain002(sent.msg_id, group="XXXX", report="C"))
    world.answer("d.xml", pain002(sent.msg_id, group="ACSC", report="D"), bank="island")
    world.answer("e.xml", pain002(waiting.file.msg_id, group="ACSC", report="E"))
    world.answer("f.xml", pain002(sent.msg_id, group="ACSC")[:-20])
    world.answer("g.xml", "<!DOCTYPE x []>" + pain002(sent.msg_id, group="ACSC", report="G")[38:])
    world.answer("statement.xml", "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'/>")
    world.answer("report.csv", "payout_id")
    report = poll(world.app, home=world.home)
    found = {message.name: [finding.message for finding in message.findings] for message in report.messages}
    assert set(found) == {"a.xml", "b.xml", "c.xml", "d.xml", "e.xml", "f.xml", "g.xml"}
    assert found["a.xml"] == ["it answers a file we do not know"]
    assert found["b.xml"] == ["status RJCT names no payment of this file"]
    assert found["c.xml"] == ["status code XXXX is not known"]
    assert found["d.xml"] == ["it answers a file that went to nordbank"]
    assert found["e.xml"] == ["it answers a file that is proposed and was never sent"]
    assert "not well-formed" in found["f.xml"][0]
    assert "DOCTYPE" in found["g.xml"][0]
    assert set(sent.states().values()) == {"sent"}
    assert world.one("SELECT count(*) FROM settlement.message_received") == 7
    assert world.balance("assets:transit:eur-payouts") == -2700


def returned(conn: Connection, instruction_id: int, amount_minor: int) -> object:
    """As reconciliation's own functions do: with the owner's rights."""
    with translate_errors():
        row = conn.execute(
            "SELECT settlement.reopen_returned(%s, %s, 'AC04', %s)", (instruction_id, amount_minor, NEXT)
        ).fetchone()
    conn.commit()
    assert row is not None
    return row[0]


def test_a_return_reopens_once_and_charges_become_our_cost(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACSC"))
    with world.db.owner() as owner:
        posting = returned(owner, sent.ids["P1"], 650)
        assert returned(owner, sent.ids["P1"], 650) == posting
    assert world.rows("SELECT amount_minor FROM ledger.posting WHERE posting_id = %s", posting) == [(650,)]
    assert sent.states()["P1"] == "returned"
    assert world.balance("liabilities:payable:P1") == -700
    assert world.balance("expenses:bank-fees:eur") == 50
    assert world.rows("SELECT payee, owed_minor, held FROM settlement.open_item") == [("P1", 700, True)]
    assert world.one("SELECT return_posting_id FROM settlement.instruction_current WHERE payee_code = 'P1'") == posting
    assert world.one("SELECT count(*) FROM settlement.clearing_group") == 3, "the original set stays cleared"


def test_a_return_after_a_reject_reopens_nothing_more(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, statuses=[(sent.e2e["P1"], "RJCT", "AC04")]))
    with world.db.owner() as owner:
        assert returned(owner, sent.ids["P1"], 700) is None
        with pytest.raises(NostroError, match="cannot return"):
            returned(owner, sent.ids["P2"], 901)
    assert world.balance("liabilities:payable:P1") == -700


def test_reconciled_is_the_end_of_a_file(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACSC"))
    with world.db.owner() as owner:
        for expected in (1, 0):
            row = owner.execute("SELECT settlement.mark_reconciled(%s)", ([sent.file_id],)).fetchone()
            assert row == (expected,)
        owner.commit()
    assert sent.state is FileState.RECONCILED
