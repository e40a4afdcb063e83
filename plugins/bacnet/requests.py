"""Requests to read and to write, ready to send, and what their answers say of each property."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.bacnet.engine import Path, Request
from plugins.bacnet.errors import Refusal, refused_with
from plugins.bacnet.protocol import Answer
from plugins.bacnet.wire import read_property, read_property_multiple, write_property, write_property_multiple
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.datatypes import Items, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.read_property_multiple import Element
from plugins.bacnet.wire.write_property import Written


def undecodable() -> Refusal:
    """Say that an answer as a whole cannot be read; a new one each time, since what is raised grows a traceback."""
    return Refusal("abort", "undecodable-answer")


def broken_value() -> Refusal:
    """Say that one value of an answer cannot be read."""
    return Refusal("error", "undecodable-value", "property")


def read_one(path: Path, ref: Ref) -> Request:
    """Make a ReadProperty."""
    return Request(path, Service.READ_PROPERTY, read_property.write_parameters(ref))


def read_multiple(path: Path, refs: Sequence[Ref]) -> Request:
    """Make a ReadPropertyMultiple."""
    return Request(path, Service.READ_PROPERTY_MULTIPLE, read_property_multiple.write_parameters(refs))


def write_one(path: Path, write: Written) -> Request:
    """Make a WriteProperty."""
    parameters = write_property.write_parameters(write.ref, write.value, priority=write.priority)
    return Request(path, Service.WRITE_PROPERTY, parameters)


def write_multiple(path: Path, writes: Sequence[Written]) -> Request:
    """Make a WritePropertyMultiple."""
    return Request(path, Service.WRITE_PROPERTY_MULTIPLE, write_property_multiple.write_parameters(writes))


def octets_of(octets: bytes, ref: Ref) -> bytes:
    """Take the value's octets out of a ReadProperty's result; raises Refusal where it is not what was asked for."""
    try:
        found = read_property.read_result(octets)
    except DecodeError as error:
        raise undecodable() from error
    if found.ref != ref:
        raise undecodable()
    return octets[found.start : found.end]


def items_of(octets: bytes) -> Items:
    """Decode a value's octets; raises Refusal."""
    try:
        return decode_items(octets)
    except DecodeError as error:
        raise broken_value() from error


def answers_of(octets: bytes, refs: Sequence[Ref]) -> list[Answer]:
    """Take the values out of a ReadPropertyMultiple's result, in the order asked; raises Refusal.

    One that is broken or missing spoils no other.
    """
    return [answer_in(octets, element) for element in elements_of(octets, refs)]


def elements_of(octets: bytes, refs: Sequence[Ref]) -> list[Element | None]:
    """Find each property's place in a ReadPropertyMultiple's result, None for what is missing; raises Refusal."""
    places = {element[:3]: element for element in elements_of_any(octets)}
    return [places.get((ref.object.packed, ref.property, ref.index)) for ref in refs]


def elements_of_any(octets: bytes) -> list[Element]:
    """Find the place of each property that a ReadPropertyMultiple's result has, whatever was asked; raises Refusal."""
    try:
        return read_property_multiple.read_result(octets)
    except DecodeError as error:
        raise undecodable() from error


def answer_in(octets: bytes, element: Element | None) -> Answer:
    """Return what an answer says in one place."""
    if element is None:
        return Refusal("error", "missing-from-answer", "services")
    if element.error is not None:
        return refused_with(element.error)
    try:
        return element.items(octets)
    except DecodeError:
        return broken_value()
