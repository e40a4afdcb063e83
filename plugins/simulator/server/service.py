"""Serves a building on its UDP port, and lets its time pass, until told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bacpypes3.comm import bind

from plugins.simulator.building import FIRST_INSTANCE, Building, make_building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.physics import Physics
from plugins.simulator.server.application import DeviceApplication
from plugins.simulator.server.link import UdpLink, open_socket, stack_on
from plugins.simulator.server.router import VirtualRouter

STEP_S = 1.0
LONGEST_GAP_S = 5.0


async def serve(config: SimulatorConfig, *, ready: Callable[[Building], None], stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; ``ready`` is called once the port is open. Raises AddressTaken.

    Where the machine slept, the building misses the time rather than catch up with it.
    """
    logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
    opened = open_socket(config.host, config.port)
    building = make_building(config.seed)
    physics = Physics(building)
    link = UdpLink(opened)
    try:
        router = VirtualRouter(config.network)
        bind(router, stack_on(link))
        applications = [
            DeviceApplication(
                device,
                router.plug_in((device.instance - FIRST_INSTANCE + 1).to_bytes(1, "big")),
                clock=lambda: physics.site.time,
            )
            for device in building.devices
        ]
        ready(building)
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not await _set_within(stop, STEP_S):
            now = loop.time()
            physics.step(min(now - last, LONGEST_GAP_S) * config.speed)
            last = now
            for application in applications:
                application.check_subscribers()
    finally:
        await link.close()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
