"""The days that have work, and the moment a step counts as now.

Partitions are calendar days, weekends included: each bank account's own calendar decides inside a step. (With
closing days left out, Dagster takes the next business day for the latest one on a holiday; calendar days are safe.)
Must not live here: banks' calendars (`settlement.Calendar`).
"""

from __future__ import annotations

import datetime as dt
import os
from zoneinfo import ZoneInfo

import dagster as dg

TIMEZONE = os.environ.get("NOSTRO_TIMEZONE", "Europe/Berlin")
FIRST_DAY = os.environ.get("NOSTRO_FIRST_DAY", "2026-01-01")
NIGHT = dt.time(18, 30)
MORNING = dt.time(7, 0)
SEALING = dt.time(8, 0)

# One beyond the last whole day: tonight's run belongs to today.
days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=TIMEZONE, end_offset=1)


def day_of(partition_key: str) -> dt.date:
    """The business date of a partition key."""
    return dt.date.fromisoformat(partition_key)


def local_date(moment: dt.datetime) -> dt.date:
    """The date on the wall at an aware moment."""
    return moment.astimezone(ZoneInfo(TIMEZONE)).date()


def night_of(day: dt.date) -> dt.datetime:
    """The moment the nightly run of a day is due."""
    return dt.datetime.combine(day, NIGHT, ZoneInfo(TIMEZONE))
