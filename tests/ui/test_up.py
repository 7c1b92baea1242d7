"""`nostro up`: everything answers, a second one and a taken port are refused, a real browser looks at its pages, and
stopping leaves nothing behind.

One deployment for all of it: starting one costs as much as everything that is asked of it. Its night and its morning go
on beside the first tests, for they mostly wait for Dagster's clocks. The browser looks at the graph of each group, a
nightly run, the checks, the break table; NOSTRO_SCREENSHOTS names a folder to keep its pictures.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from ledger import UnavailableError
from nostro.database import initialise, locate
from nostro.postgres import end_embedded
from nostro.settings import Settings
from nostro.up import up
from nostro.users import add_user
from sandbox import read_truth
from settlement import FileState, approve, payment_file, payment_files, request_recall
from tests.dagster_world import MONDAY, World, prepare_world
from tests.ui.chromium import CHROMIUM, Browser, chromium, shows

MORNING = "morning_reconciliation_job"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc"),
]
looks = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; install it to look at the web pages")
_LAUNCH = """
mutation($job: String!, $day: String!) { launchRun(executionParams: {
  selector: {repositoryName: "__repository__", repositoryLocationName: "nostro", jobName: $job}, runConfigData: {},
  executionMetadata: {tags: [{key: "dagster/partition", value: $day}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } } }
"""
_STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_RUNS = "query($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { status } } } }"
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_PATIENCE_S = 90.0


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


@dataclass(frozen=True, slots=True)
class Up:
    """The program as `nostro up` starts it, ready, over a home with a business of two days."""

    process: subprocess.Popen[str]
    port: int
    read_only: int
    world: World
    nightly: Future[str] = field(default_factory=Future)  # its run
    morning: Future[None] = field(default_factory=Future)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="nostro-up-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # the embedded server may run as a user of its own
        database = locate(Settings(home=home, database_url=None))
        initialise(database)
        for person, group in (("alice", "preparer"), ("bob", "approver")):
            add_user(database, person, group)
        yield prepare_world(database, home, days=2, payments=200, anomalies=14)
        end_embedded(home)


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Up]:
    port, read_only = _free_ports(2)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOSTRO_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(world.home), str(port), str(read_only)],
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
        up = Up(process, port, read_only, world)
        with ThreadPoolExecutor(1) as beside:
            if CHROMIUM is not None:  # nobody else looks at what they leave
                beside.submit(_night_and_morning, up)
            yield up
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def _ask(port: int, query: str, **variables: str) -> dict[str, dict[str, object]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, dict[str, dict[str, object]]] = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


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


def test_the_code_is_loaded_and_every_daemon_is_healthy(running: Up) -> None:
    answer = _ask(
        running.port,
        "{workspaceOrError{... on Workspace{locationEntries{name loadStatus locationOrLoadError{__typename}}}}}",
    )
    assert answer == {
        "workspaceOrError": {
            "locationEntries": [
                {"name": "nostro", "loadStatus": "LOADED", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
            ]
        }
    }
    until = time.monotonic() + 60
    health: list[bool] = []
    while time.monotonic() < until and not (health and all(health)):
        daemons = _ask(running.port, "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}")
        states = daemons["instance"]["daemonHealth"]["allDaemonStatuses"]  # type: ignore[index]
        health = [state["healthy"] for state in states if state["required"]]
        time.sleep(0.5)
    assert health and all(health)


def test_the_read_only_address_launches_nothing(running: Up) -> None:
    launch = (
        'mutation{launchRun(executionParams:{selector:{repositoryName:"__repository__",repositoryLocationName:"nostro",'
        'jobName:"nightly_settlement_job"},runConfigData:{}}){__typename}}'
    )
    assert _ask(running.read_only, launch) == {"launchRun": {"__typename": "UnauthorizedError"}}


def test_the_children_cannot_log_in_as_the_owner(running: Up) -> None:
    """Their environment has the conninfo of two logins without rights over tables, and of Dagster's own database."""
    seen = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"DAGSTER_HOME={running.world.home}/dagster" in words:
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


def test_a_second_one_for_the_same_home_is_refused(running: Up) -> None:
    with pytest.raises(UnavailableError, match=r"already runs for .*web server \d+.*stop these processes"):
        up(Settings(home=running.world.home), port=_free_ports(1)[0])


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port} cannot be used .* choose another with --port"):
            up(Settings(home=tmp_path), port=port)
    assert not (tmp_path / "postgres").exists()


def _until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {_PATIENCE_S:.0f} s"
        time.sleep(0.5)


def _run(port: int, job: str) -> str:
    """Launch a job for Monday through the instance; the run it became, when it has succeeded."""
    launched = _ask(port, _LAUNCH, job=job, day=MONDAY.isoformat())["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = str(launched["run"]["runId"])  # type: ignore[index]
    _until(lambda: _ask(port, _STATUS, run=run_id)["runOrError"]["status"] in _ENDED, job)
    assert _ask(port, _STATUS, run=run_id)["runOrError"]["status"] == "SUCCESS", job
    return run_id


def _succeeded(port: int, job: str) -> bool:
    """Whether a run of the job, whoever asked for it, has ended well."""
    results = _ask(port, _RUNS, job=job)["runsOrError"]["results"]
    assert isinstance(results, list)
    assert not [run for run in results if run["status"] == "FAILURE"], job
    return any(run["status"] == "SUCCESS" for run in results)


def _approve(world: World) -> int:
    """Bob signs one file, which is enough to look at: each that is released takes its turn, in a process of its own."""
    with world.database.login("bob") as conn:
        (file,) = (file for file in payment_files(conn) if file.bank_account == "eur-payouts")
        return approve(conn, file.file_id).file.file_id


def _ask_back(world: World, file_id: int) -> None:
    """Alice asks for the first payment of a file again, so that something waits for a person."""
    with world.database.login("alice") as conn:
        row = conn.execute("SELECT min(end_to_end_id) FROM settlement.instruction WHERE file_id = %s", (file_id,))
        asked = {"end_to_end_id": str(*row.fetchone() or ()), "reason_code": "DUPL", "reason": "paid by hand before"}
        assert request_recall(conn, **asked)


def _is_sent(world: World, file_id: int) -> bool:
    with world.database.app() as conn:
        return payment_file(conn, file_id).state is FileState.SENT


def _night_and_morning(up: Up) -> None:
    """The night is asked for, Bob approves, the banks answer; Dagster's sensors do the rest. What fails fails the tests
    that wait for it."""
    for future, work in ((up.nightly, _night), (up.morning, _morning)):
        try:
            future.set_result(work(up))
        except Exception as error:
            future.set_exception(error)


def _night(up: Up) -> str:
    return _run(up.port, "nightly_settlement_job")


def _morning(up: Up) -> None:
    approved = _approve(up.world)
    _until(lambda: _is_sent(up.world, approved), "the release that the approval asks for")
    _ask_back(up.world, approved)
    up.world.bank_day(MONDAY)
    _until(lambda: _succeeded(up.port, MORNING), "the morning that the statements ask for")


@dataclass(frozen=True, slots=True)
class Pages:
    """What a browser shows of the running deployment."""

    up: Up
    browser: Browser
    pictures: Path
    rest_s: float = 0

    def missing(self, name: str, path: str, names: tuple[str, ...], *, height: int = 1000) -> list[str]:
        """Open a page, keep its picture; those of the names that a person cannot read on it."""
        text, picture = self.browser.page(self.up.address + path, names, height=height, rest_s=self.rest_s)
        (self.pictures / f"{name}.png").write_bytes(picture)
        assert len(picture) > 20_000, f"{name}.png is as good as empty"
        return [wanted for wanted in names if not shows(text, (wanted,))]


@pytest.fixture(scope="module")
def pages(running: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    kept = os.environ.get("NOSTRO_SCREENSHOTS")
    pictures = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        yield Pages(running, browser, pictures, 4 if kept else 0)


@pytest.fixture
def night(pages: Pages) -> Pages:
    """The pages once the night has run."""
    pages.up.nightly.result(_PATIENCE_S)
    return pages


@pytest.fixture
def site(night: Pages) -> Pages:
    """The pages after a night and its morning."""
    night.up.morning.result(2 * _PATIENCE_S)
    return night


@looks
def test_the_alarm_clock(pages: Pages) -> None:
    schedules = ("nightly_settlement", "morning_reconciliation", "sealing")
    assert pages.missing("automation", "/automation", (*schedules, "statement_inbox", "approved_files", "alerts")) == []


@looks
def test_a_nightly_run(night: Pages) -> None:
    assert (
        night.missing(
            "run-nightly",
            f"/runs/{night.up.nightly.result()}",
            ("nightly_settlement_job", "Success", "ledger__journal_files", "settlement__payment_proposal"),
        )
        == []
    )


@looks
def test_the_proposal_tells_an_approver_what_to_do(night: Pages) -> None:
    assert (
        night.missing(
            "proposal",
            "/assets/settlement/payment_proposal?view=overview",
            ("eur-payouts", "nostro_scheduler", "nostro settle approve", "total EUR"),
            height=1200,
        )
        == []
    )


@looks
def test_the_checks(night: Pages) -> None:
    assert (
        night.missing(
            "checks",
            "/assets/ledger/trial_balance?view=checks",
            ("books_verify", "debits_equal_credits", "blocking", "Passed"),
        )
        == []
    )


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("ledger", ("journal_files", "trial_balance", "2 / 2 Passed")),
        ("settlement", ("payment_proposal", "released_files", "exceptions", "1 / 1 Passed")),
        ("bank", ("payment_status", "statements", "2 / 2 Passed")),
        ("recon", ("matches", "breaks", "certificates", "2 / 2 Passed")),
        ("analytics", ("duckdb",)),
    ],
)
@looks
def test_the_graph_of_a_group(site: Pages, group: str, names: tuple[str, ...]) -> None:
    assert site.missing(f"group-{group}", f"/locations/nostro/asset-groups/{group}/lineage", names) == []


@looks
def test_the_runs_and_who_asked_for_them(site: Pages) -> None:
    assert (
        site.missing(
            "runs", "/runs", ("release_job", "approved_files", "morning_reconciliation_job", MONDAY.isoformat())
        )
        == []
    )


@looks
def test_the_break_table(site: Pages) -> None:
    truth = [known for known in read_truth(site.up.world.home) if known.date == MONDAY]
    assert truth
    named = tuple(itertools.chain.from_iterable((known.item_ref, str(known.code)) for known in truth))
    labels = ("open breaks", "breaks by code", "what would close them")
    assert site.missing("breaks", "/assets/recon/breaks?view=overview", labels + named, height=1500) == []


@looks
def test_what_waits_for_a_person(site: Pages) -> None:
    names = ("by kind", "by age in business days", "asked back and given back", "requested", "recall-approve")
    assert site.missing("exceptions", "/assets/settlement/exceptions?view=overview", names, height=1200) == []


@looks
def test_the_certificates(site: Pages) -> None:
    assert (
        site.missing(
            "certificates",
            "/assets/recon/certificates?view=overview",
            ("residual 0", "certificates/eur-payouts/2026-11-02.json"),
        )
        == []
    )


def test_stopping_ends_every_process_and_the_status_is_zero(running: Up) -> None:
    assert _dagster_processes(running.world.home)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert _dagster_processes(running.world.home) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def test_children_of_a_killed_one_keep_a_second_set_away(world: World) -> None:
    """The lock is shared with the children, so it lives as long as they do."""
    lock = world.home / "dagster" / "up.lock"
    with lock.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held.fileno(),))
    with pytest.raises(UnavailableError, match="already runs"):
        up(Settings(home=world.home), port=_free_ports(1)[0])
    child.communicate(b"\n")
