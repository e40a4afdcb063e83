"""The bacnet plugin with what the kernel would lend it, on an address of its own."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from core.clock import SystemClock
from core.defaults import in_memory_services
from core.errors import DeviceNotFound
from core.events import EventBus
from core.model import Device, Inventory, Point
from core.plugin import Context, PointGroup, ScanRequest, Source, logger
from core.readings import ReadingBatch
from core.storage import open_storage
from plugins.bacnet import BacnetPlugin
from plugins.bacnet.config import BacnetConfig, Network
from plugins.bacnet.cov.subscription import State

from .asking import PORT

HERE = f"127.0.0.80/8:{PORT}"
LONGEST_S = 10.0


@attrs.define
class Report:
    """What a scan told."""

    inventories: dict[str, Inventory] = attrs.field(factory=dict)
    warnings: list[str] = attrs.field(factory=list)

    def progress(self, phase, done, total=None):
        pass

    def found(self, inventory):
        self.inventories[inventory.device.id] = inventory

    def counted(self, *, devices=0, points=0):
        pass

    def warn(self, code, detail, remedy):
        self.warnings.append(f"{code}: {detail} {remedy}")

    def point(self, point_id: str) -> Point:
        return next(point for item in self.inventories.values() for point in item.points if point.id == point_id)


@attrs.define
class Listed:
    """The devices that were found, as the kernel tells them."""

    inventories: dict[str, Inventory] = attrs.field(factory=dict)

    def device(self, device_id: str) -> Device:
        if device_id not in self.inventories:
            raise DeviceNotFound(f"No device has the id {device_id!r}.")
        return self.inventories[device_id].device


@attrs.define
class House:
    """A running plugin; ``published`` are the readings that it handed over unasked."""

    plugin: BacnetPlugin
    listed: Listed
    published: list[ReadingBatch] = attrs.field(factory=list)

    @property
    def driver(self) -> Any:
        return self.plugin.driver

    async def scan(self) -> Report:
        report = Report()
        await self.driver.scan(ScanRequest(), report)
        self.listed.inventories |= report.inventories
        return report

    @staticmethod
    def group(inventory: Inventory) -> PointGroup:
        """Make a group of all points of a device; slots count from 0."""
        return PointGroup(inventory.device, inventory.points, array("I", range(len(inventory.points))), 10.0)

    async def values(self, inventory: Inventory) -> dict[str, Any]:
        """Read a device; return each point's value, and fail where one has an error."""
        found = {}
        for batch in await self.driver.read(self.group(inventory)):
            assert batch.errors == {}
            for row, slot in enumerate(batch.chunk.slots):
                found[inventory.points[slot].key] = batch.texts.get(row, batch.values[row])
        return found

    async def watch(self, inventory: Inventory) -> None:
        """Subscribe to a device's points as the configuration has it, and wait until it tells of all of them."""
        self.driver.watch(self.group(inventory))
        await self.until(lambda: {each.state for each in self.driver.subscriptions} == {State.LIVE})

    def told(self, slot: int) -> list[float]:
        """List the values that a device has told of by change of value, oldest first."""
        return [
            batch.values[row]
            for batch in self.published
            if batch.source is Source.COV
            for row, each in enumerate(batch.chunk.slots)
            if each == slot
        ]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds that nothing tells of; raises TimeoutError."""
        async with asyncio.timeout(LONGEST_S):
            while not holds():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def house_at(folder: Path, network: Network, **options: Any) -> AsyncIterator[House]:
    """Run the plugin on one network; ``options`` as in the configuration."""
    clock = SystemClock()
    published: list[ReadingBatch] = []
    listed = Listed()
    async with open_storage(folder) as storage:
        ctx = Context(
            name="bacnet",
            log=logger("bacnet"),
            clock=clock,
            services=in_memory_services(clock),
            events=EventBus(),
            store=storage,
            commands=listed,  # type: ignore[arg-type]
            data_dir=folder,
            publish=published.append,
            seen=lambda _device: None,
        )
        plugin = BacnetPlugin(BacnetConfig(**({"networks": (network,), "timeout": 0.4} | options)), ctx)
        await storage.migrate("bacnet", plugin.register_migrations())
        async with plugin.lifespan():
            yield House(plugin, listed, published)
