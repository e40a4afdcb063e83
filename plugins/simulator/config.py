"""The options of the simulator plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.validators import integer, ip_address, number, port


@attrs.frozen
class SimulatorConfig:
    """Which building is simulated, how fast its clock runs, and where it listens.

    ``speed`` is building-clock seconds per real second. ``host`` and ``port`` are the UDP address of the virtual
    router; ``network`` is the number of the BACnet network behind it. ``controllers`` are further devices beside the
    building, each with ``points``, of which the share ``changing`` gets another value each second.
    """

    seed: int = 1
    speed: float = 60.0
    host: str = "127.0.0.1"
    port: int = 47809
    network: int = 2001
    controllers: int = 0
    points: int = 100
    changing: float = 0.1


def _ipv4(value: Any) -> str:
    address = ip_address(value)
    if ":" in address:
        raise vol.Invalid("expected an IPv4 address of this machine, such as 127.0.0.1")
    return address


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("seed"): integer(min=0, max=2**32 - 1),
    vol.Optional("speed"): number(min=0.1, max=3600),
    vol.Optional("host"): _ipv4,
    vol.Optional("port"): port,
    vol.Optional("network"): integer(min=1, max=65534),
    vol.Optional("controllers"): integer(min=0, max=10_000),
    vol.Optional("points"): integer(min=1, max=1000),
    vol.Optional("changing"): number(min=0, max=1),
}
