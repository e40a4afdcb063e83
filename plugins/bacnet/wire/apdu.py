"""The application layer's headers: what sort of message it is, and to which request it belongs (ASHRAE 135, 20.1)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from plugins.bacnet.wire import primitives, tags
from plugins.bacnet.wire.enumerations import ABORT_REASONS, ERROR_CLASSES, ERROR_CODES, REJECT_REASONS
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive

SEGMENTED = 0x08
"""The bit of the first octet of a request or Complex-ACK that comes in several pieces (20.1.2.1, 20.1.5.1)."""

SEGMENTED_ACCEPTED = 0x02
FROM_SERVER = 0x01
"""The bit of an Abort or Segment-ACK that is for whoever asked (20.1.9.1)."""

APDU_LENGTHS = (50, 128, 206, 480, 1024, 1476)
"""How long an answer may be, by the code in a request (20.1.2.5), in octets."""


class PduType(enum.IntEnum):
    """The upper four bits of the first octet."""

    CONFIRMED_REQUEST = 0
    UNCONFIRMED_REQUEST = 1
    SIMPLE_ACK = 2
    COMPLEX_ACK = 3
    SEGMENT_ACK = 4
    ERROR = 5
    REJECT = 6
    ABORT = 7


class Service(enum.IntEnum):
    """The confirmed services that this package reads and writes (clause 21, BACnetConfirmedServiceChoice)."""

    CONFIRMED_COV_NOTIFICATION = 1
    SUBSCRIBE_COV = 5
    READ_PROPERTY = 12
    READ_PROPERTY_MULTIPLE = 14
    WRITE_PROPERTY = 15
    WRITE_PROPERTY_MULTIPLE = 16


class UnconfirmedService(enum.IntEnum):
    """The services without an answer that this package reads and writes (clause 21, BACnetUnconfirmedServiceChoice)."""

    I_AM = 0
    I_HAVE = 1
    UNCONFIRMED_COV_NOTIFICATION = 2
    WHO_HAS = 7
    WHO_IS = 8


class PropertyError(NamedTuple):
    """An Error's class and code (clause 18)."""

    error_class: int
    code: int

    def __str__(self) -> str:
        return f"{name_of(ERROR_CLASSES, self.error_class)} {name_of(ERROR_CODES, self.code)}"


class ConfirmedRequest(NamedTuple):
    """The header of a request that wants an answer (20.1.2); ``at`` is where its parameters begin."""

    segmented: bool
    max_apdu: int
    invoke_id: int
    service: int
    at: int


def write_request(service: Service, parameters: bytes, *, invoke_id: int = 0) -> bytes:
    """Write a request that is answered in one piece of at most 1476 octets (20.1.2)."""
    return bytes((PduType.CONFIRMED_REQUEST << 4, len(APDU_LENGTHS) - 1, invoke_id, service)) + parameters


@bounded
def read_request(data: bytes, at: int = 0) -> ConfirmedRequest:
    """Read a request's header; raises DecodeError where another message stands there."""
    if data[at] >> 4 != PduType.CONFIRMED_REQUEST:
        raise DecodeError("not a confirmed request")
    segmented = bool(data[at] & SEGMENTED)
    longest = APDU_LENGTHS[min(data[at + 1] & 0x0F, len(APDU_LENGTHS) - 1)]
    after_id = at + (5 if segmented else 3)
    return ConfirmedRequest(segmented, longest, data[at + 2], data[after_id], after_id + 1)


def write_simple_ack(service: int, invoke_id: int) -> bytes:
    """Write the answer to a request that has no result (20.1.4)."""
    return bytes((PduType.SIMPLE_ACK << 4, invoke_id, service))


def write_complex_ack(service: int, invoke_id: int, result: bytes) -> bytes:
    """Write an answer in one piece (20.1.5)."""
    return bytes((PduType.COMPLEX_ACK << 4, invoke_id, service)) + result


def write_error(service: int, invoke_id: int, error: PropertyError) -> bytes:
    """Write an Error (20.1.7), of a service that has no error form of its own."""
    return bytes((PduType.ERROR << 4, invoke_id, service)) + encode_error(error)


def encode_error(error: PropertyError) -> bytes:
    """Write an error's class and code, as they stand in an Error and in place of a property's value."""
    return primitives.encode_enumerated(error.error_class) + primitives.encode_enumerated(error.code)


def write_abort(invoke_id: int, reason: int, *, from_server: bool) -> bytes:
    """Write an Abort (20.1.9)."""
    return bytes((PduType.ABORT << 4 | from_server, invoke_id, reason))


@bounded
def read_error(data: bytes, at: int = 0) -> PropertyError:
    """Read the class and code of an Error's header or of what stands in its place; raises DecodeError.

    Some services wrap them in a group of context tag 0 (clause 21, ChangeList-Error and others).
    """
    first = tags.read_tag(data, at)
    if first.opening:
        at = first.at
    numbers = []
    for _ in range(2):
        octets, at = tags.read_application(data, at, Primitive.ENUMERATED)
        numbers.append(primitives.unsigned_in(octets))
    return PropertyError(*numbers)


def name_of(names: Mapping[int, str], number: int) -> str:
    """Return an enumeration's name for a number, or the number where it has none."""
    return names.get(number) or str(number)


def reject_reason(number: int) -> str:
    """Name the reason of a Reject (20.1.8)."""
    return name_of(REJECT_REASONS, number)


def abort_reason(number: int) -> str:
    """Name the reason of an Abort (20.1.9)."""
    return name_of(ABORT_REASONS, number)
