"""Business days and cut-off times of a bank account.

Lives here: which days a bank is open, counting open days, and the earliest execution date at a moment.
Must not live here: the wall clock (the moment is a parameter), settlement rules, SQL.

A calendar is named by data: ``ECB`` (the TARGET closing days of the ECB's long-term calendar), an ISO 3166
country code (that country's public holidays and weekend) or ``all`` (every day is open, weekends too).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import RefusedError

EVERY_DAY = "all"
TARGET = "ECB"
FIRST_YEAR = 1990
LAST_YEAR = 2100


class CalendarError(RefusedError):
    """Unknown calendar or time zone, or a date the calendar knows nothing about."""


class _HolidayTable(Protocol):
    start_year: int
    end_year: int

    def is_working_day(self, key: dt.date, /) -> bool: ...


@lru_cache(maxsize=64)
def _holiday_table(name: str) -> _HolidayTable:
    import holidays as holiday_tables  # slow to load, and most commands ask no calendar

    if name == TARGET:
        return cast(_HolidayTable, holiday_tables.financial_holidays(TARGET))
    if name not in holiday_tables.list_supported_countries():
        raise CalendarError(f"calendar {name!r} is unknown; use 'ECB' (TARGET), 'all' or an ISO 3166 country code.")
    return cast(_HolidayTable, holiday_tables.country_holidays(name))


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarError(f"time zone {name!r} is unknown; use an IANA name such as 'Europe/Berlin'.") from None


@lru_cache(maxsize=65536)
def _is_open(name: str, date: dt.date) -> bool:
    if not FIRST_YEAR <= date.year <= LAST_YEAR:
        raise CalendarError(f"calendar {name!r} is kept from {FIRST_YEAR} to {LAST_YEAR}, not for {date}.")
    if name == EVERY_DAY:
        return True
    table = _holiday_table(name)
    if not table.start_year <= date.year <= table.end_year:
        raise CalendarError(f"calendar {name!r} is known from {table.start_year} to {table.end_year}, not for {date}.")
    return table.is_working_day(date)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The open days of a bank and the time zone its cut-offs are told in.

    Raises `CalendarError` when made with an unknown calendar or time zone, and by any method for a date
    outside 1990 to 2100 or outside what the calendar knows (TARGET has existed since 1999).
    """

    holidays: str
    timezone: str

    def __post_init__(self) -> None:
        if self.holidays != EVERY_DAY:
            _holiday_table(self.holidays)
        _zone(self.timezone)

    def is_open(self, date: dt.date) -> bool:
        """Whether the bank books and executes on this date."""
        return _is_open(self.holidays, date)

    def next_open(self, date: dt.date) -> dt.date:
        """The first open day strictly after the date."""
        return next(self._open_days(date, +1))

    def previous_open(self, date: dt.date) -> dt.date:
        """The last open day strictly before the date."""
        return next(self._open_days(date, -1))

    def open_on_or_after(self, date: dt.date) -> dt.date:
        """The date itself when open, else the first open day after it."""
        return date if self.is_open(date) else self.next_open(date)

    def open_on_or_before(self, date: dt.date) -> dt.date:
        """The date itself when open, else the last open day before it."""
        return date if self.is_open(date) else self.previous_open(date)

    def add_open_days(self, date: dt.date, count: int) -> dt.date:
        """The `count`-th open day after (negative: before) the date; 0 gives the date itself."""
        days = self._open_days(date, 1 if count > 0 else -1)
        for _ in range(abs(count)):
            date = next(days)
        return date

    def days_between(self, start: dt.date, end: dt.date) -> int:
        """Open days after `start` up to and with `end`: the age in business days on `end`.

        Negative when `end` is earlier: ``days_between(a, b) == -days_between(b, a)``.
        """
        if end < start:
            return -self.days_between(end, start)
        return sum(self.is_open(start + dt.timedelta(days=n)) for n in range(1, (end - start).days + 1))

    def local_date(self, moment: dt.datetime) -> dt.date:
        """The date on the bank's wall at an aware moment."""
        return _aware(moment).astimezone(_zone(self.timezone)).date()

    def cutoff_at(self, date: dt.date, cutoff: dt.time) -> dt.datetime:
        """The moment (UTC) of the cut-off on that date.

        When clocks are set back and the cut-off happens twice, the first counts; when they are set forward
        over it, it falls as long after midnight as on any other day.
        """
        return dt.datetime.combine(date, cutoff.replace(fold=0), _zone(self.timezone)).astimezone(dt.UTC)

    def _open_days(self, date: dt.date, step: int) -> Iterator[dt.date]:
        while True:
            date += dt.timedelta(days=step)
            if self.is_open(date):
                yield date


def _aware(moment: dt.datetime) -> dt.datetime:
    if moment.utcoffset() is None:
        raise ValueError(f"the moment {moment.isoformat()} has no time zone; pass an aware datetime")
    return moment


def execution_date(
    now: dt.datetime, cutoff: dt.time, calendar: Calendar, *, not_before: dt.date | None = None
) -> dt.date:
    """The earliest open date on which the bank still executes what reaches it at `now`.

    Today, when open and strictly before the cut-off (bank's time zone), else the next open day; never before
    `not_before`, rolled forward to an open day.
    """
    today = calendar.local_date(now)
    if is_before_cutoff(now, today, cutoff, calendar):
        earliest = calendar.open_on_or_after(today)
    else:
        earliest = calendar.next_open(today)
    if not_before is None or not_before <= earliest:
        return earliest
    return calendar.open_on_or_after(not_before)


def is_before_cutoff(now: dt.datetime, date: dt.date, cutoff: dt.time, calendar: Calendar) -> bool:
    """Whether a file for execution on `date` still makes it at `now`; at the very cut-off it is late."""
    return _aware(now).astimezone(dt.UTC) < calendar.cutoff_at(date, cutoff)
