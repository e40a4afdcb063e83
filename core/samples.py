"""Past readings in columns, as histories keep and give them."""

from __future__ import annotations

import datetime as dt
import math
import re
from array import array
from collections.abc import Iterator, Mapping

import attrs

from core.model import Flag, Kind, Quality, Reason, Source, Value

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_RFC_3339 = re.compile(r"([0-9-]{10}[Tt ][0-9:]{6})([0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_LEAP_SECOND = "60"


@attrs.frozen
class Sample:
    """One past reading; ``time_ms`` is UTC milliseconds since the Unix epoch, ``value`` suits the point's kind."""

    time_ms: int
    value: Value
    reason: Reason
    flags: Flag
    source: Source

    @property
    def quality(self) -> Quality:
        return self.reason.quality


@attrs.frozen(eq=False)
class Samples:
    """Past readings of one point, ascending in time, or of several points, in equally long columns.

    ``times`` are UTC milliseconds (type code ``q``), ``values`` float64 as in `core.readings.ReadingBatch`: NaN where
    there is none, and for text. ``reasons``, ``flags`` and ``sources`` have one byte a row; ``texts`` and ``integers``
    (beyond 2**53) are side columns by row.
    """

    times: array[int] = attrs.field(factory=lambda: array("q"))
    values: array[float] = attrs.field(factory=lambda: array("d"))
    reasons: bytes = b""
    flags: bytes = b""
    sources: bytes = b""
    texts: Mapping[int, str] = attrs.field(factory=dict)
    integers: Mapping[int, int] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def value(self, row: int, kind: Kind) -> Value:
        """Return the value of a row, as a point of this kind has it; None where there is none."""
        text = self.texts.get(row)
        if text is not None:
            return text
        number = self.values[row]
        if math.isnan(number):
            return None
        if kind is Kind.BOOLEAN:
            return number != 0
        if kind is Kind.ENUM:
            return int(number)
        return self.integers.get(row, number)

    def sample(self, row: int, kind: Kind) -> Sample:
        """Return one row, as a point of this kind has it."""
        return Sample(
            self.times[row],
            self.value(row, kind),
            Reason(self.reasons[row]),
            Flag(self.flags[row]),
            Source(self.sources[row]),
        )

    def usable(self, row: int) -> bool:
        """Tell whether there is a number in this row that is not bad: what aggregates are made of."""
        return not math.isnan(self.values[row]) and Reason(self.reasons[row]).quality is not Quality.BAD

    def part(self, start: int, end: int) -> Samples:
        """Return the rows from ``start`` up to ``end``."""
        return Samples(
            self.times[start:end],
            self.values[start:end],
            self.reasons[start:end],
            self.flags[start:end],
            self.sources[start:end],
            {row - start: text for row, text in self.texts.items() if start <= row < end},
            {row - start: number for row, number in self.integers.items() if start <= row < end},
        )

    def rows(self, kind: Kind) -> Iterator[Sample]:
        """Give each row, as a point of this kind has it."""
        return (self.sample(row, kind) for row in range(len(self)))


@attrs.frozen(eq=False)
class PointSamples:
    """Past readings of several points: the slot of each row (type code ``I``), and the rows."""

    slots: array[int] = attrs.field(factory=lambda: array("I"))
    samples: Samples = attrs.field(factory=Samples)


@attrs.frozen
class Gap:
    """A time in which nothing was recorded, in UTC milliseconds: ``start_ms`` to ``end_ms``, and why."""

    start_ms: int
    end_ms: int
    reason: str


@attrs.frozen(order=True)
class Position:
    """Where a committed batch stands: ``seq`` grows by one with each, from 1 in each ``epoch``.

    A history that cannot go on where it was begins an epoch that is greater, and no other history's, such as the time.
    """

    epoch: int
    seq: int


@attrs.frozen(eq=False)
class Committed:
    """A batch that is safe, in the order of its commit."""

    position: Position
    rows: PointSamples


@attrs.frozen
class Lost:
    """Batches that were removed before somebody had read them: from ``first`` to ``last``, both included."""

    first: Position
    last: Position


def milliseconds(seconds: float) -> int:
    """Return UTC seconds as whole milliseconds, rounded as `core.model.rfc3339` does."""
    return round(seconds * 1000)


def utc_ms(text: str) -> int:
    """Read a time as RFC 3339 has it, as UTC milliseconds; raises ValueError that says what may be written."""
    found = _RFC_3339.fullmatch(text)
    try:
        if found is not None:
            begin, second, fraction, offset = found.groups()
            second = "59" if second == _LEAP_SECOND else second
            moment = dt.datetime.fromisoformat(f"{begin}{second}{(fraction or '')[:7]}{offset}".upper())
            return (moment - _EPOCH) // dt.timedelta(milliseconds=1)
    except ValueError:
        pass  # a day or an hour that there is not
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z, in an address with %2B for a +")
