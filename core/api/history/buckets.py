"""Sums the samples of points up by interval, a few intervals at a time, and fills those that have none."""

from __future__ import annotations

import asyncio
import itertools
import math
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import attrs

from core.aggregation import Buckets, aggregate, aggregate_texts
from core.api.history.questions import Asked, AskedPoint
from core.api.history.skipping import next_interval
from core.model import Kind, Quality, Value
from core.samples import Samples
from core.services import Aggregating, History

INTERVALS_AT_ONCE = 500
MOST_LOOKED_AT = 10_000
"""How many intervals are looked at at once where those before had nothing."""
PASSED_OVER = 1000
"""How many samples that are not usable are passed over to find one that is."""

_BY_TIME = frozenset(("time_weighted_avg", "time_in_state"))
_GOOD = int(Quality.GOOD)


@attrs.frozen(eq=False)
class BucketRow:
    """What the samples of a point come to in an interval; ``values`` are those of the point's aggregates, in order.

    A value is None where there is nothing that it could be made of; the times in states are seconds by state.
    """

    start_ms: int
    end_ms: int
    point: AskedPoint
    values: tuple[Any, ...]
    quality: Quality
    filled: bool


async def bucket_rows(history: History, asked: Asked) -> AsyncGenerator[list[BucketRow], None]:
    """Give the intervals that are asked for, ordered by time and, in one interval, by the order of their points."""
    begin, count = asked.begin_ms, max(1, len(asked.points))
    size = least = -(-min(INTERVALS_AT_ONCE, (asked.limit or INTERVALS_AT_ONCE) + 1) // count)
    while begin < asked.end_ms and asked.points:
        edges = array("q", itertools.islice(asked.edges(begin), size + 1))
        columns = [await _column(history, asked, point, edges) for point in asked.points]
        found = [row for each in zip(*columns, strict=True) for row in each if row is not None]
        rows = [row for row in found if not _is_done(asked, row)]
        for at in range(0, len(rows), INTERVALS_AT_ONCE):
            yield rows[at : at + INTERVALS_AT_ONCE]
        begin = edges[-1]
        size = least if found else min(2 * size, max(least, MOST_LOOKED_AT // count))
        if not found and asked.fill == "none":
            begin = await next_interval(history, asked, begin)
        await asyncio.sleep(0)


def _is_done(asked: Asked, row: BucketRow) -> bool:
    """Tell whether a row is of the page before."""
    return asked.after is not None and (row.start_ms, row.point.index) <= asked.after


async def _column(history: History, asked: Asked, point: AskedPoint, edges: array[int]) -> Sequence[BucketRow | None]:
    """Make the rows of a point; None for an interval that is left out."""
    texts: Mapping[int, str] = {}
    if point.kind is Kind.TEXT:
        buckets, texts = await aggregate_texts(history, point.slot, edges, now_ms=asked.now_ms)
    else:
        states = "time_in_state" in point.aggregates
        if isinstance(history, Aggregating):
            buckets = await history.aggregate(point.slot, edges, now_ms=asked.now_ms, states=states)
        else:
            buckets = await aggregate(history, point.slot, edges, now_ms=asked.now_ms, states=states)
    column = _Column(point, edges, buckets, texts)
    if asked.fill == "none":
        by_time = not _BY_TIME.isdisjoint(point.aggregates)
        return [
            column.row(at) if not column.is_empty(at) or (by_time and buckets.covered[at]) else None
            for at in range(len(buckets))
        ]
    filling = column.holding if asked.fill == "previous" else column.between
    filled = [value async for value in filling(history)]
    return [column.row(at, filled[at] if column.is_empty(at) else _NOT_FILLED) for at in range(len(buckets))]


_NOT_FILLED = object()


@attrs.frozen(eq=False)
class _Column:
    """The intervals of one point."""

    point: AskedPoint
    edges: array[int]
    buckets: Buckets
    texts: Mapping[int, str]

    def is_empty(self, at: int) -> bool:
        """Tell whether no sample is in an interval."""
        return not self.buckets.counts[at] and self.buckets.worst[at] == _GOOD

    def row(self, at: int, filled: object = _NOT_FILLED) -> BucketRow:
        """Make the row of an interval, where it is ``filled`` from what it is filled with."""
        is_filled = filled is not _NOT_FILLED
        values = tuple(self._value(name, at, filled if is_filled else None) for name in self.point.aggregates)
        quality = Quality(self.buckets.worst[at])
        if is_filled and not self.buckets.covered[at]:
            quality = Quality.UNCERTAIN
        return BucketRow(self.edges[at], self.edges[at + 1], self.point, values, quality, is_filled)

    def _value(self, name: str, at: int, filled: Any) -> Any:
        buckets, count, covered = self.buckets, self.buckets.counts[at], self.buckets.covered[at]
        match name:
            case "count":
                return count
            case "sum":
                return _finite(buckets.sums[at])
            case "time_weighted_avg":
                return _finite(buckets.integrals[at] / covered) if covered else _number(filled)
            case "time_in_state":
                return {self._state(state): spent[at] / 1000 for state, spent in self._states() if spent[at]}
            case "avg":
                return _finite(buckets.sums[at] / count) if count else _number(filled)
        column = {"min": buckets.mins, "max": buckets.maxs, "first": buckets.firsts, "last": buckets.lasts}[name]
        return self._of_kind(column[at]) if count else filled

    def _states(self) -> list[tuple[int, array[int]]]:
        return sorted(self.buckets.states.items())

    def _state(self, state: int) -> str:
        """Name a state as the point's ``states`` do."""
        return ("true" if state else "false") if self.point.kind is Kind.BOOLEAN else str(state)

    def _of_kind(self, number: float) -> Value:
        """Make of a number what a point of this kind has."""
        if math.isnan(number):
            return None
        if self.point.kind is Kind.TEXT:
            return self.texts[int(number)]
        return Samples(values=array("d", [number])).value(0, self.point.kind)

    # what fills intervals without samples

    async def holding(self, history: History) -> AsyncIterator[Value]:
        """Give, for each interval, the value that holds at its beginning; for one with samples, anything."""
        found = (await history.latest([self.point.slot], self.edges[0])).samples
        last = found.value(0, self.point.kind) if len(found) else None
        for at in range(len(self.buckets)):
            covered = self.buckets.covered[at]
            if covered and last is None:  # its sample is gone, and only the sums are left
                last = self._of_kind(self.buckets.integrals[at] / covered)
            yield last if covered else None
            if self.buckets.counts[at]:
                last = self._of_kind(self.buckets.lasts[at])

    async def between(self, history: History) -> AsyncIterator[Value]:
        """Give, for each interval without samples, what is in its middle on the line between those around it."""
        for empty, run in itertools.groupby(range(len(self.buckets)), self.is_empty):
            intervals = [*run]
            line = await self._line(history, intervals) if empty else None
            for at in intervals:
                yield None if line is None else _finite(line((self.edges[at] + self.edges[at + 1]) / 2))

    async def _line(self, history: History, intervals: Sequence[int]) -> _Line | None:
        before = await self._usable_before(history, self.edges[intervals[0]])
        after = await self._usable_after(history, self.edges[intervals[-1] + 1])
        return None if before is None or after is None else _Line(*before, *after)

    async def _usable_before(self, history: History, time_ms: int) -> tuple[int, float] | None:
        for _ in range(PASSED_OVER):
            found = (await history.latest([self.point.slot], time_ms)).samples
            if not len(found) or found.usable(0):
                return next(_usable(found), None)
            time_ms = found.times[0]
        return None

    async def _usable_after(self, history: History, time_ms: int) -> tuple[int, float] | None:
        found = await history.samples(self.point.slot, time_ms, 2**52, limit=1)
        if len(found) and not found.usable(0):
            found = await history.samples(self.point.slot, time_ms, 2**52, limit=PASSED_OVER)
        return next(_usable(found), None)


@attrs.frozen
class _Line:
    """A straight line between two samples."""

    from_ms: int
    from_value: float
    to_ms: int
    to_value: float

    def __call__(self, at_ms: float) -> float:
        share = (at_ms - self.from_ms) / (self.to_ms - self.from_ms)
        return self.from_value + (self.to_value - self.from_value) * share


def _usable(samples: Samples) -> Iterator[tuple[int, float]]:
    return ((samples.times[row], samples.values[row]) for row in range(len(samples)) if samples.usable(row))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
