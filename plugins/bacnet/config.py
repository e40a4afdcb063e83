"""The plugin's section of the configuration: which networks, what to look for, how to poll and write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.validators import boolean, glob, integer, number, text
from plugins.bacnet.addresses import Interface, Station, parse_interface, parse_station, parse_target
from plugins.bacnet.wire.datatypes import NO_INSTANCE

HIGHEST_INSTANCE = NO_INSTANCE - 1
_RANGE = re.compile(r"^(\d{1,7})(?:-(\d{1,7}))?$", re.ASCII)


@attrs.frozen
class OwnDevice:
    """Who we are on the network."""

    instance: int = 599
    name: str = "Plantroom"


@attrs.frozen
class Foreign:
    """A BBMD to register with, and for how many seconds at a time."""

    bbmd: str
    ttl: int = 300

    @property
    def station(self) -> Station:
        return parse_station(self.bbmd)


@attrs.frozen
class Bbmd:
    """That we are a BBMD, and which others there are."""

    peers: tuple[str, ...] = ()

    @property
    def stations(self) -> tuple[Station, ...]:
        return tuple(parse_station(peer) for peer in self.peers)


@attrs.frozen
class Network:
    """One interface of ours, addresses to ask that its broadcasts do not reach, and what we are to other subnets."""

    address: str
    targets: tuple[str, ...] = ()
    foreign: Foreign | None = None
    bbmd: Bbmd | None = None

    @property
    def interface(self) -> Interface:
        return parse_interface(self.address)


@attrs.frozen
class PointRule:
    """How points whose id matches a pattern are had: seconds between polls, or not at all, or by change of value."""

    match: str
    interval: float | None = None
    enabled: bool | None = None
    cov: bool | None = None


@attrs.frozen
class Scan:
    """When to look for devices (seconds between scans, the first at start; None: when asked), and for which."""

    interval: float | None = 3600.0
    instances: tuple[str, ...] = ()


@attrs.frozen
class Cov:
    """How changes of value are subscribed to: for so many seconds at a time, with answers to notifications or without.

    ``verify`` is how many seconds apart the points concerned are polled all the same.
    """

    lifetime: int = 600
    confirmed: bool = True
    verify: float = 300.0


@attrs.frozen
class Write:
    """At which priorities may be written, and at which it is where none is asked for (ASHRAE 135, 19.2.1).

    1 and 2 are for the safety of life, and only for who names them.
    """

    priorities: tuple[int, ...] = tuple(range(3, 17))
    default_priority: int = 16


@attrs.frozen
class BacnetConfig:
    """The whole section; ``interval``, ``timeout`` and ``probe_delay`` are in seconds.

    ``retries`` come on top of the first try; a silent device is tried again after ``probe_delay`` at most.
    """

    networks: tuple[Network, ...]
    device: OwnDevice = OwnDevice()
    interval: float = 10.0
    points: tuple[PointRule, ...] = ()
    scan: Scan = Scan()
    timeout: float = 1.5
    retries: int = 1
    probe_delay: float = 20.0
    write: Write = Write()
    cov: Cov = Cov()


def parse_range(value: int | str) -> tuple[int, int]:
    """Read device numbers, ``2001`` or ``3000-3999``; raises ValueError."""
    match = _RANGE.match(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise ValueError(f"'{value}' is neither a device number nor a range; write 2001 or \"3000-3999\"")
    low, high = int(match[1]), int(match[2] or match[1])
    if not low <= high <= HIGHEST_INSTANCE:
        raise ValueError(f"'{value}' is not a range of device numbers from 0 to {HIGHEST_INSTANCE}")
    return low, high


def _parsed(parse: Callable[[str], object]) -> Callable[[object], str]:
    def check(value: object) -> str:
        given = text(value)
        try:
            parse(given)
        except ValueError as error:
            raise vol.Invalid(str(error)) from error
        return given

    return check


def _range(value: Any) -> str:
    try:
        parse_range(value)
    except ValueError as error:
        raise vol.Invalid(str(error)) from error
    return str(value)


def _networks(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise vol.Invalid("expected a list with at least one network, like [{address: 192.168.1.10/24:47808}]")
    return value


def _one_port_each(networks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ends = [(end.ip, end.port) for end in (parse_interface(network["address"]) for network in networks)]
    if len(set(ends)) < len(ends):
        raise vol.Invalid("two networks have the same address and port")
    return networks


def _allowed_default(write: dict[str, Any]) -> dict[str, Any]:
    allowed = write.get("priorities", Write().priorities)
    default = write.get("default_priority", Write().default_priority)
    if default not in allowed:
        raise vol.Invalid(f"default_priority {default} is not among the priorities that may be written")
    return write


_PRIORITY = integer(min=1, max=16)
_INTERVAL = number(min=0.1, max=86_400)

SCHEMA: Mapping[Any, Any] = {
    vol.Required("networks", msg="missing; write networks: [{address: 192.168.1.10/24:47808}]"): vol.All(
        _networks,
        [
            {
                vol.Required("address"): _parsed(parse_interface),
                "targets": [_parsed(parse_target)],
                vol.Exclusive(
                    "foreign", "foreign or bbmd", msg="a network is registered with a BBMD or is one, not both"
                ): {
                    vol.Required("bbmd"): _parsed(parse_station),
                    "ttl": integer(min=10, max=65_535),
                },
                vol.Exclusive(
                    "bbmd", "foreign or bbmd", msg="a network is registered with a BBMD or is one, not both"
                ): {"peers": [_parsed(parse_station)]},
            }
        ],
        _one_port_each,
    ),
    "device": {"instance": integer(min=0, max=HIGHEST_INSTANCE), "name": text},
    "interval": _INTERVAL,
    "points": [{vol.Required("match"): glob, "interval": _INTERVAL, "enabled": boolean, "cov": boolean}],
    "scan": {"interval": vol.Any(None, number(min=10, max=31 * 86_400)), "instances": [_range]},
    "timeout": number(min=0.05, max=30),
    "retries": integer(min=0, max=10),
    "probe_delay": number(min=1, max=300),
    "cov": {"lifetime": integer(min=300, max=600), "confirmed": boolean, "verify": number(min=10, max=3600)},
    "write": vol.All(
        {"priorities": vol.All([_PRIORITY], vol.Length(min=1)), "default_priority": _PRIORITY}, _allowed_default
    ),
}
