"""A file whose fate nobody could look up: two people say what the bank says, and nothing is paid twice."""

from __future__ import annotations

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
    NotKnownError,
    SendUnknownError,
    cancel,
    file_content,
    payment_file,
    poll,
    release,
    release_hold,
    resolve_unknown,
)
from tests.settlement_world import PayeeRow, World, make_world, moment, pain002

TRANSIT, PAYABLE = "assets:transit:eur-payouts", "liabilities:payable:P1"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")], refuses_duplicates=False)
    made.owe("P1", 700)
    made.owe("P2", 300)
    yield made
    made.close()


@pytest.fixture
def unknown(world: World) -> int:
    """A file whose sender lost the connection at the rename; whether the bank has it, nobody can see."""

    class Lost(FolderTransport):
        def rename(self, part: Path, final: Path) -> None:
            part.unlink()
            raise OSError("connection lost")

    (file_id,) = world.approve_all()
    with pytest.raises(SendUnknownError):
        release(world.app, file_id, home=world.home, now=moment(), transport=Lost(outbox(world)))
    return file_id


def outbox(world: World) -> Path:
    return world.home / "bank/nordbank/outbox"


def not_sent(conn: psycopg.Connection[tuple[object, ...]], file_id: int) -> FileState:
    return resolve_unknown(conn, file_id, sent=False, reason="bank: no such MsgId").state


def test_two_people_take_a_file_back_that_the_bank_never_got(world: World, unknown: int) -> None:
    assert not_sent(world.alice, unknown) is FileState.UNKNOWN
    assert not_sent(world.alice, unknown) is FileState.UNKNOWN, "one person is one voice, however often"
    assert world.balance(TRANSIT) == -1000
    assert not_sent(world.bob, unknown) is FileState.CANCELLED
    assert (world.balance(TRANSIT), world.balance(PAYABLE)) == (0, -700)
    again = resolve_unknown(world.bob, unknown, sent=False, reason="again")
    assert (again.state, again.is_new) == (FileState.CANCELLED, False)

    assert world.propose() == [], "what comes back from a doubt waits for a person"
    for (key,) in world.rows("SELECT end_to_end_id FROM settlement.instruction"):
        assert release_hold(world.bob, end_to_end_id=str(key), reason="the bank confirmed in writing")
    old = payment_file(world.app, unknown).msg_id
    (second,) = world.pay()
    assert [p.stem for p in outbox(world).glob("*.xml")] == [payment_file(world.app, second).msg_id] != [old]
    assert world.balance(TRANSIT) == -1000
    with pytest.raises(FileStateError):
        resolve_unknown(world.alice, unknown, sent=True, reason="too late")
    assert release(world.app, unknown, home=world.home, now=moment()).state is FileState.CANCELLED


def test_two_people_say_that_the_bank_has_it(world: World, unknown: int) -> None:
    for person, state in ((world.alice, FileState.UNKNOWN), (world.bob, FileState.SENT)):
        assert resolve_unknown(person, unknown, sent=True, reason="seen in the bank's portal").state is state
    assert not resolve_unknown(world.bob, unknown, sent=True, reason="again").is_new
    assert world.balance(TRANSIT) == -1000
    world.answer("r.xml", pain002(payment_file(world.app, unknown).msg_id, group="ACSC"))
    poll(world.app, home=world.home)
    assert not resolve_unknown(world.bob, unknown, sent=True, reason="again").is_new
    assert payment_file(world.app, unknown).state is FileState.EXECUTED


def test_two_people_who_disagree_settle_nothing_until_one_changes_their_mind(world: World, unknown: int) -> None:
    assert not_sent(world.alice, unknown) is FileState.UNKNOWN
    assert resolve_unknown(world.bob, unknown, sent=True, reason="I think so").state is FileState.UNKNOWN
    assert payment_file(world.app, unknown).state is FileState.UNKNOWN
    assert resolve_unknown(world.alice, unknown, sent=True, reason="the bank found it").state is FileState.SENT


def test_the_banks_answer_is_faster_than_the_second_person(world: World, unknown: int) -> None:
    assert not_sent(world.alice, unknown) is FileState.UNKNOWN
    world.answer("r.xml", pain002(payment_file(world.app, unknown).msg_id, group="ACCP"))
    poll(world.app, home=world.home)
    with pytest.raises(FileStateError, match="acknowledged"):
        not_sent(world.bob, unknown)
    assert world.balance(TRANSIT) == -1000


def test_the_look_up_finds_it_in_the_meantime(world: World, unknown: int) -> None:
    assert not_sent(world.alice, unknown) is FileState.UNKNOWN
    name = f"{payment_file(world.app, unknown).msg_id}.xml"
    (outbox(world) / name).write_bytes(file_content(world.app, unknown))
    poll(world.app, home=world.home)
    with pytest.raises(FileStateError, match="sent"):
        not_sent(world.bob, unknown)


def test_an_answer_to_a_file_taken_back_is_a_finding(world: World, unknown: int) -> None:
    not_sent(world.alice, unknown)
    not_sent(world.bob, unknown)
    world.answer("r.xml", pain002(payment_file(world.app, unknown).msg_id, group="ACSC"))
    (message,) = poll(world.app, home=world.home).messages
    assert {finding.code for finding in message.findings} == {"conflict"}
    assert world.balance(TRANSIT) == 0


def test_who_may_say_what_of_which_file(world: World, unknown: int) -> None:
    with pytest.raises(AccessError):
        not_sent(world.app, unknown)
    with pytest.raises(NotKnownError):
        not_sent(world.alice, unknown + 999)
    world.owe("P1", 50)
    (sent,) = world.pay()
    with pytest.raises(FileStateError, match="unknown"):
        not_sent(world.alice, sent)


def test_raw_words_on_a_fate(world: World, unknown: int) -> None:
    last = world.one("SELECT max(ordinal) FROM settlement.file_event WHERE file_id = %s", unknown)
    word = (
        "INSERT INTO settlement.fate_word (file_id, event_ordinal, fate, reason, said_by) VALUES (%s, %s, %s, 'x', %s)"
    )
    with world.db.owner() as owner:
        me = owner.execute("SELECT session_user").fetchone()
        assert me is not None
        for ordinal, name, constraint in ((1, me[0], "fate_of_unknown"), (last, "nostro_bob", "fate_own_name")):
            with pytest.raises(psycopg.Error) as refused:
                owner.execute(word, (unknown, ordinal, "not_sent", name))
            assert refused.value.diag.constraint_name == constraint
            owner.rollback()
        owner.execute(word, (unknown, last, "not_sent", me[0]))
        owner.execute(word, (unknown, last, "not_sent", me[0]))
        with pytest.raises(psycopg.Error) as refused:
            owner.execute("SELECT settlement.add_file_event(%s, 'cancelled', 'alone')", (unknown,))
        assert refused.value.diag.constraint_name == "fate_four_eyes"


def test_one_person_does_not_cancel_what_may_be_at_the_bank(world: World, unknown: int) -> None:
    with pytest.raises(FileStateError, match="not cancelled by one person"):
        cancel(world.bob, unknown, reason="no")
