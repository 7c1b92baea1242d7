"""The program as a process of its own on its embedded server: streams, statuses, pipes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_program import FIXTURES, Outcome, run_process

pytestmark = pytest.mark.usefixtures("durable")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home whose embedded Postgres each process starts and stops."""
    with tempfile.TemporaryDirectory(prefix="nostro-proc-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
def first_day(home: Path) -> dict[str, Outcome]:
    """From nothing to imported sales, each command a process."""
    words = {
        "verify before init": ("verify",),
        "init": ("init", "--json"),
        "user add": ("user", "add", "alice", "--group", "preparer"),
        "setup": ("setup", str(FIXTURES / "setup.yaml")),
        "import": ("import", "journal", str(FIXTURES / "journal-2026-11-02.csv")),
        "doctor": ("doctor", "--json"),
    }
    return {name: run_process(*each, home=home) for name, each in words.items()}


def test_from_nothing_to_books(first_day: dict[str, Outcome], home: Path) -> None:
    before = first_day.pop("verify before init")
    assert (before.status, before.out) == (1, "")
    assert before.sentence == "refused: there is no database 'nostro' yet; run `nostro init`."
    assert {name: (o.status, o.err) for name, o in first_day.items()} == dict.fromkeys(first_day, (0, ""))
    assert first_day["init"].json == {"database": "nostro", "embedded": True}
    assert first_day["import"].out.startswith("journal-2026-11-02.csv: 40 entries, 40 new, ")
    facts = first_day["doctor"].json
    assert (facts["home"], facts["superuser"], facts["login"]) == (str(home), "off", "nostro_service")
    assert not (home / "postgres" / "postmaster.pid").exists(), "the last user of the embedded server stops it"


def test_wrong_usage_leaves_stdout_empty_and_starts_nothing(home: Path) -> None:
    usage = run_process("balance", "--as-of", "someday", "x", home=home)
    assert (usage.status, usage.out) == (2, "")
    assert usage.sentence.startswith("wrong usage: Invalid value for '--as-of'")
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_a_server_that_does_not_answer(home: Path) -> None:
    ended = run_process("verify", home=home, NOSTRO_DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert (ended.status, ended.out) == (3, "")


def test_xml_goes_to_a_pipe_byte_for_byte(first_day: dict[str, Outcome], home: Path) -> None:
    assert first_day["import"].status == 0
    proposed = run_process(
        *("settle", "propose", "--date", "2026-11-02", "--now", "2026-11-02T12:00:00Z"),
        *("--bank-account", "eur-payouts", "--as", "alice", "--json"),
        home=home,
    )
    (proposal,) = proposed.rows("files")
    file = proposal["file"]
    assert isinstance(file, dict)
    shown = run_process("settle", "show", str(file["file_id"]), "--xml", home=home)
    assert (shown.status, shown.err) == (0, "")
    assert hashlib.sha256(shown.out.encode()).hexdigest() == file["sha256"]
