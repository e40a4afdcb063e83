"""The history that serves until a plugin provides a better one: the newest samples of the house, in memory."""

from __future__ import annotations

import bisect
import itertools
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

import attrs

from core.readings import ReadingBatch
from core.samples import Committed, Gap, Lost, PointSamples, Position, Samples, milliseconds

SAMPLES_KEPT = 200_000
BATCHES_KEPT = 20_000


@attrs.frozen
class _Row:
    """One sample of a point."""

    time_ms: int
    value: float
    reason: int
    flags: int
    source: int
    text: str | None
    integer: int | None


_by_time = attrgetter("time_ms")


class MemoryHistory:
    """The last samples of the whole house, and the last batches that they came in; a restart forgets all of it.

    So each has an ``epoch`` of its own, lest its batches are taken for those of the one before.
    """

    def __init__(self, *, samples: int = SAMPLES_KEPT, batches: int = BATCHES_KEPT, epoch: int = 1) -> None:
        self._limit = samples
        self._by_slot: dict[int, list[_Row]] = {}
        self._order: deque[tuple[int, int]] = deque()  # slot and time of all that is kept, as it came
        self._committed: deque[Committed] = deque(maxlen=batches)
        self._cursors: dict[str, Position] = {}
        self._newest = Position(epoch, 0)

    @property
    def newest(self) -> Position:
        return self._newest

    def record(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        slots, time_ms = batch.chunk.slots, milliseconds(batch.time)
        self._keep(
            (slots[row], _Row(time_ms, batch.values[row], batch.reasons[row], batch.flags[row], batch.source,
                              batch.texts.get(row), batch.integers.get(row)))
            for row in rows
        )  # fmt: skip

    async def flush(self) -> None:
        """There is nothing safer than memory here."""

    async def add(self, slot: int, samples: Samples, *, only_gaps: bool = False) -> int:
        known = {row.time_ms for row in self._by_slot.get(slot, ())}
        new = [] if only_gaps else [row for row in _rows(samples) if row.time_ms not in known]
        self._keep((slot, row) for row in new)
        return len(new)

    async def samples(self, slot: int, start_ms: int, end_ms: int, *, limit: int) -> Samples:
        rows = self._by_slot.get(slot, [])
        start, end = (bisect.bisect_left(rows, time, key=_by_time) for time in (start_ms, end_ms))
        return _samples(rows[start : min(end, start + limit)])

    async def latest(self, slots: Sequence[int], before_ms: int) -> PointSamples:
        found: list[tuple[int, _Row]] = []
        for slot in slots:
            rows = self._by_slot.get(slot, [])
            end = bisect.bisect_left(rows, before_ms, key=_by_time)
            if end:
                found.append((slot, rows[end - 1]))
        return _point_samples(found)

    async def gaps(self, _start_ms: int, _end_ms: int) -> Sequence[Gap]:
        return ()

    async def read_after(self, position: Position, limit: int) -> Sequence[Committed | Lost]:
        if not self._committed or position >= self._newest:
            return []
        found: list[Committed | Lost] = []
        oldest = self._committed[0].position
        passed = position.seq if position.epoch == oldest.epoch else 0
        if passed + 1 < oldest.seq:
            found.append(Lost(Position(oldest.epoch, passed + 1), Position(oldest.epoch, oldest.seq - 1)))
        start = max(0, passed + 1 - oldest.seq)
        found += itertools.islice(self._committed, start, start + limit - len(found))
        return found

    async def register(self, name: str) -> Position:
        return self._cursors.setdefault(name, self._newest)

    async def advance(self, name: str, position: Position) -> None:
        self._cursors[name] = max(position, self._cursors[name])

    async def forget(self, name: str) -> None:
        self._cursors.pop(name, None)

    def _keep(self, arrived: Iterable[tuple[int, _Row]]) -> None:
        """Keep rows in the order of their time, the last for each time, and as one batch in the order of arrival."""
        kept = list(arrived)
        if not kept:
            return
        for slot, row in kept:
            rows = self._by_slot.setdefault(slot, [])
            place = bisect.bisect_left(rows, row.time_ms, key=_by_time)
            if place < len(rows) and rows[place].time_ms == row.time_ms:
                rows[place] = row
            else:
                rows.insert(place, row)
                self._order.append((slot, row.time_ms))
        self._newest = Position(self._newest.epoch, self._newest.seq + 1)
        self._committed.append(Committed(self._newest, _point_samples(kept)))
        while len(self._order) > self._limit:
            slot, time_ms = self._order.popleft()
            rows = self._by_slot[slot]
            del rows[bisect.bisect_left(rows, time_ms, key=_by_time)]


def _rows(samples: Samples) -> Iterator[_Row]:
    for row, time_ms in enumerate(samples.times):
        yield _Row(
            time_ms, samples.values[row], samples.reasons[row], samples.flags[row], samples.sources[row],
            samples.texts.get(row), samples.integers.get(row),
        )  # fmt: skip


def _samples(rows: Sequence[_Row]) -> Samples:
    return Samples(
        array("q", [row.time_ms for row in rows]),
        array("d", [row.value for row in rows]),
        bytes(row.reason for row in rows),
        bytes(row.flags for row in rows),
        bytes(row.source for row in rows),
        {index: row.text for index, row in enumerate(rows) if row.text is not None},
        {index: row.integer for index, row in enumerate(rows) if row.integer is not None},
    )


def _point_samples(found: Sequence[tuple[int, _Row]]) -> PointSamples:
    return PointSamples(array("I", [slot for slot, _row in found]), _samples([row for _slot, row in found]))
