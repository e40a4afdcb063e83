"""Divides a time into intervals of a local clock: parts of a day, whole days, whole weeks."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import zoneinfo
from collections.abc import Iterator

import attrs

PATTERN = r"[1-9][0-9]{0,4}[smhdw]"
DAY_S = 86_400
LAST_MS = int(dt.datetime(9000, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000
"""Nothing is divided that is later."""

_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_FIRST_MONDAY = dt.date(1970, 1, 5).toordinal()
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DAYS = {"d": (1, _EPOCH_DAY), "w": (7, _FIRST_MONDAY)}


@attrs.frozen
class Interval:
    """How long an interval is by the local clock.

    One of ``seconds`` begins where the clock shows a multiple of them since midnight, and at midnight. One of ``days``
    begins at a midnight, where 0 ``seconds`` are given: so many days after ``first_day`` (a proleptic ordinal), or so
    many more.
    """

    seconds: int = 0
    days: int = 1
    first_day: int = _EPOCH_DAY


def interval_of(text: str) -> Interval:
    """Read an interval such as ``15m``; raises ValueError that says what may be written."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError("must be a whole number from 1 and s, m, h, d or w, such as 15m")
    count, unit = int(text[:-1]), text[-1]
    if unit in _DAYS:
        days, first = _DAYS[unit]
        return Interval(days=count * days, first_day=first)
    seconds = count * _SECONDS[unit]
    if seconds > DAY_S:
        raise ValueError("must be a day at most in s, m or h; write longer ones in d or w")
    return Interval() if seconds == DAY_S else Interval(seconds=seconds)


def zone_of(name: str) -> dt.tzinfo:
    """Return a time zone by its IANA name; raises ValueError that says what may be written."""
    if name == "UTC":
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone's IANA name that is known here, such as Europe/Berlin or UTC") from None


def edges(interval: Interval, zone: dt.tzinfo, start_ms: int, end_ms: int) -> Iterator[int]:
    """Give where intervals begin and end: the start, what lies between, and the end, in UTC milliseconds.

    They are worked out as they are asked for. ``end_ms`` is later than ``start_ms``, and `LAST_MS` at most.
    """
    yield start_ms
    after = start_ms // 1000
    between = _clock_edges(interval.seconds, zone, after) if interval.seconds else _day_edges(interval, zone, after)
    for edge in between:
        if edge * 1000 >= end_ms:
            break
        yield edge * 1000
    yield end_ms


def interval_start(interval: Interval, zone: dt.tzinfo, at_ms: int) -> int:
    """Return where the interval begins that a time is in, in UTC milliseconds."""
    at = at_ms // 1000
    day = _day_at(zone, at)
    if not interval.seconds:
        return _day_start(zone, day - (day - interval.first_day) % interval.days) * 1000
    midnight, back = _day_start(zone, day), interval.seconds
    while True:  # midnight at the latest is one
        after = max(midnight - 1, at - back)
        found = [*itertools.takewhile(at.__ge__, _clock_edges(interval.seconds, zone, after))]
        if found:
            return found[-1] * 1000
        back *= 2


# All below is in whole seconds of UTC: offsets and changes of clocks are.


def _day_edges(interval: Interval, zone: dt.tzinfo, after: int) -> Iterator[int]:
    """Give the midnights after a time at which an interval of days begins."""
    day = _day_at(zone, after)
    day += interval.days - (day - interval.first_day) % interval.days
    while True:
        edge = _day_start(zone, day)
        if edge > after:  # a day that a zone left out begins when the next one does
            yield edge
            after = edge
        day += interval.days


def _clock_edges(step: int, zone: dt.tzinfo, after: int) -> Iterator[int]:
    """Give the times after a time at which the clock shows a multiple of so many seconds, and each day's beginning."""
    day = _day_at(zone, after)
    start = _day_start(zone, day)
    while True:
        day += 1
        end = _day_start(zone, day)
        if start > after and (start + _offset(zone, start)) % DAY_S % step:
            yield start  # the clock was set forward over midnight
        for first, last in _between_changes(zone, start, end):
            yield from _shown(step, max(first, after + 1), last, _offset(zone, first))
        start = end


def _shown(step: int, first: int, last: int, offset: int) -> Iterator[int]:
    """Give the times at which a clock of a constant offset shows a multiple of a step."""
    midnight = (first + offset) // DAY_S * DAY_S - offset
    while midnight < last:
        begin = max(first - midnight, 0)
        yield from range(midnight + begin + -begin % step, min(last, midnight + DAY_S), step)
        midnight += DAY_S


def _between_changes(zone: dt.tzinfo, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a day where its clock is set forward or back."""
    while start < end and _offset(zone, start) != _offset(zone, end - 1):
        before, low, high = _offset(zone, start), start, end - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
        yield start, high
        start = high
    if start < end:
        yield start, end


def _day_at(zone: dt.tzinfo, at: int) -> int:
    """Return the ordinal of the day that it is at a time; one that has begun does not end by setting the clock back."""
    day = dt.datetime.fromtimestamp(at, zone).toordinal()
    while _day_start(zone, day + 1) <= at:
        day += 1
    return day


def _day_start(zone: dt.tzinfo, day: int) -> int:
    """Return when a day begins: where the clock shows midnight for the first time, or is set forward over it."""
    midnight, shown = dt.datetime.fromordinal(day).replace(tzinfo=zone), (day - _EPOCH_DAY) * DAY_S
    at = shown - _seconds(midnight)
    if at + _offset(zone, at) == shown:
        return at
    low, high = shown - _seconds(midnight.replace(fold=1)), at
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle + _offset(zone, middle) >= shown else (middle, high)
    return high


def _offset(zone: dt.tzinfo, at: int) -> int:
    return _seconds(dt.datetime.fromtimestamp(at, zone))


def _seconds(moment: dt.datetime) -> int:
    """Return how far a local time is ahead of UTC."""
    offset = moment.utcoffset()
    return 0 if offset is None else offset // dt.timedelta(seconds=1)
