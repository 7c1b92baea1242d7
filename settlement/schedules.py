"""When a payee is paid: schedules with anchors and a roll over closed days, delays in open days, cycles of a day.

Lives here: which schedules have their day on a business date, and up to which effective date a delay lets items
through. Must not live here: amounts, SQL, the wall clock.

A schedule is kept as one text: ``daily``, ``manual``, ``weekly:1,4:following`` (ISO weekdays) or
``monthly:1,15:preceding`` (days of the month; 31 is the last).
"""

from __future__ import annotations

import calendar as months
import datetime as dt
from enum import StrEnum

from settlement.business_days import Calendar

DAILY = "daily"
MANUAL = "manual"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SEARCH_DAYS = 15  # longer than any bank is closed at a stretch


class Roll(StrEnum):
    """Where a date goes that falls on a closed day (ISDA business day conventions)."""

    FOLLOWING = "following"
    MODIFIED_FOLLOWING = "modified_following"
    PRECEDING = "preceding"


def schedule_text(kind: str, anchors: str | None, roll: Roll) -> str:
    """The one text of a schedule. Anchors: ``mon thu`` or ``1 15 last``. Raises `ValueError` saying what is wrong."""
    words = (anchors or "").replace(",", " ").lower().split()
    if kind in (DAILY, MANUAL):
        if words:
            raise ValueError(f"schedule {kind} has no anchors; remove them")
        return kind
    if kind == "weekly":
        unknown = [word for word in words if word not in WEEKDAYS]
        numbers = {WEEKDAYS.index(word) + 1 for word in words if word in WEEKDAYS}
    else:
        unknown = [word for word in words if word != "last" and not (word.isdigit() and 1 <= int(word) <= 31)]
        numbers = {31 if word == "last" else int(word) for word in words if word not in unknown}
    if unknown or not numbers:
        example = "'mon thu'" if kind == "weekly" else "'1 15 last'"
        raise ValueError(f"anchors {anchors or ''!r} of a {kind} schedule must be such as {example}")
    return f"{kind}:{','.join(str(number) for number in sorted(numbers))}:{roll.value}"


def rolled(date: dt.date, roll: Roll, calendar: Calendar) -> dt.date:
    """The date itself when the bank is open, else the open day that the convention says."""
    if calendar.is_open(date):
        return date
    if roll is Roll.PRECEDING:
        return calendar.previous_open(date)
    after = calendar.next_open(date)
    if roll is Roll.MODIFIED_FOLLOWING and after.month != date.month:
        return calendar.previous_open(date)
    return after


def is_due(schedule: str, date: dt.date, calendar: Calendar) -> bool:
    """Whether a payee of this schedule is paid on a business date."""
    if schedule in (DAILY, MANUAL):
        return schedule == DAILY
    kind, numbers, roll = schedule.split(":")
    anchors = {int(number) for number in numbers.split(",")}
    near = (date + dt.timedelta(days=n) for n in range(-_SEARCH_DAYS, _SEARCH_DAYS + 1))
    return any(rolled(day, Roll(roll), calendar) == date for day in near if _is_anchor(kind, anchors, day))


def _is_anchor(kind: str, anchors: set[int], day: dt.date) -> bool:
    if kind == "weekly":
        return day.isoweekday() in anchors
    last = months.monthrange(day.year, day.month)[1]
    return day.day in anchors or (day.day == last and any(anchor > last for anchor in anchors))


def cut_date(delay_days: int, date: dt.date, calendar: Calendar) -> dt.date:
    """The last effective date whose items may be paid on a business date, `delay_days` open days later (T+n)."""
    if delay_days == 0:
        return date
    earliest = calendar.open_on_or_before(date)
    return calendar.add_open_days(earliest, 1 - delay_days) - dt.timedelta(days=1)


def next_cycle(now: dt.datetime, date: dt.date, cycles: tuple[dt.time, ...], calendar: Calendar) -> dt.datetime:
    """The first cut-off of an execution date that is still ahead at `now`; when none is, the last."""
    moments = sorted(calendar.cutoff_at(date, cycle) for cycle in cycles)
    return next((moment for moment in moments if now < moment), moments[-1])
