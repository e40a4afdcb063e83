"""A small house for the tests of the kernel's parts: a clock to turn, a driver over devices in memory, a real store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

import pytest

from core.clock import ManualClock
from core.commands import Commands
from core.defaults import SoleLeadership, in_memory_services
from core.delivery import Deliveries
from core.errors import DeviceTimeout, PlantroomError
from core.events import EventBus
from core.exchange import Exchange
from core.jobs import MemoryJobs
from core.leases import Leases
from core.model import Command, Device, Inventory, Point, Priorities, Source, Value, WriteResult
from core.outbox import Sender
from core.persistence import MIGRATIONS, OWNER
from core.poller import Poller
from core.polls import Polls
from core.pump import Surroundings
from core.readings import Chunk, PointGroup, ReadingBatch, Row, batch_of
from core.registry import Registry
from core.scans import Scans
from core.services import Lease, ScanReport, ScanRequest
from core.storage import Storage, open_storage

PLUGINS = ("demo", "other")


class MemoryDriver:
    """A driver, as a third party writes one, over devices that live in a dictionary.

    ``values`` are by point id: a value, a `Row`, or the error that the device answers. ``silent`` devices time out,
    and the answer of a device with a gate is on its way until the gate opens.
    """

    def __init__(self, clock: ManualClock, *, scan_interval_s: float | None = None) -> None:
        self.scan_interval_s = scan_interval_s
        self.values: dict[str, Value | Row | Exception] = {}
        self.silent: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        self.asked = asyncio.Event()
        self.reads: list[tuple[str, tuple[str, ...], float]] = []
        self.writes: list[Command] = []
        self.scans: list[ScanRequest] = []
        self.inventories: list[Inventory] = []
        self.broken: Exception | None = None
        self._clock = clock
        self._chunks: dict[PointGroup, Chunk] = {}

    def times(self, device_id: str, *keys: str) -> list[float]:
        """When a device was asked (for a group that has these keys), in seconds since the clock's start."""
        return [at for asked, points, at in self.reads if asked == device_id and set(keys) <= set(points)]

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        self.scans.append(request)
        report.progress("looking", 0, len(self.inventories))
        if self.broken is not None:
            raise self.broken
        for count, inventory in enumerate(self.inventories, 1):
            report.found(inventory)
            report.progress("looking", count, len(self.inventories))

    async def read(self, group: PointGroup) -> Sequence[ReadingBatch]:
        self.reads.append((group.device.id, tuple(point.key for point in group.points), self._clock.monotonic()))
        rows, time = [self._row(point) for point in group.points], self._clock.utc()
        await self._answer_of(group.device.id)
        chunk = self._chunks.setdefault(group, Chunk(group.slots))
        return [batch_of(chunk, rows, time=time, source=Source.POLL if group.interval else Source.READ)]

    async def write(self, command: Command) -> WriteResult:
        self.writes.append(command)
        await self._answer_of(command.point.device_id)
        self.values[command.point.id] = None if command.relinquish else command.value
        row = self._row(command.point)
        slot = command.priority
        return WriteResult(row.value, row.flags, effective=True, active_priority=slot, priority=slot, verified=True)

    async def priorities(self, point: Point) -> Priorities:
        await self._answer_of(point.device_id)
        return Priorities((None,) * 7 + (self._row(point).value,) + (None,) * 8, relinquish_default=20.0)

    async def _answer_of(self, device_id: str) -> None:
        self.asked.set()
        if self.broken is not None:
            raise self.broken
        if device_id in self.gates:
            await self.gates[device_id].wait()
        if device_id in self.silent:
            raise DeviceTimeout(f"{device_id} was asked three times and said nothing.")

    def _row(self, point: Point) -> Row:
        value = self.values.get(point.id)
        if isinstance(value, Row):
            return value
        return Row(error=value) if isinstance(value, PlantroomError) else Row(value)


class RevocableLeadership(SoleLeadership):
    """A leadership service that grants everything, until it tells that a name is lost."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[Lease] = asyncio.Queue()

    def lose(self, name: str) -> None:
        self._told.put_nowait(Lease(name, fence=2, valid_until=-1.0))

    async def changes(self) -> AsyncIterator[Lease]:
        while True:
            yield await self._told.get()


class House:
    """The kernel's parts, wired as the kernel wires them, without plugins and web."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.events = EventBus()
        self.registry = Registry(clock, self.events)
        self.poller = Poller(clock, seed=1)
        self.leadership = RevocableLeadership()
        self.leases = Leases(self.leadership, clock)
        self.polls = Polls(self.registry, self.poller, self.leases, clock, self.events)
        self.jobs = MemoryJobs(clock, self.events)
        self.scans = Scans(self.registry, self.polls, self.poller, self.jobs, clock)
        self.jobs.register(self.scans.kind, owner="core")
        self.services = in_memory_services(clock)
        self.sink_names: set[str] = set()
        surroundings = Surroundings(self.services, self.registry, Sender("0000-id", "local"), clock, random.Random(1))
        self.deliveries = Deliveries(surroundings, read_names=self.read_names, keep_names=self.keep_names)

    async def read_names(self) -> set[str]:
        return set(self.sink_names)

    async def keep_names(self, names: Collection[str]) -> None:
        self.sink_names = set(names)

    def driver(self, plugin: str = "demo", *, scan_interval_s: float | None = None) -> MemoryDriver:
        """Give a plugin a driver."""
        driver = MemoryDriver(self.clock, scan_interval_s=scan_interval_s)
        self.polls.add_driver(plugin, driver)
        return driver

    def device(self, device_id: str, *points: str, **fields: object) -> Device:
        """Enter a device with number points; ``fields`` are those of each `Point`."""
        inventory = inventory_of(device_id, *points, **fields)
        self.registry.put([inventory])
        return inventory.device

    def value(self, point_id: str) -> Value:
        """The current value of a point that has a reading."""
        reading = self.registry.reading(self.registry.point(point_id))
        assert reading is not None
        return reading.value


def inventory_of(device_id: str, *keys: str, **fields: object) -> Inventory:
    device = Device(id=device_id, plugin=device_id.partition(".")[0], name=device_id)
    return Inventory(device, [device.point(key, **fields) for key in keys])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def house(clock: ManualClock) -> AsyncIterator[House]:
    """A house whose poller runs, and which may poll and write for the plugins `demo` and `other`."""
    house = House(clock)
    async with house.leases.holding(PLUGINS):
        house.poller.start()
        yield house
        await house.deliveries.close()
        await house.jobs.close()
        await house.poller.stop()
        await house.events.close()


@pytest.fixture
def inventory() -> Callable[..., Inventory]:
    """Describe a device with points of the given keys; further fields are those of each `Point`."""
    return inventory_of


@pytest.fixture
async def storage(tmp_path) -> AsyncIterator[Storage]:
    async with open_storage(tmp_path / "data") as storage:
        await storage.migrate(OWNER, MIGRATIONS)
        yield storage


@pytest.fixture
async def exchange(house: House) -> AsyncIterator[Exchange]:
    exchange = Exchange(house.registry, house.polls, house.clock)
    yield exchange
    await exchange.close()


@pytest.fixture
async def commands(house: House, storage: Storage) -> AsyncIterator[Commands]:
    commands = Commands(house.registry, house.polls, house.leases, storage, house.clock)
    yield commands
    await commands.close()


@pytest.fixture
async def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Set the event loop's own clock forward, so that real time-outs end without being waited for."""
    loop = asyncio.get_running_loop()
    machine, ahead = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: machine() + ahead)

    async def leap(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds
        for _ in range(10):
            await asyncio.sleep(0)

    return leap


def command(house: House, point_id: str, value: Value = None, *, key: str = "1", **fields) -> Command:
    """Make a write of a point."""
    return Command(key, "alice", "rest", house.registry.point(point_id).point, value, **fields)


@pytest.fixture
async def driver(house, clock):
    """A driver with two devices that were polled a minute ago, and are polled every hour."""
    driver = house.driver()
    house.device("demo.a", "t", "u", "v", interval=3600.0, writable=True)
    house.device("demo.b", "t", interval=3600.0, writable=True, commandable=True)
    driver.values |= dict.fromkeys(house.registry.point_ids(), 1.0)
    await clock.advance(0)
    driver.values |= dict.fromkeys(house.registry.point_ids(), 2.0)
    while driver.reads:
        driver.reads.clear()
        await clock.advance(60)
    driver.asked.clear()
    return driver
