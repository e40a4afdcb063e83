"""Serves devices on a UDP port: whatever devices they are, or a building whose time passes, until told to stop."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import socket
from collections.abc import Callable, Sequence

from bacpypes3.comm import bind

from plugins.simulator.building import FIRST_INSTANCE, Building, make_building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.controllers import Changing
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.physics import Physics
from plugins.simulator.server.application import DeviceApplication
from plugins.simulator.server.fast import FastHalf
from plugins.simulator.server.link import UdpLink, open_socket, stack_on
from plugins.simulator.server.router import Port, VirtualRouter

STEP_S = 1.0
CHANGE_S = 0.1
LONGEST_GAP_S = 5.0

Clock = Callable[[], dt.datetime]


class Service:
    """Serves devices behind a virtual router on an open socket; their values are whoever's business made it.

    ``direct`` is one more device, which stands on the socket's own address: it answers what is sent there without a
    destination network. ``clock`` is the devices' own. A service is made within a running loop, and needs it until
    `close`.
    """

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        opened: socket.socket,
        *,
        network: int,
        direct: SimulatedDevice | None = None,
        clock: Clock | None = None,
    ) -> None:
        logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
        addresses = {mac_of(device.instance): device for device in devices}
        self._clock = clock or functools.partial(dt.datetime.now, dt.UTC)
        self._applications: list[DeviceApplication] = []
        self._link = UdpLink(opened, FastHalf(addresses, network=network, direct=direct).answer)
        router = VirtualRouter(network)
        bind(router, stack_on(self._link))
        for mac, device in addresses.items():
            router.plug_in(mac, functools.partial(self._start, device))
        if direct is not None:
            router.plug_in(None, functools.partial(self._start, direct))

    def check_subscribers(self) -> None:
        """Notify all who subscribed to values that have moved far enough; to be called after values were changed."""
        for application in self._applications:
            application.check_subscribers()

    async def close(self) -> None:
        """Stop, and close the socket."""
        await self._link.close()

    def _start(self, device: SimulatedDevice, port: Port) -> None:
        self._applications.append(DeviceApplication(device, port, clock=self._clock))


def mac_of(instance: int) -> bytes:
    """Return the address of a device on the virtual network: one octet in the building, else its number in more."""
    number = instance - FIRST_INSTANCE + 1
    if 0 < number < 1 << 8:
        return number.to_bytes(1, "big")
    return instance.to_bytes(2 if instance < 1 << 16 else 3, "big")


async def serve(config: SimulatorConfig, *, ready: Callable[[Building], None], stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; ``ready`` is called once the port is open. Raises AddressTaken.

    Where the machine slept, the building misses the time rather than catch up with it.
    """
    opened = open_socket(config.host, config.port)
    building = make_building(config.seed, controllers=config.controllers, points=config.points)
    physics = Physics(building)
    changing = Changing(building.controllers, share=config.changing, seed=config.seed)
    service = Service(building.devices, opened, network=config.network, clock=lambda: physics.site.time)

    def step(seconds: float) -> None:
        physics.step(min(seconds, LONGEST_GAP_S) * config.speed)
        service.check_subscribers()

    try:
        ready(building)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(step, STEP_S, stop))
            if building.controllers:
                tasks.create_task(_repeat(changing.step, CHANGE_S, stop))
    finally:
        await service.close()


async def _repeat(step: Callable[[float], None], interval: float, stop: asyncio.Event) -> None:
    """Call ``step`` with the seconds since the last call, again and again, until ``stop`` is set."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while not await _set_within(stop, interval):
        now = loop.time()
        step(now - last)
        last = now


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
