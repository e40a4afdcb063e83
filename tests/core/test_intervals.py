"""Edges of intervals, compared with a clock that is looked at minute by minute."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.intervals import Interval, edges, interval_of, interval_start, zone_of

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
CHANGES = {  # days around which clocks are set forward and back, by half an hour, over midnight, over a whole day
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Asia/Kathmandu": ("1986-01-01", "2026-06-01"),
    "America/Sao_Paulo": ("2018-11-04", "2018-02-18"),
    "America/St_Johns": ("2010-03-14", "2010-11-07"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "Pacific/Apia": ("2011-12-30", "2012-04-01"),
    "UTC": ("2026-01-01", "2026-03-01"),
}


def ms(text: str, zone: str = "UTC") -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=zone_of(zone)).timestamp() * 1000)


def stepped(interval: Interval, zone: dt.tzinfo, start_ms: int, end_ms: int) -> Iterator[int]:
    """Look at the clock each minute, and tell where an interval begins."""
    day = dt.datetime.fromtimestamp(start_ms / 1000, zone).toordinal()
    first = start_ms - 3 * 24 * HOUR_MS  # to see which day it was already, had the clock been set back
    for at in range(first - first % MINUTE_MS, end_ms, MINUTE_MS):
        local = dt.datetime.fromtimestamp(at // 1000, zone)
        before, day = day, max(day, local.toordinal()) if at > first else local.toordinal()
        if interval.seconds:
            since_midnight = local.hour * 3600 + local.minute * 60 + local.second
            begins = since_midnight % interval.seconds == 0 or day > before
        else:
            number, number_before = ((each - interval.first_day) // interval.days for each in (day, before))
            begins = number > number_before
        if begins and start_ms < at:
            yield at


def stepped_edges(interval: Interval, zone: dt.tzinfo, start_ms: int, end_ms: int) -> list[int]:
    return [start_ms, *stepped(interval, zone, start_ms, end_ms), end_ms]


@st.composite
def spans(draw: st.DrawFn) -> tuple[str, int, int]:
    """A zone, and a time of up to three days near a change of its clock, in whole minutes or not."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    around = ms(draw(st.sampled_from(CHANGES[zone])))
    start = around + draw(st.integers(-36 * 60, 36 * 60)) * MINUTE_MS + draw(st.sampled_from((0, 1, 59_999)))
    return zone, start, start + draw(st.integers(1, 72 * HOUR_MS))


lengths = st.sampled_from(("1m", "7m", "15m", "90m", "1h", "2h", "5h", "7h", "24h", "1d", "2d", "3d", "1w", "2w"))


@settings(max_examples=60, deadline=None)
@given(span=spans(), length=lengths)
def test_intervals_begin_where_the_local_clock_shows_it(span: tuple[str, int, int], length: str) -> None:
    name, start, end = span
    zone, interval = zone_of(name), interval_of(length)
    assert [*edges(interval, zone, start, end)] == stepped_edges(interval, zone, start, end)


@settings(max_examples=60, deadline=None)
@given(span=spans(), length=lengths, where=st.floats(0, 1))
def test_the_interval_of_any_time_begins_at_the_last_edge_before_it(
    span: tuple[str, int, int], length: str, where: float
) -> None:
    name, start, end = span
    zone, interval = zone_of(name), interval_of(length)
    at = start + int((end - 1 - start) * where)
    begin = interval_start(interval, zone, at)
    assert [*edges(interval, zone, begin - 1, at + 1)] == [begin - 1, begin, at + 1]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-03-29", 24),
    ],
)
def test_a_day_of_23_or_25_hours_is_one_day_and_has_as_many_hours(zone: str, day: str, hours: int) -> None:
    start = ms(day, zone)
    after = (dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()
    end = ms(after, zone)
    assert end - start == hours * HOUR_MS
    assert [*edges(interval_of("1d"), ZoneInfo(zone), start, end)] == [start, end]
    assert [*edges(interval_of("1h"), ZoneInfo(zone), start, end)] == [*range(start, end + 1, HOUR_MS)]


def test_weeks_begin_on_mondays_and_days_that_are_grouped_count_from_one_day_for_ever() -> None:
    zone = "Europe/Berlin"
    start, end = ms("2026-10-01", zone), ms("2026-11-01", zone)
    mondays = [ms(f"2026-10-{day:02}", zone) for day in (5, 12, 19, 26)]
    assert [*edges(interval_of("1w"), ZoneInfo(zone), start, end)] == [start, *mondays, end]
    three = [*edges(interval_of("3d"), ZoneInfo(zone), start, end)][1:-1]
    days = [dt.datetime.fromtimestamp(edge / 1000, ZoneInfo(zone)).toordinal() - EPOCH_DAY for edge in three]
    assert len(days) == 10 and all(day % 3 == 0 for day in days)


def test_an_interval_that_does_not_divide_the_day_begins_anew_at_midnight() -> None:
    start, end = ms("2026-01-01"), ms("2026-01-02")
    found = [*edges(interval_of("7h"), dt.UTC, start, end + HOUR_MS)]
    assert found == [start, *(start + hours * HOUR_MS for hours in (7, 14, 21, 24, 25))]


def test_edges_are_worked_out_as_they_are_asked_for() -> None:
    seconds = edges(interval_of("1s"), zone_of("Europe/Berlin"), 0, ms("8999-12-31"))
    assert [*itertools.islice(seconds, 3)] == [0, 1000, 2000]


@pytest.mark.parametrize("text", ["0m", "m", "1.5h", "-1h", "1y", "01h", "1 h", "", "25h", "1441m", "86401s"])
def test_what_is_no_interval_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a"):
        interval_of(text)


@pytest.mark.parametrize(
    "name", ["Europe/Berlyn", "", "/etc/passwd", "../UTC", "Europe", "x" * 5000, "a\0b", "Europe/Berlin/", "zone.tab"]
)
def test_what_is_no_time_zone_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(ValueError, match="IANA name"):
        zone_of(name)
