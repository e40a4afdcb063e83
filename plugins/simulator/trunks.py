"""Field controllers on slow trunks: further networks behind the router, on which one message travels at a time."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from plugins.simulator.controllers import CONTROLLER, make_controller
from plugins.simulator.device import SimulatedDevice

FIRST_ON_TRUNKS = 20001
MOST_ON_A_TRUNK = 127
FIELD_BUS = attrs.evolve(CONTROLLER, model="Field 100 MS", max_apdu=480, segmentation=False)


@attrs.frozen(kw_only=True)
class TrunkOptions:
    """A trunk as the configuration has it: its number, controllers, points of each, and how slow it is.

    ``latency`` is the time in seconds until a controller answers; ``baud`` how fast its answer then travels.
    """

    network: int
    controllers: int = 8
    points: int = 20
    latency: float = 0.02
    baud: int = 38_400


@attrs.frozen(kw_only=True)
class Trunk:
    """A trunk with its devices, whose addresses on it are 1, 2 and so on."""

    network: int
    devices: Sequence[SimulatedDevice]
    latency: float = 0.02
    baud: int = 38_400


def make_trunks(options: Sequence[TrunkOptions]) -> tuple[Trunk, ...]:
    """Make trunks with their controllers, numbered from 20001 on through all of them."""
    trunks, first = [], 0
    for each in options:
        devices = tuple(
            make_controller(FIRST_ON_TRUNKS + n, f"TC-{n + 1:05}", points=each.points, product=FIELD_BUS)
            for n in range(first, first + each.controllers)
        )
        trunks.append(Trunk(network=each.network, devices=devices, latency=each.latency, baud=each.baud))
        first += each.controllers
    return tuple(trunks)
