"""When a simulated bank is open.

Lives here: the bank's own view of its calendar, written apart from `settlement.business_days` so that a
mistake there shows as a difference. Must not live here: cut-off times, the wall clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import holidays

from sandbox.errors import SandboxError

ALWAYS_OPEN = "all"
TARGET = "ECB"
_MAX_CLOSED_DAYS = 30


class _Table(Protocol):
    def is_working_day(self, key: dt.date, /) -> bool: ...


@lru_cache(maxsize=32)
def _table(name: str) -> _Table:
    if name == TARGET:
        return cast(_Table, holidays.financial_holidays(TARGET))
    try:
        return cast(_Table, holidays.country_holidays(name))
    except NotImplementedError:
        raise SandboxError(
            f"the simulated bank knows no calendar {name!r}; use 'ECB', 'all' or an ISO 3166 country code."
        ) from None


@dataclass(frozen=True, slots=True)
class BankCalendar:
    """Open days of one bank: ``ECB``, ``all`` or an ISO 3166 country code."""

    name: str

    def is_open(self, day: dt.date) -> bool:
        """Whether the bank executes, books and writes statements on this day."""
        return self.name == ALWAYS_OPEN or _table(self.name).is_working_day(day)

    def first_open(self, day: dt.date) -> dt.date:
        """The day itself when open, else the next open one."""
        for _ in range(_MAX_CLOSED_DAYS):
            if self.is_open(day):
                return day
            day += dt.timedelta(days=1)
        raise SandboxError(f"calendar {self.name!r} has no open day in the {_MAX_CLOSED_DAYS} before {day}.")

    def after(self, day: dt.date, *, open_days: int) -> dt.date:
        """The `open_days`-th open day strictly after the day."""
        for _ in range(open_days):
            day = self.first_open(day + dt.timedelta(days=1))
        return day
