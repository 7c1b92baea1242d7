"""The sender killed at commits, steps and system calls; `nostro soak send` goes through all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kill_back import make_back_world, recover_back
from benchmarks.kill_sweep import Point, die, ended, launch, may_trace, steps, sweep
from benchmarks.kill_world import World, file_states, make_world, recover, remove
from benchmarks.openssh import SSHD, openssh


@pytest.fixture(scope="module")
def world(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield make_world(server, tmp_path_factory.mktemp("sweep"))
    remove(server)


def test_nobody_is_paid_twice_and_nobody_is_forgotten(world: World) -> None:
    result = sweep(world, every=6, calls=False)
    print(f"killed at {result.points.total()} points: {dict(result.names)}, files {dict(result.states)}")
    assert result.findings == ()
    assert result.points["step"] >= 5
    assert result.states["unknown"] > 0 and result.states["acknowledged"] > 0


def test_killed_at_system_calls(world: World) -> None:
    if not may_trace():
        pytest.skip("no strace, or it may not trace (apt-get install strace)")
    every = {"rename": 2, "fsync": 4}
    result = sweep(world, keep=lambda point: point.name in every and point.number % every[point.name] == 0)
    print(f"killed at {result.points.total()} points: {dict(result.names)}, files {dict(result.states)}")
    assert result.findings == ()
    assert result.points["call"] >= 2


def test_every_commit_and_every_step_that_moves_bytes_is_a_point(world: World) -> None:
    names = {point.name for point in steps(world)}
    assert names == {
        "commit",
        "open the journal of sends",
        "write the journal of sends",
        "note the outcome",
        "write the file",
        "measure the file",
        "rename the file",
        "sync the folder",
    }


def test_the_verdict_sees_a_file_that_comes_twice(world: World) -> None:
    world.restore()
    die(world, Point("step", "rename the file", 1, "after"))
    orders = world.home() / "bank/orders"
    (sent,) = orders.glob("*.xml")
    shutil.copy(sent, orders / "again.xml")
    with pytest.raises(AssertionError, match="executed twice"):
        recover(world, sweeps=False)


def test_the_verdict_sees_a_file_that_is_lost(world: World) -> None:
    world.restore()
    die(world, Point("step", "note the outcome", 1, "before"))  # SENT is committed
    for path in (world.home() / "bank/orders").glob("*.xml"):
        path.unlink()
    with pytest.raises(AssertionError, match="lost"):
        recover(world, sweeps=False)


def test_eight_senders_at_once_send_once(world: World) -> None:
    world.restore()
    senders = [launch(world) for _ in range(8)]
    for _, pipe in senders:
        os.write(pipe, b".")
        os.close(pipe)
    statuses = [ended(child) for child, _ in senders]
    assert 0 in statuses and set(statuses) <= {0, 3}, "a sender that comes second says so (try again), or finds it done"
    assert file_states(world) == {"sent": 2}
    assert len(list((world.home() / "bank/orders").glob("*.xml"))) == 2
    recover(world, sweeps=False)


@pytest.fixture(scope="module")
def back(server: str, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The company that asks back and gives back; the first one is gone by then."""
    remove(server)
    yield make_back_world(server, tmp_path_factory.mktemp("back"))
    remove(server)


@pytest.mark.parametrize(
    ("point", "sweeps", "state"),
    [
        (Point("step", "write the file", 2, "after"), True, "unknown"),  # the recall, which nobody can find
        (Point("step", "rename the file", 3, "after"), False, "sent"),  # the reversal, which lies at the bank
    ],
)
def test_what_is_asked_back_or_given_back_comes_to_the_bank_once(
    back: World, point: Point, sweeps: bool, state: str
) -> None:
    back.restore()
    die(back, point)
    assert recover_back(back, sweeps=sweeps)[state] > 0


def test_the_verdict_sees_a_recall_that_comes_twice(back: World) -> None:
    back.restore()
    die(back, Point("step", "rename the file", 2, "after"))
    orders = back.home() / "bank/orders"
    (recall,) = orders.glob("*-R1.xml")
    shutil.copy(recall, orders / "again.xml")
    with pytest.raises(AssertionError, match="came to the bank twice"):
        recover_back(back, sweeps=False)


@pytest.mark.skipif(SSHD is None, reason="no OpenSSH server (apt-get install openssh-server)")
def test_killed_at_requests_to_an_sftp_server(server: str, tmp_path: Path) -> None:
    """Each kind of request of a delivery that changes something there, once; `nostro soak send` goes through all."""
    with openssh(tmp_path / "sshd") as sshd:
        remove(server)
        there = make_world(server, tmp_path / "sftp", sftp=sshd)
        asked = {point.name for point in steps(there)}
        assert {"SFTP open", "SFTP write", "SFTP close", "SFTP stat", "SFTP rename"} <= asked
        some = ("SFTP rename", "SFTP write")
        result = sweep(there, calls=False, keep=lambda point: point.name in some and point.number == 1)
    print(f"killed at {result.points.total()} points: {dict(result.names)}, files {dict(result.states)}")
    assert result.findings == () and result.points.total() == 4
