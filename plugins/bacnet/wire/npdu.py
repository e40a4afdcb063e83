"""The network layer's header: where a message comes from and where it goes (ASHRAE 135, 6.2)."""

from __future__ import annotations

from typing import NamedTuple

from plugins.bacnet.wire.errors import DecodeError, bounded

VERSION = 1
GLOBAL_NETWORK = 0xFFFF
MOST_HOPS = 255

NETWORK_MESSAGE = 0x80
"""The bit of the control octet that says: not for the application layer (6.2.2)."""

HAS_DESTINATION = 0x20
HAS_SOURCE = 0x08
EXPECTS_REPLY = 0x04

_NETWORK = 2


class Place(NamedTuple):
    """A station, by the number of its network and its address there; an empty address: all stations there."""

    network: int
    mac: bytes


class Npdu(NamedTuple):
    """A header: no destination is this network, no source the sender itself; ``at`` is where the message begins."""

    control: int
    destination: Place | None
    source: Place | None
    hops: int
    at: int

    @property
    def for_application(self) -> bool:
        """Whether an APDU follows."""
        return not self.control & NETWORK_MESSAGE


@bounded
def read_npdu(data: bytes, at: int = 0) -> Npdu:
    """Read the header that stands at an index; raises DecodeError."""
    if data[at] != VERSION:
        raise DecodeError(f"version {data[at]} of the network protocol")
    control = data[at + 1]
    at += 2
    destination = source = None
    hops = MOST_HOPS
    if control & HAS_DESTINATION:
        destination, at = _read_place(data, at)
    if control & HAS_SOURCE:
        source, at = _read_place(data, at)
        if not source.mac or source.network == GLOBAL_NETWORK:
            raise DecodeError("a source that is no station")
    if control & HAS_DESTINATION:
        hops = data[at]
        at += 1
    return Npdu(control, destination, source, hops, at)


def write_npdu(
    *, destination: Place | None = None, source: Place | None = None, expects_reply: bool = False, hops: int = MOST_HOPS
) -> bytes:
    """Write the header of a message for the application layer."""
    control = EXPECTS_REPLY if expects_reply else 0
    places = b""
    if destination is not None:
        control |= HAS_DESTINATION
        places += _write_place(destination)
    if source is not None:
        control |= HAS_SOURCE
        places += _write_place(source)
    if destination is not None:
        places += bytes((hops,))
    return bytes((VERSION, control)) + places


def _read_place(data: bytes, at: int) -> tuple[Place, int]:
    length = data[at + _NETWORK]
    start = at + _NETWORK + 1
    mac = data[start : start + length]
    if len(mac) != length:
        raise DecodeError("the octets end within an address")
    return Place(data[at] << 8 | data[at + 1], mac), start + length


def _write_place(place: Place) -> bytes:
    return place.network.to_bytes(2, "big") + bytes((len(place.mac),)) + place.mac
