"""Answers of a learned layout, straight into the columns of a batch: what did not change costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import ne
from typing import NamedTuple, TypeAlias

from core.plugin import Flag, Kind, ReadingBatch, Reason, Source
from plugins.bacnet.template import Field, Template, field_at, number_in
from plugins.bacnet.wire.primitives import Primitive, shortest
from plugins.bacnet.wire.read_property_multiple import Element

Convert: TypeAlias = Callable[[float], float]


class Place(NamedTuple):
    """Where in an answer a point's value and its status flags stand, and of which kind the point is."""

    kind: Kind
    value: Element | None
    flags: Element | None = None


class Columns:
    """One answer's layout, and which of its numbers goes where; ``served`` tells whether it was ever of use."""

    def __init__(self, octets: bytes, places: Sequence[Place], batch: ReadingBatch) -> None:
        """Learn the layout of an answer whose batch has been made."""
        found: list[tuple[Field, int, Convert | None]] = []
        for row, place in enumerate(places):
            if row in batch.errors or place.value is None:
                continue
            for element, wanted in ((place.value, place.kind), (place.flags, None)):
                field = None if element is None or element.error else field_at(octets, element.start, element.end)
                if field is not None and _suits(field, wanted):
                    found.append((field, row, None if wanted is None else _converter(field, wanted)))
        found.sort(key=lambda item: item[0].at)
        self._template = Template(octets, [field for field, _row, _convert in found])
        self._targets = [(row, convert) for _field, row, convert in found]
        self._numbers = {row for row, convert in self._targets if convert is not None}
        self._raw = self._template.read(octets)
        self.served = False

    def batch(self, octets: bytes, last: ReadingBatch, *, time: float, source: Source) -> ReadingBatch | None:
        """Make the batch of an answer from the last one and what changed; None where the layout is another."""
        raw, old = self._template.read(octets), self._raw
        if raw is None or old is None:
            return None
        self._raw, self.served = raw, True
        values, reasons, flags = last.values[:], bytearray(last.reasons), bytearray(last.flags)
        targets = self._targets
        for index, differs in enumerate(map(ne, raw, old)):
            if differs:
                row, convert = targets[index]
                if convert is None:
                    flags[row] = _FLAGS[int(raw[index])]
                else:
                    values[row] = convert(raw[index])
                broken = row in self._numbers and math.isnan(values[row])
                reasons[row] = Reason.FAULT if broken else _REASONS[flags[row]]
        return ReadingBatch(
            last.chunk, time, source, values, bytes(reasons), bytes(flags), last.texts, last.integers, last.errors
        )


def _suits(field: Field, kind: Kind | None) -> bool:
    """Tell whether a number of that primitive makes a value of a kind, or, for no kind, status flags."""
    if kind is None or field.primitive is Primitive.BIT_STRING:
        return kind is None and field.primitive is Primitive.BIT_STRING
    if kind is Kind.NUMBER:
        return True
    return kind in (Kind.BOOLEAN, Kind.ENUM) and field.primitive not in (Primitive.REAL, Primitive.DOUBLE)


def _converter(field: Field, kind: Kind) -> Convert:
    """Return what makes a value of a number as it stands in its octets."""
    if kind is Kind.BOOLEAN:
        return lambda raw: float(number_in(field, raw) != 0)
    if field.primitive is Primitive.REAL:
        return _real
    return _finite if field.primitive is Primitive.DOUBLE else lambda raw: float(number_in(field, raw))


def _real(raw: float) -> float:
    return shortest(raw) if math.isfinite(raw) else math.nan


def _finite(raw: float) -> float:
    return raw if math.isfinite(raw) else math.nan


def _flags(octet: int) -> Flag:
    """Read status flags: the first four bits of a bit string's octet."""
    flags = Flag(0)
    for bit, flag in enumerate(Flag):
        flags |= flag if octet & 0x80 >> bit else Flag(0)
    return flags


_FLAGS = [_flags(octet) for octet in range(256)]
_REASONS = [Flag(code).reason for code in range(16)]
