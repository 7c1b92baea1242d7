"""A process that dies, or a disk that fails, at every step between SENDING and SENT.

The promise: at most one automatic execution, no silent loss, and never another MsgId.
"""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import AccessError, OutcomeUnknownError
from nostro.database import Database
from settlement import (
    FileState,
    FolderTransport,
    NotDeliveredError,
    ResendRefusedError,
    SendFailedError,
    SendUnknownError,
    file_content,
    payment_file,
    poll,
    release,
    seal,
)
from tests.faults.victims import send_and_die
from tests.settlement_world import PayeeRow, World, begin_sending, make_world, moment, pain002

STEPS = ("write", "check", "rename", "sync_folder")


@pytest.fixture(params=[True, False], ids=["bank refuses duplicates", "bank does not"])
def refuses(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def world(db: Database, tmp_path: Path, refuses: bool) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], refuses_duplicates=refuses)
    made.owe("P1", 700)
    yield made
    made.close()


class FailingTransport(FolderTransport):
    """Fails as a disk does, before or after one of its steps."""

    def __init__(self, outbox: Path, step: str, *, after: bool) -> None:
        super().__init__(outbox)
        plain = getattr(self, step)

        def failing(*args: object) -> None:
            if after:
                plain(*args)
            raise OSError(28, "No space left on device")

        setattr(self, step, failing)


def outbox(world: World) -> Path:
    return world.home / "bank/nordbank/outbox"


def delivered(world: World) -> list[str]:
    return (
        sorted(p.name for p in outbox(world).iterdir() if not p.name.startswith(".")) if outbox(world).exists() else []
    )


def kill_while_sending(world: World, file_id: int, step: str, when: str) -> None:
    died = send_and_die(world.db.conninfo(), file_id, str(world.home), step=step, when=when, now=moment().isoformat())
    assert died == -signal.SIGKILL


def wait_for_dead_session(world: World) -> None:
    for _ in range(100):
        alive = world.one(
            "SELECT count(*) FROM pg_stat_activity a JOIN settlement.file_current f ON f.session_pid = a.pid"
        )
        if alive == 0:
            return
        world.app.execute("SELECT pg_sleep(0.05)")
        world.app.rollback()
    raise AssertionError("the killed sender's session is still there")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_kill_at_every_step(world: World, refuses: bool, step: str, when: str) -> None:
    (file_id,) = world.approve_all()
    msg_id = payment_file(world.app, file_id).msg_id
    kill_while_sending(world, file_id, step, when)
    wait_for_dead_session(world)
    assert payment_file(world.app, file_id).state is FileState.SENDING

    arrived = (step, when) in {("rename", "after"), ("sync_folder", "before"), ("sync_folder", "after")}
    assert delivered(world) == ([f"{msg_id}.xml"] if arrived else [])
    if arrived:
        (resolved,) = poll(world.app, home=world.home).resolved
        assert (resolved.file_id, resolved.state) == (file_id, FileState.SENT)
    else:
        with pytest.raises(SendUnknownError):
            world.release(file_id)
        assert payment_file(world.app, file_id).state is FileState.UNKNOWN
        with pytest.raises(OutcomeUnknownError):
            world.release(file_id)
        assert delivered(world) == [], "nothing is sent again by itself"
        if refuses:
            with pytest.raises(AccessError):
                release(world.app, file_id, home=world.home, now=moment(), resend=True)
            sent = release(world.alice, file_id, home=world.home, now=moment(), resend=True)
            assert sent.state is FileState.SENT
        else:
            with pytest.raises(ResendRefusedError):
                release(world.alice, file_id, home=world.home, now=moment(), resend=True)
            # Only the bank's word settles it.
            world.answer("r.xml", pain002(msg_id, group="ACCP"))
            poll(world.app, home=world.home)
            assert payment_file(world.app, file_id).state is FileState.ACKNOWLEDGED
            return
    assert delivered(world) == [f"{msg_id}.xml"]
    assert (outbox(world) / f"{msg_id}.xml").read_bytes() == file_content(world.app, file_id)
    assert not world.release(file_id).is_new
    assert world.balance("assets:transit:eur-payouts") == -700


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_failing_disk_at_every_step(world: World, step: str, after: bool) -> None:
    (file_id,) = world.approve_all()
    transport = FailingTransport(outbox(world), step, after=after)
    certain = step in ("write", "check")
    with pytest.raises(SendFailedError if certain else SendUnknownError):
        release(world.app, file_id, home=world.home, now=moment(), transport=transport)
    assert payment_file(world.app, file_id).state is (FileState.FAILED if certain else FileState.UNKNOWN)
    if certain:
        # Surely nothing stands under the name, so trying again is not sending twice.
        assert delivered(world) == []
        assert world.release(file_id).state is FileState.SENT
    elif delivered(world):
        assert world.release(file_id).state is FileState.SENT
    assert len(delivered(world)) <= 1


def test_a_swept_outbox_is_no_proof_and_the_banks_answer_is(world: World) -> None:
    (file_id,) = world.approve_all()
    msg_id = payment_file(world.app, file_id).msg_id
    kill_while_sending(world, file_id, "rename", "after")
    wait_for_dead_session(world)
    (outbox(world) / f"{msg_id}.xml").unlink()
    (resolved,) = poll(world.app, home=world.home).resolved
    assert resolved.state is FileState.UNKNOWN
    assert poll(world.app, home=world.home).resolved == ()
    world.answer("r.xml", pain002(msg_id, group="ACSP"))
    poll(world.app, home=world.home)
    assert payment_file(world.app, file_id).state is FileState.ACKNOWLEDGED
    assert not world.release(file_id).is_new
    assert delivered(world) == []


def test_another_file_under_the_name_is_not_taken_for_ours(world: World) -> None:
    (file_id,) = world.approve_all()
    msg_id = payment_file(world.app, file_id).msg_id
    kill_while_sending(world, file_id, "write", "before")
    wait_for_dead_session(world)
    outbox(world).mkdir(parents=True, exist_ok=True)
    (outbox(world) / f"{msg_id}.xml").write_text("something else")
    with pytest.raises(SendUnknownError, match="another file"):
        world.release(file_id)


def test_a_sender_that_still_lives_is_not_overtaken(world: World) -> None:
    (file_id,) = world.approve_all()
    seal(world.app, file_id, now=moment())
    with world.db.app() as sender:
        begin_sending(world, sender, file_id)
        with pytest.raises(SendFailedError, match="by another session"):
            world.release(file_id)
        assert poll(world.app, home=world.home).resolved == ()
        assert payment_file(world.app, file_id).state is FileState.SENDING


def test_a_late_sender_finds_the_answer_already_there(world: World) -> None:
    (file_id,) = world.approve_all()
    msg_id = payment_file(world.app, file_id).msg_id

    class Slow(FolderTransport):
        def deliver(self, name: str, content: bytes) -> str:
            receipt = super().deliver(name, content)
            world.answer("r.xml", pain002(msg_id, group="ACSC"))
            with world.db.app() as other:
                poll(other, home=world.home)
            return receipt

    release(world.app, file_id, home=world.home, now=moment(), transport=Slow(outbox(world)))
    assert payment_file(world.app, file_id).state is FileState.EXECUTED


def test_a_short_write_is_not_renamed(tmp_path: Path) -> None:
    class Short(FolderTransport):
        def write(self, part: Path, content: bytes) -> None:
            super().write(part, content[:-1])

    with pytest.raises(NotDeliveredError, match="bytes"):
        Short(tmp_path).deliver("X.xml", b"<Document/>")
    assert [p.name for p in tmp_path.iterdir()] == [".X.xml.part"]
    assert FolderTransport(tmp_path).look_up("X.xml") is None


def test_the_cutoff_does_not_stop_what_is_sealed(world: World) -> None:
    (file_id,) = world.approve_all()
    seal(world.app, file_id, now=moment())
    late = moment() + dt.timedelta(days=1)
    assert release(world.app, file_id, home=world.home, now=late).state is FileState.SENT
