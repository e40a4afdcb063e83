"""Polling: batches that fit the device, one bad object alone, and silence that delays nobody."""

from __future__ import annotations

import asyncio
import math
import time

import attrs
import pytest
from bacpypes3.basetypes import Segmentation
from bacpypes3.object import AnalogInputObject

from core.errors import DeviceNotFound, DeviceTimeout, PointNotFound
from core.model import Device, Flag, Reason, Source
from core.plugin import PointGroup
from plugins.bacnet import driver
from plugins.bacnet.config import PointRule
from plugins.bacnet.errors import NetworkBusy

HERE = "127.0.0.90/8:47905"
THERE = "127.0.0.91/8:47905"


def flagged(number, value, flags):
    """Make an input whose flags are what we say, not what bacpypes3 works out."""
    return AnalogInputObject(
        objectIdentifier=("analog-input", number), objectName=f"ai-{number}", presentValue=value, statusFlags=flags
    )


async def found(house, instance=2001):
    report = await house.scan()
    return report.inventories[f"bacnet.{instance}"]


async def test_a_group_is_read_in_one_request_and_its_chunk_is_reused(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number, number / 10) for number in range(1, 41)])
    house = await start(HERE)
    group = house.group(await found(house))
    device.requests = 0
    (first,) = await house.plugin.driver.read(group)
    (second,) = await house.plugin.driver.read(group)
    assert device.requests == 2
    assert first.chunk is second.chunk
    assert first.same_as(second)
    assert list(first.values) == [number / 10 for number in range(1, 41)]
    assert (first.source, first.errors) == (Source.POLL, {})
    on_demand = house.group(await found(house), "analog-input.1", interval=0.0)
    assert (await house.plugin.driver.read(on_demand))[0].source is Source.READ


async def test_flags_come_with_the_value_and_decide_its_quality(bench, start):
    bench.device(
        THERE,
        2001,
        [
            flagged(1, 1.0, [1, 0, 0, 0]),
            flagged(2, 1.0, [0, 1, 1, 0]),
            flagged(3, 1.0, [0, 0, 0, 1]),
            flagged(4, float("nan"), [0, 0, 0, 0]),
        ],
    )
    house = await start(HERE)
    (batch,) = await house.plugin.driver.read(house.group(await found(house)))
    assert list(batch.flags) == [Flag.IN_ALARM, Flag.FAULT | Flag.OVERRIDDEN, Flag.OUT_OF_SERVICE, 0]
    assert list(batch.reasons) == [Reason.NONE, Reason.FAULT, Reason.OUT_OF_SERVICE, Reason.FAULT]


async def test_an_object_that_vanished_is_an_error_of_its_own_row(bench, start):
    gone = bench.analog_input(2)
    device = bench.device(THERE, 2001, [bench.analog_input(1), gone, bench.analog_input(3)])
    house = await start(HERE)
    group = house.group(await found(house))
    device.delete_object(gone)
    rows = await house.read(group)
    assert (rows["analog-input.1"][0], rows["analog-input.3"][0]) == (21.5, 21.5)
    value, reason, error = rows["analog-input.2"]
    assert math.isnan(value)
    assert reason is Reason.ERROR
    assert isinstance(error, PointNotFound)


async def test_a_device_that_fails_whole_requests_for_one_object_keeps_the_others(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 9)])
    house = await start(HERE)
    group = house.group(await found(house))
    device.chokes_on = 5
    rows = await house.read(group)
    assert [reason for _value, reason, _error in rows.values()] == [Reason.NONE] * 8
    assert len(await house.read(group)) == 8
    device.requests = 0
    assert len(await house.read(group)) == 8
    assert device.requests == 3


async def test_an_object_that_fails_in_every_way_is_asked_for_alone_from_then_on(bench, start):
    gone = bench.analog_input(5)
    device = bench.device(THERE, 2001, [*(bench.analog_input(number) for number in range(1, 5)), gone])
    house = await start(HERE)
    group = house.group(await found(house))
    device.delete_object(gone)
    device.chokes_on = 5
    for _ in range(2):
        rows = await house.read(group)
        assert isinstance(rows["analog-input.5"][2], PointNotFound)
        assert [rows[f"analog-input.{number}"][1] for number in range(1, 5)] == [Reason.NONE] * 4
    device.requests = 0
    await house.read(group)
    assert device.requests == 3


async def test_a_device_without_multiple_reads_is_asked_that_way_only_once(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 21)])
    device.knows_multiple = False
    house = await start(HERE)
    group = house.group(await found(house))
    rows = await house.read(group)
    assert len(rows) == 20
    assert {reason for _value, reason, _error in rows.values()} == {Reason.NONE}
    assert device.multiples == 1


async def test_answers_that_are_too_long_halve_the_request_for_good(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 41)])
    house = await start(HERE)
    group = house.group(await found(house))
    device.device_object.maxApduLengthAccepted = 300
    device.device_object.segmentationSupported = Segmentation.noSegmentation
    assert len(await house.read(group)) == 40
    assert device.aborts > 0
    device.requests = 0
    batches = await house.plugin.driver.read(group)
    assert device.requests == len(batches)
    assert sum(len(batch.values) for batch in batches) == 40


async def test_silence_is_told_of_after_what_may_be_under_way_at_once(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 200)])
    house = await start(HERE)
    group = house.group(await found(house))
    at_once = house.plugin.driver.profiles.get("bacnet.2001").lane.pace.limit
    device.mute = True
    device.requests = 0
    for _ in range(2):
        with pytest.raises(DeviceTimeout):
            await house.read(group)
    assert device.requests == at_once + 1, "then one small one, to see whether it is back"
    device.mute = False
    assert len(await house.read(group)) == 199


async def test_a_device_that_ignores_large_requests_is_not_taken_for_dead(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 41)])
    house = await start(HERE, timeout=0.1)
    group = house.group(await found(house))
    device.hangs_beyond = 15
    with pytest.raises(DeviceTimeout):
        await house.read(group)
    rows = await house.read(group)
    assert {reason for _value, reason, _error in rows.values()} == {Reason.TIMEOUT}
    for _ in range(3):
        rows = await house.read(group)
    assert {reason for _value, reason, _error in rows.values()} == {Reason.NONE}


async def test_a_device_that_dies_between_two_requests_keeps_what_it_said(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 200)])
    house = await start(HERE)
    group = house.group(await found(house))
    device.hangs_on = 199
    rows = await house.read(group)
    assert rows["analog-input.1"][1] is Reason.NONE
    assert rows["analog-input.199"][1] is Reason.TIMEOUT
    assert isinstance(rows["analog-input.199"][2], DeviceTimeout)


async def test_dead_devices_on_a_shared_network_do_not_delay_the_living(bench, start):
    _link, devices = bench.router("127.0.0.92/8:47906", 2001, range(3001, 3031), lambda: [bench.analog_input(1)])
    house = await start(HERE, targets=["127.0.0.92:47906"], timeout=0.5)
    report = await house.scan()
    groups = [house.group(inventory) for inventory in report.inventories.values()]
    for device in devices[1:]:
        device.mute = True
    reads = [asyncio.create_task(house.plugin.driver.read(group)) for group in groups]
    assert await asyncio.gather(*reads, return_exceptions=True)
    started = time.monotonic()
    dead = [asyncio.create_task(house.plugin.driver.read(group)) for group in groups[1:]]
    assert (await house.read(groups[0]))["analog-input.1"][0] == 21.5
    assert time.monotonic() - started < 0.4
    await asyncio.gather(*dead, return_exceptions=True)


async def test_when_a_router_dies_all_its_devices_are_silent_at_once_and_all_come_back(bench, start):
    link, _devices = bench.router("127.0.0.92/8:47906", 2001, range(3001, 3061), lambda: [bench.analog_input(1)])
    house = await start(HERE, targets=["127.0.0.92:47906"], timeout=0.3)
    report = await house.scan()
    groups = [house.group(inventory) for inventory in report.inventories.values()]
    assert len(groups) == 60
    await link.close()
    started = time.monotonic()
    silent = await asyncio.gather(*(house.plugin.driver.read(group) for group in groups), return_exceptions=True)
    assert {type(error) for error in silent} == {DeviceTimeout}
    assert time.monotonic() - started < 1.1
    house.seen.clear()
    link.open()
    await house.read(groups[7])
    assert len(set(house.seen)) == 59


async def test_after_a_restart_a_device_is_read_from_what_was_kept_of_it(bench, start):
    bench.router("127.0.0.92/8:47906", 2001, [3001], lambda: [bench.analog_input(1)])
    house = await start(HERE, targets=["127.0.0.92:47906"])
    inventory = (await house.scan()).inventories["bacnet.3001"]
    again = await start("127.0.0.89/8:47905")
    rows = await again.read(again.group(inventory))
    assert rows["analog-input.1"][0] == 21.5


async def test_a_device_whose_address_is_lost_says_so(start):
    house = await start(HERE)
    device = Device(id="bacnet.1", plugin="bacnet", name="lost")
    group = PointGroup(device, (device.point("analog-input.1"),), house.slots(1))
    with pytest.raises(DeviceNotFound, match="scan again"):
        await house.plugin.driver.read(group)


async def test_a_group_without_objects_of_ours_is_not_found(bench, start):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    inventory = await found(house)
    strange = PointGroup(inventory.device, (inventory.device.point("temperature"),), house.slots(1))
    with pytest.raises(PointNotFound):
        await house.plugin.driver.read(strange)
    mixed = attrs.evolve(strange, points=(*strange.points, *inventory.points), slots=house.slots(2))
    rows = await house.read(mixed)
    assert list(rows) == ["analog-input.1"]


async def test_a_value_of_another_kind_is_an_error_of_its_own_row(bench, start):
    bench.device(THERE, 2001, [bench.analog_input(1), bench.analog_input(2)])
    house = await start(HERE)
    inventory = await found(house)
    wrong = attrs.evolve(inventory.points[0], kind="boolean")
    group = PointGroup(inventory.device, (wrong, inventory.points[1]), house.slots(2))
    rows = await house.read(group)
    assert rows["analog-input.1"][2].code == "bacnet.unusable_value"
    assert rows["analog-input.2"][0] == 21.5


async def test_a_point_from_before_a_restart_is_polled_as_the_configuration_says_now(start):
    rules = (PointRule("*.analog-*", interval=60.0), PointRule("bacnet.2001.analog-input.2", enabled=False))
    house = await start(HERE, points=rules, interval=7.0)
    device = Device("bacnet.2001", "bacnet", "kept")
    keys = ("analog-input.1", "analog-input.2", "binary-input.1")
    points = [house.plugin.driver.configured(device.point(key, interval=10.0)) for key in keys]
    assert [(point.interval, point.enabled) for point in points] == [(60.0, True), (60.0, False), (7.0, True)]


async def test_a_poll_that_is_cancelled_sends_nothing_any_more(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 60)])
    house = await start(HERE)
    group = house.group(await found(house))
    house.plugin.driver._reader._timeout_s = 5.0
    profile = house.plugin.driver.profiles.get("bacnet.2001")
    profile.values.octets = 32
    device.mute = True
    device.requests = 0
    reading = asyncio.create_task(house.plugin.driver.read(group))
    async with asyncio.timeout(3):
        while not device.requests:
            await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert device.requests <= profile.lane.pace.limit
    assert profile.lane.busy == profile.lane.network.busy == 0
    assert not profile.lane.ready


async def test_a_device_with_many_small_requests_that_falls_silent_is_found_so(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 700)])
    house = await start(HERE)
    group = house.group(await found(house))
    profile = house.plugin.driver.profiles.get("bacnet.2001")
    profile.values.octets = 32
    device.mute = True
    device.requests = 0
    async with asyncio.timeout(10):
        with pytest.raises(DeviceTimeout):
            await house.read(group)
    assert device.requests <= profile.lane.pace.limit
    assert profile.lane.busy == 0
    device.mute = False
    assert len(await house.read(group)) == 699


async def test_a_pass_that_takes_too_long_hands_over_what_there_is_and_goes_on_there_the_next_time(
    bench, start, monkeypatch
):
    bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 100)])
    house = await start(HERE)
    group = house.group(await found(house))
    house.plugin.driver.profiles.get("bacnet.2001").values.octets = 100
    monkeypatch.setattr(driver, "POLL_PATIENCE_S", 0.05)
    seen = set()
    async with asyncio.timeout(20):
        while len(seen) < 99:
            rows = await house.read(group)
            assert {reason for _value, reason, _error in rows.values()} == {Reason.NONE}
            assert rows
            before, seen = len(seen), seen | set(rows)
            assert len(seen) > before, "those that were left come first"


async def test_a_device_whose_turn_does_not_come_is_not_said_to_be_silent(bench, start, monkeypatch):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    group = house.group(await found(house))
    profile = house.plugin.driver.profiles.get("bacnet.2001")
    profile.lane.busy = profile.lane.pace.most
    monkeypatch.setattr(driver, "POLL_PATIENCE_S", 0.05)
    with pytest.raises(NetworkBusy):
        await house.read(group)
    assert not profile.silent
    profile.lane.busy = 0
    assert len(await house.read(group)) == 1


async def test_who_waits_less_long_than_the_tries_take_still_learns_that_a_device_is_silent(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE, timeout=0.1, retries=5)
    group = house.group(await found(house))
    device.mute = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await house.read(group)
    assert house.plugin.driver.profiles.get("bacnet.2001").silent


async def test_reads_under_way_when_the_plugin_stops_end_at_once(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 9)])
    house = await start(HERE)
    inventory = await found(house)
    house.plugin.driver._reader._timeout_s = 20.0
    device.mute = True
    reads = [asyncio.create_task(house.read(house.group(inventory, f"analog-input.{n}"))) for n in range(1, 9)]
    await asyncio.sleep(0)
    for client in house.plugin.clients.values():
        client.engine.close()
    async with asyncio.timeout(3):
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(outcome, DeviceTimeout) for outcome in outcomes)
