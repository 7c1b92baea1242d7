"""Schedules and sensors: when they ask for a run, when they say why not, and that they ask once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.partitions import local_date
from dagster_project.resources import WALL, Books
from dagster_project.schedules import morning_reconciliation, nightly_settlement, sealing
from dagster_project.sensors import ALERTS, alerts, approved_files, statement_inbox
from nostro.database import Database
from tests.dagster_world import MONDAY, World, prepare_world

BERLIN = ZoneInfo("Europe/Berlin")
CHRISTMAS = dt.date(2026, 12, 25)  # closed in TARGET, the United Kingdom and Czechia


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return prepare_world(db, tmp_path)


@pytest.fixture
def books(world: World) -> Books:
    return world.books_by(WALL)


def _tick(schedule: dg.ScheduleDefinition, books: Books, moment: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(
        scheduled_execution_time=moment, resources={"books": books}, repository_def=defs.get_repository_def()
    )
    answer = schedule.evaluate_tick(context)
    if answer.skip_message is not None:
        return dg.SkipReason(answer.skip_message)
    (request,) = answer.run_requests or []
    return request


def _look(sensor: dg.SensorDefinition, books: Books, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        cursor=cursor, resources={"books": books}, repository_def=defs.get_repository_def()
    )
    answer = sensor.evaluate_tick(context)
    if answer.skip_message is not None:
        return dg.SkipReason(answer.skip_message)
    return dg.SensorResult(run_requests=answer.run_requests, cursor=answer.cursor)


def test_the_night_of_a_business_day(books: Books) -> None:
    request = _tick(nightly_settlement, books, dt.datetime(2026, 11, 2, 18, 30, tzinfo=BERLIN))
    assert isinstance(request, dg.RunRequest)
    assert (request.run_key, request.partition_key) == ("settlement:2026-11-02", "2026-11-02")


@pytest.mark.parametrize("day", [dt.date(2026, 11, 7), dt.date(2026, 11, 8), CHRISTMAS])
def test_no_night_when_every_bank_is_closed(books: Books, day: dt.date) -> None:
    skipped = _tick(nightly_settlement, books, dt.datetime.combine(day, dt.time(18, 30), BERLIN))
    assert isinstance(skipped, dg.SkipReason)
    assert f"no bank is open on {day:%A} {day}" in str(skipped.skip_message)
    assert "eur-payouts (ECB)" in str(skipped.skip_message)


def test_a_day_on_which_one_bank_is_open_has_its_night(books: Books) -> None:
    """17 November is a holiday in Czechia only."""
    request = _tick(nightly_settlement, books, dt.datetime(2026, 11, 17, 18, 30, tzinfo=BERLIN))
    assert isinstance(request, dg.RunRequest)


def test_the_morning_proves_the_day_before(books: Books) -> None:
    saturday = _tick(morning_reconciliation, books, dt.datetime(2026, 11, 7, 7, 0, tzinfo=BERLIN))
    assert isinstance(saturday, dg.RunRequest)
    assert (saturday.run_key, saturday.partition_key) == ("reconciliation:2026-11-06", "2026-11-06")
    monday = _tick(morning_reconciliation, books, dt.datetime(2026, 11, 9, 7, 0, tzinfo=BERLIN))
    assert isinstance(monday, dg.SkipReason)


def test_sealing_rings_when_every_bank_is_closed_too(world: World, books: Books) -> None:
    monday = _tick(sealing, books, dt.datetime(2026, 11, 9, 8, 0, tzinfo=BERLIN))
    assert isinstance(monday, dg.RunRequest)
    assert (monday.run_key, monday.partition_key) == ("sealing:2026-11-08", "2026-11-08")
    assert isinstance(_tick(sealing, world.books, dt.datetime(2026, 11, 9, 8, 0, tzinfo=BERLIN)), dg.SkipReason)


def test_a_simulated_bank_has_no_alarm_clock(world: World) -> None:
    skipped = _tick(nightly_settlement, world.books, dt.datetime(2026, 11, 2, 18, 30, tzinfo=BERLIN))
    assert isinstance(skipped, dg.SkipReason)
    assert "simulated" in str(skipped.skip_message)


def test_both_clock_changes_keep_their_dates() -> None:
    """00:30 in Berlin is still the day before in UTC, in winter by one hour, in summer by two."""
    assert local_date(dt.datetime(2026, 10, 25, 23, 30, tzinfo=dt.UTC)) == dt.date(2026, 10, 26)
    assert local_date(dt.datetime(2026, 3, 29, 22, 30, tzinfo=dt.UTC)) == dt.date(2026, 3, 30)


def test_an_approval_is_seen_once(world: World, books: Books) -> None:
    world.run("nightly_settlement_job", MONDAY)
    assert isinstance(_look(approved_files, books), dg.SkipReason)
    approved = world.approve_all()
    first = _look(approved_files, books)
    assert isinstance(first, dg.SensorResult)
    asked = first.run_requests or []
    assert [request.run_key for request in asked] == [f"{file_id}:approved" for file_id in approved]
    assert {request.partition_key for request in asked} == {MONDAY.isoformat()}
    assert [request.tags["nostro/file"] for request in asked] == [str(file_id) for file_id in approved]
    assert isinstance(_look(approved_files, books, first.cursor), dg.SkipReason)
    world.run("release_job", MONDAY)
    assert isinstance(_look(approved_files, books), dg.SkipReason), "nothing waits any more"


def test_statements_are_seen_once_and_again_when_they_change(world: World, books: Books) -> None:
    assert isinstance(_look(statement_inbox, books), dg.SkipReason)
    world.bank_day(MONDAY)
    first = _look(statement_inbox, books)
    assert isinstance(first, dg.SensorResult)
    (request,) = first.run_requests or []
    assert request.run_key is not None and request.run_key.startswith(f"inbox:{MONDAY}:")
    assert request.partition_key == MONDAY.isoformat()
    assert isinstance(_look(statement_inbox, books, first.cursor), dg.SkipReason)
    statement = next(world.home.glob("bank/*/inbox/camt.053*.xml"))
    statement.write_bytes(statement.read_bytes() + b"\n")
    again = _look(statement_inbox, books, first.cursor)
    assert isinstance(again, dg.SensorResult)
    assert [r.run_key for r in again.run_requests or []] != [request.run_key]


def test_a_file_being_written_is_left_alone(world: World, books: Books) -> None:
    inbox = world.home / "bank" / "nordbank" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / ".camt.xml.part").write_text("<Document")
    assert isinstance(_look(statement_inbox, books), dg.SkipReason)


def test_each_day_that_late_statements_close_gets_its_run(world: World, books: Books) -> None:
    for day in world.business.days:
        world.bank_day(day)
    seen = _look(statement_inbox, books)
    assert isinstance(seen, dg.SensorResult)
    requests = seen.run_requests or []
    assert [request.partition_key for request in requests] == [day.isoformat() for day in world.business.days]
    assert len({request.run_key for request in requests}) == 2


def test_what_closes_no_day_belongs_to_the_last_open_one(world: World, books: Books) -> None:
    inbox = world.home / "bank" / "nordbank" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "notes.xml").write_text("<Document")
    seen = _look(statement_inbox, books)
    assert isinstance(seen, dg.SensorResult)
    (request,) = seen.run_requests or []
    today = local_date(dt.datetime.now(dt.UTC))
    assert today - dt.timedelta(days=7) < dt.date.fromisoformat(str(request.partition_key)) < today
    world.run("nightly_settlement_job", MONDAY)
    simulated = _look(statement_inbox, world.books)
    assert isinstance(simulated, dg.SensorResult)
    assert [request.partition_key for request in simulated.run_requests or []] == [MONDAY.isoformat()]


def test_a_failed_run_becomes_a_line_of_the_alerts(world: World, books: Books) -> None:
    (world.home / "journals" / "inbox" / f"bad-{MONDAY}.csv").write_text("entry_key\n")
    with dg.DagsterInstance.ephemeral() as instance:
        failed = world.run("nightly_settlement_job", MONDAY, instance=instance)
        assert not failed.success
        context = dg.build_run_status_sensor_context(
            sensor_name="alerts",
            dagster_event=failed.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=failed.dagster_run,
            resources={"books": books},
            repository_def=defs.get_repository_def(),
        ).for_run_failure()
        alerts(context)
    (line,) = (world.home / ALERTS).read_text().splitlines()
    _, job, day, run_id, why = line.split("\t")
    assert (job, day, run_id) == ("nightly_settlement_job", MONDAY.isoformat(), failed.run_id)
    assert why.startswith("bad-2026-11-02.csv has the wrong columns")
