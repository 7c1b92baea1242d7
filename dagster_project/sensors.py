"""What reacts to the world: files that arrive, approvals, and runs that fail.

A sensor only notices and asks for a run; each step finds out by itself what there is to do, so a run too many
changes nothing. The cursor remembers what was seen, to keep quiet about it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from dagster_project.assets.common import FILE_TAG
from dagster_project.jobs import morning_reconciliation_job, release_job
from dagster_project.partitions import FIRST_DAY, day_of, local_date
from dagster_project.resources import Books, Session
from dagster_project.rooms import calendars, recon, settlement

ALERTS = "alerts.log"
FILES_A_TICK = 200  # a tick has a minute; the next one takes the rest


def _look(file: Path) -> str:
    found = file.stat()
    return f"{found.st_size}:{found.st_mtime_ns}"


def _content_key(files: Iterable[Path]) -> str:
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:32]


@dg.sensor(
    job=morning_reconciliation_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def statement_inbox(context: dg.SensorEvaluationContext, books: Books) -> dg.SensorResult | dg.SkipReason:
    """New files in the banks' inboxes: one run for each day that their statements close, keyed by their content."""
    seen: dict[str, str] = json.loads(context.cursor or "{}")
    with books.reader() as session:
        looks = {str(file.relative_to(books.home_path)): _look(file) for file in recon.inbox_files(session)}
        new = sorted(name for name, look in looks.items() if seen.get(name) != look)[:FILES_A_TICK]
        if not new:
            return dg.SkipReason(f"nothing new; {len(looks)} files in the inboxes.")
        days = _days_of(books, session, [books.home_path / name for name in new])
    requests = [
        dg.RunRequest(
            run_key=f"inbox:{day}:{_content_key(files)}",
            partition_key=day.isoformat(),
            tags={"nostro/business_date": day.isoformat(), "nostro/files": str(len(files))},
        )
        for day, files in sorted(days.items())
    ]
    now_seen = {name: look for name, look in looks.items() if seen.get(name) == look or name in new}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(now_seen, sort_keys=True))


def _days_of(books: Books, session: Session, files: list[Path]) -> dict[dt.date, list[Path]]:
    """Files by the day their statements close. What closes no day goes with the last of these, or the last open day."""
    today = local_date(dt.datetime.now(dt.UTC))
    days: dict[dt.date, list[Path]] = {}
    others = []
    for file, closes in recon.closing_days(files):
        inside = [day for day in closes if day_of(FIRST_DAY) <= day <= today]
        for day in inside:
            days.setdefault(day, []).append(file)
        if not inside:
            others.append(file)
    if others:
        simulated = settlement.last_settled_day(session) if books.is_simulated else None
        last = max(days, default=simulated or calendars.last_open_day(session, today))
        days.setdefault(last, []).extend(others)
    return days


@dg.sensor(job=release_job, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def approved_files(context: dg.SensorEvaluationContext, books: Books) -> dg.SensorResult | dg.SkipReason:
    """Each payment file that waits to be sent: one run a file and attempt."""
    asked: list[str] = json.loads(context.cursor or "[]")
    with books.reader() as session:
        waiting = {file.run_key: file for file in settlement.waiting_files(session, dt.datetime.now(dt.UTC))}
    requests = [
        dg.RunRequest(
            run_key=key,
            partition_key=file.business_date.isoformat(),
            tags={"nostro/business_date": file.business_date.isoformat(), FILE_TAG: str(file.file_id)},
        )
        for key, file in sorted(waiting.items())
        if key not in asked
    ]
    if not requests:
        return dg.SkipReason(f"no new approval; {len(waiting)} files on their way.")
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(sorted(waiting)))


@dg.run_failure_sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def alerts(context: dg.RunFailureSensorContext, books: Books) -> None:
    """Every failed run as a line of `alerts.log`: when, which job, which day, which run, why."""
    run = context.dagster_run
    day = run.tags.get("dagster/partition", "-")
    errors = [event.step_failure_data.error for event in context.get_step_failure_events()]
    why = " | ".join(_reason(error) for error in errors if error) or context.failure_event.message or "no reason given"
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with (books.home_path / ALERTS).open("a", encoding="utf-8") as log:
        log.write(f"{moment}\t{run.job_name}\t{day}\t{run.run_id}\t{' '.join(why.split())}\n")


def _reason(error: object) -> str:
    """The sentence of a step's refusal, without the stack."""
    cause = getattr(error, "cause", None)
    message = str(getattr(cause or error, "message", error))
    return message.partition(": ")[2] or message


SENSORS = [statement_inbox, approved_files, alerts]
