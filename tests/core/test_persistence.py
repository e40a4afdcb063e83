"""The registry and the last readings over restarts."""

from __future__ import annotations

import math
import uuid
from array import array
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from core.clock import ManualClock
from core.errors import PlantroomError
from core.events import EventBus
from core.model import Device, DeviceStatus, Flag, Inventory, Kind, Quality, Reason, Source
from core.persistence import MIGRATIONS, OWNER, Persistence
from core.readings import Chunk, Row, batch_of
from core.registry import Registry
from core.storage import Storage, open_storage


@attrs.define
class Run:
    """One run of the installation on the same file: a registry of its own, filled from storage."""

    registry: Registry
    persistence: Persistence
    clock: ManualClock

    def read(self, *slots: int, rows: list[Row], at: float) -> None:
        self.registry.current.apply(batch_of(Chunk(array("I", slots)), rows, time=at, source=Source.POLL))

    def slots(self) -> dict[str, int]:
        return {point_id: self.registry.point(point_id).slot for point_id in self.registry.point_ids()}


async def run(storage: Storage) -> Run:
    clock = ManualClock()
    registry = Registry(clock, EventBus())
    persistence = Persistence(storage, registry, clock)
    await persistence.load()
    return Run(registry, persistence, clock)


async def test_an_empty_installation_loads_and_saves_nothing(storage: Storage):
    first = await run(storage)
    await first.persistence.save()
    await first.persistence.save(everything=True)
    assert first.registry.device_ids() == ()


async def test_devices_and_points_come_back_as_they_were_described(storage: Storage):
    device = Device(
        id="demo.room", plugin="demo", name="Room", description="A room", address="10.0.0.5:47808",
        vendor="ACME", model="R-1", attributes={"instance": 5, "services": ["rpm", "cov"], "nested": {"a": None}},
    )  # fmt: skip
    point = device.point(
        "mode", kind=Kind.ENUM, name="Mode", description="Of the room", unit="no-units", symbol="-",
        states={"1": "Off", "2": "On"}, writable=True, commandable=True, min=1, max=2.5, resolution=0.5,
        enabled=False, interval=60.0, attributes={"object": [2, 1]},
    )  # fmt: skip
    first = await run(storage)
    first.registry.put([Inventory(device, [point])])
    await first.persistence.save()
    second = await run(storage)
    assert second.registry.device("demo.room").device == device
    assert second.registry.point("demo.room.mode").point == point
    assert second.registry.device("demo.room").status is DeviceStatus.UNKNOWN


async def test_what_people_changed_comes_back(storage: Storage, inventory: Callable[..., Inventory]):
    first = await run(storage)
    first.registry.put([inventory("demo.room", "t")])
    change = {"name": "Mine", "tags": ("east", "2nd"), "enabled": False, "interval": 30.0}
    first.registry.override_device("demo.room", lambda overrides: attrs.evolve(overrides, **change))
    first.registry.override_point("demo.room.t", lambda overrides: attrs.evolve(overrides, **change))
    await first.persistence.save()
    second = await run(storage)
    for entry in (second.registry.device("demo.room"), second.registry.point("demo.room.t")):
        assert attrs.asdict(entry.overrides) == change
        assert (entry.name, entry.enabled) == ("Mine", False)


async def test_readings_come_back_as_restored_with_their_times(storage: Storage, inventory: Callable[..., Inventory]):
    first = await run(storage)
    first.registry.put(
        [inventory("demo.room", "number", "integer", "fault"), inventory("demo.sign", "text", kind="text")]
    )
    slots = first.slots()
    rows = [Row(21.5, Flag.IN_ALARM), Row(2**60 + 1), Row(math.nan), Row("open")]
    first.read(
        *(slots[name] for name in ("demo.room.number", "demo.room.integer", "demo.room.fault", "demo.sign.text")),
        rows=rows,
        at=first.clock.utc(),
    )
    await first.persistence.save()
    second = await run(storage)
    readings = [second.registry.reading(second.registry.point(each)) for each in second.registry.point_ids()]
    assert [reading and reading.value for reading in readings] == [None, 2**60 + 1, 21.5, "open"]
    for reading in readings:
        assert reading is not None
        assert (reading.quality, reading.reason) == (Quality.UNCERTAIN, Reason.RESTORED)
        assert reading.time == reading.changed_at == first.clock.utc()
    assert readings[2] is not None
    assert readings[2].flags is Flag.IN_ALARM


async def test_the_last_save_also_knows_when_each_value_was_last_confirmed(
    storage: Storage, inventory: Callable[..., Inventory]
):
    first = await run(storage)
    first.registry.put([inventory("demo.room", "t")])
    first.read(1, rows=[Row(1.0)], at=100.0)
    first.registry.answered(first.registry.device("demo.room"))
    await first.persistence.save()
    first.read(1, rows=[Row(1.0)], at=200.0)
    await first.persistence.save(everything=True)
    second = await run(storage)
    reading = second.registry.reading(second.registry.point("demo.room.t"))
    assert reading is not None
    assert (reading.time, reading.changed_at) == (200.0, 100.0)
    assert second.registry.device("demo.room").last_seen == first.clock.utc()


async def test_only_what_changed_is_written(storage: Storage, inventory: Callable[..., Inventory]):
    first = await run(storage)
    first.registry.put([inventory("demo.room", "t", "u")])
    await first.persistence.save()
    await storage.write(("DELETE FROM points WHERE slot = 1", [()]))
    first.read(2, rows=[Row(1.0)], at=100.0)
    await first.persistence.save()
    assert await storage.read("SELECT slot FROM points") == [(2,)], "the device had not changed"
    assert await storage.read("SELECT slot FROM readings") == [(2,)]


async def test_slots_stay_with_their_points_and_are_never_given_to_others(
    storage: Storage, inventory: Callable[..., Inventory]
):
    first = await run(storage)
    first.registry.put([inventory("demo.a", "t"), inventory("demo.b", "t", "u")])
    before = first.slots()
    first.registry.put([inventory("demo.b", "t")])
    first.registry.mark_vanished(["demo.b"])
    await first.persistence.save()
    second = await run(storage)
    assert second.slots() == before, "what has vanished keeps its slot"
    assert second.registry.point("demo.b.u").vanished
    assert second.registry.device("demo.b").vanished
    second.registry.delete_device("demo.b")
    await second.persistence.save()
    third = await run(storage)
    third.registry.put([inventory("demo.c", "t"), inventory("demo.b", "t")])
    assert set(third.slots().values()).isdisjoint({before["demo.b.t"], before["demo.b.u"]})
    assert third.slots()["demo.a.t"] == before["demo.a.t"]


async def test_a_deleted_device_leaves_nothing_in_the_file(storage: Storage, inventory: Callable[..., Inventory]):
    first = await run(storage)
    first.registry.put([inventory("demo.a", "t"), inventory("demo.b", "t")])
    first.read(1, 2, rows=[Row(1.0), Row(2.0)], at=100.0)
    await first.persistence.save()
    first.registry.mark_vanished(["demo.b"])
    first.registry.delete_device("demo.b")
    await first.persistence.save()
    for table, column in (("devices", "id"), ("points", "device_id")):
        assert await storage.read(f"SELECT {column} FROM {table}") == [("demo.a",)]
    assert await storage.read("SELECT slot FROM readings") == [(1,)]


async def test_a_device_deleted_and_found_again_between_two_saves_has_only_its_new_points(
    storage: Storage, inventory: Callable[..., Inventory]
):
    first = await run(storage)
    first.registry.put([inventory("demo.a", "t", "u")])
    first.read(1, 2, rows=[Row(1.0), Row(2.0)], at=100.0)
    await first.persistence.save()
    first.registry.mark_vanished(["demo.a"])
    first.registry.delete_device("demo.a")
    first.registry.put([inventory("demo.a", "t")])
    await first.persistence.save()
    second = await run(storage)
    assert second.slots() == {"demo.a.t": 3}
    assert second.registry.by_slot(1) is None
    assert second.registry.reading(second.registry.point("demo.a.t")) is None


async def test_what_could_not_be_saved_is_saved_the_next_time(storage: Storage, inventory: Callable[..., Inventory]):
    first = await run(storage)
    first.registry.put([inventory("demo.room", "t")])
    first.read(1, rows=[Row(1.0)], at=100.0)
    await storage.write(("ALTER TABLE readings RENAME TO hidden", [()]))
    with pytest.raises(PlantroomError):
        await first.persistence.save()
    assert await storage.read("SELECT * FROM devices") == [], "all of it, or none"
    await storage.write(("ALTER TABLE hidden RENAME TO readings", [()]))
    await first.persistence.save()
    assert await storage.read("SELECT slot, value FROM readings") == [(1, 1.0)]
    assert await storage.read("SELECT id FROM devices") == [("demo.room",)]


async def test_the_installation_has_one_id_for_ever(tmp_path: Path):
    ids = []
    for _ in range(2):
        async with open_storage(tmp_path) as storage:
            await storage.migrate(OWNER, MIGRATIONS)
            ids.append(await (await run(storage)).persistence.installation_id())
    assert ids[0] == ids[1]
    assert uuid.UUID(ids[0]).version == 4


async def test_a_fact_is_made_once(storage: Storage):
    persistence = (await run(storage)).persistence
    assert await persistence.fact("colour", lambda: "red") == "red"
    assert await persistence.fact("colour", lambda: "blue") == "red"


async def test_slots_given_out_before_a_crash_are_never_given_again(storage: Storage):
    device = Device(id="demo.a", plugin="demo", name="A")
    crashed = await run(storage)
    crashed.registry.put([Inventory(device, [device.point("x"), device.point("y")])])
    given = set(crashed.slots().values())

    second = await run(storage)
    assert second.registry.point_ids() == ()
    second.registry.put([Inventory(device, [device.point("z")])])
    assert given.isdisjoint(second.slots().values())
    await second.persistence.save(everything=True)

    third = await run(storage)
    assert third.registry.next_slot == second.registry.next_slot
