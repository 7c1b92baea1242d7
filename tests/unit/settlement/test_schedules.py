"""Schedules and delays over closed days, and the calendars of every profile from 2024 to 2032."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import usual_profiles
from settlement.business_days import Calendar, execution_date, is_before_cutoff
from settlement.schedules import Roll, cut_date, is_due, next_cycle, rolled, schedule_text

TARGET = Calendar("ECB", "Europe/Berlin")
MONDAY = dt.date(2026, 11, 2)
FIRST, LAST = dt.date(2024, 1, 1), dt.date(2032, 12, 31)

# A bank's time zone and last cut-off for each calendar of the shipped profiles; some at hours clocks skip or repeat.
BANKS = {
    "ECB": ("Europe/Berlin", "20:00"),
    "all": ("Europe/Berlin", "23:59"),
    "CH": ("Europe/Zurich", "13:00"),
    "CZ": ("Europe/Prague", "02:30"),
    "DK": ("Europe/Copenhagen", "12:00"),
    "GB": ("Europe/London", "01:30"),
    "HU": ("Europe/Budapest", "17:30"),
    "NO": ("Europe/Oslo", "13:30"),
    "PL": ("Europe/Warsaw", "14:00"),
    "SE": ("Europe/Stockholm", "02:30"),
    "US": ("America/New_York", "18:45"),
}
# Every profile that the program ships, by the register itself; then zones that change clocks at other hours, or never.
PROFILES = {code: (profile.holidays, *BANKS[profile.holidays]) for code, profile in usual_profiles().items()} | {
    "Japan": ("JP", "Asia/Tokyo", "15:00"),
    "Chile": ("CL", "America/Santiago", "00:15"),
}


def days(first: dt.date = FIRST, last: dt.date = LAST) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


@pytest.mark.parametrize(
    ("kind", "anchors", "text"),
    [
        ("daily", None, "daily"),
        ("manual", None, "manual"),
        ("weekly", "thu, mon", "weekly:1,4:following"),
        ("monthly", "last 1 15", "monthly:1,15,31:following"),
    ],
)
def test_a_schedule_is_one_text(kind: str, anchors: str | None, text: str) -> None:
    assert schedule_text(kind, anchors, Roll.FOLLOWING) == text


@pytest.mark.parametrize(
    ("kind", "anchors"), [("daily", "mon"), ("weekly", None), ("weekly", "1"), ("monthly", "32"), ("monthly", "mon")]
)
def test_anchors_that_mean_nothing_are_refused(kind: str, anchors: str | None) -> None:
    with pytest.raises(ValueError, match="anchors"):
        schedule_text(kind, anchors, Roll.FOLLOWING)


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        (Roll.FOLLOWING, dt.date(2026, 6, 1)),  # 31 May 2026 is a Sunday
        (Roll.MODIFIED_FOLLOWING, dt.date(2026, 5, 29)),
        (Roll.PRECEDING, dt.date(2026, 5, 29)),
    ],
)
def test_rolls_at_the_end_of_a_month(roll: Roll, expected: dt.date) -> None:
    assert rolled(dt.date(2026, 5, 31), roll, TARGET) == expected
    assert [
        day for day in days(dt.date(2026, 5, 25), dt.date(2026, 6, 5)) if is_due(f"monthly:31:{roll}", day, TARGET)
    ] == [expected]


@pytest.mark.parametrize("roll", list(Roll))
@pytest.mark.parametrize("schedule", ["weekly:1", "weekly:5,6", "monthly:1", "monthly:31", "monthly:15,30"])
def test_every_anchor_is_paid_on_one_open_day(schedule: str, roll: Roll) -> None:
    """Three years: the days that are due are the days that the anchors roll to, all open."""
    kind, numbers = schedule.split(":")
    anchors = {int(number) for number in numbers.split(",")}
    span = days(dt.date(2024, 1, 1), dt.date(2026, 12, 31))
    ends = {day for day in span if (day + dt.timedelta(days=1)).day == 1}
    if kind == "weekly":
        nominal = {day for day in span if day.isoweekday() in anchors}
    else:
        nominal = {day for day in span if day.day in anchors} | (ends if 31 in anchors or 30 in anchors else set())
        nominal -= {day for day in ends if day.day == 31 and 31 not in anchors}
    expected = {rolled(day, roll, TARGET) for day in nominal}
    due = {day for day in span if is_due(f"{schedule}:{roll}", day, TARGET)}
    assert all(TARGET.is_open(day) for day in due)
    edge = {day for day in expected ^ due if min(abs(day - span[0]), abs(day - span[-1])).days <= 15}
    assert expected ^ due == edge, "but for anchors outside of the span"


@pytest.mark.parametrize(
    ("delay", "date", "expected"),
    [
        (0, MONDAY, MONDAY),
        (1, MONDAY, dt.date(2026, 11, 1)),  # what was sold on Friday, Saturday and Sunday
        (2, MONDAY, dt.date(2026, 10, 29)),  # Thursday's
        (2, dt.date(2026, 11, 4), MONDAY),
        (1, dt.date(2026, 11, 1), dt.date(2026, 10, 29)),  # a Sunday pays what Friday would
    ],
)
def test_delays_are_counted_in_open_days(delay: int, date: dt.date, expected: dt.date) -> None:
    assert cut_date(delay, date, TARGET) == expected


@given(delay=st.integers(1, 30), n=st.integers(0, 3000))
def test_an_item_is_let_through_exactly_when_its_open_days_have_passed(delay: int, n: int) -> None:
    date = TARGET.open_on_or_after(FIRST + dt.timedelta(days=n))
    cut = cut_date(delay, date, TARGET)
    assert TARGET.days_between(cut, date) >= delay > TARGET.days_between(cut + dt.timedelta(days=1), date)


def test_cycles_of_a_day() -> None:
    cycles = (dt.time(10), dt.time(15), dt.time(20))
    for hour_utc, expected in ((8, 9), (9, 14), (13, 14), (14, 19), (23, 19)):  # Berlin in winter is UTC+1
        now = dt.datetime.combine(MONDAY, dt.time(hour_utc), dt.UTC)
        assert next_cycle(now, MONDAY, cycles, TARGET).hour == expected


@pytest.mark.parametrize("profile", PROFILES)
def test_nine_years_of_cutoffs(profile: str) -> None:
    """Every business date 2024–2032 has one cut-off moment, on its own local date, in order, also over DST changes;
    what arrives a second before executes that day, what arrives at it executes on the next open day."""
    holidays, zone, text = PROFILES[profile]
    calendar, cutoff = Calendar(holidays, zone), dt.time.fromisoformat(text)
    open_days = [day for day in days() if calendar.is_open(day)]
    moments = [calendar.cutoff_at(day, cutoff) for day in open_days]
    assert moments == sorted(set(moments)), "one cut-off a business date"
    for day, moment, following in zip(open_days, moments, [*open_days[1:], None], strict=True):
        local = moment.astimezone(ZoneInfo(zone))
        assert local.date() == day
        assert (
            local.time() == cutoff
            or local.utcoffset()
            != calendar.cutoff_at(day - dt.timedelta(days=1), cutoff).astimezone(ZoneInfo(zone)).utcoffset()
        ), "only a change of clocks moves it"
        if following is None:
            break
        before = moment - dt.timedelta(seconds=1)
        assert is_before_cutoff(before, day, cutoff, calendar) and not is_before_cutoff(moment, day, cutoff, calendar)
        if calendar.local_date(before) == day:
            assert execution_date(before, cutoff, calendar) == day
        assert execution_date(moment, cutoff, calendar) == following


def test_target_is_closed_on_its_six_holidays() -> None:
    for year in range(2024, 2033):
        closed = [day for day in days(dt.date(year, 1, 1), dt.date(year, 12, 31)) if not TARGET.is_open(day)]
        weekdays = [day for day in closed if day.isoweekday() <= 5]
        fixed = {dt.date(year, *day) for day in ((1, 1), (5, 1), (12, 25), (12, 26))}
        moving = [day for day in weekdays if day not in fixed]
        assert {day for day in fixed if day.isoweekday() <= 5} <= set(weekdays)
        assert [day.isoweekday() for day in moving] == [5, 1] and (moving[1] - moving[0]).days == 3, "Easter"
