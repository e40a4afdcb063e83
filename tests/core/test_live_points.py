"""Points that their devices tell of by themselves: polled rarely, never forgotten, and back to polling at once."""

from __future__ import annotations

import asyncio
from array import array

import pytest
from structlog.testing import capture_logs

from core.errors import PluginError, PointNotFound
from core.model import Reason, Source
from core.readings import Chunk, Row, batch_of

from .conftest import MemoryDriver


class WatchingDriver(MemoryDriver):
    """A driver whose devices can tell of changes; ``watched`` is what it was told to watch."""

    def __init__(self, clock):
        super().__init__(clock)
        self.watched = []
        self.fails = False

    def watch(self, group):
        if self.fails:
            raise RuntimeError("no")
        self.watched.append((group.device.id, [point.key for point in group.points], list(group.slots)))


@pytest.fixture
def driver(house, clock):
    made = WatchingDriver(clock)
    house.polls.add_driver("demo", made)
    return made


def points(house, *ids):
    return [house.registry.point(each).point for each in ids]


def tell(house, point_id, value, *, source=Source.COV):
    slots = array("I", [house.registry.point(point_id).slot])
    house.polls.take("demo", batch_of(Chunk(slots), [Row(value)], time=house.clock.utc(), source=source))


async def test_a_driver_hears_which_points_are_polled_and_only_when_these_change(house, driver):
    house.device("demo.a", "t", "u")
    slots = [house.registry.point(each).slot for each in ("demo.a.t", "demo.a.u")]
    assert driver.watched == [("demo.a", ["t", "u"], slots)]
    house.device("demo.a", "t", "u")
    house.polls.live("demo", points(house, "demo.a.t"), 300.0)
    assert len(driver.watched) == 1
    house.device("demo.a", "u")
    assert driver.watched[1:] == [("demo.a", ["u"], slots[1:])]
    house.device("demo.a")
    assert driver.watched[2:] == [("demo.a", [], [])]
    house.device("demo.a")
    assert len(driver.watched) == 3


async def test_a_live_point_is_polled_to_verify_it_only_and_another_at_its_interval(house, clock, driver):
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 2.0}
    house.device("demo.a", "t", "u", interval=10.0)
    await clock.advance(0)
    house.polls.live("demo", points(house, "demo.a.t"), 300.0)
    await clock.advance(0)
    driver.reads.clear()
    await clock.advance(600)
    assert len(driver.times("demo.a", "t")) == 2
    assert len(driver.times("demo.a", "u")) == 60
    house.polls.live("demo", points(house, "demo.a.t"), None)
    driver.reads.clear()
    await clock.advance(0)
    assert driver.times("demo.a", "t"), "it is asked at once"
    await clock.advance(60)
    assert len(driver.times("demo.a", "t")) >= 6


async def test_a_device_of_live_points_only_is_asked_for_one_of_them_so_that_its_silence_is_noticed(
    house, clock, driver
):
    house.device("demo.a", "t", "u", interval=10.0)
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 2.0}
    await clock.advance(0)
    house.polls.live("demo", points(house, "demo.a.t", "demo.a.u"), 300.0)
    await clock.advance(0)
    driver.reads.clear()
    await clock.advance(100)
    assert len(driver.times("demo.a", "t")) == 10
    assert driver.times("demo.a", "u") == []
    driver.silent.add("demo.a")
    await clock.advance(10)
    reading = house.registry.reading(house.registry.point("demo.a.u"))
    assert reading.reason is Reason.OFFLINE


async def test_a_live_point_is_stale_by_its_verification_and_not_before(house, clock, driver):
    house.device("demo.a", "t", "u", interval=10.0)
    driver.values |= {"demo.a.t": 1.0, "demo.a.u": 2.0}
    await clock.advance(0)
    house.polls.live("demo", points(house, "demo.a.u"), 300.0)
    await clock.advance(0)
    entry = house.registry.point("demo.a.u")
    for _ in range(12):
        await clock.advance(50)
        assert house.registry.reading(entry).reason is Reason.NONE
    tell(house, "demo.a.u", 5.0)
    assert house.value("demo.a.u") == 5.0
    house.registry.set_live([entry], None)
    driver.gates["demo.a"] = asyncio.Event()  # no poll is answered any more
    house.registry.set_live([entry], 300.0)
    await clock.advance(740)
    assert house.registry.reading(entry).reason is Reason.NONE
    await clock.advance(20)
    assert house.registry.reading(entry).reason is Reason.STALE
    assert house.registry.point("demo.a.u").interval == 10.0
    assert house.registry.point("demo.a.u").confirmed_every == 300.0


async def test_an_interval_beyond_the_verification_stays(house, clock, driver):
    house.device("demo.a", "t", "u", interval=900.0)
    await clock.advance(0)
    house.polls.live("demo", points(house, "demo.a.u"), 300.0)
    await clock.advance(0)
    driver.reads.clear()
    await clock.advance(1800)
    assert len(driver.times("demo.a", "t", "u")) == 2
    assert house.registry.point("demo.a.u").confirmed_every == 900.0


async def test_points_are_polled_again_when_their_plugin_starts_anew(house, clock, driver):
    house.device("demo.a", "t", interval=10.0)
    house.polls.live("demo", points(house, "demo.a.t"), 300.0)
    house.polls.remove_plugin("demo")
    assert house.registry.point("demo.a.t").live_every is None
    house.polls.live("demo", points(house, "demo.a.t"), 300.0)  # what the driver says while it is stopped
    assert house.registry.point("demo.a.t").live_every is None
    again = WatchingDriver(clock)
    house.polls.add_driver("demo", again)
    assert [device for device, _keys, _slots in again.watched] == ["demo.a"]


async def test_nobody_calls_anothers_points_live(house, driver):
    house.driver("other")
    house.device("other.a", "t")
    with pytest.raises(PluginError, match="not its own"):
        house.polls.live("demo", points(house, "other.a.t"), 300.0)
    gone = points(house, "other.a.t")[0]
    house.registry.mark_vanished(["other.a"])
    house.registry.delete_device("other.a")
    with pytest.raises(PointNotFound):
        house.polls.live("other", [gone], 300.0)


async def test_a_driver_that_cannot_watch_is_named_and_its_points_are_polled(house, clock, driver):
    driver.fails = True
    driver.values["demo.a.t"] = 1.0
    with capture_logs() as log:
        house.device("demo.a", "t")
    assert [line["event"] for line in log] == ["watch_failed"]
    await clock.advance(0)
    assert house.value("demo.a.t") == 1.0
