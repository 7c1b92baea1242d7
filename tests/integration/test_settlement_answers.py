"""What the bank answers: statuses forward only, rejects re-opened and held, returns, and what cannot be applied."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Connection, NostroError, translate_errors
from nostro.database import Database
from settlement import (
    FileState,
    FileStateError,
    FourEyesError,
    PollReport,
    apply_setup,
    decide_dispute,
    decide_names,
    exceptions,
    payment_file,
    poll,
    recalls,
    receive,
    release_hold,
    request_recall,
)
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
        rows = world.rows(
            "SELECT payee_code, end_to_end_id, instruction_id FROM settlement.instruction WHERE file_id = %s",
            self.file_id,
        )
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
    counted = pain002(sent.msg_id, report="H").replace(
        "</OrgnlMsgNmId>", "</OrgnlMsgNmId><OrgnlNbOfTxs>9</OrgnlNbOfTxs>"
    )
    world.answer("h.xml", counted)
    world.answer("statement.xml", "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'/>")
    world.answer("report.csv", "payout_id")
    report = poll(world.app, home=world.home)
    found = {message.name: [finding.message for finding in message.findings] for message in report.messages}
    assert set(found) == {"a.xml", "b.xml", "c.xml", "d.xml", "e.xml", "f.xml", "g.xml", "h.xml"}
    assert found["a.xml"] == ["it answers a file we do not know"]
    assert found["b.xml"] == ["status RJCT names no payment of this file"]
    assert found["c.xml"] == ["status code XXXX is not known"]
    assert found["d.xml"] == ["it answers a file that went to nordbank"]
    assert found["e.xml"] == ["it answers a file that is proposed and was never sent"]
    assert "not well-formed" in found["f.xml"][0]
    assert "DOCTYPE" in found["g.xml"][0]
    assert found["h.xml"] == [f"it counts 9 payments in {sent.msg_id}, which has 3; what it says is applied"]
    assert set(sent.states().values()) == {"sent"}
    assert world.one("SELECT count(*) FROM settlement.message_received") == 8
    assert world.balance("assets:transit:eur-payouts") == -2700


def returned(conn: Connection, instruction_id: int, amount_minor: int, line: int) -> object:
    """As reconciliation's own functions do: with the owner's rights. `line` stands for a statement line."""
    with translate_errors():
        row = conn.execute(
            "SELECT settlement.reopen_returned(%s, %s, 'AC04', %s, %s)", (instruction_id, amount_minor, NEXT, line)
        ).fetchone()
    conn.commit()
    assert row is not None
    return row[0]


def test_a_return_reopens_once_a_line(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACSC"))
    with world.db.owner() as owner:
        posting = returned(owner, sent.ids["P1"], 700, 1)
        assert returned(owner, sent.ids["P1"], 700, 1) == posting
        assert returned(owner, sent.ids["P1"], 700, 2) is None, "it came back already"
    assert world.rows("SELECT amount_minor FROM ledger.posting WHERE posting_id = %s", posting) == [(700,)]
    assert sent.states()["P1"] == "returned"
    assert world.balance("liabilities:payable:P1") == -700
    assert world.rows("SELECT payee, owed_minor, held FROM settlement.open_item") == [("P1", 700, True)]
    assert world.one("SELECT return_posting_id FROM settlement.instruction_current WHERE payee_code = 'P1'") == posting
    assert world.one("SELECT count(*) FROM settlement.clearing_group") == 3, "the original set stays cleared"


def test_parts_come_back_up_to_what_was_paid(world: World) -> None:
    sent = Sent(world)
    with world.db.owner() as owner:
        assert returned(owner, sent.ids["P1"], 200, 1)
        assert sent.states()["P1"] == "partly_returned"
        assert returned(owner, sent.ids["P1"], 501, 2) is None
        assert returned(owner, sent.ids["P1"], 500, 2)
        assert sent.states()["P1"] == "returned"
        assert returned(owner, sent.ids["P1"], 1, 3) is None
        # Raw rows may not say otherwise, whoever writes them.
        for part, back, kind in (
            (3, 701, "return"),
            (4, 700, "taken_back"),
            (3, 700, "reject"),
            (3, 698, "taken_back"),
        ):
            with pytest.raises(psycopg.errors.CheckViolation, match="reopening"):
                owner.execute(
                    "INSERT INTO settlement.reopening (instruction_id, part, kind, entry_id, transit_posting_id,"
                    " payable_posting_id, amount_minor, back_minor, reason) VALUES (%s, %s, %s, 1, 1, 1, 1, %s, 'x')",
                    (sent.ids["P1"], part, kind, back),
                )
            owner.rollback()
    assert world.balance("liabilities:payable:P1") == -700
    assert release_hold(world.alice, end_to_end_id=sent.e2e["P1"], reason="account reopened")
    assert [p.file.total_minor for p in world.propose(NEXT)] == [700]


def test_a_return_that_is_taken_back_leaves_nobody_to_pay(world: World) -> None:
    sent = Sent(world)
    with world.db.owner() as owner:
        assert returned(owner, sent.ids["P1"], -700, 1) is None, "nothing had come back"
        assert returned(owner, sent.ids["P1"], 700, 2)
        assert waiting(world) == [("held", "fix_data", "P1")]
        assert returned(owner, sent.ids["P1"], -300, 3)
        assert sent.states()["P1"] == "partly_returned"
        assert world.propose(NEXT) == [], "what is left of it is held with what was taken"
        assert returned(owner, sent.ids["P1"], -400, 4)
    assert sent.states()["P1"] == "executed"
    assert waiting(world) == []
    assert world.propose(NEXT) == [] and world.one("SELECT count(*) FROM settlement.open_item") == 0
    assert world.balance("liabilities:payable:P1") == 0
    assert world.balance("assets:transit:eur-payouts") == -2700


def test_a_return_taken_back_after_it_was_paid_again_is_the_payees_debt(world: World) -> None:
    sent = Sent(world)
    with world.db.owner() as owner:
        assert returned(owner, sent.ids["P1"], 700, 1)
        assert release_hold(world.alice, end_to_end_id=sent.e2e["P1"], reason="account reopened")
        world.pay(NEXT)
        assert returned(owner, sent.ids["P1"], -700, 2)
    assert world.rows("SELECT payee, owed_minor, held FROM settlement.open_item") == [("P1", -700, False)]
    world.owe("P1", 1000, day=NEXT)
    later = NEXT + dt.timedelta(days=1)
    assert [p.file.total_minor for p in world.propose(later)] == [300], "later sales cover it"


def test_a_return_after_a_reject_reopens_nothing_more(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, statuses=[(sent.e2e["P1"], "RJCT", "AC04")]))
    with world.db.owner() as owner:
        assert returned(owner, sent.ids["P1"], 700, 1) is None
        with pytest.raises(NostroError, match="cannot return"):
            returned(owner, sent.ids["P2"], 901, 2)
    assert world.balance("liabilities:payable:P1") == -700


def test_what_comes_back_as_asked_is_tied_to_the_recall(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACSC"))
    assert request_recall(world.alice, end_to_end_id=sent.e2e["P1"], reason_code="DUPL", reason="paid by hand too")
    with world.db.owner() as owner:
        for number, payee in enumerate(("P1", "P2"), 1):
            owner.execute("SELECT settlement.reopen_returned(%s, 300, 'FOCR', %s, %s)", (sent.ids[payee], NEXT, number))
            owner.commit()
    assert [(r.payee, r.state) for r in recalls(world.app, book_id=world.book_id)] == [("P1", "partly_returned")]
    world.app.rollback()
    found = {e.payee: (e.kind, e.policy, e.meaning) for e in exceptions(world.app, book_id=world.book_id, as_of=NEXT)}
    world.app.rollback()
    assert found["P1"] == ("held", "stop", "It came back as we had asked (DUPL).")
    assert found["P2"][:2] == ("held", "stop") and "nobody had" in found["P2"][2]
    with pytest.raises(FourEyesError, match="by an approver"):
        release_hold(world.alice, end_to_end_id=sent.e2e["P2"], reason="no idea")


def test_reconciled_is_the_end_of_a_file(world: World) -> None:
    sent = Sent(world)
    sent.hear(pain002(sent.msg_id, group="ACSC"))
    with world.db.owner() as owner:
        for expected in (1, 0):
            row = owner.execute("SELECT settlement.mark_reconciled(%s)", ([sent.file_id],)).fetchone()
            assert row == (expected,)
        owner.commit()
    assert sent.state is FileState.RECONCILED


def waiting(world: World, day: dt.date = DAY) -> list[tuple[str, str, str | None]]:
    """What waits for a person: kind, policy, payee."""
    found = [(e.kind, e.policy, e.payee) for e in exceptions(world.app, book_id=world.book_id, as_of=day)]
    world.app.rollback()
    return found


def test_a_policy_of_stop_is_released_by_an_approver_only(world: World) -> None:
    sent = Sent(world)
    told = [(sent.e2e["P1"], "RJCT", "AM05"), (sent.e2e["P2"], "RJCT", "AC04"), (sent.e2e["P3"], "RJCT", "ZZ99")]
    sent.hear(pain002(sent.msg_id, statuses=told))
    assert waiting(world) == [("held", "stop", "P1"), ("held", "human", "P3"), ("held", "fix_data", "P2")]
    for payee in ("P1", "P3"):
        with pytest.raises(FourEyesError, match="by an approver"):
            release_hold(world.alice, end_to_end_id=sent.e2e[payee], reason="it was not paid")
        assert release_hold(world.bob, end_to_end_id=sent.e2e[payee], reason="the bank says it was not paid")
    assert release_hold(world.alice, end_to_end_id=sent.e2e["P2"], reason="confirmed by phone")
    assert waiting(world) == []


@pytest.mark.parametrize("first", ["ACSC", "RJCT"])
def test_a_dispute_is_decided_by_an_approver_once(world: World, first: str) -> None:
    sent = Sent(world)
    e2e = sent.e2e["P1"]
    with pytest.raises(FileStateError, match="not disputed"):
        decide_dispute(world.bob, end_to_end_id=e2e, was_executed=True, reason="asked", effective_date=NEXT)
    for status in (first, "RJCT" if first == "ACSC" else "ACSC"):
        sent.hear(pain002(sent.msg_id, report=status, statuses=[(e2e, status, "AC04")]))
    assert ("disputed", "stop", "P1") in waiting(world)
    if first == "RJCT":
        with pytest.raises(FourEyesError):
            release_hold(world.alice, end_to_end_id=e2e, reason="pay it again")
        with pytest.raises(FileStateError, match="open again"):
            decide_dispute(world.bob, end_to_end_id=e2e, was_executed=True, reason="asked", effective_date=NEXT)
    decide_dispute(world.bob, end_to_end_id=e2e, was_executed=False, reason="never left", effective_date=NEXT)
    assert waiting(world) == [("held", "stop", "P1")], "owed again and held"
    assert world.balance("liabilities:payable:P1") == -700
    with pytest.raises(FileStateError):
        decide_dispute(world.bob, end_to_end_id=e2e, was_executed=False, reason="again", effective_date=NEXT)
    assert release_hold(world.bob, end_to_end_id=e2e, reason="the bank confirmed in writing")
    assert world.propose(NEXT)[0].file.total_minor == 700


def test_doubtful_names_wait_for_an_approver(world: World) -> None:
    sent = Sent(world)
    with pytest.raises(FileStateError, match="doubts"):
        decide_names(world.bob, file_id=sent.file_id, release=True, reason="no doubt")
    told = [(sent.e2e["P1"], "RVNM", ""), (sent.e2e["P2"], "RVMC", ""), (sent.e2e["P3"], "RCVC", "")]
    sent.hear(pain002(sent.msg_id, group="RVCM", statuses=told))
    assert set(sent.states().values()) == {"sent"}, "a comparison of names moves nothing"
    assert waiting(world) == [("names", "human", "P1"), ("names", "human", "P2")]
    with pytest.raises(NostroError):
        decide_names(world.alice, file_id=sent.file_id, release=True, reason="a preparer may not")
    assert decide_names(world.bob, file_id=sent.file_id, release=False, reason="other firms") == 2
    assert waiting(world) == [("recall", "human", "P1"), ("recall", "human", "P2")]
    answer = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.029.001.09"><RsltnOfInvstgtn>'
        "<Assgnmt><Id>A1</Id><CreDtTm>2026-11-03T09:00:00Z</CreDtTm></Assgnmt><Sts><Conf>RJCR</Conf></Sts><CxlDtls>"
        f"<TxInfAndSts><OrgnlEndToEndId>{sent.e2e['P1']}</OrgnlEndToEndId><TxCxlSts>RJCR</TxCxlSts></TxInfAndSts>"
        "</CxlDtls></RsltnOfInvstgtn></Document>"
    )
    sent.hear(answer)
    found = exceptions(world.app, book_id=world.book_id, as_of=DAY)
    assert [(e.payee, e.code, e.meaning) for e in found] == [
        ("P1", "RJCR", "The cancellation is refused."),
        ("P2", None, "Asked back; the bank has not answered."),
    ]


def test_a_file_that_nobody_answers_is_overdue(world: World) -> None:
    sent = Sent(world)
    assert waiting(world, NEXT) == []
    assert waiting(world, NEXT + dt.timedelta(days=1)) == [("overdue", "human", None)]
    sent.hear(pain002(sent.msg_id, group="ACTC"))
    assert waiting(world, NEXT + dt.timedelta(days=9)) == []


def test_interbank_answers_find_their_payments_by_reference(world: World) -> None:
    sent = Sent(world)
    told = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{sent.e2e[payee]}</OrgnlEndToEndId><TxSts>{status}</TxSts></TxInfAndSts>"
        for payee, status in (("P1", "ACSC"), ("P2", "RJCT"))
    )
    header = "<GrpHdr><MsgId>B1</MsgId><CreDtTm>2026-11-02T18:00:00Z</CreDtTm></GrpHdr>"
    sent.hear(
        '<Envelope><Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10"><FIToFIPmtStsRpt>'
        f"{header}<OrgnlGrpInfAndSts><OrgnlMsgId>THE-BANKS-OWN</OrgnlMsgId><GrpSts>RJCT</GrpSts></OrgnlGrpInfAndSts>{told}"
        "</FIToFIPmtStsRpt></Document></Envelope>"
    )
    assert sent.states() == {"P1": "executed", "P2": "rejected", "P3": "sent"}, "its group is not our file"
    sent.hear(
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.004.001.09"><PmtRtr>'
        f"{header.replace('B1', 'B2')}<TxInf><OrgnlEndToEndId>{sent.e2e['P1']}</OrgnlEndToEndId>"
        '<RtrdIntrBkSttlmAmt Ccy="EUR">6.50</RtrdIntrBkSttlmAmt><RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf></TxInf>'
        "</PmtRtr></Document>"
    )
    assert sent.states()["P1"] == "executed", "only the statement proves that it came back"
    assert ("returning", "fix_data", "P1") in waiting(world)
    assert world.rows("SELECT amount_minor FROM settlement.answer_note WHERE kind = 'return'") == [(650,)]


def test_answers_in_other_encodings_are_found(world: World) -> None:
    sent = Sent(world)
    inbox = world.home / "bank" / "nordbank" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    text = pain002(sent.msg_id, group="ACTC").replace("UTF-8", "UTF-16")
    (inbox / "wide.xml").write_bytes(text.encode("utf-16"))
    assert [m.changed for m in poll(world.app, home=world.home).messages] == [3]


def test_notes_do_not_depend_on_order_or_repetition(world: World) -> None:
    sent = Sent(world)

    def changed(day: str, report: str) -> str:
        told = pain002(sent.msg_id, report=report, statuses=[(sent.e2e["P1"], "ACWC", "DT06")])
        ref = f"<OrgnlTxRef><ReqdExctnDt><Dt>{day}</Dt></ReqdExctnDt></OrgnlTxRef></TxInfAndSts>"
        return told.replace("</TxInfAndSts>", ref)

    sent.hear(pain002(sent.msg_id, group="ACSP", report="Z"))
    for day, report in (("2026-11-05", "A"), ("2026-11-04", "B"), ("2026-11-05", "A")):
        sent.hear(changed(day, report))
    assert sent.states()["P1"] == "in_process"
    assert world.rows("SELECT execution_date FROM settlement.promised_date") == [(dt.date(2026, 11, 5),)]
    assert world.one("SELECT count(*) FROM settlement.answer_note") == 2


RANKS = {"RCVD": 1, "PDNG": 2, "ACTC": 3, "ACCP": 4, "ACSP": 5, "ACSC": 6, "ACCC": 6, "RJCT": 7, "CANC": 7}
STATES = {1: "received", 2: "pending", 3: "checked", 4: "accepted", 5: "in_process", 6: "executed", 7: "rejected"}
SAID = st.lists(
    st.tuples(st.sampled_from(["P1", "P2", "P3", "all"]), st.sampled_from(sorted(RANKS))), min_size=1, max_size=5
)


def joined(statuses: set[str]) -> str:
    """The state after all of them, which knows no order."""
    ranks = {RANKS[status] for status in statuses}
    if not ranks:
        return "sent"
    return "disputed" if {6, 7} <= ranks else STATES[max(ranks)]


def of_file(states: list[str]) -> FileState:
    if "disputed" in states:
        return FileState.DISPUTED
    rejected, executed = states.count("rejected"), states.count("executed")
    if rejected == len(states):
        return FileState.REJECTED
    if rejected + executed == len(states):
        return FileState.EXECUTED
    return FileState.PARTLY_REJECTED if rejected else FileState.ACKNOWLEDGED


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=SAID, data=st.data())
def test_any_order_and_repetition_ends_in_the_same_states(
    world: World, said: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Reports permuted and repeated: each payment and the file end in the state that the set of them gives."""
    if world.one("SELECT count(*) FROM settlement.instruction"):
        for payee, amount in AMOUNTS.items():
            world.owe(payee, amount)
    sent = Sent(world)
    told = {payee: {status for whom, status in said if whom in (payee, "all")} for payee in AMOUNTS}
    reports = [
        pain002(sent.msg_id, group=status, report=f"R{n}")
        if payee == "all"
        else pain002(sent.msg_id, report=f"R{n}", statuses=[(sent.e2e[payee], status, "AC04")])
        for n, (payee, status) in enumerate(said)
    ]
    for turn, report in enumerate(data.draw(st.permutations(reports * 2))):
        content = report if turn % 2 else report + "\n"  # the same words in other bytes are another message
        receive(world.app, book_id=world.book_id, bank="nordbank", name=f"{turn}.xml", content=content.encode())
    expected = {payee: joined(statuses) for payee, statuses in told.items()}
    assert sent.states() == expected
    assert sent.state is of_file(list(expected.values()))
