"""What can be done with a service from outside its process: set faults, restart a device, look at devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plugins.bacnet.wire.npdu import Place
from plugins.simulator.faults import read_fault
from plugins.simulator.server.service import Service
from plugins.simulator.server.station import Station


def actions_on(service: Service) -> Mapping[str, Callable[..., Any]]:
    """Return what can be done, by name; arguments and results are plain data."""

    def afflict(faults: Sequence[Mapping[str, Any]]) -> None:
        service.afflict([read_fault(each) for each in faults])

    def reboot(instance: int, *, seconds: float, forget_commands: bool) -> bool:
        try:
            service.reboot(instance, seconds=seconds, forget_commands=forget_commands)
        except KeyError:
            return False
        return True

    def devices(*, after: int, limit: int) -> Mapping[str, Any]:
        found = sorted((each for each in service.stations if each.device.instance > after), key=_instance)
        return {"items": [_told(service, each) for each in found[:limit]], "more": len(found) > limit}

    def device(instance: int) -> Mapping[str, Any] | None:
        found = next((each for each in service.stations if each.device.instance == instance), None)
        return None if found is None else _told(service, found)

    return {"afflict": afflict, "reboot": reboot, "devices": devices, "device": device}


def _instance(station: Station) -> int:
    return station.device.instance


def _told(service: Service, station: Station) -> Mapping[str, Any]:
    product, place = station.quirks.product, station.address or Place(0, b"")
    return {
        "instance": station.device.instance,
        "name": station.device.name,
        "vendor": product.vendor,
        "model": product.model,
        "network": place.network,
        "address": place.mac.hex(),
        "max_apdu": product.max_apdu,
        "segmentation": product.segmentation,
        "objects": len(station.device.objects),
        "subscriptions": service.subscriptions(station.device.instance),
        "restarting": station.down,
    }
