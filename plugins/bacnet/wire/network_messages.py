"""The network layer's own messages: which routers lead where, and which number a network has (ASHRAE 135, 6.4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple

from plugins.bacnet.wire import npdu
from plugins.bacnet.wire.errors import DecodeError, bounded

_NETWORK = 2
_HEADER = bytes((npdu.VERSION, npdu.NETWORK_MESSAGE))


class MessageType(enum.IntEnum):
    """The messages that this package reads and writes (6.2.4)."""

    WHO_IS_ROUTER_TO_NETWORK = 0x00
    I_AM_ROUTER_TO_NETWORK = 0x01
    REJECT_MESSAGE_TO_NETWORK = 0x03
    WHAT_IS_NETWORK_NUMBER = 0x12
    NETWORK_NUMBER_IS = 0x13


class NetworkNumber(NamedTuple):
    """The number of the network that it was heard on, and whether somebody configured it or it was learned (6.4.20)."""

    network: int
    configured: bool


class Rejection(NamedTuple):
    """Why a router could not hand a message on, and to which network (6.4.4)."""

    reason: int
    network: int


def write_who_is_router(network: int | None = None) -> bytes:
    """Write a Who-Is-Router-To-Network, for one network or all (6.4.1)."""
    wanted = b"" if network is None else network.to_bytes(_NETWORK, "big")
    return _HEADER + bytes((MessageType.WHO_IS_ROUTER_TO_NETWORK,)) + wanted


@bounded
def read_who_is_router(data: bytes, at: int) -> int | None:
    """Read which network is asked for, None for all; ``at`` is where the header ends. Raises DecodeError."""
    at = _begin(data, at, MessageType.WHO_IS_ROUTER_TO_NETWORK)
    return None if at == len(data) else _only(data, at)


def write_i_am_router(networks: Iterable[int]) -> bytes:
    """Write an I-Am-Router-To-Network (6.4.2)."""
    listed = b"".join(network.to_bytes(_NETWORK, "big") for network in networks)
    return _HEADER + bytes((MessageType.I_AM_ROUTER_TO_NETWORK,)) + listed


@bounded
def read_i_am_router(data: bytes, at: int) -> tuple[int, ...]:
    """Read which networks a router leads to; ``at`` is where the header ends. Raises DecodeError."""
    at = _begin(data, at, MessageType.I_AM_ROUTER_TO_NETWORK)
    if (len(data) - at) % _NETWORK:
        raise DecodeError("the octets end within a network number")
    return tuple(data[index] << 8 | data[index + 1] for index in range(at, len(data), _NETWORK))


@bounded
def read_rejection(data: bytes, at: int) -> Rejection:
    """Read a Reject-Message-To-Network; ``at`` is where the header ends. Raises DecodeError."""
    at = _begin(data, at, MessageType.REJECT_MESSAGE_TO_NETWORK)
    return Rejection(data[at], _only(data, at + 1))


def write_what_is_number() -> bytes:
    """Write a What-Is-Network-Number (6.4.19)."""
    return _HEADER + bytes((MessageType.WHAT_IS_NETWORK_NUMBER,))


def write_number_is(number: NetworkNumber) -> bytes:
    """Write a Network-Number-Is (6.4.20)."""
    octets = number.network.to_bytes(_NETWORK, "big") + bytes((number.configured,))
    return _HEADER + bytes((MessageType.NETWORK_NUMBER_IS,)) + octets


@bounded
def read_number_is(data: bytes, at: int) -> NetworkNumber:
    """Read a Network-Number-Is; ``at`` is where the header ends. Raises DecodeError."""
    at = _begin(data, at, MessageType.NETWORK_NUMBER_IS)
    if len(data) != at + _NETWORK + 1:
        raise DecodeError("not a network number and how it is known")
    # The standard has 0 and 1, bacpypes3 says 3 for a number that somebody configured.
    return NetworkNumber(data[at] << 8 | data[at + 1], bool(data[at + _NETWORK]))


def _begin(data: bytes, at: int, kind: MessageType) -> int:
    if data[at] != kind:
        raise DecodeError(f"a message of type {data[at]}, not {int(kind)}")
    return at + 1


def _only(data: bytes, at: int) -> int:
    if len(data) != at + _NETWORK:
        raise DecodeError("not one network number")
    return data[at] << 8 | data[at + 1]
