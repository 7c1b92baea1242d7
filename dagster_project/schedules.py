"""The alarms of a day. They ring every day; for payments the banks' calendars decide whether there is work."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from dagster_project.jobs import morning_reconciliation_job, nightly_settlement_job, sealing_job
from dagster_project.partitions import MORNING, NIGHT, SEALING, TIMEZONE, local_date
from dagster_project.resources import Books
from dagster_project.rooms import calendars


def _cron(at: dt.time) -> str:
    return f"{at.minute} {at.hour} * * *"


_SIMULATED = "the bank of this home is simulated; run its days by hand."


def _run(day: dt.date, run_key: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=run_key, partition_key=day.isoformat(), tags={"nostro/business_date": day.isoformat()})


def _run_or_skip(books: Books, day: dt.date, run_key: str) -> dg.RunRequest | dg.SkipReason:
    if books.is_simulated:
        return dg.SkipReason(_SIMULATED)
    with books.reader() as session:
        banks = calendars.banks_on(session, day)
    if not banks.open:
        return dg.SkipReason(
            f"no bank is open on {day:%A} {day}: {', '.join(banks.closed) or 'there is no bank account yet'}."
        )
    return _run(day, run_key)


@dg.schedule(
    job=nightly_settlement_job,
    cron_schedule=_cron(NIGHT),
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_settlement(context: dg.ScheduleEvaluationContext, books: Books) -> dg.RunRequest | dg.SkipReason:
    """Every evening: import the day and propose payments, unless every bank is closed."""
    day = local_date(context.scheduled_execution_time)
    return _run_or_skip(books, day, f"settlement:{day}")


@dg.schedule(
    job=morning_reconciliation_job,
    cron_schedule=_cron(MORNING),
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def morning_reconciliation(context: dg.ScheduleEvaluationContext, books: Books) -> dg.RunRequest | dg.SkipReason:
    """Every morning: prove and reconcile the day before, unless every bank was closed."""
    day = local_date(context.scheduled_execution_time) - dt.timedelta(days=1)
    return _run_or_skip(books, day, f"reconciliation:{day}")


@dg.schedule(
    job=sealing_job,
    cron_schedule=_cron(SEALING),
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def sealing(context: dg.ScheduleEvaluationContext, books: Books) -> dg.RunRequest | dg.SkipReason:
    """Every morning, when the day before is reconciled: seal what was booked, banks open or not."""
    if books.is_simulated:
        return dg.SkipReason(_SIMULATED)
    day = local_date(context.scheduled_execution_time) - dt.timedelta(days=1)
    return _run(day, f"sealing:{day}")


SCHEDULES = [nightly_settlement, morning_reconciliation, sealing]
