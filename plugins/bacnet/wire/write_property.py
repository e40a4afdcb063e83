"""WriteProperty: one property of one object, at a priority where it has a priority array (ASHRAE 135, 15.9)."""

from __future__ import annotations

from typing import NamedTuple

from plugins.bacnet.wire import read_property, tags
from plugins.bacnet.wire.datatypes import Ref
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import unsigned_in, unsigned_octets

_VALUE, _PRIORITY = 3, 4


class Written(NamedTuple):
    """What a request wants written: a value's tagged octets, and its priority, None: it names none."""

    ref: Ref
    value: bytes
    priority: int | None


def write_parameters(ref: Ref, value: bytes, *, priority: int | None = None) -> bytes:
    """Write what a request asks for, of a value's tagged octets."""
    end = b"" if priority is None else tags.context(_PRIORITY, unsigned_octets(priority))
    return read_property.write_parameters(ref) + tags.opening(_VALUE) + value + tags.closing(_VALUE) + end


@bounded
def read_parameters(data: bytes, at: int = 0) -> Written:
    """Read what a request asks for; raises DecodeError."""
    ref, at = read_property.read_ref(data, at)
    tag = tags.read_tag(data, at)
    if not tag.opening or tag.number != _VALUE:
        raise DecodeError("a write without a value")
    end = tags.skip_group(data, tag.at, _VALUE)
    at, priority = end + 1, None
    if tags.is_context(data, at, _PRIORITY):
        octets, at = tags.read_context(data, at, _PRIORITY)
        priority = unsigned_in(octets)
    if at != len(data):
        raise DecodeError("octets behind the end of a write")
    return Written(ref, data[tag.at : end], priority)
