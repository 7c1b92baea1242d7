"""Files to and from a bank over SFTP, against a real OpenSSH server started for the test."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from benchmarks.openssh import SSHD, openssh
from nostro.database import Database
from settlement import (
    FileState,
    NotDeliveredError,
    SendFailedError,
    SendUnknownError,
    file_content,
    payment_file,
    poll,
    release,
)
from settlement.sftp import SftpServer, SftpTransport
from settlement.transport import Transport
from tests.settlement_world import PayeeRow, World, make_world, moment, pain002

pytestmark = pytest.mark.skipif(SSHD is None, reason="no OpenSSH server (apt-get install openssh-server)")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """An OpenSSH server on a free port that knows one key; ours."""
    with openssh(tmp_path_factory.mktemp("sshd")) as server:
        yield SftpServer(
            host="127.0.0.1",
            port=server.port,
            user=server.user,
            known_hosts=server.known_hosts,
            key=server.key,
            password_file=None,
            timeout_s=10,
        )


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The bank's side: `orders` and `answers`."""
    for name in ("orders", "answers"):
        (tmp_path / "bank" / name).mkdir(parents=True)
    return tmp_path / "bank"


def carrier(server: SftpServer, remote: Path) -> SftpTransport:
    return SftpTransport(server, outbox=str(remote / "orders"), inbox=str(remote / "answers"))


def test_a_file_arrives_whole_under_its_name_and_can_be_looked_up(sshd: SftpServer, remote: Path) -> None:
    transport: Transport = carrier(sshd, remote)
    content = os.urandom(300_000)
    assert transport.look_up("A.xml") is None
    receipt = transport.deliver("A.xml", content)
    assert [path.name for path in (remote / "orders").iterdir()] == ["A.xml"]
    assert (remote / "orders" / "A.xml").read_bytes() == content
    assert "300000 bytes" in receipt
    assert transport.look_up("A.xml") == hashlib.sha256(content).hexdigest()


def test_identical_bytes_are_as_good_as_delivered_and_others_are_never_replaced(sshd: SftpServer, remote: Path) -> None:
    transport = carrier(sshd, remote)
    transport.deliver("A.xml", b"one")
    assert "was there already" in transport.deliver("A.xml", b"one")
    with pytest.raises(NotDeliveredError, match=r"another file stands at the bank as A\.xml"):
        transport.deliver("A.xml", b"two")
    assert (remote / "orders" / "A.xml").read_bytes() == b"one"


def test_an_unknown_or_changed_host_key_stops_everything(sshd: SftpServer, remote: Path, tmp_path: Path) -> None:
    empty, other = tmp_path / "none", tmp_path / "other"
    empty.write_text("")
    stranger = (sshd.known_hosts.parent / "stranger.pub").read_text().split()[:2]
    other.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(stranger)}\n")
    for known_hosts in (empty, other):
        with pytest.raises(NotDeliveredError, match=r"the key of 127\.0\.0\.1 is not in"):
            carrier(replace(sshd, known_hosts=known_hosts), remote).deliver("A.xml", b"one")
    assert list((remote / "orders").iterdir()) == []


def test_a_stranger_is_not_let_in(sshd: SftpServer, remote: Path) -> None:
    stranger = replace(sshd, key=sshd.known_hosts.parent / "stranger")
    with pytest.raises(NotDeliveredError, match="does not let"):
        carrier(stranger, remote).deliver("A.xml", b"one")


def test_a_bank_that_is_not_there(sshd: SftpServer, remote: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        absent = replace(sshd, port=int(closed.getsockname()[1]))
        with pytest.raises(NotDeliveredError, match="cannot be reached"):
            carrier(absent, remote).look_up("A.xml")


def test_a_missing_folder_is_said_and_nothing_is_left(sshd: SftpServer, remote: Path) -> None:
    transport = SftpTransport(sshd, outbox=str(remote / "nowhere"), inbox=str(remote / "nowhere"))
    with pytest.raises(NotDeliveredError, match=r"No such file.*nowhere"):
        transport.deliver("A.xml", b"one")
    with pytest.raises(OSError, match="No such file"):
        transport.fetch(remote.parent / "inbox")


def test_what_the_bank_left_is_fetched_once(sshd: SftpServer, remote: Path, tmp_path: Path) -> None:
    transport, inbox = carrier(sshd, remote), tmp_path / "inbox"
    answers = remote / "answers"
    (answers / "B.xml").write_bytes(b"b")
    (answers / "A.xml").write_bytes(b"a")
    (answers / ".C.xml.part").write_bytes(b"half")
    (answers / "D.xml.filepart").write_bytes(b"half")
    (answers / "folder").mkdir()
    assert [path.name for path in transport.fetch(inbox)] == ["A.xml", "B.xml"]
    assert transport.fetch(inbox) == []
    assert sorted(path.name for path in answers.iterdir()) == [
        ".C.xml.part",
        "A.xml",
        "B.xml",
        "D.xml.filepart",
        "folder",
    ]
    assert sorted(path.name for path in inbox.iterdir()) == ["A.xml", "B.xml"]


def test_a_name_that_comes_again_with_other_bytes_replaces_nothing(
    sshd: SftpServer, remote: Path, tmp_path: Path
) -> None:
    transport, inbox = carrier(sshd, remote), tmp_path / "inbox"
    answer = remote / "answers" / "A.xml"
    answer.write_bytes(b"first")
    transport.fetch(inbox)
    answer.write_bytes(b"second, longer")
    digest = hashlib.sha256(b"second, longer").hexdigest()[:16]
    assert [path.name for path in transport.fetch(inbox)] == [f"A~{digest}.xml"]
    assert transport.fetch(inbox) == []
    assert (inbox / "A.xml").read_bytes() == b"first"


@pytest.fixture
def world(sshd: SftpServer, remote: Path, db: Database, tmp_path: Path) -> Iterator[World]:
    """A company that pays through the server; its keys lie in its home."""
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    assert sshd.key is not None
    for name, source in (("bank", sshd.key), ("known_hosts", sshd.known_hosts)):
        (home / "keys" / name).write_bytes(source.read_bytes())
        (home / "keys" / name).chmod(0o600)
    transport = (
        f"{{kind: sftp, host: 127.0.0.1, port: {sshd.port}, user: {sshd.user}, known_hosts: keys/known_hosts, "
        f"key: keys/bank, remote_outbox: {remote / 'orders'}, remote_inbox: {remote / 'answers'}, "
        "inbox: bank/nordbank/inbox}"
    )
    made = make_world(db, home, [PayeeRow(code="P1")], transport=transport)
    made.owe("P1", 700)
    yield made
    made.close()


def test_a_payment_goes_out_and_its_answer_comes_back(world: World, remote: Path) -> None:
    (file_id,) = world.pay()
    file = payment_file(world.app, file_id)
    assert (remote / "orders" / f"{file.msg_id}.xml").read_bytes() == file_content(world.app, file_id)
    (remote / "answers" / "r1.xml").write_text(pain002(file.msg_id, group="ACCP"))
    report = poll(world.app, home=world.home)
    assert (report.fetched, report.unreachable) == (("r1.xml",), ())
    assert [message.changed for message in report.messages] == [1]
    assert payment_file(world.app, file_id).state is FileState.ACKNOWLEDGED
    again = poll(world.app, home=world.home)
    assert (again.fetched, [message.is_new for message in again.messages]) == ((), [False])


def test_an_unreachable_bank_gets_nothing_and_is_tried_again(world: World, remote: Path) -> None:
    known_hosts = world.home / "keys" / "known_hosts"
    right = known_hosts.read_text()
    known_hosts.write_text("")
    (file_id,) = world.approve_all()
    with pytest.raises(SendFailedError, match="nothing reached the bank"):
        world.release(file_id)
    assert payment_file(world.app, file_id).state is FileState.FAILED
    (why,) = poll(world.app, home=world.home).unreachable
    assert "nordbank: the key of" in why
    known_hosts.write_text(right)
    assert world.release(file_id).state is FileState.SENT


class _CutOff(SftpTransport):
    """The line goes dead right before or right after the server renames the file."""

    after = False

    async def rename(self, sftp: asyncssh.SFTPClient, part: str, final: str) -> None:
        if self.after:
            await super().rename(sftp, part, final)
        raise asyncssh.SFTPConnectionLost("the line is dead")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_line_that_goes_dead_at_the_rename_leaves_a_doubt_that_is_looked_up(
    world: World, sshd: SftpServer, remote: Path, after: bool
) -> None:
    (file_id,) = world.approve_all()
    transport = _CutOff(sshd, outbox=str(remote / "orders"), inbox=str(remote / "answers"))
    transport.after = after
    with pytest.raises(SendUnknownError):
        release(world.app, file_id, home=world.home, now=moment(), transport=transport)
    resolved = poll(world.app, home=world.home).resolved
    assert payment_file(world.app, file_id).state is (FileState.SENT if after else FileState.UNKNOWN)
    assert len(resolved) == (1 if after else 0)
    if not after:
        with pytest.raises(SendUnknownError, match="may have reached the bank"):
            world.release(file_id)
        assert [path for path in (remote / "orders").iterdir() if path.suffix == ".xml"] == []
