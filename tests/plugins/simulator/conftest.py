"""A simulated building on a free loopback port, and a BACnet client of somebody else's making to ask it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bacpypes3.apdu import ErrorRejectAbortNack, WhoIsRequest
from bacpypes3.app import Application
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address
from bacpypes3.primitivedata import Null

from core.clock import SystemClock
from core.defaults import in_memory_services
from core.events import EventBus
from core.plugin import Context, logger
from plugins.simulator.building import Building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.server.service import serve
from plugins.simulator.testing import simulate  # noqa: F401 - a fixture, also where its entry point is not installed

LONGEST_S = 20.0


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = LONGEST_S) -> None:
    """Wait until a condition holds, asking it again and again."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


class Client(Application):
    """bacpypes3 as a client; `found` has the last I-Am of each device."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.found: dict[int, Any] = {}
        self.server = ""

    async def do_IAmRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        self.found[apdu.iAmDeviceIdentifier[1]] = apdu

    async def who_is_there(
        self, low: int | None = None, high: int | None = None, *, destination: Any = None, expected: int = 29
    ) -> set[int]:
        """Ask by unicast without a network, unless told otherwise; wait for so many answers."""
        self.found.clear()
        request = WhoIsRequest(destination=destination or Address(self.server))
        request.deviceInstanceRangeLowLimit, request.deviceInstanceRangeHighLimit = low, high
        self.request(request)

        async def all_there() -> bool:
            return len(self.found) >= expected

        await until(all_there)
        return set(self.found)

    def address(self, device: int) -> Any:
        return self.found[device].pduSource

    async def read(self, device: int, reference: str, name: str = "present-value") -> Any:
        async with asyncio.timeout(LONGEST_S):
            try:
                return await self.read_property(self.address(device), reference, name)
            except ErrorRejectAbortNack as refusal:
                return refusal

    async def write(
        self, device: int, reference: str, value: Any, *, priority: int | None = None, name: str = ""
    ) -> Any:
        async with asyncio.timeout(LONGEST_S):
            value = Null(()) if value is None else value
            try:
                return await self.write_property(
                    self.address(device), reference, name or "present-value", value, priority=priority
                )
            except ErrorRejectAbortNack as refusal:
                return refusal

    async def read_many(self, device: int, *specifications: Any) -> Any:
        async with asyncio.timeout(LONGEST_S):
            try:
                return await self.read_property_multiple(self.address(device), list(specifications))
            except ErrorRejectAbortNack as refusal:
                return refusal


@asynccontextmanager
async def bacnet_client(server_port: int, *, max_apdu: int = 1476) -> AsyncIterator[Client]:
    client = Client.from_object_list(
        [DeviceObject(objectIdentifier=("device", 599), objectName="Test client", maxApduLengthAccepted=max_apdu)]
    )
    own = IPv4Address(f"127.0.0.1:{free_port()}")
    link = NormalLinkLayer(own)
    client.nsap.bind(link, address=own)
    client.server = f"127.0.0.1:{server_port}"
    await link.server._local_transport_ready.wait()
    try:
        yield client
    finally:
        link.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def served(config: SimulatorConfig) -> AsyncIterator[Building]:
    """Serve a building in this process."""
    stop = asyncio.Event()
    ready: asyncio.Future[Building] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(config, ready=ready.set_result, stop=stop))
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=LONGEST_S)
        if task.done():
            task.result()
        yield ready.result()
    finally:
        stop.set()
        await asyncio.wait({task})


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def building(port: int) -> AsyncIterator[Building]:
    async with served(SimulatorConfig(port=port)) as building:
        yield building


@pytest.fixture
async def client(building: Building, port: int) -> AsyncIterator[Client]:
    async with bacnet_client(port) as client:
        await client.who_is_there()
        yield client


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(
        name="simulator",
        log=logger("simulator"),
        clock=SystemClock(),
        services=in_memory_services(SystemClock()),
        events=EventBus(),
        store=None,  # type: ignore[arg-type]
        commands=None,  # type: ignore[arg-type]
        data_dir=tmp_path,
        publish=lambda _polled: None,
        seen=lambda _device: None,
    )
