"""Exit statuses of what the program refuses or cannot do, and four eyes on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cli_program import Program, new_program

pytestmark = pytest.mark.usefixtures("durable")

MONDAY, NOON = "2026-11-02", "2026-11-02T12:00:00+00:00"
LATE = "2026-11-02T23:30:00+00:00"


@pytest.fixture(scope="module")
def program(server: str) -> Iterator[Program]:
    """A company with three proposed payment files, prepared by alice."""
    with new_program(server, "nostro_refuse") as program:
        program.set_up()
        for name in ("journal-2026-10-30.csv", "journal-2026-11-02.csv"):
            program.done("import", "journal", program.files / name)
        program.done("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice")
        yield program


def unchanged(program: Program, *words: str | Path | int, status: int) -> str:
    """Run a command that must end so and change nothing; its sentence."""
    before = program.hashes()
    outcome = program(*words)
    assert outcome.status == status, (words, outcome)
    assert program.hashes() == before, words
    assert "Traceback" not in outcome.err
    return outcome.sentence


def file_of(program: Program, bank_account: str) -> int:
    files = program.done("settle", "status", "--date", MONDAY, "--json").rows("runs")
    found = [f["file_id"] for run in files for f in run["files"] if f["bank_account"] == bank_account]  # type: ignore[attr-defined]
    return int(found[0])


def test_the_preparer_cannot_approve(program: Program) -> None:
    said = unchanged(program, "settle", "approve", file_of(program, "eur-payouts"), "--as", "alice", status=1)
    assert said.startswith("refused: ")


def test_an_approver_who_prepared_cannot_approve_that_file(program: Program) -> None:
    """Four eyes is about persons: somebody in both groups still needs another."""
    program.done("user", "add", "dan", "--group", "preparer")
    program.done("user", "add", "dan", "--group", "approver")
    program.done("settle", "reject", file_of(program, "czk-main"), "--reason", "Dan does it", "--as", "bob")
    files = program.done("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "dan", "--json").rows("files")
    (mine,) = [f["file"] for f in files if f["file"]["prepared_by"] == "nostro_refuse_dan"]  # type: ignore[index]
    said = unchanged(program, "settle", "approve", mine["file_id"], "--as", "dan", status=1)  # type: ignore[index]
    assert "dan" in said
    program.done("settle", "approve", mine["file_id"], "--as", "bob")  # type: ignore[index]


@pytest.mark.parametrize("person", [(), ("--as", "service")])
def test_the_application_cannot_approve(program: Program, person: tuple[str, ...]) -> None:
    unchanged(program, "settle", "approve", file_of(program, "eur-payouts"), *person, status=1)


def test_the_acting_person_may_come_from_the_environment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOSTRO_USER", "alice")
    unchanged(program, "settle", "approve", file_of(program, "eur-payouts"), status=1)
    monkeypatch.setenv("NOSTRO_USER", "carol")
    program.done("settle", "approve", file_of(program, "gbp-main"))
    shown = program.done("settle", "show", file_of(program, "gbp-main"), "--json").rows("files")
    assert [f["approved_by"] for f in shown] == ["nostro_refuse_carol"]


def test_people_publish_nothing_that_is_the_programs(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that says what to do; the same command as the program's own login works."""
    monkeypatch.setenv("NOSTRO_USER", "alice")
    said = unchanged(program, "recon", "run", "--date", MONDAY, status=1)
    assert (
        "runs are published by the program's own login, and alice is a person's; run this without NOSTRO_USER" in said
    )
    assert "statements are taken in by the program's own login" in unchanged(
        program, "recon", "ingest", "--inbox", status=1
    )
    assert "banks' answers are taken in by the program's own login" in unchanged(program, "bank", "poll", status=1)
    monkeypatch.setenv("NOSTRO_USER", "service")
    program.done("bank", "poll")


def test_an_unapproved_file_is_not_released(program: Program) -> None:
    unchanged(program, "settle", "release", file_of(program, "eur-payouts"), "--now", NOON, "--as", "alice", status=1)
    assert not list((program.home / "bank" / "nordbank").rglob("*.xml"))


def test_who_and_what_is_not_there(program: Program) -> None:
    assert "nobody" in unchanged(program, "settle", "approve", 1, "--as", "nobody", status=1)
    assert "999" in unchanged(program, "settle", "show", 999, status=1)
    assert "no payee P999" in unchanged(program, "settle", "payout-report", "P999", status=1)
    assert "nope" in unchanged(program, "balance", "nope", status=1)
    assert "nope" in unchanged(program, "reverse", "nope", "--reason", "Not ours", status=1)
    assert "'Other'" in unchanged(program, "verify", "--book", "Other", status=1)
    assert "2020" in unchanged(program, "trial-balance", "--known-at", "2020-01-01T00:00:00Z", status=1)
    assert "recon run" in unchanged(program, "recon", "report", "--date", "2026-10-01", status=1)
    assert "'Eve'" in unchanged(program, "user", "add", "Eve", "--group", "preparer", status=1)
    assert "'boss'" in unchanged(program, "user", "add", "eve", "--group", "boss", status=1)


def test_a_control_entry_cannot_be_reversed_by_hand(program: Program) -> None:
    said = unchanged(program, "reverse", "opening:eur-payouts", "--reason", "Not ours", "--on", MONDAY, status=1)
    assert "assets:bank:eur-payouts" in said


def test_closing_an_uncertified_period_needs_a_reason_and_another_person(program: Program) -> None:
    assert "not certified" in unchanged(program, "close-period", MONDAY, "--as", "bob", status=1)
    said = unchanged(program, "close-period", MONDAY, "--request-override", "Strike", "--as", "alice", status=1)
    assert "too short" in said
    program.done("close-period", "2026-10-01", "--request-override", "Before the books", "--as", "alice")
    assert "alice" in unchanged(program, "close-period", "2026-10-01", "--as", "alice", status=1)


def test_past_the_cut_off_a_proposal_is_void(program: Program) -> None:
    file_id = file_of(program, "eur-payouts")
    program.done("settle", "approve", file_id, "--as", "bob")
    outcome = program("settle", "release", file_id, "--now", LATE, "--as", "alice")
    assert outcome.status == 1
    assert f"file {file_id} is void" in outcome.sentence and "propose again" in outcome.sentence
    assert program("settle", "release", file_id, "--now", NOON, "--as", "alice").status == 1


def test_a_bank_that_cannot_be_reached_is_status_3_and_can_be_tried_again(program: Program) -> None:
    file_id = file_of(program, "gbp-main")
    bank = program.home / "bank"
    bank.mkdir(parents=True, exist_ok=True)
    in_the_way = bank / "albion"
    in_the_way.write_text("a file where the bank's folder should be")
    outcome = program("settle", "release", file_id, "--now", NOON, "--as", "alice")
    assert outcome.status == 3, outcome
    in_the_way.unlink()
    sent = program.done("settle", "release", file_id, "--now", NOON, "--as", "alice", "--json").rows("files")
    assert [step["state"] for step in sent] == ["sent"]


@pytest.mark.parametrize("words", [("verify",), ("init",), ("doctor",), ("user", "list"), ("balance", "x")])
def test_a_server_that_does_not_answer_is_status_3(
    program: Program, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("NOSTRO_DATABASE_URL", "postgresql://someone@127.0.0.1:1/books")
    outcome = program(*words)
    assert (outcome.status, outcome.out) == (3, "")
    assert outcome.sentence.startswith("error: Postgres does not answer: ")
    assert program(*words, "--json").error["retryable"] is True


def test_an_address_that_is_none(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOSTRO_DATABASE_URL", "over there")
    outcome = program("verify")
    assert outcome.status == 1
    assert "NOSTRO_DATABASE_URL" in outcome.sentence


def test_before_init_and_before_setup(server: str) -> None:
    with new_program(server, "nostro_empty") as empty:
        assert "`nostro init`" in empty("verify").sentence
        empty.done("init")
        outcome = empty("verify")
        assert (outcome.status, outcome.out) == (1, "")
        assert "`nostro setup FILE.yaml`" in outcome.sentence


def test_a_broken_invariant_is_status_5_with_the_report(server: str) -> None:
    with new_program(server, "nostro_broken") as program:
        program.set_up()
        program.done("import", "journal", program.files / "journal-2026-10-30.csv")
        with psycopg.connect(make_conninfo(server, dbname="nostro_broken"), autocommit=True) as superuser:
            superuser.execute("ALTER TABLE ledger.balance DISABLE TRIGGER ALL")
            superuser.execute(
                "UPDATE ledger.balance SET posted_minor = posted_minor + 1 WHERE account_id ="
                " (SELECT account_id FROM ledger.account WHERE code = 'assets:receivable:cardia:eur')"
            )
        outcome = program("verify", "--json")
        assert outcome.status == 5
        places = {(row["invariant"], row["place"]) for row in outcome.rows("faults")}
        assert any(invariant == 4 and "assets:receivable:cardia:eur" in str(place) for invariant, place in places)
        assert outcome.error["error"] == "CheckFailedError"


def test_a_server_that_may_forget_is_status_5(server: str) -> None:
    with new_program(server, "nostro_forgetful") as program:
        program.done("init")
        program.done("doctor")
        with psycopg.connect(server, autocommit=True) as superuser:
            superuser.execute("ALTER ROLE nostro_forgetful_service SET synchronous_commit = off")
        outcome = program("doctor")
        assert outcome.status == 5
        assert "synchronous_commit is off" in outcome.sentence
