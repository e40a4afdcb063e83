"""Who-Has and I-Have: who has an object, by its id or its name (ASHRAE 135, 16.9)."""

from __future__ import annotations

from typing import NamedTuple

from plugins.bacnet.wire import primitives, tags
from plugins.bacnet.wire.apdu import PduType, UnconfirmedService
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive

_LOW, _HIGH, _OBJECT, _NAME = range(4)
_UNCONFIRMED = PduType.UNCONFIRMED_REQUEST << 4

WHO_HAS = bytes((_UNCONFIRMED, UnconfirmedService.WHO_HAS))
I_HAVE = bytes((_UNCONFIRMED, UnconfirmedService.I_HAVE))
"""The first two octets of the messages."""


class WhoHas(NamedTuple):
    """What is looked for, an object's id or a name, among devices with numbers within limits or all."""

    wanted: ObjectId | str
    limits: tuple[int, int] | None = None


class IHave(NamedTuple):
    """That a device has an object."""

    device: ObjectId
    object: ObjectId
    name: str


def write_who_has(asked: WhoHas) -> bytes:
    """Write a Who-Has."""
    octets = WHO_HAS
    if asked.limits is not None:
        low, high = (primitives.unsigned_octets(number) for number in asked.limits)
        octets += tags.context(_LOW, low) + tags.context(_HIGH, high)
    if isinstance(asked.wanted, ObjectId):
        return octets + tags.context(_OBJECT, asked.wanted.packed.to_bytes(4, "big"))
    return octets + tags.context(_NAME, b"\0" + asked.wanted.encode())  # 0: UTF-8 (20.2.9)


@bounded
def read_who_has(data: bytes, at: int = 0) -> WhoHas:
    """Read a Who-Has; raises DecodeError."""
    if data[at : at + 2] != WHO_HAS:
        raise DecodeError("not a Who-Has")
    at += 2
    limits = None
    if tags.is_context(data, at, _LOW):
        low, at = tags.read_context(data, at, _LOW)
        high, at = tags.read_context(data, at, _HIGH)
        limits = primitives.unsigned_in(low), primitives.unsigned_in(high)
    if tags.is_context(data, at, _OBJECT):
        octets, at = tags.read_context(data, at, _OBJECT)
        wanted: ObjectId | str = primitives.object_id_in(octets)
    else:
        octets, at = tags.read_context(data, at, _NAME)
        wanted = _text(octets)
    if at != len(data):
        raise DecodeError("octets behind the end of a Who-Has")
    return WhoHas(wanted, limits)


def write_i_have(i_have: IHave) -> bytes:
    """Write an I-Have."""
    return (
        I_HAVE
        + primitives.encode_object_id(i_have.device)
        + primitives.encode_object_id(i_have.object)
        + primitives.encode_character_string(i_have.name)
    )


@bounded
def read_i_have(data: bytes, at: int = 0) -> IHave:
    """Read an I-Have; raises DecodeError."""
    if data[at : at + 2] != I_HAVE:
        raise DecodeError("not an I-Have")
    device, at = tags.read_application(data, at + 2, Primitive.OBJECT_IDENTIFIER)
    object_id, at = tags.read_application(data, at, Primitive.OBJECT_IDENTIFIER)
    name, at = tags.read_application(data, at, Primitive.CHARACTER_STRING)
    if at != len(data):
        raise DecodeError("octets behind the end of an I-Have")
    return IHave(primitives.object_id_in(device), primitives.object_id_in(object_id), _text(name))


def _text(octets: bytes) -> str:
    return str(primitives.decode(Primitive.CHARACTER_STRING, octets))
