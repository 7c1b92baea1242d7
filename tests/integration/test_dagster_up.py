"""`nostro up`: everything answers, a second one and a taken port are refused, and stopping leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import UnavailableError
from nostro.settings import Settings
from nostro.up import up

_PROGRAM = (
    "import sys; from pathlib import Path; from nostro.settings import Settings; from nostro.up import up\n"
    "up(Settings(home=Path(sys.argv[1])), port=int(sys.argv[2]), read_only_port=int(sys.argv[3]))"
)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nostro-up-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as a user of its own
        yield Path(folder)


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """The program as `nostro up` starts it, ready."""
    port, read_only = _free_ports(2)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOSTRO_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(home), str(port), str(read_only)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    with process.stdout as output:
        said = []
        for line in output:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert f"http://127.0.0.1:{port}" in "".join(said), "".join(said)
        yield process, port, read_only
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _graphql(port: int, query: str) -> dict[str, object]:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc"),
]


def _dagster_processes(home: Path) -> list[str]:
    """Processes whose DAGSTER_HOME lies in this home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"DAGSTER_HOME={home}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_the_code_is_loaded_and_every_daemon_is_healthy(running: tuple[object, int, int]) -> None:
    _, port, _ = running
    answer = _graphql(
        port,
        "{workspaceOrError{... on Workspace{locationEntries{name loadStatus locationOrLoadError{__typename}}}}}",
    )
    assert answer["data"] == {
        "workspaceOrError": {
            "locationEntries": [
                {"name": "nostro", "loadStatus": "LOADED", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
            ]
        }
    }
    until = time.monotonic() + 60
    health: list[bool] = []
    while time.monotonic() < until and not (health and all(health)):
        daemons = _graphql(port, "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}")["data"]
        states = daemons["instance"]["daemonHealth"]["allDaemonStatuses"]  # type: ignore[index]
        health = [state["healthy"] for state in states if state["required"]]
        time.sleep(0.5)
    assert health and all(health)


def test_the_read_only_address_launches_nothing(running: tuple[object, int, int]) -> None:
    _, _, read_only = running
    launch = (
        'mutation{launchRun(executionParams:{selector:{repositoryName:"__repository__",repositoryLocationName:"nostro",'
        'jobName:"nightly_settlement_job"},runConfigData:{}}){__typename}}'
    )
    assert _graphql(read_only, launch)["data"] == {"launchRun": {"__typename": "UnauthorizedError"}}


def test_the_children_cannot_log_in_as_the_owner(running: tuple[object, int, int], home: Path) -> None:
    """Their environment has the conninfo of two logins without rights over tables, and of Dagster's own database."""
    seen = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"DAGSTER_HOME={home}/dagster" in words:
            seen += 1
            values = dict(word.split("=", 1) for word in words if "=" in word)
            assert "NOSTRO_DATABASE_URL" not in values
            assert not [name for name, value in values.items() if "user=postgres" in value or "//postgres:" in value]
            with psycopg.connect(values["NOSTRO_SCHEDULER_CONNINFO"]) as conn:
                assert conn.execute("SHOW is_superuser").fetchone() == ("off",)
                granted = "SELECT pg_has_role(session_user, %s, 'member')"
                assert conn.execute(granted, ("nostro_approver",)).fetchone() == (False,)
                assert conn.execute(granted, ("nostro_owner",)).fetchone() == (False,)
    assert seen >= 4


def test_a_second_one_for_the_same_home_is_refused(running: tuple[object, int, int], home: Path) -> None:
    with pytest.raises(UnavailableError, match=r"already runs for .*web server \d+.*stop these processes"):
        up(Settings(home=home), port=_free_ports(1)[0])


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port} cannot be used .* choose another with --port"):
            up(Settings(home=tmp_path), port=port)
    assert not (tmp_path / "postgres").exists()


def test_stopping_ends_every_process_and_the_status_is_zero(
    running: tuple[subprocess.Popen[str], int, int], home: Path
) -> None:
    process, port, _ = running
    assert _dagster_processes(home)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert _dagster_processes(home) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_children_of_a_killed_one_keep_a_second_set_away(home: Path, tmp_path: Path) -> None:
    """The lock is shared with the children, so it lives as long as they do."""
    lock = home / "dagster" / "up.lock"
    with lock.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held.fileno(),))
    with pytest.raises(UnavailableError, match="already runs"):
        up(Settings(home=home), port=_free_ports(1)[0])
    child.communicate(b"\n")
