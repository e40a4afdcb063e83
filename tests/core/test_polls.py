"""What is polled, and what comes of it."""

from __future__ import annotations

import asyncio
import itertools
import math
from array import array

import attrs
import pytest
from structlog.testing import capture_logs

from core.errors import DeviceRefused, DeviceTimeout, PluginError, PointNotFound
from core.events import EventHandler, ReadingsChanged
from core.model import DeviceStatus, Quality, Reading, Reason, Source
from core.plugin import Poller as PluginPoller
from core.polls import LONGEST_PROBE_DELAY_S, LONGEST_READ_S
from core.readings import Chunk, Row, batch_of


def reading(house, point_id: str) -> Reading:
    found = house.registry.reading(house.registry.point(point_id))
    assert found is not None
    return found


async def test_a_device_is_read_at_once_when_it_is_found_and_then_at_its_interval(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    driver.values["demo.a.t"] = 21.0
    await clock.advance(0)
    assert house.value("demo.a.t") == 21.0
    assert driver.times("demo.a") == [0.0]
    await clock.advance(100)
    times = driver.times("demo.a")
    assert len(times) == 11
    assert [after - before for before, after in itertools.pairwise(times[1:])] == pytest.approx([10.0] * 9)
    entry = house.registry.device("demo.a")
    assert (entry.status, entry.last_error) == (DeviceStatus.ONLINE, None)
    assert reading(house, "demo.a.t").source is Source.POLL


async def test_devices_known_before_their_driver_came_are_polled_from_then_on(house, clock):
    house.device("demo.a", "t")
    await clock.advance(20)
    driver = house.driver()
    await clock.advance(0)
    assert driver.times("demo.a") == [20.0]
    assert house.polls.drivers == ("demo",)
    assert house.polls.driver("demo") is driver
    assert house.polls.driver("other") is None


async def test_points_of_one_device_and_interval_are_read_together_others_apart(house, clock):
    driver = house.driver()
    house.device("demo.a", "t", "u")
    house.device("demo.b", "slow", interval=60.0)
    house.registry.override_point("demo.a.u", lambda overrides: attrs.evolve(overrides, interval=5.0))
    await clock.advance(0)
    driver.reads.clear()
    await clock.advance(60)
    assert {(device, points) for device, points, _at in driver.reads} == {
        ("demo.a", ("t",)), ("demo.a", ("u",)), ("demo.b", ("slow",)),
    }  # fmt: skip
    assert [len(driver.times("demo.a", "t")), len(driver.times("demo.a", "u")), len(driver.times("demo.b"))] == [
        6,
        12,
        1,
    ]


async def test_disabled_and_vanished_points_are_not_asked_for(house, clock):
    driver = house.driver()
    house.device("demo.a", "t", "u")
    house.device("demo.b", "t", enabled=False)
    house.registry.override_point("demo.a.u", lambda overrides: attrs.evolve(overrides, enabled=False))
    await clock.advance(0)
    driver.reads.clear()
    await clock.advance(20)
    assert {points for _device, points, _at in driver.reads} == {("t",)}
    house.device("demo.a", "u")
    driver.reads.clear()
    await clock.advance(20)
    assert driver.reads == [], "t has vanished and u is disabled"


async def test_a_change_that_does_not_touch_a_group_leaves_it_as_it_is(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    await clock.advance(0)
    (item,) = house.poller.all
    house.device("demo.a", "t")
    house.registry.override_point("demo.a.t", lambda overrides: attrs.evolve(overrides, name="Mine"))
    assert house.poller.all == (item,), "what its driver has learned of the group stays"
    house.device("demo.a", "t", "u")
    assert item not in house.poller.all
    await clock.advance(0)
    assert driver.times("demo.a", "u") == [0.0], "new points are read at once"


async def test_nothing_is_asked_after_a_plugin_has_left(house, clock):
    driver, kept = house.driver(), house.driver("other")
    house.device("demo.a", "t")
    house.device("other.a", "t")
    house.polls.add_poller("demo", PluginPoller("push", 5.0, lambda: driver.scan(None, None)))
    await clock.advance(0)
    house.polls.remove_plugin("demo")
    driver.reads.clear()
    await clock.advance(50)
    assert driver.reads == driver.scans[1:] == []
    assert len(kept.times("other.a")) >= 5
    assert {item.owner for item in house.poller.all} == {"other"}


async def test_a_silent_device_goes_offline_and_its_points_turn_bad(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    driver.values["demo.a.t"] = 21.0
    await clock.advance(0)
    driver.silent.add("demo.a")
    with capture_logs() as logs:
        await clock.advance(200)
    entry, last = house.registry.device("demo.a"), reading(house, "demo.a.t")
    assert entry.status is DeviceStatus.OFFLINE
    assert entry.last_error == "demo.a was asked three times and said nothing."
    assert (last.value, last.quality, last.reason) == (21.0, Quality.BAD, Reason.OFFLINE)
    assert [(line["event"], line["device"]) for line in logs] == [("device_offline", "demo.a")], "told once"


async def test_a_silent_device_is_probed_at_most_twenty_seconds_apart_and_comes_back_with_all_its_groups(house, clock):
    driver = house.driver()
    house.device("demo.a", "t", "u")
    house.registry.override_point("demo.a.u", lambda overrides: attrs.evolve(overrides, interval=300.0))
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 1.0}
    await clock.advance(0)
    driver.silent.add("demo.a")
    await clock.advance(600)
    times = sorted(driver.times("demo.a"))
    assert max(after - before for before, after in itertools.pairwise(times)) <= LONGEST_PROBE_DELAY_S
    driver.values |= {"demo.a.t": 2.0, "demo.a.u": 2.0}
    driver.silent.clear()
    with capture_logs() as logs:
        await clock.advance(LONGEST_PROBE_DELAY_S)
    assert [reading(house, point).value for point in ("demo.a.t", "demo.a.u")] == [2.0, 2.0]
    assert [reading(house, point).quality for point in ("demo.a.t", "demo.a.u")] == [Quality.GOOD] * 2
    assert reading(house, "demo.a.u").time - reading(house, "demo.a.t").time <= 1.0
    assert [line["event"] for line in logs] == ["device_online"]


async def test_a_sign_of_life_of_an_offline_device_has_it_polled_at_once(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    driver.silent.add("demo.a")
    await clock.advance(200)
    driver.silent.clear()
    driver.reads.clear()
    house.polls.seen("demo.a")
    house.polls.seen("demo.nobody")
    await clock.advance(0)
    assert driver.times("demo.a") == [200.0]
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE
    house.polls.seen("demo.a")
    await clock.advance(0)
    assert driver.times("demo.a") == [200.0], "one that is online keeps its rhythm"


async def test_one_dead_device_never_delays_another(house, clock):
    driver = house.driver()
    names = [f"demo.d{number}" for number in range(20)]
    for name in names:
        house.device(name, "t")
    dead, hung = names[0], names[1]
    driver.silent.add(dead)
    driver.gates[hung] = asyncio.Event()
    await clock.advance(100)
    assert all(len(driver.times(name)) == 11 for name in names[2:])
    assert len(driver.times(hung)) == 1


async def test_a_read_that_never_returns_ends_in_bounded_time_and_counts_as_silence(house, clock, leap):
    driver = house.driver()
    driver.gates["demo.a"] = asyncio.Event()
    house.device("demo.a", "t")
    await clock.advance(0)
    await leap(LONGEST_READ_S + 1)
    entry = house.registry.device("demo.a")
    assert (entry.status, entry.last_error) == (DeviceStatus.OFFLINE, "The device did not answer in time.")


async def test_a_point_that_cannot_be_read_turns_bad_alone(house, clock):
    driver = house.driver()
    house.device("demo.a", "t", "u")
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": DeviceRefused("unknown object")}
    await clock.advance(0)
    assert [reading(house, point).reason for point in ("demo.a.t", "demo.a.u")] == [Reason.NONE, Reason.ERROR]
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE


async def test_a_device_that_refuses_shows_why_and_is_not_offline(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    await clock.advance(0)
    driver.broken = DeviceRefused("communication disabled")
    with capture_logs() as logs:
        await clock.advance(20)
    entry = house.registry.device("demo.a")
    assert (entry.status, entry.last_error) == (DeviceStatus.ONLINE, "communication disabled")
    assert [(line["event"], line["error"]) for line in logs] == [("poll_failed", "communication disabled")]


async def test_a_driver_that_raises_is_named_and_its_points_go_stale(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    await clock.advance(0)
    driver.broken = ZeroDivisionError("division by zero")
    with capture_logs() as logs:
        await clock.advance(40)
    assert [(line["event"], line["plugin"]) for line in logs] == [("poll_failed", "demo")]
    assert reading(house, "demo.a.t").reason is Reason.STALE


async def test_only_what_changed_is_published_and_only_if_somebody_listens(house, clock):
    heard: list[tuple[int, ...]] = []

    async def handle(event: ReadingsChanged) -> None:
        heard.append(event.rows)

    driver = house.driver()
    house.device("demo.a", "t", "u")
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 1.0}
    await clock.advance(10)
    house.events.subscribe(EventHandler(ReadingsChanged, handle), owner="test")
    await clock.advance(20)
    driver.values["demo.a.u"] = 2.0
    await clock.advance(20)
    assert heard == [(1,)]


async def test_nothing_is_asked_without_the_lease(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    await clock.advance(0)
    house.leadership.lose("demo")
    await clock.advance(1)
    driver.reads.clear()
    await clock.advance(50)
    assert driver.reads == []


async def test_a_device_that_is_deleted_is_asked_no_more(house, clock):
    driver = house.driver()
    house.device("demo.a", "t")
    await clock.advance(0)
    house.registry.mark_vanished(["demo.a"])
    assert len(house.poller.all) == 1, "one that vanished is still looked for"
    house.registry.delete_device("demo.a")
    driver.reads.clear()
    await clock.advance(50)
    assert (driver.reads, house.poller.all) == ([], ())


# what plugins' own pollers and pushes bring


def polled(house, values: dict[str, object]):
    async def poll():
        for value in values.values():
            if isinstance(value, Exception):
                raise value
        return {house.registry.point(point_id).point: value for point_id, value in values.items()}

    return poll


async def test_a_plugins_poller_brings_values_by_point_at_once_and_at_its_interval(house, clock):
    house.device("demo.a", "t", "u")
    values: dict[str, object] = {"demo.a.t": 1.0, "demo.a.u": 2.0}
    house.polls.add_poller("demo", PluginPoller("all", 5.0, polled(house, values)))
    await clock.advance(0)
    assert [house.value(point) for point in values] == [1.0, 2.0]
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE
    assert house.registry.point("demo.a.t").interval == 5.0
    values["demo.a.t"] = math.nan
    await clock.advance(5)
    assert reading(house, "demo.a.t").reason is Reason.FAULT
    values["demo.a.t"] = RuntimeError("the service is down")
    await clock.advance(13)
    assert reading(house, "demo.a.u").reason is Reason.STALE


@pytest.mark.parametrize("nothing", [None, {}])
async def test_a_poller_may_bring_nothing(house, clock, nothing):
    async def poll():
        return nothing

    house.polls.add_poller("demo", PluginPoller("idle", 5.0, poll))
    with capture_logs() as logs:
        await clock.advance(30)
    assert logs == []
    assert house.poller.all[0].runs >= 6


@pytest.mark.parametrize("error", [DeviceTimeout("no answer"), RuntimeError("odd"), PointNotFound("gone")])
async def test_a_plugins_poller_that_fails_is_named_in_the_log_once_whatever_the_error(house, clock, error):
    house.device("demo.a", "t")
    values: dict[str, object] = {"demo.a.t": error}
    with capture_logs() as logs:
        house.polls.add_poller("demo", PluginPoller("meter", 5.0, polled(house, values)))
        await clock.advance(60)
        values["demo.a.t"] = 1.0
        await clock.advance(60)
    assert [(line["event"], line["plugin"], line["poller"]) for line in logs] == [
        ("poll_failed", "demo", "demo.meter"), ("poll_recovered", "demo", "demo.meter"),
    ]  # fmt: skip


async def test_a_plugins_poller_that_never_returns_is_ended_and_named(house, clock, leap):
    async def never():
        await asyncio.Event().wait()

    with capture_logs() as logs:
        house.polls.add_poller("demo", PluginPoller("hung", 5.0, never))
        await clock.advance(20)
        await leap(LONGEST_READ_S + 1)
    assert [(line["event"], line["poller"]) for line in logs] == [
        ("poll_overrun", "demo.hung"), ("poll_failed", "demo.hung"),
    ]  # fmt: skip


async def test_a_plugins_poller_with_a_senseless_interval_is_refused(house):
    with pytest.raises(PluginError, match=r"demo\.odd"):
        house.polls.add_poller("demo", PluginPoller("odd", 0, polled(house, {})))


async def test_readings_of_other_plugins_points_are_refused_and_leave_no_trace(house, clock):
    house.device("other.a", "t")
    point = house.registry.point("other.a.t")
    batch = batch_of(Chunk(array("I", [point.slot])), [Row(1.0)], time=1.0, source=Source.COV)
    unknown = batch_of(Chunk(array("I", [999])), [Row(1.0)], time=1.0, source=Source.COV)
    for brought in ({point.point: 1.0}, batch, unknown):
        with pytest.raises(PluginError, match="demo brought a reading for a point that is not its own"):
            house.polls.take("demo", brought)
    with pytest.raises(PointNotFound):
        house.polls.take("demo", {attrs.evolve(point.point, id="demo.a.nobody"): 1.0})
    assert house.registry.reading(point) is None


async def test_batches_that_arrive_by_themselves_keep_their_time_and_source(house, clock):
    house.device("demo.a", "t")
    chunk = Chunk(array("I", [house.registry.point("demo.a.t").slot]))
    house.polls.take("demo", batch_of(chunk, [Row(5.0)], time=clock.utc() - 3, source=Source.COV))
    last = reading(house, "demo.a.t")
    assert (last.value, last.time, last.source) == (5.0, clock.utc() - 3, Source.COV)


async def test_a_push_from_an_offline_device_brings_all_its_points_back(house, clock):
    driver = house.driver()
    device = house.device("demo.a", "t", "u")
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 1.0}
    driver.silent.add("demo.a")
    await clock.advance(200)
    driver.silent.clear()
    house.polls.take("demo", {device.point("t"): 7.0})
    await clock.advance(0)
    assert reading(house, "demo.a.u").time == clock.utc()


async def test_a_device_deleted_and_found_again_gets_the_readings_of_its_new_points(house, clock):
    device = house.device("demo.a", "t")
    house.polls.take("demo", {device.point("t"): 1.0})
    house.registry.mark_vanished(["demo.a"])
    house.registry.delete_device("demo.a")
    house.device("demo.a", "t")
    house.polls.take("demo", {device.point("t"): 2.0})
    assert house.value("demo.a.t") == 2.0


async def test_a_plugin_whose_answers_never_repeat_does_not_fill_the_memory(house):
    device = house.device("demo.a", *(f"p{number}" for number in range(150)))
    for first, second in itertools.permutations(range(150), 2):
        if (first + second) % 2:
            house.polls.take("demo", {device.point(f"p{first}"): 1.0, device.point(f"p{second}"): 2.0})
    assert len(house.polls._chunks) <= 10_001


async def test_points_from_before_a_restart_are_polled_as_the_configuration_says_now(house, clock):
    class Configured(type(house.driver("elsewhere"))):
        def configured(self, point):
            return attrs.evolve(point, interval=60.0, enabled=point.key != "u")

    house.device("demo.a", "t", "u", interval=5.0)
    driver = Configured(clock)
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 2.0}
    house.polls.add_driver("demo", driver)
    await clock.advance(1)
    assert house.registry.point("demo.a.t").interval == 60.0
    assert not house.registry.point("demo.a.u").enabled
    assert [keys for _device, keys, _time in driver.reads] == [("t",)]
