"""ReadProperty: one property of one object (ASHRAE 135, 15.5)."""

from __future__ import annotations

from typing import NamedTuple

from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import Items, Ref
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.primitives import object_id_in, unsigned_in, unsigned_octets

_OBJECT, _PROPERTY, _INDEX, _VALUE = range(4)


class Found(NamedTuple):
    """What an answer is about, and between which indexes the octets of the value stand."""

    ref: Ref
    start: int
    end: int

    def items(self, data: bytes) -> Items:
        """Decode the value; raises DecodeError."""
        return decode_items(data, self.start, self.end)


def write_parameters(ref: Ref) -> bytes:
    """Write what a request asks for."""
    return (
        tags.context(_OBJECT, ref.object.packed.to_bytes(4, "big"))
        + tags.context(_PROPERTY, unsigned_octets(ref.property))
        + (b"" if ref.index is None else tags.context(_INDEX, unsigned_octets(ref.index)))
    )


@bounded
def read_parameters(data: bytes, at: int = 0) -> Ref:
    """Read what a request asks for; raises DecodeError."""
    ref, at = read_ref(data, at)
    if at != len(data):
        raise DecodeError("octets behind the end of a request")
    return ref


def write_result(ref: Ref, value: bytes) -> bytes:
    """Write an answer, of a value's tagged octets."""
    return write_parameters(ref) + tags.opening(_VALUE) + value + tags.closing(_VALUE)


@bounded
def read_result(data: bytes, at: int = 0) -> Found:
    """Read an answer; raises DecodeError."""
    ref, at = read_ref(data, at)
    tag = tags.read_tag(data, at)
    if not tag.opening or tag.number != _VALUE:
        raise DecodeError("an answer without a value")
    end = tags.skip_group(data, tag.at, _VALUE)
    if end + 1 != len(data):
        raise DecodeError("octets behind the end of an answer")
    return Found(ref, tag.at, end)


def read_ref(data: bytes, at: int) -> tuple[Ref, int]:
    """Read a property's place, and where it ends; raises DecodeError, IndexError beyond the last octet."""
    octets, at = tags.read_context(data, at, _OBJECT)
    object_id = object_id_in(octets)
    number, at = tags.read_context(data, at, _PROPERTY)
    index = None
    if tags.is_context(data, at, _INDEX):
        index, at = tags.read_context(data, at, _INDEX)
    return Ref(object_id, unsigned_in(number), None if index is None else unsigned_in(index)), at
