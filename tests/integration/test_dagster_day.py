"""A business day through Dagster's jobs, on a real Postgres with the real rooms and the simulated banks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.resources import WALL
from dagster_project.rooms.settlement import day_has_come
from ledger import NewEntry, NewPosting, book_id, post_batch
from nostro.database import Database
from settlement import FileState, payment_files
from tests.dagster_world import MONDAY, World, checks, metadata, prepare_world
from tests.support import table_hashes

NIGHT, RELEASE, MORNING = "nightly_settlement_job", "release_job", "morning_reconciliation_job"
SEALING = "sealing_job"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return prepare_world(db, tmp_path)


def _hashes(world: World) -> dict[str, str]:
    with world.database.owner() as conn:
        return table_hashes(conn)


def _why(result: dg.ExecuteInProcessResult) -> list[str]:
    """The sentences of the failed steps."""
    failures = [e.step_failure_data for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    return [failure.user_failure_data.description or "" for failure in failures if failure.user_failure_data]


def test_two_days_from_journals_to_certificates_and_everything_twice(world: World) -> None:
    for day in world.business.days:
        night = world.run(NIGHT, day)
        assert night.success, _why(night)
        assert checks(night) == {
            "debits_equal_credits": True,
            "books_verify": True,
            "seals_hold": True,
            "file_gates_clean": True,
        }
        proposed = metadata(night, "settlement/payment_proposal")
        assert int(str(proposed["instructions"])) > 0
        assert len(world.approve_all()) == proposed["files"]
        release = world.run(RELEASE, day)
        assert metadata(release, "settlement/released_files")["released"] == proposed["files"]
        world.bank_day(day)
        morning = world.run(MORNING, day)
        assert morning.success, _why(morning)
        passed = checks(morning)
        assert passed["statements_proven"] and passed["statement_chain_complete"]
        assert passed["certificate_residual_zero"] and passed["cash_identity_holds"]
        assert not passed["signed_off"], "nobody has signed yet"
        sealed = world.run(SEALING, day)
        assert checks(sealed) == {"seals_hold": True}
        assert metadata(sealed, "ledger/seals")["new seals"] == 1, "what the statements booked"

    shown = metadata(morning, "recon/breaks")
    rows = shown["breaks"]
    assert isinstance(rows, list) and len(rows) == shown["open breaks"] > 0
    assert not passed["unreconciled_amount"], "six anomalies were injected"
    signed = metadata(morning, "recon/certificates")
    assert (signed["certified"], signed["missing"]) == (4, 0)
    assert (world.home / "nostro.duckdb").is_file()

    before = _hashes(world)
    for day in world.business.days:
        for job in (NIGHT, RELEASE, MORNING, SEALING):
            again = world.run(job, day)
            assert again.success, _why(again)
    assert _hashes(world) == before
    anchored = (world.home / "seals.jsonl").read_text().splitlines()
    assert len(anchored) == 2 * len(world.business.days)


def test_nothing_is_released_that_nobody_approved(world: World) -> None:
    world.run(NIGHT, MONDAY)
    released = world.run(RELEASE, MONDAY)
    assert released.success
    assert metadata(released, "settlement/released_files")["released"] == 0
    with world.database.app() as conn:
        assert {file.state for file in payment_files(conn)} == {FileState.PROPOSED}
    assert not list(world.home.glob("bank/*/outbox/*"))


def test_a_run_for_one_file_releases_that_file(world: World) -> None:
    world.run(NIGHT, MONDAY)
    first, *others = world.approve_all()
    world.run(RELEASE, MONDAY, tags={"nostro/file": str(first)})
    with world.database.app() as conn:
        states = {file.file_id: file.state for file in payment_files(conn)}
    assert states == {first: FileState.SENT} | dict.fromkeys(others, FileState.APPROVED)


def test_a_file_that_became_void_fails_the_release_with_its_reason(world: World) -> None:
    world.run(NIGHT, MONDAY)
    world.approve_all()
    with world.database.login("alice") as conn:
        owed = conn.execute("SELECT account FROM settlement.open_item ORDER BY posting_id LIMIT 1").fetchone()
        assert owed is not None
        code = str(owed[0])
        receivable = conn.execute(
            "SELECT a.code FROM ledger.account a JOIN ledger.account p USING (currency_id)"
            " WHERE p.code = %s AND a.code LIKE 'assets:receivable:%%' ORDER BY 1 LIMIT 1",
            (code,),
        ).fetchone()
        assert receivable is not None
        chargeback = (NewPosting(code, 100), NewPosting(str(receivable[0]), -100))
        entry = NewEntry("late-chargeback", MONDAY, chargeback, description="after the proposal")
        post_batch(conn, book_id=book_id(conn), entries=[entry])
    released = world.run(RELEASE, MONDAY)
    with world.database.app() as conn:
        states = [file.state for file in payment_files(conn)]
    assert states.count(FileState.VOID) == 1 and states.count(FileState.SENT) == len(states) - 1
    assert not released.success
    assert "is void" in _why(released)[0]


def test_a_bad_journal_file_stops_the_night_and_every_fault_is_listed(world: World) -> None:
    bad = world.home / "journals" / "inbox" / f"more-{MONDAY}.csv"
    bad.write_text(
        "entry_key,effective_date,account,amount,currency,description,reference\n"
        f"x1,{MONDAY},income:fees:EUR,10.00,EUR,,\n"
        f"x1,{MONDAY},liabilities:payable:P1,-9.00,EUR,,\n"
        f"x2,{MONDAY},income:fees:EUR,1.001,EUR,,\n"
    )
    night = world.run(NIGHT, MONDAY)
    assert not night.success
    assert "more-2026-11-02.csv was refused whole" in _why(night)[0]
    failed = next(e for e in night.all_events if e.event_type_value == "STEP_FAILURE")
    assert failed.step_failure_data.user_failure_data is not None
    faults = failed.step_failure_data.user_failure_data.metadata["faults"]
    assert isinstance(faults, dg.TableMetadataValue) and len(faults.records) >= 3
    with world.database.app() as conn:
        assert payment_files(conn) == []


def test_payments_are_not_proposed_for_a_day_to_come(world: World) -> None:
    books = world.books_by(WALL)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    assert not day_has_come(tomorrow, books.now(tomorrow)).holds
    assert day_has_come(MONDAY, books.now(MONDAY)).holds


def test_a_missing_statement_fails_its_check_and_certifies_nothing(world: World) -> None:
    world.run(NIGHT, MONDAY)
    morning = world.run(MORNING, MONDAY)
    assert not checks(morning)["statement_chain_complete"]
    steps = {
        event.asset_key.to_user_string() for event in morning.get_asset_materialization_events() if event.asset_key
    }
    assert steps == {"bank/payment_status", "bank/statements", "settlement/exceptions"}
