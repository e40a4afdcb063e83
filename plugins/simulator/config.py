"""The options of the simulator plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.errors import Invalid
from core.validators import integer, ip_address, number, port
from plugins.simulator.faults import Fault, read_fault
from plugins.simulator.trunks import MOST_ON_A_TRUNK, TrunkOptions


@attrs.frozen
class SimulatorConfig:
    """Which building is simulated, how fast its clock runs, and where it listens.

    ``speed`` is building-clock seconds per real second. ``host`` and ``port`` are the UDP address of the virtual
    router; ``network`` is the number of the BACnet network behind it. ``controllers`` are further devices beside the
    building, each with ``points``, of which the share ``changing`` gets another value each second. ``trunks`` are
    slow networks with controllers of their own, ``faults`` what goes wrong from the start.
    """

    seed: int = 1
    speed: float = 60.0
    host: str = "127.0.0.1"
    port: int = 47809
    network: int = 2001
    controllers: int = 0
    points: int = 100
    changing: float = 0.1
    trunks: tuple[TrunkOptions, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __attrs_post_init__(self) -> None:
        numbers = [self.network, *(trunk.network for trunk in self.trunks)]
        twice = next((number for number in numbers if numbers.count(number) > 1), None)
        if twice is not None:
            raise ValueError(f"network {twice} is there twice: give each trunk a number of its own")


def _ipv4(value: Any) -> str:
    address = ip_address(value)
    if ":" in address:
        raise vol.Invalid("expected an IPv4 address of this machine, such as 127.0.0.1")
    return address


def _fault(value: Any) -> Fault:
    """Take a fault, by the same checks as through REST."""
    try:
        return read_fault(value)
    except Invalid as invalid:
        problems = [
            vol.Invalid(fault.message, path=[] if fault.field == "body" else [fault.field.partition(".")[0]])
            for fault in invalid.errors
        ]
        raise vol.MultipleInvalid(problems) from invalid


_NETWORK = integer(min=1, max=65534)
_TRUNK: Mapping[Any, Any] = {
    vol.Required("network"): _NETWORK,
    vol.Optional("controllers"): integer(min=1, max=MOST_ON_A_TRUNK),
    vol.Optional("points"): integer(min=1, max=1000),
    vol.Optional("latency"): number(min=0, max=10),
    vol.Optional("baud"): integer(min=1200, max=10_000_000),
}

SCHEMA: Mapping[Any, Any] = {
    vol.Optional("seed"): integer(min=0, max=2**32 - 1),
    vol.Optional("speed"): number(min=0.1, max=3600),
    vol.Optional("host"): _ipv4,
    vol.Optional("port"): port,
    vol.Optional("network"): _NETWORK,
    vol.Optional("controllers"): integer(min=0, max=10_000),
    vol.Optional("points"): integer(min=1, max=1000),
    vol.Optional("changing"): number(min=0, max=1),
    vol.Optional("trunks"): vol.All([_TRUNK], vol.Length(max=64, msg="there can be 64 trunks at most")),
    vol.Optional("faults"): [_fault],
}
