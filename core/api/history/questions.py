"""What may be asked of the past of points, and what a question comes to once it has been checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import attrs

from core.api.render import field_of_point_ids
from core.cursors import Cursors
from core.errors import FieldFault, Invalid
from core.intervals import DAY_S, LAST_MS, PATTERN, Interval, edges, interval_of, interval_start, zone_of
from core.model import Kind
from core.registry import PointEntry
from core.samples import milliseconds, utc_ms
from core.serialize import dumps, field

T = TypeVar("T")
AGGREGATES = ("avg", "min", "max", "count", "first", "last", "sum", "time_weighted_avg", "time_in_state")
SUITABLE: Mapping[Kind, Sequence[str]] = {
    Kind.NUMBER: AGGREGATES[:-1],
    Kind.BOOLEAN: AGGREGATES,
    Kind.ENUM: ("count", "first", "last", "time_in_state"),
    Kind.TEXT: ("count", "first", "last"),
}
"""What can be said of the samples of an interval, by kind of point."""

DEFAULT_LIMIT = 100
MOST_FILLED_ROWS = 10_000_000
WINDOW_MS = DAY_S * 1000

_NAMES = f"({'|'.join(AGGREGATES)})"
_TIME = "RFC 3339"


@attrs.frozen(kw_only=True)
class HistoryQuery:
    """Which samples to answer, or what they come to by interval."""

    start: str | None = field(
        default=None, max_length=50, format="date-time", example="2026-01-31T00:00:00Z",
        description=f"From when on ({_TIME}); a day before `end` otherwise.",
    )  # fmt: skip
    end: str | None = field(
        default=None, max_length=50, format="date-time", example="2026-02-01T00:00:00Z",
        description=f"Until when ({_TIME}), itself left out; now otherwise.",
    )  # fmt: skip
    interval: str | None = field(
        default=None, pattern=PATTERN, example="1h",
        description="Sum the samples up by this: a whole number of `s`, `m`, `h` (a day at most), `d` or `w`.",
    )  # fmt: skip
    aggregate: tuple[str, ...] = field(
        default=(), max_items=20, pattern=f"{_NAMES}(,{_NAMES})*", example=["avg", "max"],
        description=(
            "What to say of each interval, of all the time without `interval`: several by commas, or repeated. "
            "`avg` for a number, `last` for others otherwise."
        ),
    )  # fmt: skip
    tz: str = field(
        default="UTC", max_length=100, example="Europe/Berlin",
        description="The time zone, by IANA's name, at whose midnights days begin.",
    )  # fmt: skip
    fill: Literal["none", "previous", "linear"] = field(
        default="none", example="none",
        description=(
            "What to answer for an interval without samples: nothing, the value that holds, or what lies between its "
            "neighbours."
        ),
    )  # fmt: skip
    limit: int | None = field(
        default=None, min=1, max=1000, example=100,
        description=f"How many items to answer at most: {DEFAULT_LIMIT} otherwise, but all of them where they stream.",
    )  # fmt: skip
    cursor: str | None = field(
        default=None, max_length=4000, format="cursor", example="Zkc0NXhPQlZ4cjJ5c1hBbyJhYXVs",
        description="The `next_cursor` of the page before, with all else as it was but `limit`.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class HistoryBody(HistoryQuery):
    """Which samples of which points to answer, or what they come to by interval."""

    point_ids: tuple[str, ...] = field_of_point_ids(most=100)


@attrs.frozen(eq=False)
class AskedPoint:
    """A point with its place among those that were asked for, and what is to be said of its intervals."""

    index: int
    entry: PointEntry
    aggregates: tuple[str, ...]

    @property
    def slot(self) -> int:
        return self.entry.slot

    @property
    def kind(self) -> Kind:
        return self.entry.point.kind


@attrs.frozen(eq=False, kw_only=True)
class Asked:
    """A question that has been checked; times are UTC milliseconds.

    ``after`` is the row that the last page ended with: its time, and the place of its point. ``interval`` is None for
    samples as they are; all the time is one where ``whole`` is true.
    """

    points: tuple[AskedPoint, ...]
    start_ms: int
    end_ms: int
    now_ms: int
    after: tuple[int, int] | None
    zone: dt.tzinfo
    interval: Interval | None
    whole: bool
    fill: str
    limit: int | None
    several: bool
    context: bytes

    @property
    def aggregated(self) -> bool:
        return self.interval is not None or self.whole

    @property
    def aggregates(self) -> tuple[str, ...]:
        """All that is to be said of any of the points."""
        wanted = {name for point in self.points for name in point.aggregates}
        return tuple(name for name in AGGREGATES if name in wanted)

    @property
    def begin_ms(self) -> int:
        """From when on rows are left to be answered."""
        return self.start_ms if self.after is None else self.after[0]

    def edges(self, begin_ms: int) -> Iterator[int]:
        """Give where intervals begin and end, from one of them on."""
        if self.interval is None:
            return iter((begin_ms, self.end_ms))
        return edges(self.interval, self.zone, begin_ms, self.end_ms)

    def interval_at(self, time_ms: int, *, after_ms: int) -> int:
        """Return where the interval begins that a time is in; not before another time, at which one begins."""
        begin = self.start_ms if self.interval is None else interval_start(self.interval, self.zone, time_ms)
        return max(begin, after_ms)

    def cursor(self, cursors: Cursors, time_ms: int, index: int) -> str:
        """Write where the next page goes on, behind the row of a time and a point's place."""
        return cursors.write((self.start_ms, self.end_ms, time_ms, index), self.context)


def checked(
    query: HistoryQuery, ids: Sequence[str], entries: Mapping[int, PointEntry], *, now: float, cursors: Cursors
) -> Asked:
    """Check what is asked; ``entries`` are the points that can be, by their place among the ids, ``now`` UTC seconds.

    Raises Invalid with every fault, InvalidCursor.
    """
    faults: list[FieldFault] = []
    start_ms, end_ms = _time(query, now, faults)
    zone = _read(zone_of, query.tz, "tz", faults) or dt.UTC
    interval = None if query.interval is None else _read(interval_of, query.interval, "interval", faults)
    names = tuple(dict.fromkeys(name for each in query.aggregate for name in each.split(",")))
    whole = query.interval is None and bool(names)
    points = tuple(AskedPoint(index, entry, _suiting(entry, names, faults)) for index, entry in entries.items())
    _check_fill(query, interval, points, faults)
    if faults:
        raise _invalid(faults)
    settings = (query.start, query.end, query.interval, names, query.tz, query.fill)
    context = dumps(["history", ids, settings])
    after = None
    if query.cursor is not None:
        start_ms, end_ms, *position = (int(each) for each in cursors.read(query.cursor, context))
        after = position[0], position[1]
    return Asked(
        points=points, start_ms=start_ms, end_ms=end_ms, now_ms=milliseconds(now), after=after, zone=zone,
        interval=interval, whole=whole, fill=query.fill, limit=query.limit, several=isinstance(query, HistoryBody),
        context=context,
    )  # fmt: skip


def check_size(asked: Asked) -> None:
    """Refuse what would fill intervals without end; raises Invalid that says what to narrow."""
    if asked.fill == "none" or asked.interval is None or asked.limit is not None:
        return
    length_ms = (asked.interval.seconds or asked.interval.days * DAY_S) * 1000
    rows = (asked.end_ms - asked.begin_ms) // length_ms * len(asked.points)
    if rows > MOST_FILLED_ROWS:
        says = f"makes {rows:,} filled rows, of {MOST_FILLED_ROWS:,} at most"
        raise Invalid(
            f"This {says}: ask for a shorter time, a longer interval, fewer points, or without `fill`.",
            errors=[FieldFault("interval", "range", says)],
        )


def time_field(text: str, name: str) -> int:
    """Read a time of a request as UTC milliseconds; raises Invalid."""
    faults: list[FieldFault] = []
    found = _read(utc_ms, text, name, faults)
    if found is None:
        raise _invalid(faults)
    return found


def _time(query: HistoryQuery, now: float, faults: list[FieldFault]) -> tuple[int, int]:
    """Work out what time is asked for; nothing is before 1970."""
    end = milliseconds(now) if query.end is None else _read(utc_ms, query.end, "end", faults)
    start = None if query.start is None else _read(utc_ms, query.start, "start", faults)
    if end is None or (start is None and query.start is not None):
        return 0, 0
    if start is None:
        start = end - WINDOW_MS
    if start >= end:
        until = "end" if query.end is not None else "now, which is the end where none is given"
        faults.append(FieldFault("start", "range", f"must be before {until}"))
    return min(max(start, 0), LAST_MS), min(max(end, 0), LAST_MS)


def _suiting(entry: PointEntry, names: tuple[str, ...], faults: list[FieldFault]) -> tuple[str, ...]:
    kind = entry.point.kind
    unsuited = [name for name in names if name not in SUITABLE[kind]]
    if unsuited:
        suited = ", ".join(SUITABLE[kind])
        says = f"{', '.join(unsuited)} does not suit {entry.id}: of kind {kind}, it has {suited}"
        faults.append(FieldFault("aggregate", "choice", says))
    return names or ("avg" if kind is Kind.NUMBER else "last",)


def _check_fill(
    query: HistoryQuery, interval: Interval | None, points: Sequence[AskedPoint], faults: list[FieldFault]
) -> None:
    if query.fill == "none":
        return
    if query.interval is None:
        faults.append(FieldFault("fill", "invalid", "fills intervals: give an `interval` too"))
    unlike = [point.entry.id for point in points if point.kind is not Kind.NUMBER]
    if query.fill == "linear" and unlike and interval is not None:
        faults.append(FieldFault("fill", "choice", f"must be previous or none for {unlike[0]}, which is no number"))


def _read(read: Callable[[str], T], text: str, name: str, faults: list[FieldFault]) -> T | None:
    try:
        return read(text)
    except ValueError as error:
        faults.append(FieldFault(name, "invalid", str(error)))
        return None


def _invalid(faults: list[FieldFault]) -> Invalid:
    names = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return Invalid(f"Correct these: {names}.", errors=faults[:100])
