"""A real browser looks at `nostro up`: the graph of each group, a nightly run, the checks, the break table.

NOSTRO_SCREENSHOTS names a folder to keep the screenshots in.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nostro.database import initialise, locate
from nostro.settings import Settings
from nostro.up import deployment
from nostro.users import add_user
from sandbox import read_truth
from settlement import FileState, payment_files
from tests.dagster_world import MONDAY, World, prepare_world
from tests.ui.chromium import CHROMIUM, Browser, chromium, shows

MORNING = "morning_reconciliation_job"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; install it to look at the web pages"),
]
_LAUNCH = """
mutation($job: String!, $day: String!) { launchRun(executionParams: {
  selector: {repositoryName: "__repository__", repositoryLocationName: "nostro", jobName: $job}, runConfigData: {},
  executionMetadata: {tags: [{key: "dagster/partition", value: $day}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } } }
"""
_STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_RUNS = "query($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { status } } } }"
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True, slots=True)
class Site:
    """The running pages after a night and its morning; `truth` is what the banks did wrong: reference and code."""

    address: str
    nightly_run: str
    truth: tuple[tuple[str, str], ...]
    pictures: Path

    browser: Browser

    def missing(self, name: str, path: str, names: tuple[str, ...], *, height: int = 1000) -> list[str]:
        """Open a page, keep its picture; those of the names that a person cannot read on it."""
        text, picture = self.browser.page(self.address + path, names, height=height)
        (self.pictures / f"{name}.png").write_bytes(picture)
        assert len(picture) > 20_000, f"{name}.png is as good as empty"
        return [wanted for wanted in names if not shows(text, (wanted,))]


def _ask(address: str, query: str, **variables: str) -> dict[str, dict[str, object]]:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, dict[str, dict[str, object]]] = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


def _until(condition: Callable[[], bool], what: str, *, patience_s: float = 90) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {patience_s:.0f} s"
        time.sleep(0.5)


def _run(address: str, job: str) -> str:
    """Launch a job for Monday through the instance; the run it became, when it has succeeded."""
    launched = _ask(address, _LAUNCH, job=job, day=MONDAY.isoformat())["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = str(launched["run"]["runId"])  # type: ignore[index]
    _until(lambda: _ask(address, _STATUS, run=run_id)["runOrError"]["status"] in _ENDED, job)
    assert _ask(address, _STATUS, run=run_id)["runOrError"]["status"] == "SUCCESS", job
    return run_id


def _succeeded(address: str, job: str) -> bool:
    """Whether a run of the job, whoever asked for it, has ended well."""
    results = _ask(address, _RUNS, job=job)["runsOrError"]["results"]
    assert isinstance(results, list)
    assert not [run for run in results if run["status"] == "FAILURE"], job
    return any(run["status"] == "SUCCESS" for run in results)


def _all_sent(world: World) -> bool:
    with world.database.app() as conn:
        return {file.state for file in payment_files(conn)} == {FileState.SENT}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kept = os.environ.get("NOSTRO_SCREENSHOTS")
    pictures = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="nostro-ui-", ignore_cleanup_errors=True) as folder,
        socket.socket() as free,
    ):
        home = Path(folder)
        home.chmod(0o755)
        settings = Settings(home=home, database_url=None)
        database = locate(settings)
        initialise(database)
        for person, group in (("alice", "preparer"), ("bob", "approver")):
            add_user(database, person, group)
        world = prepare_world(database, home, days=2, payments=200, anomalies=14)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with deployment(settings, port=port) as running:
            nightly = _run(running.address, "nightly_settlement_job")
            assert world.approve_all()
            _until(lambda: _all_sent(world), "the release that the approval asks for")
            world.bank_day(MONDAY)  # from here on the sensors do the rest
            _until(lambda: _succeeded(running.address, MORNING), "the morning that the statements ask for")
            truth = tuple((known.item_ref, known.code) for known in read_truth(home) if known.date == MONDAY)
            with chromium() as browser:
                yield Site(running.address, nightly, truth, pictures, browser)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("ledger", ("journal_files", "trial_balance", "2 / 2 Passed")),
        ("settlement", ("payment_proposal", "released_files", "1 / 1 Passed")),
        ("bank", ("payment_status", "statements", "2 / 2 Passed")),
        ("recon", ("matches", "breaks", "certificates", "2 / 2 Passed")),
        ("analytics", ("duckdb",)),
    ],
)
def test_the_graph_of_a_group(site: Site, group: str, names: tuple[str, ...]) -> None:
    assert site.missing(f"group-{group}", f"/locations/nostro/asset-groups/{group}/lineage", names) == []


def test_a_nightly_run(site: Site) -> None:
    assert (
        site.missing(
            "run-nightly",
            f"/runs/{site.nightly_run}",
            ("nightly_settlement_job", "Success", "ledger__journal_files", "settlement__payment_proposal"),
        )
        == []
    )


def test_the_runs_and_who_asked_for_them(site: Site) -> None:
    assert (
        site.missing(
            "runs", "/runs", ("release_job", "approved_files", "morning_reconciliation_job", MONDAY.isoformat())
        )
        == []
    )


def test_the_checks(site: Site) -> None:
    assert (
        site.missing(
            "checks",
            "/assets/ledger/trial_balance?view=checks",
            ("books_verify", "debits_equal_credits", "blocking", "Passed"),
        )
        == []
    )


def test_the_break_table(site: Site) -> None:
    assert site.truth
    named = tuple(itertools.chain.from_iterable(site.truth))
    labels = ("open breaks", "breaks by code", "what would close them")
    assert site.missing("breaks", "/assets/recon/breaks?view=overview", labels + named, height=1500) == []


def test_the_certificates(site: Site) -> None:
    assert (
        site.missing(
            "certificates",
            "/assets/recon/certificates?view=overview",
            ("residual 0", "certificates/eur-payouts/2026-11-02.json"),
        )
        == []
    )


def test_the_proposal_tells_an_approver_what_to_do(site: Site) -> None:
    assert (
        site.missing(
            "proposal",
            "/assets/settlement/payment_proposal?view=overview",
            ("eur-payouts", "nostro_scheduler", "nostro settle approve", "total EUR"),
            height=1200,
        )
        == []
    )


def test_the_alarm_clock(site: Site) -> None:
    schedules = ("nightly_settlement", "morning_reconciliation", "sealing")
    assert site.missing("automation", "/automation", (*schedules, "statement_inbox", "approved_files", "alerts")) == []
