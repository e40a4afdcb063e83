"""Serves devices on a UDP port: whatever devices they are, or a building whose time passes, until told to stop."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import socket
from collections.abc import Callable, Sequence
from random import Random

from bacpypes3.comm import bind

from plugins.bacnet.wire.npdu import Place
from plugins.simulator.building import FIRST_INSTANCE, Building, make_building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.controllers import Changing
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.faults import Fault
from plugins.simulator.physics import Physics
from plugins.simulator.server.application import DeviceApplication
from plugins.simulator.server.bus import Bus
from plugins.simulator.server.exchange import Exchange
from plugins.simulator.server.fast import FastHalf
from plugins.simulator.server.link import UdpLink, open_socket, stack_on
from plugins.simulator.server.router import Port, VirtualRouter
from plugins.simulator.server.station import Station
from plugins.simulator.server.stations import Stations
from plugins.simulator.server.timer import Timer
from plugins.simulator.trunks import Trunk

STEP_S = 1.0
CHANGE_S = 0.1
LONGEST_GAP_S = 5.0

Clock = Callable[[], dt.datetime]


class Service:
    """Serves devices behind a virtual router on an open socket; their values are whoever's business made it.

    ``direct`` is one more device, which stands on the socket's own address: it answers what is sent there without a
    destination network. ``trunks`` are further networks. ``clock`` is the devices' own, ``timer`` what delays and
    subscriptions go by, ``seed`` decides what happens by chance. A service is made within a running loop, and needs it
    until `close`. Objects may be added to devices and removed at any time.
    """

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        opened: socket.socket,
        *,
        network: int,
        direct: SimulatedDevice | None = None,
        trunks: Sequence[Trunk] = (),
        clock: Clock | None = None,
        timer: Timer | None = None,
        seed: int = 1,
    ) -> None:
        logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
        self._clock = clock or functools.partial(dt.datetime.now, dt.UTC)
        self._seed = seed
        self._applications: dict[Station, DeviceApplication] = {}
        timer = timer or asyncio.get_running_loop()
        self.stations = stand(devices, network=network, direct=direct, trunks=trunks, timer=timer)
        self._by_instance = {station.device.instance: station for station in self.stations}
        self._fast = FastHalf(self.stations)
        self._link = UdpLink(opened, self._fast.answer)
        self._exchange = Exchange(self.stations, self._fast, self._link, timer=timer)
        self._link.pass_by(arrive=self._exchange.arrive, depart=self._exchange.depart)
        router = VirtualRouter(self.stations.networks)
        bind(router, stack_on(self._link))
        for station in self.stations:
            router.plug_in(station, self._start)

    @property
    def received(self) -> int:
        """How many datagrams have come."""
        return self._link.received

    def station(self, instance: int) -> Station:
        """Return a device with what is the matter with it, by its number; raises KeyError."""
        return self._by_instance[instance]

    def afflict(self, faults: Sequence[Fault]) -> None:
        """Let these go wrong from now on, and nothing else."""
        for station in self.stations:
            own = tuple(fault for fault in faults if fault.concerns(station.device.instance))
            if own != station.faults:
                station.afflict(own, Random(f"{self._seed}/faults/{station.device.instance}"))
        self._fast.review()

    def reboot(self, instance: int, *, seconds: float, forget_commands: bool = False) -> None:
        """Start a device anew: it is away for so long, then tells all who have asked lately; raises KeyError.

        It loses its subscriptions and, where that is wanted, what stands in its priority arrays.
        """
        station = self.station(instance)
        if forget_commands:
            for data in station.device.objects:
                data.forget_commands()
        self._exchange.restart(station, seconds=seconds)

    def subscriptions(self, instance: int) -> int:
        """Say how many subscriptions a device has; raises KeyError."""
        return self._exchange.cov.count(self.station(instance))

    def check_subscribers(self) -> None:
        """Notify all who subscribed to values that have moved far enough; to be called after values were changed."""
        self._exchange.check()

    async def close(self) -> None:
        """Stop, and close the socket."""
        self._exchange.close()
        await self._link.close()

    def _start(self, port: Port) -> None:
        station = port.station

        def clock() -> dt.datetime:
            return self._clock() + dt.timedelta(seconds=station.quirks.clock_s)

        self._applications[station] = DeviceApplication(station, port, clock=clock, written=self._exchange.check)


def stand(
    devices: Sequence[SimulatedDevice],
    *,
    network: int,
    direct: SimulatedDevice | None = None,
    trunks: Sequence[Trunk] = (),
    timer: Timer,
) -> Stations:
    """Give each device its place: on the network, on the port itself, or on a trunk."""
    stations = [Station(device, Place(network, mac_of(device.instance))) for device in devices]
    if direct is not None:
        stations.append(Station(direct, None))
    buses = [Bus(trunk.network, latency=trunk.latency, baud=trunk.baud, timer=timer) for trunk in trunks]
    for trunk, bus in zip(trunks, buses, strict=True):
        stations += [
            Station(device, Place(trunk.network, bytes((mac,))), bus=bus) for mac, device in enumerate(trunk.devices, 1)
        ]
    return Stations(stations, networks=(network, *(trunk.network for trunk in trunks)), buses=buses)


def mac_of(instance: int) -> bytes:
    """Return the address of a device on the virtual network: one octet in the building, else its number in more."""
    number = instance - FIRST_INSTANCE + 1
    if 0 < number < 1 << 8:
        return number.to_bytes(1, "big")
    return instance.to_bytes(2 if instance < 1 << 16 else 3, "big")


async def serve(
    config: SimulatorConfig,
    *,
    ready: Callable[[Building], None],
    stop: asyncio.Event,
    opened: Callable[[Service], None] = lambda _service: None,
) -> None:
    """Serve a building until ``stop`` is set. Raises AddressTaken.

    ``opened`` gets the service once the port is open, and then ``ready`` the building.

    Where the machine slept, the building misses the time rather than catch up with it.
    """
    own = open_socket(config.host, config.port)
    building = make_building(config.seed, controllers=config.controllers, points=config.points, trunks=config.trunks)
    physics = Physics(building)
    field = [*building.controllers, *building.on_trunks]
    changing = Changing(field, share=config.changing, seed=config.seed)
    service = Service(
        building.on_own_network,
        own,
        network=config.network,
        trunks=building.trunks,
        clock=lambda: physics.site.time,
        seed=config.seed,
    )
    service.afflict(config.faults)

    def step(seconds: float) -> None:
        physics.step(min(seconds, LONGEST_GAP_S) * config.speed)
        service.check_subscribers()

    try:
        opened(service)
        ready(building)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(step, STEP_S, stop))
            if field:
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
