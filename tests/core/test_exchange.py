"""Reads on demand."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from core.errors import DeviceOffline, DeviceRefused, DeviceTimeout, PlantroomError, PluginError, PluginNotRunning
from core.exchange import LONGEST_READ_S, Exchange
from core.model import DeviceStatus, Source
from core.plugin import Poller as PluginPoller


async def refresh(house, exchange: Exchange, *point_ids: str, max_age: float | None = 5.0) -> dict[str, PlantroomError]:
    async with asyncio.timeout(3):
        return await exchange.refresh([house.registry.point(each) for each in point_ids], max_age=max_age)


async def test_without_a_greatest_age_readings_are_taken_as_they_are(house, exchange, driver):
    assert await refresh(house, exchange, "demo.a.t", max_age=None) == {}
    assert (driver.reads, house.value("demo.a.t")) == ([], 1.0)


async def test_a_reading_older_than_asked_for_is_read_from_its_device_first(house, exchange, driver, clock):
    assert await refresh(house, exchange, "demo.a.t", "demo.b.t") == {}
    assert [points for _device, points, _at in driver.reads] == [("t",), ("t",)]
    assert house.value("demo.a.t") == house.value("demo.b.t") == 2.0
    reading = house.registry.reading(house.registry.point("demo.a.t"))
    assert (reading.source, reading.time) == (Source.READ, clock.utc())
    assert house.value("demo.a.u") == 1.0


async def test_a_reading_that_is_young_enough_is_not_read_again(house, exchange, driver, clock):
    await refresh(house, exchange, "demo.a.t")
    await clock.advance(5)
    driver.reads.clear()
    assert await refresh(house, exchange, "demo.a.t", max_age=5.0) == {}
    assert driver.reads == []
    assert await refresh(house, exchange, "demo.a.t", max_age=4.9) == {}
    assert len(driver.reads) == 1


async def test_points_of_one_device_are_read_together(house, exchange, driver):
    await refresh(house, exchange, "demo.a.t", "demo.a.u", "demo.a.v")
    assert [points for _device, points, _at in driver.reads] == [("t", "u", "v")]


async def test_concurrent_readers_share_one_read(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    readers = [asyncio.create_task(refresh(house, exchange, "demo.a.t", "demo.a.u")) for _ in range(50)]
    await driver.asked.wait()
    more = asyncio.create_task(refresh(house, exchange, "demo.a.u", "demo.a.v"))
    await asyncio.sleep(0)
    driver.gates["demo.a"].set()
    assert await asyncio.gather(*readers, more) == [{}] * 51
    assert [points for _device, points, _at in driver.reads] == [("t", "u"), ("v",)]
    assert [house.value(f"demo.a.{key}") for key in "tuv"] == [2.0] * 3


async def test_a_reader_that_leaves_does_not_take_the_read_from_others(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    leaving, staying = (asyncio.create_task(refresh(house, exchange, "demo.a.t")) for _ in range(2))
    await driver.asked.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    driver.gates["demo.a"].set()
    assert await staying == {}
    assert (leaving.cancelled(), len(driver.reads)) == (True, 1)


async def test_one_bad_point_fails_alone(house, exchange, driver):
    driver.values["demo.a.u"] = DeviceRefused("unknown object")
    errors = await refresh(house, exchange, "demo.a.t", "demo.a.u", "demo.b.t")
    assert errors == {"demo.a.u": driver.values["demo.a.u"]}
    assert house.value("demo.a.t") == house.value("demo.b.t") == 2.0


async def test_a_point_whose_last_read_failed_is_read_again_however_young_it_is(house, exchange, driver):
    driver.values["demo.a.t"] = DeviceRefused("busy")
    await refresh(house, exchange, "demo.a.t")
    driver.values["demo.a.t"] = 3.0
    assert await refresh(house, exchange, "demo.a.t", max_age=1000.0) == {}
    assert house.value("demo.a.t") == 3.0


async def test_a_silent_device_is_an_error_and_the_others_are_read(house, exchange, driver):
    driver.silent.add("demo.a")
    errors = await refresh(house, exchange, "demo.a.t", "demo.b.t")
    assert list(errors) == ["demo.a.t"]
    assert isinstance(errors["demo.a.t"], DeviceTimeout)
    assert house.registry.device("demo.a").status is DeviceStatus.OFFLINE
    assert house.value("demo.b.t") == 2.0


async def test_a_device_that_is_offline_is_not_asked_again_for_a_reader(house, exchange, driver):
    house.registry.silent(house.registry.device("demo.a"), "no answer since noon")
    errors = await refresh(house, exchange, "demo.a.t", max_age=1000.0)
    assert isinstance(errors["demo.a.t"], DeviceOffline)
    assert "no answer since noon" in str(errors["demo.a.t"])
    assert driver.reads == []


async def test_a_device_that_never_answers_is_an_error_within_bounded_time(house, exchange, driver, leap):
    driver.gates["demo.a"] = asyncio.Event()
    reader = asyncio.create_task(exchange.refresh([house.registry.point("demo.a.t")], max_age=5.0))
    await driver.asked.wait()
    await leap(LONGEST_READ_S + 1)
    errors = await reader
    assert isinstance(errors["demo.a.t"], DeviceTimeout)
    assert "within 15 s" in str(errors["demo.a.t"])


async def test_a_driver_that_raises_fails_its_own_points_only_and_is_named(house, exchange, driver):
    broken = house.driver("other")
    house.device("other.a", "t")
    broken.broken = ZeroDivisionError("division by zero")
    with capture_logs() as logs:
        errors = await refresh(house, exchange, "other.a.t", "demo.a.t")
    assert list(errors) == ["other.a.t"]
    assert isinstance(errors["other.a.t"], PluginError)
    assert "division by zero" not in str(errors["other.a.t"]), "no internals in what clients see"
    assert [line["plugin"] for line in logs if line["event"] == "read_failed"] == ["other"]


async def test_a_plugin_without_a_driver_runs_its_poller_once_for_all_who_ask(house, exchange, clock):
    device = house.device("demo.m", *(f"p{number}" for number in range(20)))
    runs: list[float] = []

    async def poll():
        runs.append(clock.monotonic())
        await clock.sleep(1)
        return {device.point(f"p{number}"): float(len(runs)) for number in range(20)}

    house.polls.add_poller("demo", PluginPoller("all", 3600.0, poll))
    await clock.advance(100)
    before = len(runs)
    readers = [
        asyncio.create_task(refresh(house, exchange, "demo.m.p0", *(f"demo.m.p{n}" for n in range(20)))) for _ in "ab"
    ]
    await clock.advance(2)
    assert await asyncio.gather(*readers) == [{}, {}]
    assert len(runs) == before + 1
    assert house.value("demo.m.p7") == float(before + 1)


async def test_a_plugins_poller_that_fails_hangs_or_is_gone_is_an_error_of_its_points(house, exchange, clock, leap):
    device = house.device("demo.m", "t")
    answer: list[Exception | None] = [None]
    hangs = asyncio.Event()

    async def poll():
        if answer[0] is not None:
            hangs.set()
            raise answer[0]
        return {device.point("t"): 1.0}

    async def never():
        hangs.set()
        await asyncio.Event().wait()

    house.polls.add_poller("demo", PluginPoller("meter", 3600.0, poll))
    await clock.advance(60)
    answer[0] = RuntimeError("the service is down")
    errors = await refresh(house, exchange, "demo.m.t")
    assert str(errors["demo.m.t"]) == "demo.meter failed: the service is down"
    house.polls.remove_plugin("demo")
    errors = await refresh(house, exchange, "demo.m.t")
    assert isinstance(errors["demo.m.t"], PluginNotRunning)


async def test_a_plugins_poller_that_does_not_return_in_time_is_an_error(house, exchange, clock, leap):
    device = house.device("demo.m", "t")
    entered = asyncio.Event()

    async def poll():
        if clock.monotonic():
            entered.set()
            await asyncio.Event().wait()
        return {device.point("t"): 1.0}

    house.polls.add_poller("demo", PluginPoller("meter", 1e6, poll))
    await clock.advance(60)
    reader = asyncio.create_task(exchange.refresh([house.registry.point("demo.m.t")], max_age=5.0))
    await entered.wait()
    await leap(LONGEST_READ_S + 1)
    errors = await reader
    assert str(errors["demo.m.t"]) == "demo.meter did not answer within 15 s."


async def test_points_that_arrive_by_themselves_stay_as_they_are(house, exchange, clock):
    device = house.device("demo.m", "t")
    house.polls.add_plugin("demo")
    house.polls.take("demo", {device.point("t"): 1.0})
    await clock.advance(60)
    assert await refresh(house, exchange, "demo.m.t") == {}
    assert house.value("demo.m.t") == 1.0


async def test_readers_are_told_when_the_house_closes(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    reader = asyncio.create_task(refresh(house, exchange, "demo.a.t"))
    await driver.asked.wait()
    await exchange.close()
    assert isinstance((await reader)["demo.a.t"], PluginNotRunning)


async def test_the_points_of_a_plugin_that_does_not_run_are_not_to_be_had(house, exchange, driver):
    house.polls.remove_plugin("demo")
    assert isinstance((await refresh(house, exchange, "demo.a.t"))["demo.a.t"], PluginNotRunning)
