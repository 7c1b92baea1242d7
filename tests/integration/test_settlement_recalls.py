"""Payments that were sent are asked back: by two people, in one gated file, sent once; the bank decides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import AccessError
from nostro.database import Database
from settlement import (
    FileState,
    FileStateError,
    FolderTransport,
    FourEyesError,
    NotKnownError,
    ProposalRefusedError,
    RestoredError,
    SendUnknownError,
    approve_recall,
    end_lost,
    lost_sends,
    poll,
    recalls,
    request_file_recall,
    request_recall,
    send_recalls,
    sign_sends,
)
from settlement.iso20022 import render
from tests.settlement_world import PayeeRow, World, make_world, moment, pain002


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")], accounts=("eur",))
    made.owe("P1", 700)
    made.owe("P2", 300)
    yield made
    made.close()


def reference(world: World, payee: str) -> str:
    return str(world.one("SELECT end_to_end_id FROM settlement.instruction WHERE payee_code = %s", payee))


def asked_back(world: World) -> int:
    """Pay P1 and P2, and let alice ask for P1's payment; the payment file."""
    (file_id,) = world.pay()
    assert request_recall(world.alice, end_to_end_id=reference(world, "P1"), reason_code="DUPL", reason="paid twice")
    return file_id


def states(world: World) -> dict[str, str]:
    found = {recall.payee: recall.state for recall in recalls(world.app, book_id=world.book_id)}
    world.app.rollback()
    return found


def payouts(world: World) -> dict[str, str]:
    return {str(p): str(s) for p, s in world.rows("SELECT payee, state FROM settlement.payout")}


def outbox(world: World) -> list[Path]:
    return sorted((world.home / "bank/nordbank/outbox").glob("*-R*.xml"))


def camt029(world: World, *, listed: dict[str, str] | None = None, whole: str | None = None) -> str:
    """The bank's answer to a recall, of payments by their EndToEndId or of the whole file."""
    msg_id = world.one("SELECT msg_id FROM settlement.payment_file")
    group = f"<GrpCxlSts>{whole}</GrpCxlSts>" if whole else ""
    told = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{e2e}</OrgnlEndToEndId><TxCxlSts>{status}</TxCxlSts>"
        "<CxlStsRsnInf><Rsn><Cd>AC04</Cd></Rsn></CxlStsRsnInf></TxInfAndSts>"
        for e2e, status in (listed or {}).items()
    )
    part = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{msg_id}</OrgnlPmtInfId>{told}</OrgnlPmtInfAndSts>" if told else ""
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.029.001.09"><RsltnOfInvstgtn>'
        "<Assgnmt><Id>A1</Id><CreDtTm>2026-11-03T09:00:00Z</CreDtTm></Assgnmt><Sts><Conf>INFO</Conf></Sts><CxlDtls>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{msg_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>{group}"
        f"</OrgnlGrpInfAndSts>{part}</CxlDtls></RsltnOfInvstgtn></Document>"
    )


def test_two_people_ask_and_the_bank_answers(world: World) -> None:
    file_id = asked_back(world)
    assert states(world) == {"P1": "requested"}
    with pytest.raises(FileStateError, match="no approved recall"):
        send_recalls(world.app, file_id, home=world.home)
    (approved,) = approve_recall(world.bob, file_id, now=moment())
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    assert (approved.msg_id, approved.state, approved.requested_by[-5:]) == (f"{msg_id}-R1", "approved", "alice")
    assert approve_recall(world.bob, file_id, now=moment()) == []
    world.bob.rollback()
    assert outbox(world) == [] and payouts(world)["P1"] == "sent"

    (sent,) = send_recalls(world.app, file_id, home=world.home)
    assert (sent.state, sent.is_new) == (FileState.SENT, True)
    (again,) = send_recalls(world.app, file_id, home=world.home)
    assert (again.state, again.is_new) == (FileState.SENT, False)
    (file,) = outbox(world)
    assert file.name == f"{msg_id}-R1.xml"
    stored = world.one("SELECT sha256 FROM settlement.recall_file")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == stored
    text = file.read_text()
    assert "camt.055.001.08" in text and "<Cd>DUPL</Cd>" in text and "paid twice" not in text
    assert reference(world, "P1") in text and reference(world, "P2") not in text
    assert states(world) == {"P1": "sent"} and payouts(world) == {"P1": "recalled", "P2": "sent"}

    world.answer("a.xml", camt029(world, listed={reference(world, "P1"): "PDCR"}))
    poll(world.app, home=world.home)
    assert states(world) == {"P1": "sent"}, "the bank is still asking"
    world.answer("b.xml", camt029(world, listed={reference(world, "P1"): "CNCL"}))
    poll(world.app, home=world.home)
    assert states(world) == {"P1": "accepted"} and payouts(world)["P1"] == "recalled"
    assert world.balance("assets:transit:eur-payouts") == -1000, "only a statement brings money back"
    assert world.one("SELECT count(*) FROM settlement.reopening") == 0
    world.answer("c.xml", camt029(world, listed={reference(world, "P1"): "RJCR"}))
    poll(world.app, home=world.home)
    assert states(world) == {"P1": "unknown"}, "yes and no are for a person"


def test_a_whole_file_is_asked_back_and_refused(world: World) -> None:
    file_id = asked_back(world)
    assert request_file_recall(world.alice, file_id, reason_code="TECH", reason="wrong file") == 1
    assert request_file_recall(world.alice, file_id, reason_code="TECH", reason="wrong file") == 0
    first = approve_recall(world.bob, file_id, now=moment(), end_to_end_ids=[reference(world, "P2")])
    rest = approve_recall(world.bob, file_id, now=moment())
    assert [(r.payee, r.part) for r in (*first, *rest)] == [("P2", 1), ("P1", 2)]
    assert [r.state for r in send_recalls(world.app, file_id, home=world.home)] == [FileState.SENT] * 2
    assert len(outbox(world)) == 2
    world.answer("a.xml", camt029(world, whole="RJCR"))
    poll(world.app, home=world.home)
    assert states(world) == {"P1": "refused", "P2": "refused"}
    assert payouts(world) == {"P1": "sent", "P2": "sent"}


def test_who_asked_does_not_approve(world: World) -> None:
    (file_id,) = world.pay()
    assert request_recall(world.bob, end_to_end_id=reference(world, "P1"), reason_code="FRAD", reason="fraud")
    with pytest.raises(FourEyesError, match="cannot approve it"):
        approve_recall(world.bob, file_id, now=moment())
    with pytest.raises(AccessError):
        approve_recall(world.alice, file_id, now=moment())  # no approver
    with world.db.login("carol") as carol:
        (approved,) = approve_recall(carol, file_id, now=moment())
    assert approved.state == "approved"
    # Nobody goes round it, the owner included: an own name is needed, and another than who asked.
    assert request_recall(world.bob, end_to_end_id=reference(world, "P2"), reason_code="FRAD", reason="fraud")
    instruction = world.one("SELECT instruction_id FROM settlement.instruction WHERE payee_code = 'P2'")
    with world.db.owner() as owner, pytest.raises(psycopg.Error) as refused:
        owner.execute(
            "INSERT INTO settlement.recall_file (file_id, part, msg_id, created_at, payment_count, sha256, content,"
            " approved_by) VALUES (%s, 2, 'X', now(), 1, encode(sha256(''), 'hex'), '', 'carol')",
            (file_id,),
        )
        owner.execute("INSERT INTO settlement.recall_member VALUES (%s, %s, 2)", (instruction, file_id))
    assert refused.value.diag.constraint_name == "recall_own_name"


def test_the_database_refuses_a_false_recall(world: World) -> None:
    file_id = asked_back(world)
    instruction = world.one("SELECT instruction_id FROM settlement.instruction WHERE payee_code = 'P1'")
    approve_recall(world.bob, file_id, now=moment())
    insert = (
        "INSERT INTO settlement.recall_file (file_id, part, msg_id, created_at, payment_count, sha256, content)"
        " VALUES (%s, %s, %s, now(), %s, %s, 'x')"
    )
    good = hashlib.sha256(b"x").hexdigest()
    event = (
        "INSERT INTO settlement.recall_event (file_id, part, ordinal, from_state, state) VALUES (%s, %s, %s, %s, %s)"
    )
    member = "INSERT INTO settlement.recall_member VALUES (%s, %s, %s)"
    msg_id = world.one("SELECT msg_id FROM settlement.recall_file")
    cases: list[tuple[str, list[tuple[str, tuple[object, ...]]]]] = [
        ("recall_file_hash", [(insert, (file_id, 2, "X", 1, "00"))]),
        ("recall_file_once", [(insert, (file_id, 1, "X", 1, good))]),
        ("recall_file_msg_id", [(insert, (file_id, 2, msg_id, 1, good))]),
        ("recall_file_id_length", [(insert, (file_id, 2, "X" * 36, 1, good))]),
        ("recall_member_once", [(insert, (file_id, 2, "X", 1, good)), (member, (instruction, file_id, 2))]),
        ("recall_event_transition", [(event, (file_id, 1, 2, "approved", "sent"))]),
        ("recall_event_first", [(event, (file_id, 1, 2, "new", "approved"))]),
        ("recall_event_chain", [(event, (file_id, 1, 2, "failed", "sending"))]),
    ]
    for constraint, statements in cases:
        with world.db.owner() as owner, pytest.raises(psycopg.Error) as refused:
            for statement, values in statements:
                owner.execute(statement, values)
        assert refused.value.diag.constraint_name == constraint
    assert request_recall(world.alice, end_to_end_id=reference(world, "P2"), reason_code="TECH", reason="both")
    other = world.one("SELECT instruction_id FROM settlement.instruction WHERE payee_code = 'P2'")
    with world.db.owner() as owner, pytest.raises(psycopg.Error) as refused:
        owner.execute(insert, (file_id, 2, "X", 2, good))
        owner.execute(member, (other, file_id, 2))
    assert refused.value.diag.constraint_name == "recall_whole"
    with pytest.raises(psycopg.Error, match="stays written"), world.db.owner() as owner:
        owner.execute("UPDATE settlement.recall_file SET msg_id = 'Y'")
    with world.app.transaction(force_rollback=True), pytest.raises(psycopg.Error) as refused:
        world.app.execute("SELECT settlement.begin_sending_recall(%s, 9, now(), '', 0, '')", (file_id,))
    assert refused.value.diag.constraint_name == "recall_known"


def test_bytes_that_say_something_else_do_not_pass_the_gate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = asked_back(world)
    plain = render
    monkeypatch.setattr("settlement.recalling.render", lambda *given: plain(*given).replace(b"DUPL", b"FRAD"))
    with pytest.raises(ProposalRefusedError, match="nothing was approved"):
        approve_recall(world.bob, file_id, now=moment())
    assert world.one("SELECT count(*) FROM settlement.recall_file") == 0
    assert states(world) == {"P1": "requested"}


def test_nothing_is_approved_where_nothing_waits(world: World) -> None:
    (file_id,) = world.pay()
    assert approve_recall(world.bob, file_id, now=moment()) == []
    with pytest.raises(FileStateError, match="does not wait"):
        approve_recall(world.bob, file_id, now=moment(), end_to_end_ids=["NOPE"])
    with pytest.raises(NotKnownError):
        approve_recall(world.bob, 99, now=moment())
    with pytest.raises(NotKnownError):
        request_file_recall(world.alice, 99, reason_code="CUST", reason="x")


def test_an_answer_proves_that_a_lost_recall_arrived(world: World) -> None:
    file_id = asked_back(world)
    approve_recall(world.bob, file_id, now=moment())

    class Unsure(FolderTransport):
        def sync_folder(self) -> None:
            raise OSError(5, "Input/output error")

        def look_up(self, name: str) -> str | None:
            return None

    unsure = Unsure(world.home / "bank/nordbank/outbox")
    for _ in range(2):
        with pytest.raises(SendUnknownError):
            send_recalls(world.app, file_id, home=world.home, transport=unsure)
    assert states(world) == {"P1": "unknown"}
    world.answer("a.xml", camt029(world, listed={reference(world, "P1"): "CNCL"}))
    for path in outbox(world):
        path.unlink()
    poll(world.app, home=world.home)
    assert states(world) == {"P1": "accepted"}
    (again,) = send_recalls(world.app, file_id, home=world.home)
    assert (again.state, again.is_new) == (FileState.SENT, False)
    assert outbox(world) == []


def test_a_recall_that_is_answered_and_was_never_sent_stops_everything_until_two_people_say_why(world: World) -> None:
    """It may be a bank's mistake, or the one sign that these books forgot sends: then any file may be a second one."""
    file_id = asked_back(world)
    approve_recall(world.bob, file_id, now=moment())
    recall = f"{world.one('SELECT msg_id FROM settlement.payment_file')}-R1"
    world.answer("early.xml", pain002(recall, group="ACTC", report="R9"))
    poll(world.app, home=world.home)
    world.owe("P2", 400)
    (next_file,) = world.approve_all()
    for send in (lambda: world.release(next_file), lambda: send_recalls(world.app, file_id, home=world.home)):
        with pytest.raises(RestoredError, match=f"a bank has answered {recall}, which the books never sent"):
            send()
    for conn in (world.alice, world.bob):
        review = sign_sends(conn, home=world.home, reason="the bank mixed us up, letter of today")
    assert review.may_send
    assert world.release(next_file).state is FileState.SENT, "everything else goes on"
    with pytest.raises(RestoredError, match="Another file has left as"):
        send_recalls(world.app, file_id, home=world.home)
    (lost,) = lost_sends(world.app)
    for conn in (world.alice, world.bob):
        end_lost(conn, lost.lost_send_id, outcome="not_sent", reason="the bank never got it, letter of today")
    assert send_recalls(world.app, file_id, home=world.home)[0].state is FileState.SENT
    assert len(outbox(world)) == 1
