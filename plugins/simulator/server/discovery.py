"""Who-Is and Who-Has, answered for all devices at once (ASHRAE 135, 16.9 and 16.10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plugins.bacnet.wire import primitives, tags, who_is
from plugins.bacnet.wire.apdu import PduType
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.station import Station

_I_HAVE, _WHO_HAS = 1, 7
_LOW, _HIGH, _OBJECT, _NAME = range(4)
_EVERYBODY = (0, NO_INSTANCE)

WHO_HAS = bytes((PduType.UNCONFIRMED_REQUEST << 4, _WHO_HAS))
"""The first two octets of a Who-Has."""


def answers(request: bytes, stations: Iterable[Station]) -> Iterator[tuple[Station, bytes]] | None:
    """Answer a Who-Is or Who-Has for those that it is about; None, where it is neither.

    Raises DecodeError where it makes no sense.
    """
    if request[:2] == who_is.WHO_IS:
        limits = _checked(who_is.read_who_is(request))
        return _i_ams(limits, stations)
    if request[:2] == WHO_HAS:
        limits, wanted = _read_who_has(request)
        return _i_haves(wanted, _within(limits, stations))
    return None


def _checked(limits: tuple[int, int] | None) -> tuple[int, int]:
    if limits is None:
        return _EVERYBODY
    if max(limits) > NO_INSTANCE:
        raise DecodeError("a limit that no device number reaches")
    return limits


def _i_ams(limits: tuple[int, int], stations: Iterable[Station]) -> Iterator[tuple[Station, bytes]]:
    low, high = limits
    return (
        (station, station.i_am(instance))
        for station in stations
        for instance in station.instances
        if low <= instance <= high
    )


def _within(limits: tuple[int, int], stations: Iterable[Station]) -> Iterator[Station]:
    low, high = limits
    return (station for station in stations if low <= station.device.instance <= high)


@bounded
def _read_who_has(data: bytes) -> tuple[tuple[int, int], ObjectId | str]:
    at, limits = len(WHO_HAS), None
    if tags.is_context(data, at, _LOW):
        low, at = tags.read_context(data, at, _LOW)
        high, at = tags.read_context(data, at, _HIGH)
        limits = int.from_bytes(low, "big"), int.from_bytes(high, "big")
    wanted, kind = _OBJECT, Primitive.OBJECT_IDENTIFIER
    if tags.is_context(data, at, _NAME):
        wanted, kind = _NAME, Primitive.CHARACTER_STRING
    octets, at = tags.read_context(data, at, wanted)
    found = primitives.decode(kind, octets)
    if at != len(data) or not isinstance(found, ObjectId | str):
        raise DecodeError("a Who-Has for neither an object id nor a name")
    return _checked(limits), found


def _i_haves(wanted: ObjectId | str, stations: Iterable[Station]) -> Iterator[tuple[Station, bytes]]:
    for station in stations:
        found = _object_of(station, wanted)
        if found is not None:
            yield station, _write_i_have(station.prepared.identifier, *found)


def _object_of(station: Station, wanted: ObjectId | str) -> tuple[ObjectId, str] | None:
    station.refresh()
    device = station.device
    if wanted in (station.prepared.identifier, device.name):
        return station.prepared.identifier, device.name
    if isinstance(wanted, ObjectId):
        data = station.objects.get(wanted.packed)
    else:
        data = next((data for data in device.objects if data.name == wanted), None)
    return None if data is None else (object_id(data), data.name)


def _write_i_have(device: ObjectId, found: ObjectId, name: str) -> bytes:
    return (
        bytes((PduType.UNCONFIRMED_REQUEST << 4, _I_HAVE))
        + primitives.encode_object_id(device)
        + primitives.encode_object_id(found)
        + primitives.encode_character_string(name)
    )
