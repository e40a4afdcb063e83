"""Lets through what is to be recorded, by exclusion, dead-band and shortest interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from core.plugin import ReadingBatch
from core.samples import milliseconds
from plugins.history.rules import Rules, Treatment

UNKNOWN, PLAIN, SPECIAL = 0, 1, 2

Record: TypeAlias = Callable[[ReadingBatch, Sequence[int]], None]


@attrs.frozen
class _Last:
    """What was recorded of a point last."""

    time_ms: int
    value: float
    other: tuple[int, int, str | None, int | None]


class Filter:
    """Decides what of a batch is recorded; where no rule says more than what is kept, all of it is."""

    def __init__(self, rules: Rules, record: Record) -> None:
        self._rules = rules
        self._record = record
        self._codes = bytearray()
        self._treatments: dict[int, Treatment] = {}
        self._seen = -1
        self._last: dict[int, _Last] = {}
        self._waiting: dict[int, tuple[ReadingBatch, int]] = {}  # until their shortest interval is over, by slot
        self.skipped = 0

    def put(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        """Record what is to be of these rows."""
        if not self._rules.all_plain:
            slots = batch.chunk.slots
            self._look_at(slots, rows)
            codes = self._codes
            if any(codes[slots[row]] != PLAIN for row in rows):
                wanted = [row for row in rows if codes[slots[row]] == PLAIN or self._due(batch, row)]
                self.skipped += len(rows) - len(wanted)
                rows = wanted
        if rows:
            self._record(batch, rows)

    def let_go(self, now_ms: int) -> None:
        """Record what has waited for its shortest interval to be over."""
        for slot, (batch, row) in list(self._waiting.items()):
            treatment = self._rules.treatment(slot)
            if not treatment.record:
                del self._waiting[slot]
            elif now_ms - self._last[slot].time_ms >= treatment.min_interval_ms:
                del self._waiting[slot]
                self._last[slot] = _noted(batch, row)
                self._record(batch, [row])

    def _look_at(self, slots: Sequence[int], rows: Sequence[int]) -> None:
        """See how the points of rows are recorded."""
        if self._rules.version != self._seen:
            self._seen = self._rules.version
            self._codes = bytearray(len(self._codes))
            self._treatments = {}
        missing = max(slots[row] for row in rows) + 1 - len(self._codes) if rows else 0
        if missing > 0:
            self._codes.extend(bytes(max(missing, 1024)))
        for row in rows:
            slot = slots[row]
            if self._codes[slot] == UNKNOWN:
                treatment = self._rules.treatment(slot)
                self._codes[slot] = PLAIN if treatment.is_plain else SPECIAL
                if not treatment.is_plain:
                    self._treatments[slot] = treatment

    def _due(self, batch: ReadingBatch, row: int) -> bool:
        """Tell whether a row of a point with rules of its own is recorded now, and note it."""
        slot = batch.chunk.slots[row]
        treatment = self._treatments[slot]
        if not treatment.record:
            return False
        last, new = self._last.get(slot), _noted(batch, row)
        self._waiting.pop(slot, None)
        if last is not None and last.other == new.other:
            if treatment.dead_band and abs(new.value - last.value) < treatment.dead_band:
                return False
            if 0 <= new.time_ms - last.time_ms < treatment.min_interval_ms:
                self._waiting[slot] = batch, row
                return False
        self._last[slot] = new
        return True


def _noted(batch: ReadingBatch, row: int) -> _Last:
    other = batch.reasons[row], batch.flags[row], batch.texts.get(row), batch.integers.get(row)
    return _Last(milliseconds(batch.time), batch.values[row], other)
