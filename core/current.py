"""The current reading of every point, in columns by slot; a `Reading` is made only when someone asks."""

from __future__ import annotations

import secrets
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from typing import TypeAlias

import attrs

from core.model import Flag, Kind, Point, Reading, Reason, Source, Value
from core.readings import NAN, Chunk, ReadingBatch, StoredReading

Content: TypeAlias = tuple[Value, str | None, float, Reason, int]  # value, state text, changed at, reason, flags

GROWTH = 1024
NONCE_BYTES = 12
_BY_CODE, _SOURCES = tuple(Reason), tuple(Source)
_TEXT, _BOOLEAN, _ENUM, _OFFLINE = Kind.TEXT, Kind.BOOLEAN, Kind.ENUM, Reason.OFFLINE  # as globals much cheaper
_KEEPING = frozenset(reason for reason in Reason if reason.keeps_value)


@attrs.define(eq=False)
class ChunkState:
    """What the last answer of a repeated request was, and when it was last confirmed.

    ``last`` is forgotten when one of its slots is written by another batch. All slots that go by a state were polled,
    and none of them was confirmed later than at its ``time``.
    """

    last: ReadingBatch | None
    time: float


class CurrentReadings:
    """Columns of the newest values; all times are UTC seconds.

    `apply` costs one comparison of bytes for an answer in which nothing changed.

    ``revision`` counts the batches. Two columns tell by it what is new: ``touched``, when anything of a slot was last
    taken, and ``revised``, when more of it than time and source changed; what moves with the `state` of a slot touches
    nothing. Revisions begin anew with each process; its ``nonce`` tells them from another's.
    """

    def __init__(self) -> None:
        self.nonce = secrets.token_urlsafe(NONCE_BYTES)
        self.revision = 0
        self.touched: list[int] = []
        self.revised: list[int] = []
        self._values: array[float] = array("d")
        self._times: array[float] = array("d")
        self._changed: array[float] = array("d")
        self._reasons = bytearray()
        self._flags = bytearray()
        self._sources = bytearray()
        self._texts: dict[int, str] = {}
        self._integers: dict[int, int] = {}
        self._state_of: list[ChunkState | None] = []
        self._states: weakref.WeakKeyDictionary[Chunk, ChunkState] = weakref.WeakKeyDictionary()
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
            for revisions in (self.touched, self.revised):
                revisions.extend([self.revision] * missing)

    def apply(self, batch: ReadingBatch) -> tuple[int, ...]:
        """Take a batch over and answer the rows whose value, quality or flags changed."""
        self.revision += 1
        state = self._states.get(batch.chunk)
        if state is None:
            state = self._states[batch.chunk] = ChunkState(None, batch.time)
        last = state.last
        if last is not None and batch.time >= state.time:
            if batch.source is last.source and batch.same_as(last):
                state.time = batch.time
                return ()
            if batch.source is Source.POLL:
                return self._take_differing(batch, state, last)
        return self._take_all(batch, state)

    def _take_differing(self, batch: ReadingBatch, state: ChunkState, last: ReadingBatch) -> tuple[int, ...]:
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

    def _take_all(self, batch: ReadingBatch, state: ChunkState) -> tuple[int, ...]:
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

    def _settle(self, batch: ReadingBatch, state: ChunkState, *, complete: bool) -> None:
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
        self.touched[slot] = self.revision
        if changed:
            self.revised[slot] = self.revision
            self._changed[slot] = batch.time
            self._unsaved.add(slot)
        return changed

    def _take_value(self, batch: ReadingBatch, row: int, slot: int) -> bool:
        value, old = batch.values[row], self._values[slot]
        text, integer = batch.texts.get(row), batch.integers.get(row)
        same_number = value == old or (isnan(value) and isnan(old))
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
        return self._times[slot] if state is None or self._reasons[slot] in _KEEPING else state.time

    def state(self, slot: int) -> ChunkState | None:
        """What the slot is confirmed with; None where its time stands by itself, until it is touched."""
        return None if self._reasons[slot] in _KEEPING else self._state_of[slot]

    def source(self, slot: int) -> Source:
        """What the slot's last batch came from."""
        return _SOURCES[self._sources[slot]]

    def contents(self, slots: Iterable[int], points: Iterable[Point], overlays: Iterable[Reason]) -> Iterator[Content]:
        """What the readings of points say but for time and source; with ``overlays`` as in `reading`."""
        changed, flags, codes, value_of = self._changed, self._flags, self._reasons, self._value
        for slot, point, overlay in zip(slots, points, overlays, strict=True):
            code, value = codes[slot], value_of(slot, point.kind)
            text = None if point.states is None else _state_text(point.states, value)
            reason = overlay if overlay is _OFFLINE or not code else _BY_CODE[code]
            yield value, text, changed[slot], reason, flags[slot]

    def reading(self, slot: int, point: Point, *, overlay: Reason = Reason.NONE) -> Reading | None:
        """Make a point's reading; ``overlay`` (stale, offline) is what its device and age add to a good one."""
        time = self.time(slot)
        if time == 0.0:
            return None
        value, text, changed_at, reason, flags = next(self.contents((slot,), (point,), (overlay,)))
        return Reading(
            value=value,
            text=text,
            time=time,
            changed_at=changed_at,
            reason=reason,
            flags=Flag(flags),
            source=self.source(slot),
        )

    def reason(self, slot: int, *, overlay: Reason = Reason.NONE) -> Reason:
        """The reason that came with the slot's last batch, or what ``overlay`` makes of it."""
        code = self._reasons[slot]
        return overlay if overlay is _OFFLINE or not code else _BY_CODE[code]

    def _value(self, slot: int, kind: Kind) -> Value:
        if kind is _TEXT:
            return self._texts.get(slot)
        number = self._values[slot]
        if isnan(number):
            return None
        if kind is _BOOLEAN:
            return number != 0.0
        if kind is _ENUM:
            return int(number)
        return self._integers.get(slot, number)

    def forget(self, slot: int) -> None:
        """Drop a slot's reading; the slot itself is never used again."""
        self._note(slot)
        self._times[slot] = self._changed[slot] = 0.0
        self._state_of[slot] = None
        self._texts.pop(slot, None)
        self._integers.pop(slot, None)
        self._unsaved.discard(slot)

    def restore(self, row: StoredReading) -> None:
        """Put a stored reading back, as one kept from before a restart."""
        slot = row.slot
        self._note(slot)
        self._values[slot] = NAN if row.value is None else row.value
        _put(self._texts, slot, row.text)
        _put(self._integers, slot, None if row.integer is None else int(row.integer))
        self._reasons[slot] = Reason.RESTORED
        self._flags[slot] = row.flags
        self._sources[slot] = row.source
        self._times[slot], self._changed[slot] = row.time, row.changed_at

    def _note(self, slot: int) -> None:
        self.revision += 1
        self.touched[slot] = self.revised[slot] = self.revision

    def unsaved(self) -> list[StoredReading]:
        """Take the rows that changed since the last call."""
        slots, self._unsaved = self._unsaved, set()
        return [self.stored(slot) for slot in sorted(slots)]

    def mark_unsaved(self, slots: Iterable[int]) -> None:
        """Put rows back that could not be saved."""
        self._unsaved.update(slots)

    def all_rows(self) -> list[StoredReading]:
        """Take every row that has a reading, confirmed times included."""
        self._unsaved = set()
        return [self.stored(slot) for slot in range(len(self._state_of)) if self.time(slot)]

    def stored(self, slot: int) -> StoredReading:
        """Return one slot's row as storage keeps it."""
        number, integer = self._values[slot], self._integers.get(slot)
        return StoredReading(
            slot=slot,
            value=None if isnan(number) else number,
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


def _state_text(states: Mapping[str, str], value: Value) -> str | None:
    if value is None:
        return None
    return states.get(str(value).lower() if isinstance(value, bool) else str(value))
