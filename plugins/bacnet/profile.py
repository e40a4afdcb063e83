"""What has been learned of a device: where it is, what fits its answers, what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from core.plugin import Device
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.planner import SMALLEST_BUDGET, Ref, budget_of
from plugins.bacnet.protocol import IAm
from plugins.bacnet.windows import Window

_PER_DEVICE = 2
_DEFAULT_APDU = 480


@attrs.define
class Budget:
    """How many octets of answer are asked for at once; shrinks when a device says that it was too much."""

    octets: int

    def shrink(self, cost: int) -> None:
        """Ask for half of what an answer of ``cost`` octets was from now on."""
        self.octets = max(min(self.octets, cost) // 2, SMALLEST_BUDGET)


@attrs.define(eq=False)
class Profile:
    """A device as requests see it.

    ``multiple`` says whether it knows ReadPropertyMultiple. ``silent``: it did not answer the last request.
    ``loners`` are properties that make a whole request fail, and are asked for alone. Values and texts have budgets
    of their own, since only the size of values is known beforehand.
    """

    instance: int
    station: Station
    max_apdu: int
    can_segment: bool
    multiple: bool = True
    silent: bool = False
    loners: set[Ref] = attrs.field(factory=set)
    values: Budget = attrs.field()
    texts: Budget = attrs.field()
    window: Window = attrs.field(factory=lambda: Window(_PER_DEVICE))
    window_of_parts: Window = attrs.field(factory=lambda: Window(_PER_DEVICE))

    @values.default
    @texts.default
    def _whole_answer(self) -> Budget:
        return Budget(budget_of(self.max_apdu))

    @property
    def state(self) -> tuple[int, bool, int]:
        """What a plan depends on: a plan made under another state is made anew."""
        return self.values.octets, self.multiple, len(self.loners)


def profile_of(i_am: IAm) -> Profile:
    """Begin with what a device says of itself."""
    return Profile(i_am.instance, i_am.station, i_am.max_apdu, i_am.can_segment)


def attributes_of(profile: Profile) -> dict[str, Any]:
    """Return what finds the device again after a restart, as JSON values."""
    station = profile.station
    return {
        "instance": profile.instance,
        "interface": station.interface,
        "network": station.network,
        "mac": station.mac.hex() or None,
        "max_apdu": profile.max_apdu,
        "segmentation": profile.can_segment,
    }


def restored(device: Device, interface: str) -> Profile:
    """Begin with what the registry kept of a device; raises ValueError where that is not enough to ask it."""
    kept: Mapping[str, Any] = device.attributes
    station = parse_station(device.address, interface=interface)
    instance = int(kept.get("instance", device.id.rpartition(".")[2]))
    return Profile(instance, station, int(kept.get("max_apdu", _DEFAULT_APDU)), bool(kept.get("segmentation")))
