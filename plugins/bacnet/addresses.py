"""Where we and the devices are on a BACnet/IP network, as data and as text."""

from __future__ import annotations

import ipaddress
import re

import attrs

DEFAULT_PORT = 47808
DEFAULT_PREFIX = 24
LOOPBACK_PREFIX = 8

ALL_STATIONS = "*"

_EVERYBODY = ipaddress.IPv4Address("255.255.255.255")

_STATION = re.compile(r"^(?:(?P<net>\d+):(?P<mac>\d{1,3}|0x[0-9a-fA-F]+|\*)@)?(?P<ip>[0-9.]+)(?::(?P<port>\d+))?$")


@attrs.frozen
class Interface:
    """An address of this machine, with its network's prefix length and our UDP port on it."""

    ip: str
    prefix: int
    port: int

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The subnet that the interface is on."""
        return ipaddress.IPv4Network(f"{self.ip}/{self.prefix}", strict=False)

    @property
    def broadcast(self) -> str | None:
        """The address that reaches the whole subnet; None where the prefix leaves no room for one."""
        return str(self.network.broadcast_address) if self.prefix < 31 else None

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}:{self.port}"


@attrs.frozen
class Station:
    """A device's address: an IP address and UDP port, and behind a router also its network and MAC there.

    ``interface`` is the text of the interface of ours that reaches it. A network without MAC stands for all devices
    there, which a router reaches by a directed broadcast.
    """

    interface: str
    ip: str
    port: int
    network: int | None = None
    mac: bytes = b""

    @property
    def place(self) -> Station:
        """Where it is, whichever of our interfaces reaches it."""
        return attrs.evolve(self, interface="")

    @property
    def is_single(self) -> bool:
        """Whether one device can be there: a broadcast or no address at all is nobody's, whoever gives it as theirs."""
        behind = self.network is None or (0 < self.network < 0xFFFF and bool(self.mac))
        return behind and self.port > 0 and _is_single(ipaddress.IPv4Address(self.ip))

    @property
    def router(self) -> Station | None:
        """The router that the device is behind, if it is."""
        return None if self.network is None else Station(self.interface, self.ip, self.port)

    def __str__(self) -> str:
        if self.network is None:
            return f"{self.ip}:{self.port}"
        mac = str(self.mac[0]) if len(self.mac) == 1 else "0x" + self.mac.hex() if self.mac else ALL_STATIONS
        return f"{self.network}:{mac}@{self.ip}:{self.port}"


def parse_interface(text: str) -> Interface:
    """Read ``192.168.1.10/24:47808``; the prefix is 24 (8 on 127.x) and the port 47808 unless given.

    Raises ValueError with a sentence that says what is wrong.
    """
    address, _, port = text.partition(":")
    ip, _, prefix = address.partition("/")
    _check_ip(ip, "192.168.1.10/24:47808")
    default = LOOPBACK_PREFIX if ip.startswith("127.") else DEFAULT_PREFIX
    if prefix and not (prefix.isascii() and prefix.isdigit() and 8 <= int(prefix) <= 32):
        raise ValueError(f"'{prefix}' is not a prefix length from 8 to 32")
    return Interface(ip, int(prefix) if prefix else default, _port(port))


def parse_station(text: str, *, interface: str = "") -> Station:
    """Read ``10.0.5.7:47808`` or, behind a router, ``2001:5@10.0.5.7:47808``; raises ValueError."""
    station = parse_target(text, interface=interface)
    if station.network is not None and not station.mac:
        raise ValueError(f"'{text}' names a whole network, not one device on it")
    return station


def parse_target(text: str, *, interface: str = "") -> Station:
    """Read what `parse_station` does, or all devices of a network, ``2001:*@10.0.5.7:47808``; raises ValueError."""
    match = _STATION.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not an address; write it like 10.0.5.7:47808")
    _check_ip(match["ip"], "10.0.5.7:47808")
    port = _port(match["port"] or "")
    if match["net"] is None:
        return Station(interface, match["ip"], port)
    network = int(match["net"])
    if not 0 < network < 0xFFFF:
        raise ValueError(f"'{network}' is not a network number from 1 to 65534")
    mac = b"" if match["mac"] == ALL_STATIONS else _mac(match["mac"])
    return Station(interface, match["ip"], port, network, mac)


def _mac(text: str) -> bytes:
    try:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else bytes([int(text)])
    except ValueError:
        raise ValueError(f"'{text}' is not a MAC address; write 0 to 255, or 0x and pairs of hex digits") from None


def _check_ip(text: str, example: str) -> None:
    try:
        address = ipaddress.IPv4Address(text)
    except ipaddress.AddressValueError:
        raise ValueError(f"'{text}' is not an IPv4 address; write it like {example}") from None
    if not _is_single(address):
        raise ValueError(f"'{text}' names no single machine; write it like {example}")


def _is_single(address: ipaddress.IPv4Address) -> bool:
    return not (address.is_unspecified or address.is_multicast or address == _EVERYBODY)


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(f"'{text}' is not a UDP port from 1 to 65535")
    return int(text)
