from __future__ import annotations

import datetime as dt

import pytest

from settlement.business_days import Calendar, CalendarError, execution_date, is_before_cutoff

TARGET = Calendar("ECB", "Europe/Berlin")

# Good Friday and Easter Monday as published in the ECB's long-term calendar.
EASTER = {
    2024: ("03-29", "04-01"),
    2025: ("04-18", "04-21"),
    2026: ("04-03", "04-06"),
    2027: ("03-26", "03-29"),
    2028: ("04-14", "04-17"),
    2029: ("03-30", "04-02"),
    2030: ("04-19", "04-22"),
    2031: ("04-11", "04-14"),
    2032: ("03-26", "03-29"),
}


@pytest.mark.parametrize("year", EASTER)
def test_target_is_closed_on_weekends_and_exactly_six_days_a_year(year: int) -> None:
    holidays = {"01-01", "05-01", "12-25", "12-26", *EASTER[year]}
    days = (dt.date(year, 1, 1) + dt.timedelta(days=n) for n in range(366))
    closed = {day for day in days if day.year == year and not TARGET.is_open(day)}
    weekends = {
        dt.date(year, 1, 1) + dt.timedelta(days=n)
        for n in range(366)
        if (dt.date(year, 1, 1) + dt.timedelta(days=n)).weekday() >= 5
    }
    expected = {dt.date.fromisoformat(f"{year}-{day}") for day in holidays}
    assert closed == expected | {day for day in weekends if day.year == year}


def test_next_and_previous_are_strict_and_or_on_is_not() -> None:
    thursday, good_friday, tuesday = dt.date(2026, 4, 2), dt.date(2026, 4, 3), dt.date(2026, 4, 7)
    assert TARGET.next_open(thursday) == tuesday
    assert TARGET.previous_open(tuesday) == thursday
    assert TARGET.open_on_or_after(thursday) == thursday
    assert TARGET.open_on_or_after(good_friday) == tuesday
    assert TARGET.open_on_or_before(good_friday) == thursday
    assert TARGET.open_on_or_before(tuesday) == tuesday


def test_days_between_counts_open_days_after_the_start_up_to_the_end() -> None:
    thursday, tuesday = dt.date(2026, 4, 2), dt.date(2026, 4, 7)
    assert TARGET.days_between(thursday, thursday) == 0
    assert TARGET.days_between(thursday, tuesday) == 1
    assert TARGET.days_between(tuesday, thursday) == -1
    assert TARGET.days_between(thursday, dt.date(2026, 4, 5)) == 0


def test_add_open_days_skips_closed_days_both_ways() -> None:
    assert TARGET.add_open_days(dt.date(2026, 4, 2), 2) == dt.date(2026, 4, 8)
    assert TARGET.add_open_days(dt.date(2026, 4, 8), -2) == dt.date(2026, 4, 2)
    assert TARGET.add_open_days(dt.date(2026, 4, 3), 0) == dt.date(2026, 4, 3)


def test_every_day_is_open_in_calendar_all_and_a_country_has_its_own_days() -> None:
    christmas, saturday = dt.date(1993, 12, 25), dt.date(2026, 11, 7)
    assert Calendar("all", "Europe/Prague").is_open(christmas)
    assert Calendar("all", "Europe/Prague").is_open(saturday)
    assert not Calendar("CZ", "Europe/Prague").is_open(dt.date(2026, 11, 17))  # Struggle for Freedom Day
    assert TARGET.is_open(dt.date(2026, 11, 17))
    assert not Calendar("AE", "Asia/Dubai").is_open(saturday)


@pytest.mark.parametrize(
    ("holidays", "timezone", "what"),
    [("XX", "Europe/Berlin", "calendar 'XX'"), ("ecb", "Europe/Berlin", "calendar"), ("ECB", "Berlin", "time zone")],
)
def test_unknown_names_are_refused(holidays: str, timezone: str, what: str) -> None:
    with pytest.raises(CalendarError, match=what):
        Calendar(holidays, timezone)


def test_dates_the_calendar_does_not_know_are_refused() -> None:
    with pytest.raises(CalendarError, match="from 1999 to 2100"):
        TARGET.is_open(dt.date(1998, 12, 31))
    with pytest.raises(CalendarError, match="1990 to 2100"):
        Calendar("all", "UTC").is_open(dt.date(2101, 1, 1))


EIGHT_PM = dt.time(20, 0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-02T19:59:59+01:00", "2026-11-02"),
        ("2026-11-02T20:00:00+01:00", "2026-11-03"),  # at the cut-off is late
        ("2026-11-02T18:59:59+00:00", "2026-11-02"),  # told in UTC, judged in Berlin
        ("2026-11-06T21:00:00+01:00", "2026-11-09"),  # Friday night
        ("2026-11-07T09:00:00+01:00", "2026-11-09"),  # Saturday
        ("2026-11-01T23:30:00+00:00", "2026-11-02"),  # already Monday in Berlin
        ("2026-12-24T20:30:00+01:00", "2026-12-28"),  # over Christmas and the weekend
    ],
)
def test_execution_date_is_the_first_open_day_whose_cutoff_has_not_passed(now: str, expected: str) -> None:
    moment = dt.datetime.fromisoformat(now)
    assert execution_date(moment, EIGHT_PM, TARGET) == dt.date.fromisoformat(expected)


def test_execution_date_is_never_before_the_wanted_day() -> None:
    now = dt.datetime(2026, 11, 2, 12, 0, tzinfo=dt.UTC)
    assert execution_date(now, EIGHT_PM, TARGET, not_before=dt.date(2026, 11, 7)) == dt.date(2026, 11, 9)
    assert execution_date(now, EIGHT_PM, TARGET, not_before=dt.date(2026, 10, 30)) == dt.date(2026, 11, 2)


@pytest.mark.parametrize(
    ("date", "cutoff", "utc"),
    [
        ("2026-03-27", "20:00", "19:00"),  # Friday, winter time
        ("2026-03-30", "20:00", "18:00"),  # Monday, summer time
        ("2026-03-29", "02:30", "01:30"),  # a time that does not exist: as long after midnight as ever
        ("2026-10-25", "02:30", "00:30"),  # a time that happens twice: the first
        ("2026-10-25", "03:00", "02:00"),
    ],
)
def test_cutoffs_around_clock_changes(date: str, cutoff: str, utc: str) -> None:
    day = dt.date.fromisoformat(date)
    expected = dt.datetime.fromisoformat(f"{date}T{utc}+00:00")
    assert TARGET.cutoff_at(day, dt.time.fromisoformat(cutoff)) == expected


def test_the_second_half_past_two_is_after_a_cutoff_at_half_past_two() -> None:
    every_day = Calendar("all", "Europe/Berlin")
    day, cutoff = dt.date(2026, 10, 25), dt.time(2, 30)
    assert is_before_cutoff(dt.datetime(2026, 10, 25, 0, 29, tzinfo=dt.UTC), day, cutoff, every_day)
    assert not is_before_cutoff(dt.datetime(2026, 10, 25, 1, 15, tzinfo=dt.UTC), day, cutoff, every_day)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        execution_date(dt.datetime(2026, 11, 2, 12, 0), EIGHT_PM, TARGET)  # noqa: DTZ001
