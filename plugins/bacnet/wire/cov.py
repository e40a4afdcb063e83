"""Change of value: subscriptions, and the notifications that follow them (ASHRAE 135, 13.1, 13.14, 16.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import Items, ObjectId
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.primitives import object_id_in, unsigned_in, unsigned_octets

_PROCESS, _OBJECT, _CONFIRMED, _LIFETIME = range(4)
_DEVICE, _MONITORED, _TIME_LEFT, _VALUES = range(1, 5)
_PROPERTY, _INDEX, _VALUE, _PRIORITY = range(4)  # of BACnetPropertyValue (clause 21)


class Subscription(NamedTuple):
    """What a subscriber wants: to be told of an object's changes, with or without an answer expected.

    ``process_id`` is the subscriber's own number for it, ``lifetime_s`` how many seconds it lasts, 0: for ever. With
    both ``confirmed`` and ``lifetime_s`` None it is a cancellation (13.14.1.2).
    """

    process_id: int
    object: ObjectId
    confirmed: bool | None
    lifetime_s: int | None

    @property
    def cancels(self) -> bool:
        """Whether it ends a subscription."""
        return self.confirmed is None and self.lifetime_s is None


class Notified(NamedTuple):
    """One property in a notification; its value's octets stand from ``start`` to ``end``."""

    property_id: int
    array_index: int | None
    start: int
    end: int

    def items(self, data: bytes) -> Items:
        """Decode the value; raises DecodeError."""
        return decode_items(data, self.start, self.end)


class Notification(NamedTuple):
    """That an object has changed; ``time_left_s`` is how long the subscription lasts yet, 0: for ever."""

    process_id: int
    device: ObjectId
    object: ObjectId
    time_left_s: int
    values: tuple[Notified, ...]


def write_subscription(subscription: Subscription) -> bytes:
    """Write the parameters of SubscribeCOV."""
    parts = [
        tags.context(_PROCESS, unsigned_octets(subscription.process_id)),
        tags.context(_OBJECT, subscription.object.packed.to_bytes(4, "big")),
    ]
    if subscription.confirmed is not None:
        parts.append(tags.context(_CONFIRMED, bytes((subscription.confirmed,))))
    if subscription.lifetime_s is not None:
        parts.append(tags.context(_LIFETIME, unsigned_octets(subscription.lifetime_s)))
    return b"".join(parts)


@bounded
def read_subscription(data: bytes, at: int = 0) -> Subscription:
    """Read the parameters of SubscribeCOV; raises DecodeError."""
    process, at = tags.read_context(data, at, _PROCESS)
    object_id, at = tags.read_context(data, at, _OBJECT)
    confirmed = lifetime_s = None
    if tags.is_context(data, at, _CONFIRMED):
        octets, at = tags.read_context(data, at, _CONFIRMED)
        confirmed = bool(unsigned_in(octets))
    if tags.is_context(data, at, _LIFETIME):
        octets, at = tags.read_context(data, at, _LIFETIME)
        lifetime_s = unsigned_in(octets)
    if at != len(data):
        raise DecodeError("octets behind the end of a subscription")
    return Subscription(unsigned_in(process), object_id_in(object_id), confirmed, lifetime_s)


def write_notification(
    process_id: int, device: ObjectId, monitored: ObjectId, time_left_s: int, values: Sequence[tuple[int, bytes]]
) -> bytes:
    """Write the parameters of either notification, of property numbers and their values' tagged octets."""
    listed = b"".join(
        tags.context(_PROPERTY, unsigned_octets(number)) + tags.opening(_VALUE) + value + tags.closing(_VALUE)
        for number, value in values
    )
    return (
        tags.context(_PROCESS, unsigned_octets(process_id))
        + tags.context(_DEVICE, device.packed.to_bytes(4, "big"))
        + tags.context(_MONITORED, monitored.packed.to_bytes(4, "big"))
        + tags.context(_TIME_LEFT, unsigned_octets(time_left_s))
        + tags.opening(_VALUES)
        + listed
        + tags.closing(_VALUES)
    )


@bounded
def read_notification(data: bytes, at: int = 0) -> Notification:
    """Read the parameters of either notification; raises DecodeError.

    Values are found, not decoded: a broken one spoils no other.
    """
    process, at = tags.read_context(data, at, _PROCESS)
    device, at = tags.read_context(data, at, _DEVICE)
    monitored, at = tags.read_context(data, at, _MONITORED)
    time_left, at = tags.read_context(data, at, _TIME_LEFT)
    tag = tags.read_tag(data, at)
    if not tag.opening or tag.number != _VALUES:
        raise DecodeError("a notification without values")
    values, at = _read_values(data, tag.at)
    if at != len(data):
        raise DecodeError("octets behind the end of a notification")
    return Notification(
        unsigned_in(process), object_id_in(device), object_id_in(monitored), unsigned_in(time_left), values
    )


def _read_values(data: bytes, at: int) -> tuple[tuple[Notified, ...], int]:
    """Read BACnetPropertyValues up to the closing tag, and return where it went on to."""
    values: list[Notified] = []
    while True:
        tag = tags.read_tag(data, at)
        if tag.closing:
            if tag.number != _VALUES:
                raise DecodeError("a closing tag without its opening")
            return tuple(values), tag.end
        number, at = tags.read_context(data, at, _PROPERTY)
        index = None
        if tags.is_context(data, at, _INDEX):
            octets, at = tags.read_context(data, at, _INDEX)
            index = unsigned_in(octets)
        tag = tags.read_tag(data, at)
        if not tag.opening or tag.number != _VALUE:
            raise DecodeError("a property without a value")
        end = tags.skip_group(data, tag.at, _VALUE)
        values.append(Notified(unsigned_in(number), index, tag.at, end))
        at = end + 1
        if tags.is_context(data, at, _PRIORITY):
            at = tags.read_context(data, at, _PRIORITY)[1]
