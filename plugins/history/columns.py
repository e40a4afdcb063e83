"""Samples of many points in numpy's columns: joined, ordered, picked from, and given as the service gives them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from core.samples import PointSamples, Samples

Slots: TypeAlias = npt.NDArray[np.uint32]
Times: TypeAlias = npt.NDArray[np.int64]
Values: TypeAlias = npt.NDArray[np.float64]
Status: TypeAlias = npt.NDArray[np.uint32]
Index: TypeAlias = npt.NDArray[np.int64]

FLAGS_SHIFT, SOURCE_SHIFT = 8, 16


@attrs.frozen(eq=False)
class Columns:
    """Equally long columns: slots, times in UTC milliseconds, values, and status.

    Status is reason, flags and source in one number. ``texts`` and ``integers`` are side columns by row, as in
    `core.samples.Samples`. None of them is changed any more.
    """

    slots: Slots
    times: Times
    values: Values
    status: Status
    texts: Mapping[int, str] = attrs.field(factory=dict)
    integers: Mapping[int, int] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def take(self, index: Index) -> Columns:
        """Return the rows of an index, in its order."""
        return Columns(
            self.slots[index], self.times[index], self.values[index], self.status[index],
            _taken(self.texts, index), _taken(self.integers, index),
        )  # fmt: skip

    def part(self, start: int, end: int) -> Columns:
        """Return the rows from ``start`` up to ``end``."""
        texts, integers = self.texts, self.integers
        if texts or integers:
            texts = {row - start: text for row, text in texts.items() if start <= row < end}
            integers = {row - start: number for row, number in integers.items() if start <= row < end}
        rows = slice(start, end)
        return Columns(self.slots[rows], self.times[rows], self.values[rows], self.status[rows], texts, integers)

    def of(self, slot: int) -> Columns:
        """Return the rows of one point."""
        rows = np.flatnonzero(self.slots == slot)
        return self.take(rows) if len(rows) else NOTHING

    def ordered(self) -> Columns:
        """Return the rows by slot, then time; of several for one millisecond the last."""
        if len(self) < 2:
            return self
        order = np.lexsort((self.times, self.slots))
        slots, times = self.slots[order], self.times[order]
        last = np.ones(len(order), bool)
        last[:-1] = (slots[1:] != slots[:-1]) | (times[1:] != times[:-1])
        if not last.all():
            return self.take(order[last])
        sides = _taken(self.texts, order), _taken(self.integers, order)
        return Columns(slots, times, self.values[order], self.status[order], *sides)

    def between(self, start_ms: int, end_ms: int) -> Columns:
        """Return the rows with start <= time < end."""
        wanted = (self.times >= start_ms) & (self.times < end_ms)
        return self if wanted.all() else self.take(np.flatnonzero(wanted))

    def samples(self) -> Samples:
        """Return the rows as the service gives them."""
        status = self.status
        return Samples(
            array("q", self.times.astype(np.int64).tobytes()),
            array("d", self.values.astype(np.float64).tobytes()),
            (status & 0xFF).astype(np.uint8).tobytes(),
            ((status >> FLAGS_SHIFT) & 0xFF).astype(np.uint8).tobytes(),
            ((status >> SOURCE_SHIFT) & 0xFF).astype(np.uint8).tobytes(),
            self.texts,
            self.integers,
        )

    def point_samples(self) -> PointSamples:
        """Return the rows with their slots as the service gives them."""
        return PointSamples(array("I", self.slots.astype(np.uint32).tobytes()), self.samples())


NOTHING = Columns(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint32))


def joined(parts: Sequence[Columns]) -> Columns:
    """Put columns behind one another."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    texts: dict[int, str] = {}
    integers: dict[int, int] = {}
    first = 0
    for part in parts:
        texts.update((row + first, text) for row, text in part.texts.items())
        integers.update((row + first, number) for row, number in part.integers.items())
        first += len(part)
    return Columns(
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.status for part in parts]),
        texts,
        integers,
    )


def columns_of(slot: int, samples: Samples) -> Columns:
    """Return a point's samples as columns."""
    return Columns(
        np.full(len(samples), slot, np.uint32),
        np.array(samples.times, np.int64),
        np.array(samples.values, np.float64),
        status_of(samples.reasons, samples.flags, samples.sources),
        dict(samples.texts),
        dict(samples.integers),
    )


def status_of(reasons: bytes, flags: bytes, sources: bytes) -> Status:
    """Put three columns of bytes into one."""
    status = np.frombuffer(reasons, np.uint8).astype(np.uint32)
    status |= np.frombuffer(flags, np.uint8).astype(np.uint32) << FLAGS_SHIFT
    status |= np.frombuffer(sources, np.uint8).astype(np.uint32) << SOURCE_SHIFT
    return status


def _taken(side: Mapping[int, Any], index: Index) -> Mapping[int, Any]:
    """Return a side column for the rows of an index."""
    if not side:
        return side
    rows = np.flatnonzero(np.isin(index, np.fromiter(side, np.int64, len(side))))
    return {int(row): side[int(index[row])] for row in rows}
