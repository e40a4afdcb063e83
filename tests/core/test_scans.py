"""Scans, on demand and on their schedule."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from structlog.testing import capture_logs

from core.errors import DeviceTimeout, Invalid, PluginError, PluginNotRunning
from core.jobs import JobState
from core.model import DeviceStatus, Inventory
from core.scans import RETRY_WHEN_EMPTY_S
from core.services import ScanRequest


def found(**counts):
    """What a scan answers, 0 where not told otherwise."""
    changes = ("devices_added", "devices_vanished", "added", "changed", "vanished", "returned")
    return {**dict.fromkeys(changes, 0), "added_ids": [], "vanished_ids": [], **counts}


async def test_a_scan_lists_what_it_finds_and_polls_it_from_then_on(house, clock, inventory):
    driver = house.driver()
    driver.inventories = [inventory("demo.a", "t", "u"), inventory("demo.b", "t")]
    driver.values |= {"demo.a.t": 1.0}
    with capture_logs() as logs:
        job = house.scans.start("demo")
        await clock.advance(0)
    assert (job.state, job.result) == (
        JobState.SUCCEEDED,
        found(devices=2, points=3, devices_added=2, added=3, added_ids=["demo.a.t", "demo.a.u", "demo.b.t"]),
    )
    assert job.counts == {"devices": 2, "points": 3}
    assert (job.found, job.phase, job.progress) == (2, "looking", 1.0)
    assert house.registry.device_ids() == ("demo.a", "demo.b")
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE
    assert house.value("demo.a.t") == 1.0
    assert [(line["event"], line["devices"], line["points"]) for line in logs] == [("scan_done", 2, 3)]


async def test_what_to_look_for_reaches_the_driver(house, clock):
    driver = house.driver()
    house.scans.start("demo", instances=(2001, "3000-3999"), targets=("10.0.0.7:47808",))
    await clock.advance(0)
    assert driver.scans == [ScanRequest((2001, "3000-3999"), ("10.0.0.7:47808",))]


async def test_without_a_name_all_drivers_scan(house, clock, inventory):
    first, second = house.driver(), house.driver("other")
    first.inventories, second.inventories = [inventory("demo.a", "t")], [inventory("other.a", "t")]
    job = house.scans.start()
    await clock.advance(0)
    assert job.result == found(devices=2, points=2, devices_added=2, added=2, added_ids=["demo.a.t", "other.a.t"])
    assert job.counts == {"devices": 2, "points": 2}


async def test_the_same_scan_is_not_queued_twice(house, clock):
    house.driver()
    first = house.scans.start("demo")
    assert house.scans.start("demo") is first
    assert house.scans.start("demo", targets=("10.0.0.7",)) is not first
    await clock.advance(0)
    assert house.scans.start("demo") is not first


async def test_a_plugin_that_cannot_scan_is_an_error_that_names_those_that_can(house):
    with pytest.raises(PluginNotRunning, match="No plugin with a driver runs"):
        house.scans.start()
    with pytest.raises(Invalid, match="'demo' has no running driver to scan with; those that have: none runs"):
        house.scans.start("demo")
    house.driver("other")
    with pytest.raises(Invalid, match="those that have: other"):
        house.scans.start("demo")


async def test_a_scan_that_fails_keeps_its_error(house, clock):
    house.driver().broken = DeviceTimeout("The network is down.")
    with capture_logs():
        job = house.scans.start("demo")
        await clock.advance(0)
    assert (job.state, str(job.error)) == (JobState.FAILED, "The network is down.")


@pytest.mark.parametrize("error", [DeviceTimeout("The network is down."), ZeroDivisionError("division by zero")])
async def test_one_driver_that_fails_does_not_keep_the_others_from_scanning(house, clock, inventory, error):
    house.driver().broken = error
    house.driver("other").inventories = [inventory("other.a", "t")]
    with capture_logs():
        job = house.scans.start()
        await clock.advance(0)
    assert job.state is JobState.SUCCEEDED
    assert (job.result["devices"], job.result["points"]) == (1, 1)
    (warning,) = job.warnings
    assert "demo: " in warning.detail
    assert str(error) in warning.detail


async def test_when_all_drivers_fail_the_scan_has_failed(house, clock):
    house.driver().broken = DeviceTimeout("The network is down.")
    house.driver("other").broken = DeviceTimeout("That one too.")
    with capture_logs():
        job = house.scans.start()
        await clock.advance(0)
    assert (job.state, str(job.error)) == (JobState.FAILED, "The network is down.")
    assert len(job.warnings) == 2


async def test_a_driver_that_left_before_its_scans_turn_came_is_an_error(house, clock):
    house.driver()
    job = house.scans.start("demo")
    house.polls.remove_plugin("demo")
    with capture_logs():
        await clock.advance(0)
    assert isinstance(job.error, PluginNotRunning)


async def test_a_device_of_another_plugin_is_refused(house, clock, inventory):
    house.driver().inventories = [inventory("other.a", "t")]
    with capture_logs():
        job = house.scans.start("demo")
        await clock.advance(0)
    assert isinstance(job.error, PluginError)
    assert "'other.a' is not demo's" in str(job.error)
    assert house.registry.device_ids() == ()


async def test_a_device_is_listed_and_polled_while_the_scan_still_runs(house, clock, inventory):
    driver = house.driver()
    driver.inventories = [inventory("demo.a", "t")]
    going_on = asyncio.Event()
    scan = driver.scan

    async def long_scan(request, report):
        await scan(request, report)
        await going_on.wait()

    driver.scan = long_scan
    job = house.scans.start("demo")
    await clock.advance(0)
    assert (job.state, job.found) == (JobState.RUNNING, 1)
    assert driver.times("demo.a") == [0.0]
    await house.jobs.cancel(job.id)
    assert house.registry.device_ids() == ("demo.a",), "what was found stays"


async def test_an_offline_device_that_a_scan_finds_comes_back_with_all_its_groups_at_once(house, clock, inventory):
    driver = house.driver()
    house.device("demo.a", "t", "u")
    driver.silent.add("demo.a")
    driver.inventories = [inventory("demo.a", "t", "u")]
    await clock.advance(300)
    driver.silent.clear()
    driver.reads.clear()
    house.scans.start("demo")
    await clock.advance(0)
    assert driver.times("demo.a") == [300.0]
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE


# what has vanished


async def test_a_device_that_neither_answers_nor_is_found_by_a_full_scan_has_vanished(house, clock, inventory):
    driver = house.driver()
    for name in ("demo.gone", "demo.shy", "demo.there"):
        house.device(name, "t")
    driver.silent.add("demo.gone")
    driver.inventories = [inventory("demo.there", "t")]
    await clock.advance(0)
    house.scans.start("demo", targets=("10.0.0.7",))
    await clock.advance(0)
    assert not house.registry.device("demo.gone").vanished, "only a full scan can tell"
    house.scans.start("demo")
    await clock.advance(0)
    vanished = {entry.id: entry.vanished for entry in house.registry.devices()}
    assert vanished == {"demo.gone": True, "demo.shy": False, "demo.there": False}, "the shy one still answers polls"
    driver.silent.clear()
    await clock.advance(30)
    assert not house.registry.device("demo.gone").vanished


async def test_a_scan_that_finds_nothing_at_all_makes_nothing_vanish(house, clock, inventory):
    driver, other = house.driver(), house.driver("other")
    house.device("demo.a", "t")
    driver.silent.add("demo.a")
    await clock.advance(0)
    house.scans.start("demo")
    await clock.advance(0)
    assert not house.registry.device("demo.a").vanished
    other.inventories = [inventory("other.a", "t")]
    house.registry.put([inventory("other.b", "t")])
    house.scans.start()
    await clock.advance(0)
    assert not house.registry.device("demo.a").vanished, "what another plugin finds says nothing of this one's network"


async def test_a_scan_that_failed_makes_nothing_vanish(house, clock, inventory):
    driver = house.driver()
    house.device("demo.a", "t")
    driver.silent.add("demo.a")
    await clock.advance(0)

    async def half(_request, report):
        report.found(inventory("demo.b", "t"))
        raise DeviceTimeout("The router went away.")

    driver.scan = half
    with capture_logs():
        house.scans.start("demo")
        await clock.advance(0)
    assert not house.registry.device("demo.a").vanished
    assert house.registry.has_device("demo.b")


# what is new


def building(inventory, *keys, **fields):
    return [inventory("demo.a", *keys, **fields)]


async def scan(house, clock):
    job = house.scans.start("demo")
    await clock.advance(0)
    assert job.state is JobState.SUCCEEDED
    return job.result


async def test_a_rescan_tells_exactly_what_came_and_went_and_changes_no_id(house, clock, inventory):
    driver = house.driver()
    keys = [f"p{number}" for number in range(100)]
    driver.inventories = building(inventory, *keys)
    await scan(house, clock)
    slots = {point.id: point.slot for point in house.registry.device("demo.a").points.values()}
    assert await scan(house, clock) == found(devices=1, points=100)
    driver.inventories = building(inventory, *keys[10:], *(f"new{number}" for number in range(10)))
    with capture_logs() as logs:
        result = await scan(house, clock)
    new, gone = [f"demo.a.new{number}" for number in range(10)], [f"demo.a.p{number}" for number in range(10)]
    assert result == found(devices=1, points=100, added=10, vanished=10, added_ids=new, vanished_ids=gone)
    assert [(line["added"], line["vanished"], line["changed"]) for line in logs] == [(10, 10, 0)]
    now = house.registry.device("demo.a").points
    assert {name: now[name].slot for name in slots} == slots
    assert [name for name in now if now[name].vanished] == gone
    driver.inventories = building(inventory, *keys)
    back = await scan(house, clock)
    assert (back["returned"], back["vanished"], back["added"]) == (10, 10, 0)
    assert {name: now[name].slot for name in slots} == slots


async def test_points_that_are_described_otherwise_have_changed_and_keep_what_people_chose(house, clock, inventory):
    driver = house.driver()
    driver.inventories = building(inventory, "t", "u")
    await scan(house, clock)
    house.registry.override_point("demo.a.t", lambda chosen: attrs.evolve(chosen, name="Mine", interval=7.0))
    driver.inventories = [
        Inventory(each.device, [attrs.evolve(point, unit="percent") for point in each.points])
        for each in driver.inventories
    ]
    assert await scan(house, clock) == found(devices=1, points=2, changed=2)
    entry = house.registry.point("demo.a.t")
    assert (entry.name, entry.interval, entry.point.unit) == ("Mine", 7.0, "percent")


async def test_an_inventory_that_is_not_complete_makes_nothing_vanish(house, clock, inventory):
    driver = house.driver()
    driver.inventories = building(inventory, "t", "u", "v")
    await scan(house, clock)
    (whole,) = driver.inventories
    driver.inventories = [attrs.evolve(whole, points=whole.points[:1], complete=False)]
    assert await scan(house, clock) == found(devices=1, points=1)
    assert not any(point.vanished for point in house.registry.device("demo.a").points.values())


async def test_points_that_could_not_be_asked_what_they_are_stay_as_they_were_known(house, clock, inventory):
    driver = house.driver()
    driver.inventories = building(inventory, "t", unit="percent")
    await scan(house, clock)
    (whole,) = driver.inventories
    bare = [attrs.evolve(point, unit=None) for point in whole.points]
    driver.inventories = [attrs.evolve(whole, points=bare, unread=frozenset({"demo.a.t"}))]
    assert await scan(house, clock) == found(devices=1, points=1)
    assert house.registry.point("demo.a.t").point.unit == "percent"
    driver.inventories = building(inventory)
    await scan(house, clock)
    driver.inventories = [attrs.evolve(whole, points=bare, unread=frozenset({"demo.a.t"}))]
    assert (await scan(house, clock))["returned"] == 1
    assert house.registry.point("demo.a.t").point.unit == "percent"


async def test_a_vanished_point_is_not_polled_until_it_is_back(house, clock, inventory):
    driver = house.driver()
    driver.inventories = building(inventory, "t", "u")
    await scan(house, clock)
    driver.inventories = building(inventory, "u")
    await scan(house, clock)
    driver.reads.clear()
    await clock.advance(100)
    assert {points for _device, points, _at in driver.reads} == {("u",)}
    driver.inventories = building(inventory, "t", "u")
    await scan(house, clock)
    assert driver.times("demo.a", "t")


async def test_a_driver_is_told_which_devices_are_listed_already(house, clock, inventory):
    driver = house.driver()
    house.driver("other")
    device = house.device("demo.a", "t")
    house.device("other.b", "t")
    await scan(house, clock)
    assert driver.scans[0].known == (device,)


async def test_a_device_may_be_handed_over_outside_of_scans(house, clock, inventory):
    driver = house.driver()
    changes = house.scans.take("demo", inventory("demo.a", "t"))
    assert (changes.devices_added, changes.added) == (["demo.a"], ["demo.a.t"])
    await clock.advance(0)
    assert driver.times("demo.a")
    with pytest.raises(PluginError, match="is not demo's"):
        house.scans.take("demo", inventory("other.a", "t"))


async def test_a_driver_may_count_what_it_has_read_before_it_hands_it_over(house, clock, inventory):
    driver, heard = house.driver(), []

    async def counting(_request, report):
        report.counted(devices=2, points=40)
        heard.append(dict(job.counts))
        report.found(inventory("demo.a", "t"))
        heard.append(dict(job.counts))

    driver.scan = counting
    job = house.scans.start("demo")
    await clock.advance(0)
    assert heard == [{"devices": 2, "points": 40}] * 2
    assert (job.result["devices"], job.result["points"]) == (1, 1)


# on schedule


async def test_a_driver_is_scanned_at_start_and_then_at_its_interval(house, clock, inventory):
    driver = house.driver(scan_interval_s=600.0)
    driver.inventories = [inventory("demo.a", "t")]
    house.scans.schedule("demo", driver)
    await clock.advance(10)
    assert len(driver.scans) == 1
    await clock.advance(1850)
    assert len(driver.scans) == 4


async def test_while_nothing_was_found_it_is_scanned_again_soon(house, clock, inventory):
    driver = house.driver(scan_interval_s=600.0)
    house.scans.schedule("demo", driver)
    await clock.advance(RETRY_WHEN_EMPTY_S * 4)
    assert 4 <= len(driver.scans) <= 5
    driver.inventories = [inventory("demo.a", "t")]
    await clock.advance(RETRY_WHEN_EMPTY_S)
    driver.scans.clear()
    await clock.advance(500)
    assert driver.scans == []


async def test_a_scan_on_demand_counts_for_the_schedule(house, clock, inventory):
    driver = house.driver(scan_interval_s=600.0)
    driver.inventories = [inventory("demo.a", "t")]
    house.scans.schedule("demo", driver)
    await clock.advance(580)
    house.scans.start("demo")
    await clock.advance(500)
    assert len(driver.scans) == 2


async def test_a_driver_without_an_interval_is_scanned_only_when_asked(house, clock):
    driver = house.driver(scan_interval_s=None)
    house.scans.schedule("demo", driver)
    await clock.advance(3600)
    assert driver.scans == []
    assert house.poller.all == ()


async def test_scans_end_when_the_plugin_leaves(house, clock):
    driver = house.driver(scan_interval_s=60.0)
    house.scans.schedule("demo", driver)
    await clock.advance(0)
    house.polls.remove_plugin("demo")
    driver.scans.clear()
    await clock.advance(300)
    assert driver.scans == []
