"""Who-Is and I-Am: who is there, and what it takes (ASHRAE 135, 16.10)."""

from __future__ import annotations

import enum
from typing import NamedTuple

from plugins.bacnet.wire import primitives, tags
from plugins.bacnet.wire.apdu import PduType
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive

_I_AM, _WHO_IS = 0, 8
_LOW, _HIGH = range(2)

WHO_IS = bytes((PduType.UNCONFIRMED_REQUEST << 4, _WHO_IS))
"""The first two octets of a Who-Is."""


class Segmentation(enum.IntEnum):
    """Which way a device takes messages in several pieces (clause 21, BACnetSegmentation)."""

    BOTH = 0
    TRANSMIT = 1
    RECEIVE = 2
    NONE = 3


class IAm(NamedTuple):
    """What a device says of itself; ``max_apdu`` is in octets."""

    device: ObjectId
    max_apdu: int
    segmentation: int
    vendor_id: int


@bounded
def read_who_is(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """Read which device numbers are asked for, None for all; raises DecodeError."""
    if data[at : at + 2] != WHO_IS:
        raise DecodeError("not a Who-Is")
    at += 2
    if at == len(data):
        return None
    low, at = tags.read_context(data, at, _LOW)
    high, at = tags.read_context(data, at, _HIGH)
    if at != len(data):
        raise DecodeError("octets behind the end of a Who-Is")
    return primitives.unsigned_in(low), primitives.unsigned_in(high)


def write_who_is(limits: tuple[int, int] | None = None) -> bytes:
    """Write a Who-Is for all devices, or those with numbers within limits."""
    if limits is None:
        return WHO_IS
    low, high = (primitives.unsigned_octets(number) for number in limits)
    return WHO_IS + tags.context(_LOW, low) + tags.context(_HIGH, high)


def write_i_am(i_am: IAm) -> bytes:
    """Write an I-Am."""
    return (
        bytes((PduType.UNCONFIRMED_REQUEST << 4, _I_AM))
        + primitives.encode_object_id(i_am.device)
        + primitives.encode_unsigned(i_am.max_apdu)
        + primitives.encode_enumerated(i_am.segmentation)
        + primitives.encode_unsigned(i_am.vendor_id)
    )


@bounded
def read_i_am(data: bytes, at: int = 0) -> IAm:
    """Read an I-Am; raises DecodeError."""
    if data[at : at + 2] != bytes((PduType.UNCONFIRMED_REQUEST << 4, _I_AM)):
        raise DecodeError("not an I-Am")
    device, at = tags.read_application(data, at + 2, Primitive.OBJECT_IDENTIFIER)
    numbers = []
    for primitive in (Primitive.UNSIGNED, Primitive.ENUMERATED, Primitive.UNSIGNED):
        octets, at = tags.read_application(data, at, primitive)
        numbers.append(primitives.unsigned_in(octets))
    if at != len(data):
        raise DecodeError("octets behind the end of an I-Am")
    return IAm(primitives.object_id_in(device), *numbers)
