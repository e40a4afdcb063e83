"""Records once more what has not changed for long, so that a point's value is never far back in the history."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from core.plugin import Chunk, Points, Row, Source, StoredReading, batch_of
from core.samples import milliseconds
from plugins.history.columns import Columns
from plugins.history.filtering import Record
from plugins.history.rules import Rules

AT_ONCE = 5_000
UNKNOWN = 0


class Heartbeats:
    """Knows when each point was recorded last, and records those again that are due."""

    def __init__(self, rules: Rules, points: Points, record: Record) -> None:
        self._rules = rules
        self._points = points
        self._record = record
        self._seen = -1
        self._times: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._intervals: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def note(self, columns: Columns) -> None:
        """Note what has been recorded."""
        if not len(columns):
            return
        missing = int(columns.slots.max()) + 1 - len(self._times)
        if missing > 0:
            more = np.zeros(max(missing, 1024), np.int64)
            self._times = np.concatenate([self._times, more])
            self._intervals = np.concatenate([self._intervals, more])
        np.maximum.at(self._times, columns.slots, columns.times)

    def beat(self, now_ms: int) -> None:
        """Record the points that are due: some thousand at most, the rest the next time."""
        if self._seen != self._rules.version:
            self._seen = self._rules.version
            self._intervals[:] = UNKNOWN
        shortest = self._rules.shortest_heartbeat_ms
        quiet = (self._times > 0) & (self._times <= now_ms - np.maximum(self._intervals, shortest))
        for slot in np.flatnonzero(quiet)[:AT_ONCE].tolist():
            treatment = self._rules.treatment(slot)
            self._intervals[slot] = treatment.heartbeat_ms
            if now_ms - self._times[slot] >= treatment.heartbeat_ms:
                stored = self._points.confirmed(slot)
                if treatment.record and stored is not None and milliseconds(stored.time) > self._times[slot]:
                    self._repeat(slot, stored)
                self._times[slot] = now_ms

    def _repeat(self, slot: int, stored: StoredReading) -> None:
        chunk, rows = Chunk(array("I", [slot])), [Row.of_stored(stored)]
        self._record(batch_of(chunk, rows, time=stored.time, source=Source(stored.source)), [0])
