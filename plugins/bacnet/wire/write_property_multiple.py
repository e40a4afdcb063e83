"""WritePropertyMultiple: any number of properties, carried out in order up to the first that fails (15.10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugins.bacnet.wire import apdu, tags
from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import object_id_in, unsigned_in, unsigned_octets
from plugins.bacnet.wire.read_property import read_ref
from plugins.bacnet.wire.read_property import write_parameters as write_ref
from plugins.bacnet.wire.write_property import Written

# WriteAccessSpecification, BACnetPropertyValue and WritePropertyMultiple-Error (clause 21).
_OBJECT, _LIST = range(2)
_PROPERTY, _INDEX, _VALUE, _PRIORITY = range(4)
_ERROR_TYPE, _FIRST_FAILED = range(2)


class Failure(NamedTuple):
    """Why a request failed, and at which of its properties; None where the device does not say so."""

    error: PropertyError
    first: Ref | None


def write_parameters(writes: Sequence[Written]) -> bytes:
    """Write what a request asks for; properties of one object that follow one another share its specification."""
    parts: list[bytes] = []
    last = None
    for write in writes:
        if write.ref.object != last:
            if last is not None:
                parts.append(tags.closing(_LIST))
            last = write.ref.object
            parts.append(tags.context(_OBJECT, last.packed.to_bytes(4, "big")) + tags.opening(_LIST))
        parts.append(_element(write))
    if last is not None:
        parts.append(tags.closing(_LIST))
    return b"".join(parts)


def size(write: Written) -> int:
    """Return how many octets a write takes in a request, beside the header of the whole, at most."""
    return len(write_parameters([write]))


@bounded
def read_parameters(data: bytes, at: int = 0) -> list[Written]:
    """Read what a request asks for; raises DecodeError."""
    writes: list[Written] = []
    while at < len(data):
        octets, at = tags.read_context(data, at, _OBJECT)
        object_id = object_id_in(octets)
        tag = tags.read_tag(data, at)
        if not tag.opening or tag.number != _LIST:
            raise DecodeError("an object without a list of properties")
        at = tag.at
        while not (tag := tags.read_tag(data, at)).closing:
            write, at = _read_element(data, at, object_id)
            writes.append(write)
        if tag.number != _LIST:
            raise DecodeError("a list of properties that is not closed")
        at = tag.at
    return writes


def write_error(invoke_id: int, failure: Failure) -> bytes:
    """Write the Error that this service answers with (clause 21, WritePropertyMultiple-Error)."""
    error = tags.opening(_ERROR_TYPE) + apdu.encode_error(failure.error) + tags.closing(_ERROR_TYPE)
    if failure.first is not None:
        error += tags.opening(_FIRST_FAILED) + write_ref(failure.first) + tags.closing(_FIRST_FAILED)
    return bytes((apdu.PduType.ERROR << 4, invoke_id, apdu.Service.WRITE_PROPERTY_MULTIPLE)) + error


@bounded
def read_error(data: bytes, at: int = 0) -> Failure:
    """Read an Error from behind its header; raises DecodeError.

    Some devices answer with the plain form, which does not say how far they came.
    """
    error = apdu.read_error(data, at)
    tag = tags.read_tag(data, at)
    if not tag.opening:
        return Failure(error, None)
    at = tags.read_tag(data, tags.skip_group(data, tag.at, tag.number)).at
    if at == len(data):
        return Failure(error, None)
    tag = tags.read_tag(data, at)
    if not tag.opening or tag.number != _FIRST_FAILED:
        raise DecodeError("an error that does not say which property failed first")
    first, _at = read_ref(data, tag.at)
    return Failure(error, first)


def _element(write: Written) -> bytes:
    return (
        tags.context(_PROPERTY, unsigned_octets(write.ref.property))
        + (b"" if write.ref.index is None else tags.context(_INDEX, unsigned_octets(write.ref.index)))
        + tags.opening(_VALUE)
        + write.value
        + tags.closing(_VALUE)
        + (b"" if write.priority is None else tags.context(_PRIORITY, unsigned_octets(write.priority)))
    )


def _read_element(data: bytes, at: int, object_id: ObjectId) -> tuple[Written, int]:
    octets, at = tags.read_context(data, at, _PROPERTY)
    number, index, priority = unsigned_in(octets), None, None
    if tags.is_context(data, at, _INDEX):
        octets, at = tags.read_context(data, at, _INDEX)
        index = unsigned_in(octets)
    tag = tags.read_tag(data, at)
    if not tag.opening or tag.number != _VALUE:
        raise DecodeError("a write without a value")
    end = tags.skip_group(data, tag.at, _VALUE)
    at = end + 1
    if tags.is_context(data, at, _PRIORITY):
        octets, at = tags.read_context(data, at, _PRIORITY)
        priority = unsigned_in(octets)
    return Written(Ref(object_id, number, index), data[tag.at : end], priority), at
