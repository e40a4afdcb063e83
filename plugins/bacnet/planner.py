"""Plans which properties are asked for together, so that each answer fits the device's APDU."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from plugins.bacnet.objects import TYPES, Datatype, Prop
from plugins.bacnet.wire.datatypes import Ref

# Octets of an answer (ASHRAE 135, 20.1 and 21): ACK header; object id and the list around its properties;
# property id and the tags around its value; an array index.
_HEADER = 3
_OBJECT = 7
_PROPERTY = 4
_LONG_PROPERTY = 5
_INDEX = 3

_SIZES = {
    Datatype.BOOLEAN: 1,
    Datatype.UNSIGNED: 5,
    Datatype.INTEGER: 5,
    Datatype.REAL: 5,
    Datatype.DOUBLE: 10,
    Datatype.OCTET_STRING: 24,
    Datatype.CHARACTER_STRING: 40,
    Datatype.BIT_STRING: 8,
    Datatype.ENUMERATED: 2,
    Datatype.DATE: 5,
    Datatype.TIME: 5,
    Datatype.OBJECT_ID: 5,
    Datatype.DATETIME: 10,
    Datatype.ANY: 10,
}
_PROPERTY_SIZES: Mapping[int, int] = {
    Prop.STATUS_FLAGS: 3,
    Prop.OUT_OF_SERVICE: 1,
    Prop.UNITS: 3,
    Prop.OUTPUT_UNITS: 3,
    Prop.NUMBER_OF_STATES: 2,
    Prop.MIN_PRES_VALUE: 10,
    Prop.MAX_PRES_VALUE: 10,
    Prop.RESOLUTION: 10,
    Prop.RELINQUISH_DEFAULT: 10,
    Prop.PRIORITY_ARRAY: 40,
    Prop.STATE_TEXT: 80,
    Prop.OBJECT_LIST: 5,
}
_TEXT_SIZE = 32

SMALLEST_BUDGET = 32


def budget_of(max_apdu: int) -> int:
    """Return how many octets of values an answer of a device can hold."""
    return max(max_apdu - _HEADER, SMALLEST_BUDGET)


def cost(refs: Sequence[Ref]) -> int:
    """Estimate the octets of the answer to these, asked for in one ReadPropertyMultiple."""
    objects = sum(1 for _object in itertools.groupby(refs, key=lambda ref: ref.object))
    return objects * _OBJECT + sum(_property_cost(ref) for ref in refs)


def pack(entries: Iterable[tuple[Ref, ...]], budget: int) -> list[list[tuple[Ref, ...]]]:
    """Fill chunks with entries, in order, each chunk within the budget; an entry is never torn apart.

    An entry that is beyond the budget alone is a chunk of its own.
    """
    chunks: list[list[tuple[Ref, ...]]] = []
    room, last = 0, None
    for entry in entries:
        size = cost(entry) - (_OBJECT if entry[0].object == last else 0)
        if not chunks or size > room:
            chunks.append([])
            room, size = budget, cost(entry)
        chunks[-1].append(entry)
        room -= size
        last = entry[-1].object
    return chunks


def halves(refs: Sequence[Ref]) -> tuple[Sequence[Ref], Sequence[Ref]]:
    """Tear a chunk of at least two in two, between objects where it has more than one."""
    middle = len(refs) // 2
    edges = [index for index in range(1, len(refs)) if refs[index].object != refs[index - 1].object]
    cut = min(edges, key=lambda index: abs(index - middle), default=middle)
    return refs[:cut], refs[cut:]


def _property_cost(ref: Ref) -> int:
    framing = (_PROPERTY if ref.property < 256 else _LONG_PROPERTY) + (0 if ref.index is None else _INDEX)
    return framing + _size(ref)


def _size(ref: Ref) -> int:
    kind = TYPES.get(ref.object.type)
    if ref.property == Prop.PRESENT_VALUE and kind is not None:
        return _SIZES[kind.datatype]
    if ref.property == Prop.STATE_TEXT and ref.index is not None:
        return _TEXT_SIZE
    return _PROPERTY_SIZES.get(ref.property, _TEXT_SIZE)
