"""ReadPropertyMultiple: any number of properties of any number of objects (ASHRAE 135, 15.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from plugins.bacnet.wire import apdu, tags
from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import Items, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.primitives import unsigned_in, unsigned_octets

# ReadAccessSpecification and ReadAccessResult (clause 21).
_OBJECT, _LIST = range(2)
_REQUESTED_PROPERTY, _REQUESTED_INDEX = range(2)
_PROPERTY, _INDEX, _VALUE, _ERROR = range(2, 6)

_OBJECT_TAG, _LIST_OPENS, _LIST_CLOSES = 0x0C, 0x1E, 0x1F
_PROPERTY_OF_ONE_OCTET = 0x29
_VALUE_OPENS, _VALUE_CLOSES = 0x4E, 0x4F
_HEAD = 6  # an object id with its tag, and the tag that opens the list


class Element(NamedTuple):
    """One property's place in an answer.

    ``object_id`` is in one number (`ObjectId.packed`). The octets of the value stand from ``start`` to
    ``end``; where ``error`` is given, there is none.
    """

    object_id: int
    property_id: int
    array_index: int | None
    start: int
    end: int
    error: PropertyError | None = None

    @property
    def ref(self) -> Ref:
        """What the element is about."""
        return Ref(ObjectId.unpack(self.object_id), self.property_id, self.array_index)

    def items(self, data: bytes) -> Items:
        """Decode the value; raises DecodeError."""
        return decode_items(data, self.start, self.end)


def write_parameters(refs: Sequence[Ref]) -> bytes:
    """Write what a request asks for; properties of one object that follow one another share its specification."""
    parts: list[bytes] = []
    last = None
    for ref in refs:
        if ref.object != last:
            if last is not None:
                parts.append(tags.closing(_LIST))
            last = ref.object
            parts.append(tags.context(_OBJECT, last.packed.to_bytes(4, "big")) + tags.opening(_LIST))
        parts.append(tags.context(_REQUESTED_PROPERTY, unsigned_octets(ref.property)))
        if ref.index is not None:
            parts.append(tags.context(_REQUESTED_INDEX, unsigned_octets(ref.index)))
    if last is not None:
        parts.append(tags.closing(_LIST))
    return b"".join(parts)


@bounded
def read_parameters(data: bytes, at: int = 0) -> list[Ref]:
    """Read what a request asks for; raises DecodeError."""
    refs: list[Ref] = []
    while at < len(data):
        packed, at = _read_object(data, at)
        object_id = ObjectId.unpack(packed)
        while data[at] != _LIST_CLOSES:
            number, at = _read_number(data, at, _REQUESTED_PROPERTY)
            index = None
            if tags.is_context(data, at, _REQUESTED_INDEX):
                index, at = _read_number(data, at, _REQUESTED_INDEX)
            refs.append(Ref(object_id, number, index))
        at += 1
    return refs


def write_element(ref: Ref, value: bytes | PropertyError) -> bytes:
    """Write one property's part of an answer: a value's tagged octets, or what is wrong."""
    head = tags.context(_PROPERTY, unsigned_octets(ref.property))
    if ref.index is not None:
        head += tags.context(_INDEX, unsigned_octets(ref.index))
    if isinstance(value, PropertyError):
        return head + tags.opening(_ERROR) + apdu.encode_error(value) + tags.closing(_ERROR)
    return head + tags.opening(_VALUE) + value + tags.closing(_VALUE)


def write_object(object_id: ObjectId, elements: bytes) -> bytes:
    """Write one object's part of an answer."""
    head = tags.context(_OBJECT, object_id.packed.to_bytes(4, "big"))
    return head + tags.opening(_LIST) + elements + tags.closing(_LIST)


@bounded
def read_result(data: bytes, at: int = 0) -> list[Element]:
    """Read an answer; raises DecodeError.

    Values are found, not decoded: a broken one spoils no other.
    """
    return list(_elements(data, at))


def _elements(data: bytes, at: int) -> Iterator[Element]:
    stop = len(data)
    while at < stop:
        packed, at = _read_object(data, at)
        while data[at] != _LIST_CLOSES:
            if data[at] == _PROPERTY_OF_ONE_OCTET:
                number = data[at + 1]
                at += 2
            else:
                number, at = _read_number(data, at, _PROPERTY)
            index = None
            if tags.is_context(data, at, _INDEX):
                index, at = _read_number(data, at, _INDEX)
            if data[at] == _VALUE_OPENS:
                start = at + 1
                end = _end_of_value(data, start)
                yield Element(packed, number, index, start, end)
            else:
                tag = tags.read_tag(data, at)
                if not tag.opening or tag.number != _ERROR:
                    raise DecodeError("a property with neither a value nor an error")
                start = tag.at
                end = tags.skip_group(data, start, _ERROR)
                yield Element(packed, number, index, start, end, apdu.read_error(data, start))
            at = end + 1
        at += 1


def _end_of_value(data: bytes, at: int) -> int:
    """Return where the closing tag of a value stands; most values are one short datum."""
    first = data[at]
    length = first & 0x0F  # of an application tag whose length is below 5
    if length < 5 and first >> 4 != 1 and first < 0xF0:
        end = at + 1 + length
        if data[end] == _VALUE_CLOSES:
            return end
    return tags.skip_group(data, at, _VALUE)


def _read_object(data: bytes, at: int) -> tuple[int, int]:
    if data[at] != _OBJECT_TAG or data[at + 5] != _LIST_OPENS:
        raise DecodeError("an object's part begins with its id and a list")
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + _HEAD


def _read_number(data: bytes, at: int, number: int) -> tuple[int, int]:
    octets, at = tags.read_context(data, at, number)
    return unsigned_in(octets), at
