"""The current reading of every point, in columns by slot; a `Reading` is made only when someone asks."""

from __future__ import annotations

import math
import weakref
from array import array
from collections.abc import Iterable

import attrs

from core.model import Flag, Kind, Point, Reading, Reason, Source, Value
from core.readings import NAN, Chunk, ReadingBatch

GROWTH = 1024
_KEEPING = frozenset(reason for reason in Reason if reason.keeps_value)


@attrs.define(eq=False)
class _ChunkState:
    """What the last answer of a repeated request was, and when it was last confirmed.

    ``last`` is forgotten when one of its slots is written by another batch.
    """

    last: ReadingBatch | None
    time: float


@attrs.frozen
class StoredReading:
    """One row as storage keeps it."""

    slot: int
    value: float | None
    text: str | None
    integer: str | None
    reason: int
    flags: int
    source: int
    time: float
    changed_at: float


class CurrentReadings:
    """Columns of the newest values; all times are UTC seconds.

    `apply` costs one comparison of bytes for an answer in which nothing changed.
    """

    def __init__(self) -> None:
        self._values: array[float] = array("d")
        self._times: array[float] = array("d")
        self._changed: array[float] = array("d")
        self._reasons = bytearray()
        self._flags = bytearray()
        self._sources = bytearray()
        self._texts: dict[int, str] = {}
        self._integers: dict[int, int] = {}
        self._state_of: list[_ChunkState | None] = []
        self._states: weakref.WeakKeyDictionary[Chunk, _ChunkState] = weakref.WeakKeyDictionary()
        self._unsaved: set[int] = set()

    def reserve(self, slot: int) -> None:
        """Make room for a slot."""
        missing = slot + 1 - len(self._state_of)
        if missing > 0:
            missing = max(missing, GROWTH)
            self._values.extend([NAN] * missing)
            self._times.extend([0.0] * missing)
            self._changed.extend([0.0] * missing)
            for column in (self._reasons, self._flags, self._sources):
                column.extend(bytes(missing))
            self._state_of.extend([None] * missing)

    def apply(self, batch: ReadingBatch) -> tuple[int, ...]:
        """Take a batch over and answer the rows whose value, quality or flags changed."""
        state = self._states.get(batch.chunk)
        if state is None:
            state = self._states[batch.chunk] = _ChunkState(None, batch.time)
        last = state.last
        if last is not None and batch.time >= state.time:
            if batch.source is last.source and batch.same_as(last):
                state.time = batch.time
                return ()
            if batch.source is Source.POLL:
                return self._take_differing(batch, state, last)
        return self._take_all(batch, state)

    def _take_differing(self, batch: ReadingBatch, state: _ChunkState, last: ReadingBatch) -> tuple[int, ...]:
        """Take the rows that are others than in the last batch, which is what all of the chunk's slots hold."""
        slots = batch.chunk.slots
        changed: list[int] = []
        for row in batch.differing(last):
            slot = slots[row]
            self._times[slot] = self.time(slot)
            if self._take_row(batch, row, slot):
                changed.append(row)
        state.last, state.time = batch, batch.time
        return tuple(changed)

    def _take_all(self, batch: ReadingBatch, state: _ChunkState) -> tuple[int, ...]:
        """Take every row of a batch of which it is not known what its slots hold."""
        changed: list[int] = []
        complete = True
        for row, slot in enumerate(batch.chunk.slots):
            confirmed, other = self.time(slot), self._state_of[slot]
            if batch.time < confirmed:
                complete = False
                continue
            self._times[slot], self._state_of[slot] = confirmed, None
            if other is not None and other is not state:
                other.last = None
            if self._take_row(batch, row, slot):
                changed.append(row)
        self._settle(batch, state, complete=complete)
        return tuple(changed)

    def _settle(self, batch: ReadingBatch, state: _ChunkState, *, complete: bool) -> None:
        """Note when the slots were confirmed: once for the chunk, or in each slot where it was not taken whole."""
        if batch.source is Source.POLL and complete:
            state.last, state.time = batch, batch.time
            for slot in batch.chunk.slots:
                self._state_of[slot] = state
            return
        state.last = None
        for slot in batch.chunk.slots:
            if self._reasons[slot] not in _KEEPING:
                self._times[slot] = max(self._times[slot], batch.time)

    def _take_row(self, batch: ReadingBatch, row: int, slot: int) -> bool:
        reason, flags = batch.reasons[row], batch.flags[row]
        changed: bool = reason != self._reasons[slot] or self._times[slot] == 0.0
        if reason in _KEEPING:
            self._times[slot] = self._times[slot] or batch.time
        else:
            changed |= self._take_value(batch, row, slot) or flags != self._flags[slot]
            self._flags[slot] = flags
        self._reasons[slot] = reason
        self._sources[slot] = batch.source
        if changed:
            self._changed[slot] = batch.time
            self._unsaved.add(slot)
        return changed

    def _take_value(self, batch: ReadingBatch, row: int, slot: int) -> bool:
        value, old = batch.values[row], self._values[slot]
        text, integer = batch.texts.get(row), batch.integers.get(row)
        same_number = value == old or (math.isnan(value) and math.isnan(old))
        same = same_number and text == self._texts.get(slot) and integer == self._integers.get(slot)
        if same:
            return False
        self._values[slot] = value
        _put(self._texts, slot, text)
        _put(self._integers, slot, integer)
        return True

    def time(self, slot: int) -> float:
        """When the slot's value was last confirmed; 0.0 when never."""
        state = self._state_of[slot]
        if state is None or self._reasons[slot] in _KEEPING:
            return self._times[slot]
        return max(self._times[slot], state.time)

    def reading(self, slot: int, point: Point, *, overlay: Reason = Reason.NONE) -> Reading | None:
        """Make a point's reading; ``overlay`` (stale, offline) is what its device and age add to a good one."""
        time = self.time(slot)
        if time == 0.0:
            return None
        reason = self.reason(slot, overlay=overlay)
        value = self._value(slot, point.kind)
        return Reading(
            value=value,
            text=_state_text(point, value),
            time=time,
            changed_at=self._changed[slot],
            reason=reason,
            flags=Flag(self._flags[slot]),
            source=Source(self._sources[slot]),
        )

    def reason(self, slot: int, *, overlay: Reason = Reason.NONE) -> Reason:
        """The reason that came with the slot's last batch, or what ``overlay`` makes of it."""
        code = self._reasons[slot]
        return overlay if overlay is Reason.OFFLINE or code == Reason.NONE else Reason(code)

    def _value(self, slot: int, kind: Kind) -> Value:
        if kind is Kind.TEXT:
            return self._texts.get(slot)
        number = self._values[slot]
        if math.isnan(number):
            return None
        if kind is Kind.BOOLEAN:
            return number != 0.0
        if kind is Kind.ENUM:
            return int(number)
        return self._integers.get(slot, number)

    def forget(self, slot: int) -> None:
        """Drop a slot's reading; the slot itself is never used again."""
        self._times[slot] = 0.0
        self._state_of[slot] = None
        self._texts.pop(slot, None)
        self._integers.pop(slot, None)
        self._unsaved.discard(slot)

    def restore(self, row: StoredReading) -> None:
        """Put a stored reading back, as one kept from before a restart."""
        slot = row.slot
        self._values[slot] = NAN if row.value is None else row.value
        _put(self._texts, slot, row.text)
        _put(self._integers, slot, None if row.integer is None else int(row.integer))
        self._reasons[slot] = Reason.RESTORED
        self._flags[slot] = row.flags
        self._sources[slot] = row.source
        self._times[slot], self._changed[slot] = row.time, row.changed_at

    def unsaved(self) -> list[StoredReading]:
        """Take the rows that changed since the last call."""
        slots, self._unsaved = self._unsaved, set()
        return [self._stored(slot) for slot in sorted(slots)]

    def mark_unsaved(self, slots: Iterable[int]) -> None:
        """Put rows back that could not be saved."""
        self._unsaved.update(slots)

    def all_rows(self) -> list[StoredReading]:
        """Take every row that has a reading, confirmed times included."""
        self._unsaved = set()
        return [self._stored(slot) for slot in range(len(self._state_of)) if self.time(slot)]

    def _stored(self, slot: int) -> StoredReading:
        number, integer = self._values[slot], self._integers.get(slot)
        return StoredReading(
            slot=slot,
            value=None if math.isnan(number) else number,
            text=self._texts.get(slot),
            integer=None if integer is None else str(integer),
            reason=self._reasons[slot],
            flags=self._flags[slot],
            source=self._sources[slot],
            time=self.time(slot),
            changed_at=self._changed[slot],
        )


def _put(column: dict[int, object] | dict[int, str] | dict[int, int], slot: int, value: object) -> None:
    """Set or clear one entry of a side column."""
    if value is None:
        column.pop(slot, None)
    else:
        column[slot] = value  # type: ignore[assignment]


def _state_text(point: Point, value: Value) -> str | None:
    if point.states is None or value is None:
        return None
    key = str(value).lower() if isinstance(value, bool) else str(value)
    return point.states.get(key)
