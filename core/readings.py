"""Readings in columns: the one shape in which values travel from drivers to registry, bus and history."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from operator import ne

import attrs

from core.errors import PlantroomError
from core.model import Device, Flag, Point, Reason, Source, Value

NAN = math.nan
EXACT_INTEGER = 2**53


@attrs.frozen(eq=False)
class PointGroup:
    """Points of one device that are read together.

    Compared by identity, and the same object comes with every poll, so a driver may keep its plan by group.
    ``slots`` runs parallel to ``points``; ``interval`` is in seconds, 0 for a read on demand.
    """

    device: Device
    points: tuple[Point, ...]
    slots: array[int]
    interval: float = 0.0


@attrs.frozen(eq=False)
class Chunk:
    """The slots of one answer of a device.

    Compared by identity: reuse one object for one repeated request, and an unchanged answer costs the
    registry one comparison of bytes. ``slots`` are 32-bit (type code ``I``).
    """

    slots: array[int]


@attrs.frozen(eq=False)
class ReadingBatch:
    """What one device answered at one time, in columns as long as ``chunk.slots``.

    ``values`` are float64 (booleans 0.0 and 1.0, enums their integer, NaN for text and for no value);
    ``texts`` and ``integers`` (beyond 2**53) are side columns by row. ``reasons`` and ``flags`` are codes of
    `Reason` and `Flag`, one byte a row. A row whose reason keeps the value has its error in ``errors``.
    ``time`` is UTC seconds.
    """

    chunk: Chunk
    time: float
    source: Source
    values: array[float]
    reasons: bytes
    flags: bytes
    texts: Mapping[int, str] = attrs.field(factory=dict)
    integers: Mapping[int, int] = attrs.field(factory=dict)
    errors: Mapping[int, PlantroomError] = attrs.field(factory=dict)

    def confirmed(self, time: float, source: Source) -> ReadingBatch:
        """Return the same columns, as read once more at another time."""
        return ReadingBatch(
            self.chunk, time, source, self.values, self.reasons, self.flags, self.texts, self.integers, self.errors
        )

    def same_as(self, other: ReadingBatch) -> bool:
        """Tell whether all columns are equal, bit by bit; time and source do not count."""
        return (
            self.chunk is other.chunk
            and self.reasons == other.reasons
            and self.flags == other.flags
            and (self.values is other.values or memoryview(self.values).cast("B") == memoryview(other.values).cast("B"))
            and self.texts == other.texts
            and self.integers == other.integers
        )

    def differing(self, other: ReadingBatch) -> list[int]:
        """Return the rows in which any column differs from another batch of the same chunk, in order."""
        rows = {row for row in _differing(self.values, other.values) if not _both_nan(self, other, row)}
        for mine, theirs in ((self.reasons, other.reasons), (self.flags, other.flags)):
            if mine != theirs:
                rows.update(_differing(mine, theirs))
        if self.texts != other.texts:
            rows.update(row for row in {*self.texts, *other.texts} if self.texts.get(row) != other.texts.get(row))
        if self.integers != other.integers:
            both = {*self.integers, *other.integers}
            rows.update(row for row in both if self.integers.get(row) != other.integers.get(row))
        return sorted(rows)


@attrs.frozen
class StoredReading:
    """A point's current reading as storage keeps it; times are UTC seconds."""

    slot: int
    value: float | None
    text: str | None
    integer: str | None
    reason: int
    flags: int
    source: int
    time: float
    changed_at: float


@attrs.define
class Row:
    """One value on its way into a batch."""

    value: Value = None
    flags: Flag = Flag(0)
    error: PlantroomError | None = None
    reason: Reason | None = None

    @classmethod
    def of_stored(cls, stored: StoredReading) -> Row:
        """Return what a stored reading says, but for time and source."""
        value: Value = stored.text if stored.text is not None else stored.value
        if stored.integer is not None:
            value = int(stored.integer)
        return cls(value, Flag(stored.flags), reason=Reason(stored.reason))


def batch_of(chunk: Chunk, rows: Sequence[Row], *, time: float, source: Source) -> ReadingBatch:
    """Lay rows out in columns.

    A reason that is not given follows from the error, the value (NaN and infinities are ``fault``) or the
    flags. Raises ValueError where the rows are not as many as the slots.
    """
    if len(rows) != len(chunk.slots):
        raise ValueError(f"{len(rows)} rows for {len(chunk.slots)} slots")
    values = array("d", bytes(8 * len(rows)))
    reasons, flags = bytearray(len(rows)), bytearray(len(rows))
    texts: dict[int, str] = {}
    integers: dict[int, int] = {}
    errors: dict[int, PlantroomError] = {}
    for index, row in enumerate(rows):
        reason, number = row.reason, NAN
        if row.error is not None:
            errors[index] = row.error
            reason = Reason.ERROR if reason is None else reason
        elif isinstance(row.value, str):
            texts[index] = row.value
        elif row.value is not None:
            number = _number(row.value)
            if not math.isfinite(number):
                number, reason = NAN, Reason.FAULT
            elif type(row.value) is int and abs(row.value) > EXACT_INTEGER:
                integers[index] = row.value
        values[index] = number
        flags[index] = row.flags
        reasons[index] = row.flags.reason if reason is None else reason
    return ReadingBatch(chunk, time, source, values, bytes(reasons), bytes(flags), texts, integers, errors)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return NAN


def _differing(mine: Sequence[float], theirs: Sequence[float]) -> list[int]:
    return [row for row, differs in enumerate(map(ne, mine, theirs)) if differs]


def _both_nan(mine: ReadingBatch, theirs: ReadingBatch, row: int) -> bool:
    return math.isnan(mine.values[row]) and math.isnan(theirs.values[row])
