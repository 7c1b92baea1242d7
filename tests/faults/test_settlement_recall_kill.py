"""A sender of a recall that dies between SENDING and SENT: looked up, never sent twice by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import AccessError
from nostro.database import Database
from settlement import (
    FileState,
    ResendRefusedError,
    SendFailedError,
    SendUnknownError,
    approve_recall,
    poll,
    recalls,
    request_file_recall,
    send_recalls,
)
from tests.faults.test_settlement_send import STEPS, FailingTransport
from tests.faults.victims import send_and_die
from tests.settlement_world import PayeeRow, World, begin_sending, make_world, moment


@pytest.fixture(params=[True, False], ids=["bank refuses duplicates", "bank does not"])
def refuses(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def world(db: Database, tmp_path: Path, refuses: bool) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], refuses_duplicates=refuses, accounts=("eur",))
    made.owe("P1", 700)
    yield made
    made.close()


def approved(world: World) -> int:
    (file_id,) = world.pay()
    assert request_file_recall(world.alice, file_id, reason_code="DUPL", reason="paid twice") == 1
    assert len(approve_recall(world.bob, file_id, now=moment())) == 1
    world.bob.rollback()
    return file_id


def state(world: World) -> str:
    (recall,) = recalls(world.app, book_id=world.book_id)
    world.app.rollback()
    return recall.state


def delivered(world: World) -> list[Path]:
    return sorted((world.home / "bank/nordbank/outbox").glob("*-R*.xml"))


def kill_while_sending(world: World, file_id: int, step: str, when: str) -> None:
    assert send_and_die(world.db.conninfo(), file_id, str(world.home), step=step, when=when) == -signal.SIGKILL
    for _ in range(100):
        if not world.one(
            "SELECT count(*) FROM pg_stat_activity a JOIN settlement.recall_event e"
            " ON e.session_pid = a.pid AND e.state = 'sending'"
        ):
            return
        world.app.execute("SELECT pg_sleep(0.05)")
        world.app.rollback()
    raise AssertionError("the killed sender's session is still there")


@pytest.mark.parametrize(("step", "when"), [("write", "after"), ("rename", "before"), ("rename", "after")])
def test_killed_between_sending_and_sent(world: World, refuses: bool, step: str, when: str) -> None:
    file_id = approved(world)
    kill_while_sending(world, file_id, step, when)
    assert state(world) == "sending"
    arrived = (step, when) == ("rename", "after")
    (looked_up,) = poll(world.app, home=world.home).recalls
    assert looked_up.state is (FileState.SENT if arrived else FileState.UNKNOWN)
    assert poll(world.app, home=world.home).recalls == ()
    if not arrived:
        with pytest.raises(SendUnknownError):
            send_recalls(world.app, file_id, home=world.home)
        assert delivered(world) == [], "nothing is sent again by itself"
        with pytest.raises(AccessError):
            send_recalls(world.app, file_id, home=world.home, resend=True)
        if not refuses:
            with pytest.raises(ResendRefusedError):
                send_recalls(world.alice, file_id, home=world.home, resend=True)
            return
        (sent,) = send_recalls(world.alice, file_id, home=world.home, resend=True)
        assert sent.state is FileState.SENT
    assert not send_recalls(world.app, file_id, home=world.home)[0].is_new
    assert len(delivered(world)) == 1 and state(world) == "sent"
    assert delivered(world)[0].read_bytes() == world.one("SELECT content FROM settlement.recall_file")


@pytest.mark.parametrize("refuses", [False], indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_failing_disk_at_every_step(world: World, step: str) -> None:
    file_id = approved(world)
    transport = FailingTransport(world.home / "bank/nordbank/outbox", step, after=False)
    certain = step in ("write", "check")
    with pytest.raises(SendFailedError if certain else SendUnknownError):
        send_recalls(world.app, file_id, home=world.home, transport=transport)
    assert state(world) == ("failed" if certain else "unknown")
    if certain or delivered(world):
        assert send_recalls(world.app, file_id, home=world.home)[0].state is FileState.SENT
    assert len(delivered(world)) <= 1


@pytest.mark.parametrize("refuses", [True], indirect=True)
def test_a_sender_that_still_lives_is_not_overtaken(world: World) -> None:
    file_id = approved(world)
    with world.db.app() as sender:
        begin_sending(world, sender, file_id, 1)
        with pytest.raises(SendFailedError, match="by another session"):
            send_recalls(world.alice, file_id, home=world.home, resend=True)
        assert poll(world.app, home=world.home).recalls == ()
    assert state(world) == "sending" and delivered(world) == []
