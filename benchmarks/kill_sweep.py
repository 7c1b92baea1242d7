"""Kill the sender everywhere: at every commit, every step that moves bytes, and every system call that does.

Lives here: where a sender can die, and dying there. Must not live here: the company, the recovery, the verdict
(`kill_world`).

Two kinds of points. A *step* is a call by name (COMMIT, a line of the journal of sends, write, rename, every SFTP
request), before it and after its answer. A *call* is the N-th system call of a name, before the kernel does it; strace
(if it is there and may trace) kills the sender. What is after a call is before the next one, up to the last: leaving
the process.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import psycopg

from benchmarks.kill_back import make_back_world, recover_back
from benchmarks.kill_world import World, make_world, recover, remove
from benchmarks.openssh import SSHD, openssh
from nostro.cli import main
from nostro.postgres import throw_away_server
from settlement.send_journal import SendJournal
from settlement.transport import FolderTransport

CALLS = (
    "write,writev,pwrite64,sendto,sendmsg,rename,renameat,renameat2,fsync,fdatasync,mkdir,unlink,ftruncate,"
    "recvfrom,exit_group"
)
_STRACE = shutil.which("strace")
_PATIENCE_S = 120
_FINISHED, _KILLED = 0, -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Point:
    """Where a sender dies: the `number`-th `name`, before or after it."""

    kind: str
    name: str
    number: int
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.kind} {self.name} {self.number}"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found: points by kind, states the files were in after recovery, what did not hold."""

    points: Counter[str]
    names: Counter[str]
    states: Counter[str]
    findings: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, object]:
        """The object to print."""
        return {
            "points": self.points.total(),
            "by_kind": dict(self.points),
            "by_name": dict(self.names),
            "files_after_recovery": dict(self.states),
            "double_executions_or_losses": len(self.findings),
            "findings": list(self.findings),
            "seconds": round(self.seconds, 1),
        }


# What a company is about to send, how it is founded, and who recovers and judges. A recovery takes `sweeps`.
COMPANIES: dict[str, tuple[Callable[..., World], Callable[..., Counter[str]]]] = {
    "payments": (make_world, recover),
    "back": (make_back_world, recover_back),
}


def run(
    *,
    every: int = 1,
    calls: bool = True,
    companies: Collection[str] = tuple(COMPANIES),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, SweepResult]:
    """The whole sweep on a throw-away server, by what is sent and transport; `every` takes each n-th point only.

    `payments`: two payment files. `back`: a recall, a reversal and a file of collections. A bank's folder: every step
    and every system call. A bank's SFTP server (a real OpenSSH, if it is there): every step, each SFTP request among
    them.
    """
    results = {}
    with throw_away_server("nostro-sweep-") as (home, server):
        for name in companies:
            make, recovery = COMPANIES[name]
            world = make(server, home / name)
            results[f"{name}/folder"] = sweep(
                world, recovery=recovery, every=every, calls=calls, on_progress=on_progress
            )
            remove(server)
            if SSHD is None:
                continue
            with openssh(home / f"{name}-sshd") as sshd:
                world = make(server, home / f"{name}-sftp", sftp=sshd)
                results[f"{name}/sftp"] = sweep(
                    world, recovery=recovery, every=every, calls=False, on_progress=on_progress
                )
            remove(server)
    return results


def sweep(
    world: World,
    *,
    recovery: Callable[..., Counter[str]] = recover,
    every: int = 1,
    calls: bool = True,
    keep: Callable[[Point], bool] = lambda point: True,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SweepResult:
    """Kill a sender at each point, recover, judge. The bank takes files away before anybody looks at every second."""
    started = time.monotonic()
    points = steps(world) + (system_calls(world) if calls and may_trace() else [])
    chosen = [point for point in points if keep(point)][::every]
    states: Counter[str] = Counter()
    findings: list[str] = []
    for done, point in enumerate(chosen):
        try:
            world.restore()
            die(world, point)
            states += recovery(world, sweeps=done % 2 == 1)
        except (AssertionError, psycopg.Error) as error:
            findings.append(f"{point}: {error}")
        on_progress(done + 1, len(chosen))
    return SweepResult(
        Counter(point.kind for point in chosen),
        Counter(point.name for point in chosen),
        states,
        tuple(findings),
        time.monotonic() - started,
    )


# Where it can die -------------------------------------------------------------------------------------


def steps(world: World) -> list[Point]:
    """Every step of one undisturbed send, before and after."""
    world.restore()
    log = world.home() / "steps"
    status = _send(world, arm=lambda: _watch_steps(None, log))
    assert status == _FINISHED, f"an undisturbed send ended with {status}"
    seen: Counter[str] = Counter()
    points = []
    for name in log.read_text().splitlines():
        seen[name] += 1
        points += [Point("step", name, seen[name], when) for when in ("before", "after")]
    return points


def system_calls(world: World) -> list[Point]:
    """Every system call of one undisturbed send that moves bytes."""
    world.restore()
    log = world.home() / "calls"
    status = _send(world, strace=["-o", str(log), "-e", f"trace={CALLS}"])
    assert status == _FINISHED, f"an undisturbed send ended with {status}"
    names = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), flags=re.MULTILINE))
    return [Point("call", name, n, "before") for name in sorted(names) for n in range(1, names[name] + 1)]


def may_trace() -> bool:
    """Whether strace is here and may attach to a process of ours."""
    if _STRACE is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with subprocess.Popen([_STRACE, "-p", str(sleeper.pid)], stderr=subprocess.DEVNULL) as tracer:
                traced = _wait_until_traced(sleeper.pid, tracer)
                tracer.terminate()
        finally:
            sleeper.kill()
    return traced


# Dying there ------------------------------------------------------------------------------------------


def die(world: World, point: Point) -> None:
    """Run the send and kill it at a point."""
    if point.kind == "step":
        status = _send(world, arm=lambda: _watch_steps(point, None))
    else:
        kill = f"inject={point.name}:signal=KILL:when={point.number}"
        status = _send(world, strace=["-o", os.devnull, "-e", f"trace={point.name}", "-e", kill])
    assert status == _KILLED, f"the sender was not killed but ended with {status}"


def launch(world: World, arm: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """A process that sends once a byte comes through its pipe: its number, and the pipe to write to and close.

    A fork of this process: the program is loaded already, and a tracer can be there before its first step.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.close(writer)
            os.read(reader, 1)
            os.environ.update(world.environment())
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            arm()
            status = next((ended for words in world.words if (ended := main(words))), _FINISHED)
        finally:
            os._exit(status)
    os.close(reader)
    return child, writer


def _send(world: World, *, arm: Callable[[], None] = lambda: None, strace: Sequence[str] = ()) -> int:
    """The send in a process of its own; its exit status, negative when a signal ended it."""
    child, writer = launch(world, arm)
    tracer = None
    try:
        if strace:
            tracer = subprocess.Popen([str(_STRACE), "-f", "-qq", "-p", str(child), *strace], stderr=subprocess.DEVNULL)
            assert _wait_until_traced(child, tracer), "strace did not attach"
        os.write(writer, b".")
    finally:
        os.close(writer)
        status = ended(child)
        if tracer is not None:
            tracer.wait(60)
    return status


def ended(child: int) -> int:
    """Wait for a sender; its exit status, negative when a signal ended it. One that hangs is ended by SIGABRT."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        pid, wait_status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(wait_status)
        time.sleep(0.005)
    os.kill(child, signal.SIGABRT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _wait_until_traced(pid: int, tracer: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 60
    while tracer.poll() is None and time.monotonic() < deadline:
        if not re.search(r"^TracerPid:\t0$", Path(f"/proc/{pid}/status").read_text(), flags=re.MULTILINE):
            return True
        time.sleep(0.005)
    return False


# Steps by name: what a sender calls that others can see afterwards.
_WATCHED: tuple[tuple[Any, str, str], ...] = (
    (SendJournal, "open", "open the journal of sends"),
    (SendJournal, "write", "write the journal of sends"),
    (SendJournal, "note", "note the outcome"),
    (FolderTransport, "write", "write the file"),
    (FolderTransport, "check", "measure the file"),
    (FolderTransport, "rename", "rename the file"),
    (FolderTransport, "sync_folder", "sync the folder"),
)
# Every request of the protocol comes by here, whatever operation it is part of.
_HANDLER: Any = asyncssh.sftp.SFTPClientHandler
_REQUESTS = {
    value: name.removeprefix("FXP_").lower().replace("_", " ")
    for name, value in vars(asyncssh.sftp).items()
    if name.startswith("FXP_")
}


def _watch_steps(at: Point | None, log: Path | None) -> None:
    """In the sender: count each step by name, and die at one of them (or write all names down)."""
    seen: Counter[str] = Counter()

    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        seen[name] += 1
        here = at is not None and (at.name, at.number) == (name, seen[name])
        if log is not None:
            with log.open("a") as stream:
                stream.write(name + "\n")
        if here and at is not None and at.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            yield
        finally:  # an answer may be a refusal
            if here:
                os.kill(os.getpid(), signal.SIGKILL)

    for owner, attribute, name in _WATCHED:
        setattr(owner, attribute, _stepping(getattr(owner, attribute), name, step))
    request = _HANDLER._make_request

    async def asked(self: Any, kind: int | bytes, *args: Any) -> Any:
        with step(f"SFTP {kind.decode() if isinstance(kind, bytes) else _REQUESTS[kind]}"):
            return await request(self, kind, *args)

    _HANDLER._make_request = asked
    plain = psycopg.Connection.wait

    def wait(self: Any, gen: Any, *args: Any, **kwargs: Any) -> Any:
        # psycopg's transactions and `commit` both come by here; the generator's name says what it is for.
        if gen.__name__ in ("_commit_gen", "_exit_gen"):
            with step("commit"):
                return plain(self, gen, *args, **kwargs)
        return plain(self, gen, *args, **kwargs)

    psycopg.Connection.wait = wait  # type: ignore[method-assign]


def _stepping(plain: Any, name: str, step: Callable[[str], contextlib.AbstractContextManager[None]]) -> Any:
    if inspect.iscoroutinefunction(plain):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with step(name):
                return await plain(*args, **kwargs)

        return awaited

    def called(*args: Any, **kwargs: Any) -> Any:
        with step(name):
            return plain(*args, **kwargs)

    return called
