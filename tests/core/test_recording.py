"""What the kernel hands to the history."""

from __future__ import annotations

from array import array

import pytest
from shared_history import ALWAYS

from core.clock import ManualClock
from core.events import DeviceStatusChanged, EventBus, ReadingsChanged
from core.memory_history import MemoryHistory
from core.model import Device, DeviceStatus, Flag, Inventory, Kind, Reason, Source
from core.readings import Chunk, Row, batch_of
from core.recording import Recording
from core.registry import DeviceEntry, Registry
from core.services import Services


class House:
    """A device with three points, and a history of them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.events = EventBus()
        self.registry = Registry(clock, self.events)
        device = Device(id="x.1", plugin="x", name="1")
        points = [device.point("a"), device.point("b", kind=Kind.TEXT), device.point("never")]
        self.registry.put([Inventory(device, points)])
        self.slots = [self.registry.point(f"x.1.{key}").slot for key in ("a", "b")]
        self.chunk = Chunk(array("I", self.slots))
        self.history = MemoryHistory()
        services = Services(None, None, self.history, None)  # type: ignore[arg-type] - one is enough here
        self.recording = Recording(self.registry, services)
        self.handlers = {handler.event: handler.handle for handler in self.recording.handlers}

    @property
    def device(self) -> DeviceEntry:
        return self.registry.device("x.1")

    async def read(self, *rows: Row, source: Source = Source.POLL) -> None:
        batch = batch_of(self.chunk, rows, time=self.clock.utc(), source=source)
        changed = self.registry.current.apply(batch)
        if changed:
            await self.handlers[ReadingsChanged](ReadingsChanged(batch, changed))

    async def status(self, status: DeviceStatus) -> None:
        if status is DeviceStatus.ONLINE:
            self.registry.answered(self.device)
        else:
            self.registry.silent(self.device, "no answer")
        await self.handlers[DeviceStatusChanged](DeviceStatusChanged("x.1", status, self.clock.utc()))

    async def recorded(self, slot: int, kind: Kind = Kind.NUMBER) -> list:
        samples = await self.history.samples(slot, *ALWAYS, limit=100)
        return [(each.value, each.reason) for each in samples.rows(kind)]


@pytest.fixture
def house(clock: ManualClock) -> House:
    return House(clock)


async def test_what_changes_is_recorded_and_nothing_else(house: House, clock: ManualClock):
    await house.read(Row(1.0), Row("on"))
    await clock.advance(10)
    await house.read(Row(1.0), Row("on"))
    await clock.advance(10)
    await house.read(Row(1.0), Row("off"))
    assert await house.recorded(house.slots[0]) == [(1.0, Reason.NONE)]
    assert await house.recorded(house.slots[1], Kind.TEXT) == [("on", Reason.NONE), ("off", Reason.NONE)]


async def test_a_silent_device_leaves_a_hole_that_ends_when_it_is_read_again_as_it_was(
    house: House, clock: ManualClock
):
    await house.read(Row(2**60 + 1, Flag.OVERRIDDEN), Row("on"))
    await clock.advance(10)
    await house.status(DeviceStatus.OFFLINE)
    await house.status(DeviceStatus.OFFLINE)
    await clock.advance(10)
    await house.status(DeviceStatus.ONLINE)
    assert await house.recorded(house.slots[0]) == [(2**60 + 1, Reason.NONE), (None, Reason.OFFLINE)]
    await clock.advance(10)
    await house.read(Row(2**60 + 1, Flag.OVERRIDDEN), Row("on"))
    await house.recording.resume()
    await house.recording.resume()
    value = 2**60 + 1, Reason.NONE
    assert await house.recorded(house.slots[0]) == [value, (None, Reason.OFFLINE), value]
    assert await house.recorded(house.slots[1], Kind.TEXT) == [
        ("on", Reason.NONE), (None, Reason.OFFLINE), ("on", Reason.NONE),
    ]  # fmt: skip
    kept = await house.history.samples(house.slots[0], *ALWAYS, limit=9)
    assert kept.sample(2, Kind.NUMBER).flags is Flag.OVERRIDDEN


async def test_a_device_that_nobody_asks_any_more_leaves_a_hole_too(house: House):
    await house.read(Row(1.0), Row("on"))
    await house.handlers[DeviceStatusChanged](DeviceStatusChanged("x.1", DeviceStatus.UNKNOWN, house.clock.utc() + 1))
    assert (await house.recorded(house.slots[0]))[-1] == (None, Reason.STALE)


async def test_a_device_that_is_gone_is_nobodys_hole(house: House, clock: ManualClock):
    await house.read(Row(1.0), Row("on"))
    await clock.advance(1)
    await house.status(DeviceStatus.OFFLINE)
    house.registry.mark_vanished(["x.1"])
    house.registry.delete_device("x.1")
    await clock.advance(1)
    await house.recording.resume()
    await house.handlers[DeviceStatusChanged](DeviceStatusChanged("x.1", DeviceStatus.OFFLINE, clock.utc()))
    assert len(await house.recorded(house.slots[0])) == 2
