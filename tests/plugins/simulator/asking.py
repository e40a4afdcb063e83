"""Requests in octets, and both halves of the server to ask: the fast one, and bacpypes3 on its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from bacpypes3.comm import Server, bind
from bacpypes3.pdu import PDU, IPv4Address

from plugins.bacnet.wire import apdu, bvll, read_property, read_property_multiple
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.npdu import Place, write_npdu
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.server.application import DeviceApplication
from plugins.simulator.server.link import stack_on
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.router import VirtualRouter
from plugins.simulator.server.service import mac_of
from plugins.simulator.server.station import Station

NETWORK = 2001
NOON = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)
PRESENT_VALUE = 85


def to(
    device: int | None, message: bytes, *, source: Place | None = None, network: int = NETWORK, reply: bool = True
) -> bytes:
    """Address an APDU to a device; None: to nobody in particular."""
    destination = None if device is None else Place(network, mac_of(device))
    return bvll.unicast(write_npdu(destination=destination, source=source, expects_reply=reply) + message)


def read(ref: Ref, *, invoke_id: int = 1) -> bytes:
    return apdu.write_request(Service.READ_PROPERTY, read_property.write_parameters(ref), invoke_id=invoke_id)


def read_many(refs: Sequence[Ref], *, invoke_id: int = 1) -> bytes:
    parameters = read_property_multiple.write_parameters(refs)
    return apdu.write_request(Service.READ_PROPERTY_MULTIPLE, parameters, invoke_id=invoke_id)


def present_values(device: SimulatedDevice) -> list[Ref]:
    return [Ref(object_id(data), PRESENT_VALUE) for data in device.objects]


def device_id(device: SimulatedDevice) -> ObjectId:
    return ObjectId(8, device.instance)


class SlowHalf(Server):  # type: ignore[misc]
    """bacpypes3 alone: what it answers to a datagram."""

    def __init__(self, devices: Iterable[SimulatedDevice]) -> None:
        super().__init__()
        self._sent: list[bytes] = []
        router = VirtualRouter([NETWORK])
        bind(router, stack_on(self))
        self.awake: list[int] = []
        for device in devices:
            router.plug_in(Station(device, Place(NETWORK, mac_of(device.instance))), self._start)

    async def ask(self, datagram: bytes) -> list[bytes]:
        self._sent.clear()
        await self.response(PDU(datagram, source=IPv4Address("127.0.0.1:47999")))
        return list(self._sent)

    def sent(self) -> list[bytes]:
        """Return what it has sent since it was asked."""
        return list(self._sent)

    async def indication(self, pdu: PDU) -> None:
        self._sent.append(bytes(pdu.pduData))

    def _start(self, port: Any) -> None:
        self.awake.append(port.station.device.instance)
        DeviceApplication(port.station, port, clock=lambda: NOON, written=lambda _data: None)
