"""BACnet equipment on loopback addresses over real UDP, with the faults that real equipment has."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import tempfile
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
from bacpypes3.apdu import AbortPDU, AbortReason, ComplexAckPDU, ConfirmedRequestPDU, IAmRequest
from bacpypes3.app import Application
from bacpypes3.basetypes import Segmentation
from bacpypes3.comm import bind
from bacpypes3.errors import ExecutionError, UnrecognizedService
from bacpypes3.ipv4.bvll import BVLLCodec
from bacpypes3.ipv4.service import BIPBBMD, BIPNormal, UDPMultiplexer
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.object import Object
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address, LocalBroadcast, LocalStation
from bacpypes3.vlan import VirtualNetwork, VirtualNode

from core.clock import Clock, SystemClock
from core.defaults import in_memory_services
from core.errors import DeviceNotFound
from core.events import EventBus
from core.model import Device, Inventory, Point
from core.plugin import Context, PointGroup, Reason, ScanRequest, logger
from core.readings import ReadingBatch
from core.storage import open_storage
from plugins.bacnet import BacnetPlugin
from plugins.bacnet.addresses import parse_interface
from plugins.bacnet.config import BacnetConfig, Bbmd, Foreign, Network
from plugins.bacnet.link import Link

REAL_TIME = SystemClock()
OK = {"statusFlags": [0, 0, 0, 0], "eventState": "normal", "outOfService": False}


class Equipment(Application):
    """A bacpypes3 device that can be told to misbehave."""

    knows_multiple = True
    mute = False
    deaf = False
    chokes_on: int | None = None
    hangs_on: int | None = None
    hangs_beyond: int | None = None
    requests = 0
    multiples = 0
    aborts = 0
    unplug: Callable[[], Awaitable[None]]

    def stop_timers(self) -> None:
        for transaction in [*self.asap.clientTransactions, *self.asap.serverTransactions]:
            transaction.stop_timer()

    async def indication(self, apdu: Any) -> None:
        if isinstance(apdu, ConfirmedRequestPDU):
            self.requests += 1
            if self.mute:
                return
        elif self.deaf:
            return
        await super().indication(apdu)

    def says_i_am(self, instance: int) -> None:
        """Broadcast an I-Am for a number, its own or not."""
        i_am = IAmRequest(
            iAmDeviceIdentifier=("device", instance),
            maxAPDULengthAccepted=1476,
            segmentationSupported="no-segmentation",
            vendorID=999,
            destination=LocalBroadcast(),
        )
        self.request(i_am)

    async def response(self, apdu: Any) -> None:
        """Keep to our own APDU length too; bacpypes3 minds only the client's."""
        device = self.device_object
        if device.segmentationSupported == Segmentation.noSegmentation and isinstance(apdu, ComplexAckPDU):
            apdu = self._short_enough(apdu, device.maxApduLengthAccepted)
        await super().response(apdu)

    def _short_enough(self, apdu: Any, longest: int) -> Any:
        if len(apdu.encode().pduData) + 3 <= longest:
            return apdu
        self.aborts += 1
        abort = AbortPDU(True, apdu.apduInvokeID, AbortReason.segmentationNotSupported)
        abort.pduDestination = apdu.pduDestination
        return abort

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 finds it by this name
        self.multiples += 1
        if not self.knows_multiple:
            raise UnrecognizedService
        instances = [int(item.objectIdentifier[1]) for item in apdu.listOfReadAccessSpecs]
        if self.hangs_on in instances or (self.hangs_beyond is not None and len(instances) > self.hangs_beyond):
            return
        if self.chokes_on in instances:
            raise ExecutionError(errorClass="object", errorCode="unknownObject")
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - as above
        if int(apdu.objectIdentifier[1]) == self.hangs_on:
            return
        await super().do_ReadPropertyRequest(apdu)


def device_object(instance: int, **fields: Any) -> DeviceObject:
    about = {"objectName": f"device-{instance}", "vendorName": "Test Works", "modelName": "T-1"}
    return DeviceObject(
        objectIdentifier=("device", instance),
        maxSegmentsAccepted=64,
        apduTimeout=500,
        numberOfApduRetries=0,
        **(about | {"maxApduLengthAccepted": 1476, "vendorIdentifier": 999} | fields),
    )


def analog_input(number: int, value: float = 21.5, **fields: Any) -> AnalogInputObject:
    return AnalogInputObject(
        objectIdentifier=("analog-input", number),
        **(OK | {"objectName": f"ai-{number}", "presentValue": value, "units": "degrees-celsius"} | fields),
        covIncrement=0.1,
    )


def analog_output(number: int, value: float = 10.0, **fields: Any) -> AnalogOutputObject:
    return AnalogOutputObject(
        objectIdentifier=("analog-output", number),
        **(
            OK
            | {"objectName": f"ao-{number}", "presentValue": value, "relinquishDefault": value, "units": "percent"}
            | fields
        ),
        covIncrement=0.1,
    )


def plain(base: type, kind: str, value: Any, *, number: int = 1, **fields: Any) -> Any:
    """Make an object of any type, without the algorithms that some of bacpypes3's local ones have."""
    made = type("Plain", (Object, base), {})
    flags = {"statusFlags": [0, 0, 0, 0]}
    return made(objectIdentifier=(kind, number), objectName=f"{kind}-{number}", presentValue=value, **(flags | fields))


def ip_end(link: Link, end: Any) -> Any:
    """Put BACnet/IP's layers on a link."""
    multiplexer = UDPMultiplexer()
    bind(end, BVLLCodec(), multiplexer.annexJ)
    bind(multiplexer, link)
    return end


class Bench:
    """Makes equipment, and takes it down again at the end of the test."""

    analog_input = staticmethod(analog_input)
    analog_output = staticmethod(analog_output)
    plain = staticmethod(plain)
    ok = OK

    def __init__(self) -> None:
        self.exit = contextlib.AsyncExitStack()

    def link(self, address: str) -> Link:
        """Open a link on an address."""
        link = Link(parse_interface(address), option="the test's address")
        link.open()
        self.exit.push_async_callback(link.close)
        return link

    def device(
        self, address: str, instance: int, objects: Iterable[Any] = (), *, end: Any = None, **fields: Any
    ) -> Equipment:
        """Put a device on an address of its own."""
        equipment = self._equipment(instance, objects, fields)
        link = self.link(address)
        here = IPv4Address((link.interface.ip, link.interface.port))
        equipment.nsap.bind(ip_end(link, end or BIPNormal()), None, here)
        equipment.unplug = link.close
        return equipment

    def router(
        self, address: str, network: int, instances: Sequence[int], objects: Callable[[], Iterable[Any]] = tuple
    ) -> tuple[Link, list[Equipment]]:
        """Put a router on an address, with devices behind it on a virtual network; their MACs count from 1."""
        link = self.link(address)
        name = f"{address} {network}"
        VirtualNetwork(name)
        self.exit.callback(VirtualNetwork._networks.pop, name)
        router = NetworkServiceAccessPoint()
        bind(NetworkServiceElement(), router)
        router.bind(ip_end(link, BIPNormal()), 100, IPv4Address((link.interface.ip, link.interface.port)))
        router.bind(VirtualNode(LocalStation(250), name), network, LocalStation(250))
        devices = []
        for mac, instance in enumerate(instances, 1):
            equipment = self._equipment(instance, objects(), {})
            equipment.nsap.bind(VirtualNode(LocalStation(mac), name), None, LocalStation(mac))
            devices.append(equipment)
        return link, devices

    def bbmd(self, address: str, instance: int, objects: Iterable[Any] = ()) -> tuple[Equipment, BIPBBMD]:
        """Put a device that is also a BBMD on an address."""
        interface = parse_interface(address)
        here = IPv4Address(f"{interface.ip}/{interface.prefix}:{interface.port}")
        end = BIPBBMD(here)
        end.add_peer(here)
        equipment = self.device(address, instance, objects, end=end)
        self.exit.callback(lambda: end._fdt_clock_handle.cancel())  # noqa: PLW0108 - the handle is renewed
        return equipment, end

    def _equipment(self, instance: int, objects: Iterable[Any], fields: Mapping[str, Any]) -> Equipment:
        equipment: Equipment = Equipment.from_object_list([device_object(instance, **fields)])
        for item in objects:
            equipment.add_object(item)
        self.exit.callback(equipment.stop_timers)
        return equipment


@pytest.fixture(autouse=True)
def _ports_to_itself(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let two runs of a file's tests on one machine take turns: their devices would hear each other's broadcasts.

    Each file has UDP ports of its own, so that different files may run at the same time.
    """
    lock = Path(tempfile.gettempdir()) / f"plantroom-tests-{request.path.stem}-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait, for a bounded time, until a condition holds that nothing tells of."""

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(3):
            while not holds():
                await asyncio.sleep(0)

    return until


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    async with made.exit:
        yield made


@attrs.define
class Listed:
    """The devices that were found and not deleted, as the kernel tells them."""

    devices: dict[str, Device] = attrs.field(factory=dict)

    def device(self, device_id: str) -> Device:
        if device_id not in self.devices:
            raise DeviceNotFound(f"No device has the id {device_id!r}.")
        return self.devices[device_id]

    def put(self, inventory: Inventory) -> None:
        self.devices[inventory.device.id] = inventory.device


@attrs.define
class Report:
    """What a scan told."""

    listed: Listed = attrs.field(factory=Listed)
    inventories: dict[str, Inventory] = attrs.field(factory=dict)
    warnings: list[tuple[str, str, str]] = attrs.field(factory=list)
    steps: list[tuple[str, int, int | None]] = attrs.field(factory=list)
    counts: list[tuple[int, int]] = attrs.field(factory=list)

    def progress(self, phase: str, done: int, total: int | None = None) -> None:
        self.steps.append((phase, done, total))

    def found(self, inventory: Inventory) -> None:
        self.inventories[inventory.device.id] = inventory
        self.listed.put(inventory)

    def counted(self, *, devices: int = 0, points: int = 0) -> None:
        self.counts.append((devices, points))

    def warn(self, code: str, detail: str, remedy: str) -> None:
        self.warnings.append((code, detail, remedy))

    @property
    def codes(self) -> list[str]:
        return [code for code, _detail, _remedy in self.warnings]

    def point(self, point_id: str) -> Point:
        points = [point for found in self.inventories.values() for point in found.points]
        return next(point for point in points if point.id == point_id)


@attrs.define
class House:
    """A running plugin with what the kernel would lend it."""

    plugin: BacnetPlugin
    seen: list[str]
    listed: Listed = attrs.field(factory=Listed)
    published: list[ReadingBatch] = attrs.field(factory=list)
    live: list[tuple[set[str], float | None]] = attrs.field(factory=list)
    found: list[Inventory] = attrs.field(factory=list)

    async def scan(self, **request: Any) -> Report:
        report = Report(self.listed)
        self.listed.devices |= {device.id: device for device in request.get("known", ())}
        await self.plugin.driver.scan(ScanRequest(**request), report)
        return report

    def group(self, inventory: Inventory, *keys: str, interval: float = 10.0) -> PointGroup:
        """Make a group of a device's points, all or those with these keys; slots count from 0."""
        points = tuple(point for point in inventory.points if not keys or point.key in keys)
        return PointGroup(inventory.device, points, array("I", range(len(points))), interval)

    @staticmethod
    def slots(count: int) -> array[int]:
        """Return slots that count from 0."""
        return array("I", range(count))

    async def read(self, group: PointGroup) -> dict[str, tuple[Any, Reason, Exception | None]]:
        return by_key(group, await self.plugin.driver.read(group))


def by_key(group: PointGroup, batches: Sequence[ReadingBatch]) -> dict[str, tuple[Any, Reason, Exception | None]]:
    """Return value, reason and error of each point that batches have a row for."""
    rows: dict[str, tuple[Any, Reason, Exception | None]] = {}
    for batch in batches:
        for row, slot in enumerate(batch.chunk.slots):
            value: Any = batch.texts.get(row, batch.integers.get(row, batch.values[row]))
            rows[group.points[slot].key] = value, Reason(batch.reasons[row]), batch.errors.get(row)
    return rows


StartHouse: TypeAlias = Callable[..., Awaitable[House]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartHouse]:
    """Start plugins; ``address`` and all else as in the configuration."""
    async with contextlib.AsyncExitStack() as running:
        storage = await running.enter_async_context(open_storage(tmp_path))

        async def start(
            address: str,
            *,
            targets: Sequence[str] = (),
            foreign: Foreign | None = None,
            bbmd: Bbmd | None = None,
            clock: Clock = REAL_TIME,
            **options: Any,
        ) -> House:
            seen: list[str] = []
            published: list[ReadingBatch] = []
            live: list[tuple[set[str], float | None]] = []
            found: list[Inventory] = []
            listed = Listed()

            def take(inventory: Inventory) -> None:
                found.append(inventory)
                listed.put(inventory)

            ctx = Context(
                name="bacnet",
                log=logger("bacnet"),
                clock=clock,
                services=in_memory_services(clock),
                events=EventBus(),
                store=storage,
                commands=listed,  # type: ignore[arg-type]
                data_dir=tmp_path,
                publish=published.append,
                seen=seen.append,
                found=take,
                live=lambda points, every: live.append(({point.key for point in points}, every)),
            )
            network = Network(address, tuple(targets), foreign, bbmd)
            config = BacnetConfig(**({"networks": (network,), "timeout": 0.25, "retries": 0} | options))
            plugin = BacnetPlugin(config, ctx)
            await storage.migrate("bacnet", plugin.register_migrations())
            await running.enter_async_context(plugin.lifespan())
            return House(plugin, seen, listed, published, live, found)

        yield start
