"""What a BBMD is told and asked: its broadcast distribution table and its foreign devices (ASHRAE 135, J.2 to J.5)."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from plugins.bacnet.wire.bvll import BACNET_IP, HEADER, Function, read_function
from plugins.bacnet.wire.errors import DecodeError

_ADDRESS = 6
_ENTRY = 10


class ResultCode(enum.IntEnum):
    """What a BBMD says to a request (J.2.1)."""

    SUCCESSFUL_COMPLETION = 0x0000
    WRITE_BROADCAST_DISTRIBUTION_TABLE_NAK = 0x0010
    READ_BROADCAST_DISTRIBUTION_TABLE_NAK = 0x0020
    REGISTER_FOREIGN_DEVICE_NAK = 0x0030
    READ_FOREIGN_DEVICE_TABLE_NAK = 0x0040
    DELETE_FOREIGN_DEVICE_TABLE_ENTRY_NAK = 0x0050
    DISTRIBUTE_BROADCAST_TO_NETWORK_NAK = 0x0060


class End(NamedTuple):
    """An IPv4 address and a UDP port."""

    ip: str
    port: int


class BdtEntry(NamedTuple):
    """A BBMD; the mask says which part of its address is kept where it is sent to by a directed broadcast (J.4.3.2)."""

    address: End
    mask: str


class FdtEntry(NamedTuple):
    """A foreign device, for how long it registered, and how long it will be kept yet, in seconds (J.5.2.1)."""

    address: End
    ttl_s: int
    remaining_s: int


def write_read_bdt() -> bytes:
    """Write a Read-Broadcast-Distribution-Table (J.2.3)."""
    return _write(Function.READ_BROADCAST_DISTRIBUTION_TABLE)


def write_bdt(entries: Iterable[BdtEntry]) -> bytes:
    """Write a Write-Broadcast-Distribution-Table (J.2.2)."""
    return _write(Function.WRITE_BROADCAST_DISTRIBUTION_TABLE, _bdt_octets(entries))


def write_bdt_ack(entries: Iterable[BdtEntry]) -> bytes:
    """Write the answer that has the table (J.2.4)."""
    return _write(Function.READ_BROADCAST_DISTRIBUTION_TABLE_ACK, _bdt_octets(entries))


def read_bdt(datagram: bytes) -> tuple[BdtEntry, ...]:
    """Read the table out of an answer that has it, or a request to write it; raises DecodeError."""
    _expect(
        datagram,
        Function.READ_BROADCAST_DISTRIBUTION_TABLE_ACK,
        Function.WRITE_BROADCAST_DISTRIBUTION_TABLE,
    )
    return tuple(BdtEntry(_end(datagram, at), _ip(datagram, at + _ADDRESS)) for at in _places(datagram, _ENTRY))


def write_read_fdt() -> bytes:
    """Write a Read-Foreign-Device-Table (J.2.7)."""
    return _write(Function.READ_FOREIGN_DEVICE_TABLE)


def write_fdt_ack(entries: Iterable[FdtEntry]) -> bytes:
    """Write the answer that has the table (J.2.8)."""
    listed = (_end_octets(each.address) + _two(each.ttl_s) + _two(each.remaining_s) for each in entries)
    return _write(Function.READ_FOREIGN_DEVICE_TABLE_ACK, b"".join(listed))


def read_fdt(datagram: bytes) -> tuple[FdtEntry, ...]:
    """Read the table out of an answer to Read-Foreign-Device-Table; raises DecodeError."""
    _expect(datagram, Function.READ_FOREIGN_DEVICE_TABLE_ACK)
    return tuple(
        FdtEntry(_end(datagram, at), _number(datagram, at + _ADDRESS), _number(datagram, at + _ADDRESS + 2))
        for at in _places(datagram, _ENTRY)
    )


def write_delete_foreign(address: End) -> bytes:
    """Write a Delete-Foreign-Device-Table-Entry (J.2.9)."""
    return _write(Function.DELETE_FOREIGN_DEVICE_TABLE_ENTRY, _end_octets(address))


def write_register(ttl_s: int) -> bytes:
    """Write a Register-Foreign-Device, for so many seconds; 0 ends a registration (J.2.6)."""
    return _write(Function.REGISTER_FOREIGN_DEVICE, _two(ttl_s))


def write_result(code: int) -> bytes:
    """Write a BVLC-Result (J.2.1)."""
    return _write(Function.RESULT, _two(code))


def read_result(datagram: bytes) -> int:
    """Read a BVLC-Result's code, one of `ResultCode` or a stranger's; raises DecodeError."""
    _expect(datagram, Function.RESULT)
    if len(datagram) != HEADER + 2:
        raise DecodeError("a result that is no number of two octets")
    return _number(datagram, HEADER)


def _write(function: Function, octets: bytes = b"") -> bytes:
    return bytes((BACNET_IP, function)) + _two(HEADER + len(octets)) + octets


def _expect(datagram: bytes, *functions: Function) -> None:
    found = read_function(datagram)
    if found not in functions:
        raise DecodeError(f"function {found}, not {functions[0].name}")


def _places(datagram: bytes, length: int) -> range:
    if (len(datagram) - HEADER) % length:
        raise DecodeError("the octets end within an entry")
    return range(HEADER, len(datagram), length)


def _bdt_octets(entries: Iterable[BdtEntry]) -> bytes:
    return b"".join(_end_octets(each.address) + ipaddress.IPv4Address(each.mask).packed for each in entries)


def _end_octets(end: End) -> bytes:
    return ipaddress.IPv4Address(end.ip).packed + _two(end.port)


def _end(datagram: bytes, at: int) -> End:
    return End(_ip(datagram, at), _number(datagram, at + 4))


def _ip(datagram: bytes, at: int) -> str:
    return str(ipaddress.IPv4Address(datagram[at : at + 4]))


def _number(datagram: bytes, at: int) -> int:
    return int.from_bytes(datagram[at : at + 2], "big")


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")
