"""The register of devices and points."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.errors import Conflict, DeviceNotFound, PluginError, PointNotFound
from core.events import DevicesChanged, DeviceStatusChanged, EventBus, EventHandler
from core.model import Device, DeviceStatus, Inventory, Point, Quality, Reading, Reason, Source
from core.readings import Chunk, Row, batch_of
from core.registry import Overrides, Registry


@pytest.fixture
def registry(clock: ManualClock) -> Registry:
    return Registry(clock, EventBus())


def read(registry: Registry, point_id: str, value: float, *, at: float) -> None:
    chunk = Chunk(array("I", [registry.point(point_id).slot]))
    registry.current.apply(batch_of(chunk, [Row(value)], time=at, source=Source.POLL))


def reading(registry: Registry, point_id: str) -> Reading:
    found = registry.reading(registry.point(point_id))
    assert found is not None
    return found


def test_devices_and_points_are_found_by_id_by_slot_and_by_plugin(registry: Registry, inventory):
    registry.put([inventory("demo.b", "t"), inventory("other.a", "t", "u")])
    assert registry.device_ids() == ("demo.b", "other.a")
    assert registry.point_ids() == ("demo.b.t", "other.a.t", "other.a.u")
    assert [entry.id for entry in registry.devices()] == ["demo.b", "other.a"]
    assert [entry.id for entry in registry.devices("other")] == ["other.a"]
    point = registry.point("other.a.u")
    assert registry.by_slot(point.slot) is point
    assert point.device is registry.device("other.a")
    assert registry.has_device("demo.b")


def test_what_is_not_there_is_an_error_that_says_where_to_look(registry: Registry):
    with pytest.raises(DeviceNotFound, match=r"'demo\.x'; GET /api/v1/devices"):
        registry.device("demo.x")
    with pytest.raises(PointNotFound, match=r"'demo\.x\.t'; GET /api/v1/points"):
        registry.point("demo.x.t")
    with pytest.raises(DeviceNotFound):
        registry.delete_device("demo.x")
    with pytest.raises(PointNotFound):
        registry.override_point("demo.x.t", lambda overrides: overrides)
    assert registry.by_slot(7) is None
    assert not registry.has_device("demo.x")


def test_the_lists_of_ids_follow_what_comes_and_goes(registry: Registry, inventory):
    registry.put([inventory("demo.b", "t")])
    assert registry.point_ids() == ("demo.b.t",)
    registry.put([inventory("demo.a", "t")])
    assert (registry.device_ids(), registry.point_ids()) == (("demo.a", "demo.b"), ("demo.a.t", "demo.b.t"))
    registry.mark_vanished(["demo.b"])
    registry.delete_device("demo.b")
    assert (registry.device_ids(), registry.point_ids()) == (("demo.a",), ("demo.a.t",))


def test_a_rescan_keeps_slots_readings_and_what_people_changed(registry: Registry, inventory):
    registry.put([inventory("demo.a", "t", "u")])
    slots = [registry.point(point_id).slot for point_id in registry.point_ids()]
    read(registry, "demo.a.t", 21.0, at=10.0)
    registry.override_device("demo.a", lambda overrides: attrs.evolve(overrides, name="Mine"))
    registry.override_point("demo.a.t", lambda overrides: attrs.evolve(overrides, tags=("east",)))
    registry.put([inventory("demo.a", "t", "u", unit="percent")])
    assert [registry.point(point_id).slot for point_id in registry.point_ids()] == slots
    assert reading(registry, "demo.a.t").value == 21.0
    assert registry.device("demo.a").name == "Mine"
    assert registry.point("demo.a.t").overrides.tags == ("east",)
    assert registry.point("demo.a.t").point.unit == "percent"


def test_a_point_that_is_no_longer_listed_has_vanished_until_it_is_listed_again(registry: Registry, inventory):
    registry.put([inventory("demo.a", "t", "u")])
    slot = registry.point("demo.a.u").slot
    registry.put([inventory("demo.a", "t")])
    assert registry.point("demo.a.u").vanished
    assert not registry.point("demo.a.u").polled
    assert registry.point("demo.a.t").polled
    registry.put([inventory("demo.a", "t", "u")])
    assert (registry.point("demo.a.u").vanished, registry.point("demo.a.u").slot) == (False, slot)


def test_a_points_version_grows_when_and_only_when_what_is_shown_of_it_changes(registry: Registry, inventory):
    def version() -> int:
        return registry.point("demo.a.t").version

    registry.put([inventory("demo.a", "t")])
    versions = [version()]
    for change in (
        lambda: registry.put([inventory("demo.a", "t", unit="percent")]),
        lambda: registry.override_point("demo.a.t", lambda _overrides: Overrides(name="Mine")),
        lambda: registry.override_device("demo.a", lambda _overrides: Overrides(enabled=False)),
        lambda: registry.put([inventory("demo.a")]),
        lambda: registry.put([inventory("demo.a", "t", unit="percent")]),
        lambda: registry.mark_vanished(["demo.a"]),
    ):
        change()
        versions.append(version())
    assert versions == sorted(set(versions))
    registry.put([inventory("demo.a", "t", unit="percent")])
    assert version() == versions[-1]


@pytest.mark.parametrize("point_id", ["demo.b.t", "demo.at", "demo.a"])
def test_a_point_of_another_device_is_refused_and_nothing_is_entered(registry: Registry, point_id: str):
    device = Device(id="demo.a", plugin="demo", name="A")
    good = Inventory(device, [device.point("t")])
    bad = Inventory(device, [Point(id=point_id, device_id="demo.a", name="T")])
    with pytest.raises(PluginError, match=r"does not belong to device 'demo\.a'"):
        registry.put([good, bad])
    assert registry.device_ids() == ()


def test_a_point_that_names_another_device_is_refused(registry: Registry):
    device = Device(id="demo.a", plugin="demo", name="A")
    with pytest.raises(PluginError):
        registry.put([Inventory(device, [Point(id="demo.a.t", device_id="demo.b", name="T")])])


@pytest.mark.parametrize("interval", [0, -5.0, float("nan"), float("inf")])
def test_an_interval_that_is_no_length_of_time_is_refused_and_nothing_is_entered(
    registry: Registry, inventory, interval: float
):
    with pytest.raises(PluginError, match=r"demo\.a\.t.*interval"):
        registry.put([inventory("demo.a", "t", interval=interval)])
    assert registry.device_ids() == ()


def test_only_a_vanished_device_can_be_deleted(registry: Registry, inventory):
    registry.put([inventory("demo.a", "t")])
    with pytest.raises(Conflict, match="has not vanished"):
        registry.delete_device("demo.a")
    registry.mark_vanished(["demo.a"])
    registry.delete_device("demo.a")
    with pytest.raises(PointNotFound):
        registry.point("demo.a.t")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["put", "less", "delete"])), max_size=25))
def test_a_slot_belongs_to_one_point_for_ever_whatever_vanishes_is_deleted_or_returns(steps: list[tuple[str, str]]):
    registry = Registry(ManualClock(), EventBus())
    given_to: dict[int, tuple[str, int]] = {}
    lives = {"a": 0, "b": 0, "c": 0}
    for name, step in steps:
        device = Device(id=f"demo.{name}", plugin="demo", name=name)
        if step == "delete":
            if registry.has_device(device.id):
                registry.mark_vanished([device.id])
                registry.delete_device(device.id)
                lives[name] += 1
        else:
            keys = ("t", "u") if step == "put" else ("t",)
            registry.put([Inventory(device, [device.point(key) for key in keys])])
        for point_id in registry.point_ids():
            owner = point_id, lives[point_id.split(".")[1]]
            assert given_to.setdefault(registry.point(point_id).slot, owner) == owner


def test_a_device_that_vanished_is_there_again_as_soon_as_it_answers(registry: Registry, inventory):
    registry.put([inventory("demo.a", "t")])
    registry.mark_vanished(["demo.a"])
    assert registry.device("demo.a").vanished
    registry.answered(registry.device("demo.a"))
    assert not registry.device("demo.a").vanished


# quality


async def test_a_reading_is_stale_when_it_was_not_confirmed_for_two_and_a_half_intervals(
    registry: Registry, clock, inventory
):
    registry.put([inventory("demo.a", "t", interval=10.0)])
    read(registry, "demo.a.t", 1.0, at=clock.utc())
    await clock.advance(25)
    assert reading(registry, "demo.a.t").quality is Quality.GOOD
    await clock.advance(0.1)
    assert reading(registry, "demo.a.t").reason is Reason.STALE
    assert reading(registry, "demo.a.t").value == 1.0


async def test_a_point_that_nobody_polls_is_never_stale(registry: Registry, clock, inventory):
    registry.put([inventory("demo.a", "t")])
    read(registry, "demo.a.t", 1.0, at=clock.utc())
    await clock.advance(1e6)
    assert reading(registry, "demo.a.t").quality is Quality.GOOD


def test_an_offline_device_makes_all_its_readings_bad_and_they_are_good_again_when_it_answers(
    registry: Registry, clock, inventory
):
    registry.put([inventory("demo.a", "t"), inventory("demo.b", "t")])
    for point_id in registry.point_ids():
        read(registry, point_id, 1.0, at=clock.utc())
    registry.silent(registry.device("demo.a"), "no answer")
    assert (reading(registry, "demo.a.t").quality, reading(registry, "demo.a.t").reason) == (
        Quality.BAD,
        Reason.OFFLINE,
    )
    assert reading(registry, "demo.b.t").quality is Quality.GOOD
    registry.answered(registry.device("demo.a"))
    assert reading(registry, "demo.a.t").quality is Quality.GOOD


@pytest.mark.parametrize(
    ("of_point", "of_device", "of_plugin", "polled_every", "interval"),
    [(5, 20, 60, 10, 5), (None, 20, 60, 10, 20), (None, None, 60, 10, 60), (None, None, None, 10, 10), (None,) * 5],
)
def test_the_interval_is_the_points_own_its_devices_the_plugins_or_what_is_done(
    registry: Registry, inventory, of_point, of_device, of_plugin, polled_every, interval
):
    registry.put([inventory("demo.a", "t", interval=of_plugin)])
    registry.override_device("demo.a", lambda _overrides: Overrides(interval=of_device))
    entry = registry.override_point("demo.a.t", lambda _overrides: Overrides(interval=of_point))
    entry.polled_every = polled_every
    assert entry.interval == interval


@pytest.mark.parametrize(
    ("of_point", "of_device", "of_plugin", "enabled"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (True, None, False, True),
        (False, None, True, False),
        (True, False, True, False),
        (None, True, False, False),
    ],
)
def test_a_point_is_enabled_where_person_plugin_and_device_have_it_so(
    registry: Registry, inventory, of_point, of_device, of_plugin, enabled: bool
):
    registry.put([inventory("demo.a", "t", enabled=of_plugin)])
    registry.override_device("demo.a", lambda _overrides: Overrides(enabled=of_device))
    entry = registry.override_point("demo.a.t", lambda _overrides: Overrides(enabled=of_point))
    assert entry.enabled is entry.polled is enabled


# what is told


async def test_devices_that_change_state_are_told_of_once_with_time_and_error(clock: ManualClock, inventory):
    bus, told = EventBus(), []

    async def handle(event: DeviceStatusChanged) -> None:
        told.append((event.device_id, event.status, event.at, event.error))

    bus.subscribe(EventHandler(DeviceStatusChanged, handle), owner="test")
    registry = Registry(clock, bus)
    registry.put([inventory("demo.a", "t")])
    entry = registry.device("demo.a")
    assert (entry.status, entry.status_since, entry.last_seen) == (DeviceStatus.UNKNOWN, clock.utc(), None)
    start = clock.utc()
    for _ in range(2):
        registry.answered(entry, latency_s=0.0123456)
        await clock.advance(1)
    assert (entry.latency_ms, entry.last_seen, entry.status_since) == (12.35, start + 1, start)
    for _ in range(2):
        registry.silent(entry, "no answer")
        await clock.advance(1)
    assert (entry.status, entry.last_error, entry.last_seen) == (DeviceStatus.OFFLINE, "no answer", start + 1)
    registry.answered(entry)
    assert entry.last_error is None
    await clock.advance(0)
    assert told == [
        ("demo.a", DeviceStatus.ONLINE, start, None),
        ("demo.a", DeviceStatus.OFFLINE, start + 2, "no answer"),
        ("demo.a", DeviceStatus.ONLINE, start + 4, None),
    ]
    await bus.close()


async def test_every_change_is_told_on_the_bus_and_to_those_who_plan_and_is_marked_for_saving(
    clock: ManualClock, inventory: Callable[..., Inventory]
):
    bus, heard, planned = EventBus(), [], []

    async def handle(event: DevicesChanged) -> None:
        heard.append([device.id for device in event.devices])

    bus.subscribe(EventHandler(DevicesChanged, handle), owner="test")
    registry = Registry(clock, bus)
    registry.on_change.append(lambda devices: planned.append([device.id for device in devices]))
    registry.put([inventory("demo.a", "t"), inventory("demo.b", "t")])
    registry.override_device("demo.a", lambda overrides: overrides)
    registry.override_point("demo.b.t", lambda overrides: overrides)
    registry.mark_vanished(["demo.b"])
    registry.mark_vanished([])
    registry.delete_device("demo.b")
    await clock.advance(0)
    assert heard == planned == [["demo.a", "demo.b"], ["demo.a"], ["demo.b"], ["demo.b"], ["demo.b"]]
    assert registry.unsaved == {"demo.a", "demo.b"}
    assert registry.version == 5
    await bus.close()


# what does not fit is refused, and what is not new costs nothing


@pytest.mark.parametrize(
    ("device_id", "plugin"),
    [("demo.Room 1", "demo"), ("demo", "demo"), ("demo.a.b", "demo"), ("other.a", "demo"), ("demo.", "demo")],
)
def test_a_device_id_that_does_not_fit_is_refused(registry, device_id, plugin):
    with pytest.raises(PluginError, match="is no device id of plugin 'demo'"):
        registry.put([Inventory(Device(device_id, plugin, "x"), [])])


def test_attributes_that_are_no_json_are_refused_before_they_stop_the_saving(registry):
    device = Device("demo.a", "demo", "x", attributes={"socket": object()})
    with pytest.raises(PluginError, match=r"attributes of 'demo\.a' are not all JSON"):
        registry.put([Inventory(device, [])])


def test_a_rescan_that_finds_nothing_new_announces_nothing(registry):
    device = Device("demo.a", "demo", "x", attributes={"n": 1})
    inventory = Inventory(device, [device.point("t")])
    registry.put([inventory])
    version, registry.unsaved = registry.version, set()
    registry.put([Inventory(device, [device.point("t")])])
    assert registry.version == version
    assert registry.unsaved == set()
    registry.put([Inventory(device, [device.point("t", description="new")])])
    assert registry.unsaved == {"demo.a"}
