"""The newest rows, in memory until they are sealed: found at once, by point, before they are safe and after."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TypeVar

import attrs
import numpy as np

from core.readings import ReadingBatch
from core.samples import milliseconds
from plugins.history.columns import Columns, joined, status_of

MERGE_ROWS = 65_536
MERGE_RUNS = 16
JOINED_ROWS = 10_000
"""Rows of an unsafe run up to which the next ones are joined to it: each look at the head ends one."""

ValueT = TypeVar("ValueT")


@attrs.frozen(eq=False)
class Run:
    """Rows that arrived one after the other; ``seq`` is that of the last batch, None where they are not safe yet.

    Where it is ``ordered`` by slot and time, a point's rows are found without looking at every row.
    """

    columns: Columns
    seq: int | None = None
    ordered: bool = False

    def of(self, slot: int) -> Columns:
        """Return a point's rows."""
        if not self.ordered:
            return self.columns.of(slot)
        start, end = np.searchsorted(self.columns.slots, [slot, slot + 1])
        return self.columns.part(int(start), int(end))


class Arrivals:
    """Rows on their way in, in columns that grow."""

    def __init__(self) -> None:
        self.slots: array[int] = array("I")
        self.times: array[int] = array("q")
        self.values: array[float] = array("d")
        self.reasons = bytearray()
        self.flags = bytearray()
        self.sources = bytearray()
        self.texts: dict[int, str] = {}
        self.integers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.times)

    def put(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        """Take rows of a batch over."""
        first, count = len(self.times), len(rows)
        if not count:
            return
        if count == len(batch.values):
            self.slots.extend(batch.chunk.slots)
            self.values.extend(batch.values)
            self.reasons += batch.reasons
            self.flags += batch.flags
        elif count == 1:
            (row,) = rows
            self.slots.append(batch.chunk.slots[row])
            self.values.append(batch.values[row])
            self.reasons.append(batch.reasons[row])
            self.flags.append(batch.flags[row])
        else:
            pick = itemgetter(*rows)
            self.slots.extend(pick(batch.chunk.slots))
            self.values.extend(pick(batch.values))
            self.reasons += bytes(pick(batch.reasons))
            self.flags += bytes(pick(batch.flags))
        self.times.extend(array("q", (milliseconds(batch.time),)) * count)
        self.sources += bytes([batch.source]) * count
        if batch.texts:
            self.texts |= _side(batch.texts, rows, first)
        if batch.integers:
            self.integers |= _side(batch.integers, rows, first)

    def columns(self) -> Columns:
        """Return them; nothing more may be put in."""
        status = status_of(bytes(self.reasons), bytes(self.flags), bytes(self.sources))
        return Columns(
            np.frombuffer(self.slots, np.uint32), np.frombuffer(self.times, np.int64),
            np.frombuffer(self.values, np.float64), status, self.texts, self.integers,
        )  # fmt: skip


class Head:
    """All that is not sealed; only for the event loop's thread, but what it gives is for any."""

    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._runs: list[Run] = []
        self._last_taken: Run | None = None
        self.rows = 0
        self.unsafe_rows = 0
        """How many of them are not safe yet."""

    def put(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        """Take rows of a batch in; they are not safe yet."""
        self._arrivals.put(batch, rows)
        self.rows += len(rows)
        self.unsafe_rows += len(rows)

    def add(self, columns: Columns) -> None:
        """Take rows in as they are; they are not safe yet."""
        self._cut()
        if len(columns):
            self._runs.append(Run(columns))
            self.rows += len(columns)
            self.unsafe_rows += len(columns)

    def begin_with(self, earlier: Sequence[tuple[Columns, int | None]]) -> None:
        """Take in what came before all that is there, each with the number of its batch if it is safe."""
        self._cut()
        runs = [Run(columns, seq) for columns, seq in earlier if len(columns)]
        self._runs[:0] = runs
        self.rows += sum(len(run.columns) for run in runs)
        self.unsafe_rows += sum(len(run.columns) for run in runs if run.seq is None)

    def runs(self) -> tuple[Run, ...]:
        """Return all there is by now, in the order of arrival."""
        self._cut()
        return tuple(self._runs)

    def unsafe(self) -> list[Run]:
        """Return what is not safe yet, in the order of arrival, to be made so: it is left as it is from now on."""
        runs = [run for run in self.runs() if run.seq is None]
        self._last_taken = runs[-1] if runs else None
        return runs

    def safe(self, runs: Sequence[Run], whole: Columns, seq: int) -> None:
        """Note that these runs, which follow one another, are safe as one batch, joined."""
        start = self._runs.index(runs[0])
        self._runs[start : start + len(runs)] = [Run(whole, seq)]
        self.unsafe_rows -= len(whole)

    def drop(self, runs: Sequence[Run]) -> None:
        """Forget runs."""
        gone = {id(run) for run in runs}
        self.rows -= sum(len(run.columns) for run in self._runs if id(run) in gone)
        self._runs = [run for run in self._runs if id(run) not in gone]

    def to_merge(self) -> list[Run]:
        """Return safe runs to be put into one, where many are not in order, with those before that are no larger.

        So there are never more than a few, and each row is put in order a few times at most.
        """
        safe = [run for run in self._runs if run.seq is not None]
        chosen = [run for run in safe if not run.ordered]
        rows = sum(len(run.columns) for run in chosen)
        if rows < MERGE_ROWS and len(chosen) < MERGE_RUNS:
            return []
        for run in reversed(safe[: len(safe) - len(chosen)]):
            if len(run.columns) > rows:
                break
            chosen.insert(0, run)
            rows += len(run.columns)
        return chosen if len(chosen) > 1 else []

    def merged(self, runs: Sequence[Run], run: Run) -> None:
        """Put one run in the place of those that it was made of, if they are still there."""
        present = {id(each) for each in self._runs}
        if any(id(each) not in present for each in runs):
            return
        start = self._runs.index(runs[0])
        self._runs[start : start + len(runs)] = [run]
        self.rows += len(run.columns) - sum(len(each.columns) for each in runs)

    def to_seal(self) -> list[Run]:
        """Return all that is safe, in the order of arrival."""
        return [run for run in self.runs() if run.seq is not None]

    def unsettle(self) -> None:
        """Take all that is safe as if it were not: the journal is gone that had it."""
        self._cut()
        self._runs = [attrs.evolve(run, seq=None) for run in self._runs]
        self.unsafe_rows = self.rows

    def _cut(self) -> None:
        if not len(self._arrivals):
            return
        new = self._arrivals.columns()
        self._arrivals = Arrivals()
        last = self._runs[-1] if self._runs else None
        if last is None or last is self._last_taken or last.seq is not None or len(last.columns) > JOINED_ROWS:
            self._runs.append(Run(new))
        else:
            self._runs[-1] = Run(joined([last.columns, new]))


def merged(runs: Sequence[Run]) -> Run:
    """Put runs that follow one another into one, in order; for any thread."""
    return Run(joined([run.columns for run in runs]).ordered(), runs[-1].seq, ordered=True)


def of_slot(runs: Sequence[Run], slot: int) -> Columns:
    """Return a point's rows in runs, in the order of arrival; for any thread."""
    return joined([columns for run in runs if len(columns := run.of(slot))])


def _side(side: Mapping[int, ValueT], rows: Sequence[int], first: int) -> dict[int, ValueT]:
    return {first + place: side[row] for place, row in enumerate(rows) if row in side}
