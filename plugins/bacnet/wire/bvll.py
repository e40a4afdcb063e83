"""The envelope of BACnet/IP datagrams (ASHRAE 135, annex J)."""

from __future__ import annotations

import enum

from plugins.bacnet.wire.errors import DecodeError

BACNET_IP = 0x81
"""The first octet of each datagram (J.2.1.1)."""

HEADER = 4
"""Octets before what most functions carry."""

_ORIGIN = 6


class Function(enum.IntEnum):
    """What a datagram is for (J.2)."""

    RESULT = 0x00
    WRITE_BROADCAST_DISTRIBUTION_TABLE = 0x01
    READ_BROADCAST_DISTRIBUTION_TABLE = 0x02
    READ_BROADCAST_DISTRIBUTION_TABLE_ACK = 0x03
    FORWARDED_NPDU = 0x04
    REGISTER_FOREIGN_DEVICE = 0x05
    READ_FOREIGN_DEVICE_TABLE = 0x06
    READ_FOREIGN_DEVICE_TABLE_ACK = 0x07
    DELETE_FOREIGN_DEVICE_TABLE_ENTRY = 0x08
    DISTRIBUTE_BROADCAST_TO_NETWORK = 0x09
    ORIGINAL_UNICAST_NPDU = 0x0A
    ORIGINAL_BROADCAST_NPDU = 0x0B


CARRIES_NPDU: dict[int, int] = {
    Function.FORWARDED_NPDU: HEADER + _ORIGIN,
    Function.DISTRIBUTE_BROADCAST_TO_NETWORK: HEADER,
    Function.ORIGINAL_UNICAST_NPDU: HEADER,
    Function.ORIGINAL_BROADCAST_NPDU: HEADER,
}
"""The functions that carry a message of the network layer, and where it begins."""


def unicast(npdu: bytes) -> bytes:
    """Put a message into an envelope for one station."""
    return b"\x81\x0a" + (len(npdu) + HEADER).to_bytes(2, "big") + npdu


def origin(datagram: bytes) -> tuple[str, int]:
    """Return who first sent a Forwarded-NPDU, by IPv4 address and UDP port (J.2.5); raises DecodeError."""
    if len(datagram) < HEADER + _ORIGIN:
        raise DecodeError("the octets end within an address")
    ip = ".".join(str(octet) for octet in datagram[HEADER : HEADER + 4])
    return ip, int.from_bytes(datagram[HEADER + 4 : HEADER + _ORIGIN], "big")


def read_function(datagram: bytes) -> int:
    """Return the function of a datagram; raises DecodeError where it is none of BACnet/IP, or not of its length."""
    if len(datagram) < HEADER or datagram[0] != BACNET_IP:
        raise DecodeError("not a datagram of BACnet/IP")
    if int.from_bytes(datagram[2:4], "big") != len(datagram):
        raise DecodeError(f"a datagram of {len(datagram)} octets that says it has another number of them")
    return datagram[1]
