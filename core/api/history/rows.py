"""Reads the samples of one or several points in the order of their times, a few at a time."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncGenerator
from operator import itemgetter
from typing import TypeAlias

import attrs

from core.api.history.questions import Asked, AskedPoint
from core.samples import Samples
from core.services import History

ROWS_AT_ONCE = 500
"""How many rows are given before others get a turn, about."""
MOST_READ = 100_000
MOST_READ_OF_A_POINT = 5_000
"""How many rows are read ahead of all points together and of each, at most: a few for a page, and four times as many
each time after that, since a history looks for them anew with each."""

SampleRow: TypeAlias = tuple[int, int, AskedPoint, Samples, int]
"""A sample: its time, the place of its point, the point, and the samples with the row that it is of them."""

_by_time_and_place = itemgetter(0, 1)


@attrs.define(eq=False)
class _Reader:
    """What has been read of a point and not been given yet: samples from ``row`` on; ``last`` where none are behind."""

    history: History
    point: AskedPoint
    next_ms: int
    end_ms: int
    size: int
    most: int
    samples: Samples = attrs.field(factory=Samples)
    row: int = 0
    last: bool = False

    async def fill(self) -> None:
        """Read on where all has been given."""
        if self.row < len(self.samples) or self.last:
            return
        read = self.history.samples(self.point.slot, self.next_ms, self.end_ms, limit=self.size)
        self.samples, self.row = await read, 0
        self.last = len(self.samples) < self.size
        self.size = min(4 * self.size, self.most)
        if len(self.samples):
            self.next_ms = self.samples.times[-1] + 1

    def enough(self, rows: int) -> int | None:
        """Tell the time up to which there are so many samples, or all that are read; None where those are all."""
        left = len(self.samples) - self.row
        if self.last and left <= rows:
            return None
        return self.samples.times[self.row + min(rows, left) - 1]

    def take(self, until_ms: int) -> list[SampleRow]:
        """Give what is read up to a time, itself included."""
        times, samples, point, begin = self.samples.times, self.samples, self.point, self.row
        self.row = end = bisect.bisect_right(times, until_ms, begin)
        return [(times[row], point.index, point, samples, row) for row in range(begin, end)]


async def sample_rows(history: History, asked: Asked) -> AsyncGenerator[list[SampleRow], None]:
    """Give the samples that are asked for, ordered by time and, at one time, by the order of their points."""
    count = max(1, len(asked.points))
    size = max(10, min(ROWS_AT_ONCE // count, (asked.limit or ROWS_AT_ONCE) + 1))
    most = max(size, min(MOST_READ_OF_A_POINT, MOST_READ // count))
    readers = [
        _Reader(
            history, point, _begin(asked, point), asked.end_ms, size, most, last=_begin(asked, point) >= asked.end_ms
        )
        for point in asked.points
    ]
    while readers:
        for reader in readers:
            await reader.fill()
        share = max(1, ROWS_AT_ONCE // len(readers))
        ends = (reader.enough(share) for reader in readers)
        until = min((end for end in ends if end is not None), default=asked.end_ms)
        rows = [row for reader in readers for row in reader.take(until)]
        if len(readers) > 1:
            rows.sort(key=_by_time_and_place)
        if rows:
            yield rows
        readers = [reader for reader in readers if not reader.last or reader.row < len(reader.samples)]
        await asyncio.sleep(0)


def _begin(asked: Asked, point: AskedPoint) -> int:
    """Return from when on a point's samples are left: at the time of the last row, those of points behind its own."""
    if asked.after is None:
        return asked.start_ms
    time, index = asked.after
    return time + (point.index <= index)
