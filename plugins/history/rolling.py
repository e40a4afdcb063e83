"""Makes the roll-ups of partitions of samples."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from core.samples import Gap
from plugins.history import reading
from plugins.history.catalog import ROLLED, Catalog, Key
from plugins.history.classes import Classes
from plugins.history.columns import Columns, Index, Slots, joined
from plugins.history.containers import POINTS
from plugins.history.partitions import BlockRow, PartitionReader, writing
from plugins.history.rollups import LEVELS, Level, Rolled, encode, rolled
from plugins.history.spans import DAY_MS, Span, span_of, spans_between
from plugins.history.summing import combined, nothing, summed

ROWS_AT_ONCE = 200_000


class Roller:
    """What makes roll-ups; for the thread that seals."""

    def __init__(
        self,
        catalog: Catalog,
        classes: Classes,
        *,
        gaps: Callable[[], Sequence[Gap]],
        has_states: Callable[[int], bool],
    ) -> None:
        self._catalog = catalog
        self._classes = classes
        self._reader = PartitionReader(catalog)
        self._gaps = gaps
        self._has_states = has_states

    def due(self) -> list[Key]:
        """Return the partitions that are written anew and whose roll-ups are not made, oldest first."""
        return [key for key in self._catalog.samples() if key in self._catalog.compact - self._catalog.rolled]

    def roll(self, key: Key, *, now_ms: int) -> None:
        """Make a partition's roll-ups, or make them anew."""
        edges = np.arange(key.span.start_ms, key.span.end_ms + 1, LEVELS[0].interval_ms)
        gap_starts = np.array([gap.start_ms for gap in self._gaps()], np.int64)
        made: defaultdict[Key, list[BlockRow]] = defaultdict(list)
        early = [each for each in self._catalog.samples() if each.span.start_ms <= key.span.start_ms]
        groups = sorted({points for each in early for points in self._reader.groups(each)})
        for points in groups:
            found = list(self._group(key, points, edges, gap_starts=gap_starts, now_ms=now_ms))
            for level, block in _blocks(key, points, found):
                made[self._catalog.current(span_of(block.start_ms, level.span), level.name)].append(block)
        for into in files_of(self._catalog, key):
            if into in made or into in self._catalog.keys:
                with writing(self._catalog, into) as writer:
                    writer.replace_origin(origin(key), made[into])
        with writing(self._catalog, key) as writer:
            writer.note(ROLLED, 1)
        self._catalog.note_compact(key, rolled=True)

    def release(self) -> None:
        """Let go of files that are no more."""
        self._reader.release()

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()

    def _group(
        self, key: Key, points: int, edges: Index, *, gap_starts: Index, now_ms: int
    ) -> Iterator[tuple[int, Rolled]]:
        """Give the roll-ups of 5 minutes of each point of a group that has any: of its class, or with samples in it."""
        keys, span = self._catalog.samples(), key.span
        others = [each for each in keys if each != key]
        slots = range(points * POINTS, (points + 1) * POINTS)
        of_class = self._of_class(slots, key.class_name)
        before = reading.latest(self._reader, keys, (), slots, span.start_ms)
        few = self._reader.rows(key, points) <= ROWS_AT_ONCE
        window_ms = span.end_ms - span.start_ms if few else DAY_MS
        found = {slot: nothing(len(edges) - 1) for slot in slots}
        for start in range(span.start_ms, span.end_ms, window_ms):
            own = reading.of_group(self._reader, [key], points, start, start + window_ms)
            rows = joined([reading.of_group(self._reader, others, points, start, start + window_ms), own]).ordered()
            first = (start - span.start_ms) // LEVELS[0].interval_ms
            window = edges[first : first + window_ms // LEVELS[0].interval_ms + 1]
            there = np.intersect1d(np.union1d(rows.slots, before.slots), np.union1d(own.slots, of_class))
            for slot in there.tolist():
                sums = summed(
                    _of(rows, slot), window, before=_of(before, slot), gap_starts=gap_starts, now_ms=now_ms,
                    states=self._has_states(slot),
                )  # fmt: skip
                found[slot].put(first, sums)
            before = reading.last_of_each(joined([before, rows]), start + window_ms)
        for slot, sums in found.items():
            part = rolled(edges, sums)
            if len(part.starts):
                yield slot, part

    def _of_class(self, slots: range, name: str) -> Slots:
        """Return those slots whose points are kept in the class of this name."""
        every = np.array(slots, np.uint32)
        kept = np.array([each.name == name for each in self._classes.kept])
        of_class: Slots = every[kept[self._classes.numbers(every)]]
        return of_class


def files_of(catalog: Catalog, key: Key) -> list[Key]:
    """Return where a partition's roll-ups are, or would be: those of a week may be of two months, or years."""
    return [
        catalog.current(span, level.name)
        for level in LEVELS
        for span in spans_between(key.span.start_ms, key.span.end_ms, level.span)
    ]


def origin(key: Key) -> int:
    """Return the number by which the blocks are found that were made of a partition; never 0."""
    return zlib.crc32(f"{key.class_name}/{key.span.label}".encode()) + 1


def _blocks(key: Key, points: int, found: Sequence[tuple[int, Rolled]]) -> Iterator[tuple[Level, BlockRow]]:
    """Give the blocks of each level for a group of points, none of which has intervals of more than one file."""
    for level in LEVELS:
        if level is not LEVELS[0]:
            edges = np.arange(key.span.start_ms, key.span.end_ms + 1, level.interval_ms)
            found = [(slot, rolled(edges, combined(each.sums, each.starts, edges))) for slot, each in found]
        for span in spans_between(key.span.start_ms, key.span.end_ms, level.span):
            parts = [(slot, _between(each, span)) for slot, each in found]
            parts = [(slot, part) for slot, part in parts if len(part.starts)]
            if parts:
                start = min(int(part.starts[0]) for _slot, part in parts)
                end = max(int(part.starts[-1]) for _slot, part in parts)
                rows = sum(len(part.starts) for _slot, part in parts)
                yield level, BlockRow(points, 0, start, end, rows, encode(parts), origin(key))


def _between(given: Rolled, span: Span) -> Rolled:
    """Return the intervals of a span."""
    there = np.flatnonzero((given.starts >= span.start_ms) & (given.starts < span.end_ms))
    return given if len(there) == len(given.starts) else Rolled(given.starts[there], given.sums.take(there))


def _of(rows: Columns, slot: int) -> Columns:
    """Return one point's rows of ordered ones."""
    start, end = np.searchsorted(rows.slots, [slot, slot + 1])
    return rows.part(int(start), int(end))
