"""Senders that die by SIGKILL before or after a step of the transport, each a process. No assertions here.

One process loads the program and makes a child for each sender: loading it costs more than sending.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from functools import cache
from pathlib import Path

import psycopg

from settlement import FolderTransport, release, send_recalls

ROOT = Path(__file__).resolve().parents[2]


def send_and_die(conninfo: str, file_id: int, home: str, *, step: str, when: str, now: str | None = None) -> int:
    """The exit status of a process that sends a file at ``now`` (or its recalls) to nordbank, minus what killed it."""
    process = _nursery()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps([conninfo, file_id, home, step, when, now]) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@cache
def _nursery() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.victims"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)  # the end of its input ends it
    return process


def _send(conninfo: str, file_id: int, home: str, step: str, when: str, now: str | None) -> None:
    plain = getattr(FolderTransport, step)

    def dying(self: FolderTransport, *given: object) -> None:
        if when == "after":
            plain(self, *given)
        os.kill(os.getpid(), signal.SIGKILL)

    transport = type("Dying", (FolderTransport,), {step: dying})(Path(home) / "bank/nordbank/outbox")
    with psycopg.connect(conninfo) as conn:
        if now is None:
            send_recalls(conn, file_id, home=Path(home), transport=transport)
        else:
            release(conn, file_id, home=Path(home), now=datetime.fromisoformat(now), transport=transport)


def main() -> None:
    """A child for each line; answers how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _send(*json.loads(line))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
