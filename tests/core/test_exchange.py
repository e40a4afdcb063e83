"""Reads on demand, and writes."""

from __future__ import annotations

import asyncio
import json
import math

import attrs
import pytest
from structlog.testing import capture_logs

from core.errors import (
    Conflict,
    DeviceOffline,
    DeviceRefused,
    DeviceTimeout,
    NotWritable,
    PlantroomError,
    PluginError,
    PluginNotRunning,
    ValueNotSuitable,
)
from core.exchange import LONGEST_READ_S, LONGEST_WRITE_S, RESULTS_KEPT, Exchange
from core.model import Command, DeviceStatus, Flag, Kind, Source
from core.plugin import Poller as PluginPoller


async def refresh(house, exchange: Exchange, *point_ids: str, max_age: float | None = 5.0) -> dict[str, PlantroomError]:
    async with asyncio.timeout(3):
        return await exchange.refresh([house.registry.point(each) for each in point_ids], max_age=max_age)


def command(house, point_id: str, value=None, *, key: str = "1", **fields) -> Command:
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


# reads


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


# writes


async def test_a_write_is_carried_out_read_back_and_shown_at_once(house, exchange, driver, clock):
    driver.silent.add("demo.a")
    written = await exchange.write(command(house, "demo.b.t", 21.5, priority=8))
    assert [(each.value, each.priority) for each in driver.writes] == [(21.5, 8)]
    assert (written.effective, written.active_priority) == (True, 8)
    assert written.reading == house.registry.reading(house.registry.point("demo.b.t"))
    assert (written.reading.value, written.reading.source, written.reading.time) == (21.5, Source.WRITE, clock.utc())


async def test_a_relinquish_goes_the_same_way(house, exchange, driver):
    await exchange.write(command(house, "demo.b.t", relinquish=True, priority=8))
    assert [(each.relinquish, each.value) for each in driver.writes] == [(True, None)]


async def test_what_is_read_back_is_shown_with_its_flags_even_if_it_is_no_number(house, exchange, driver):
    class Stubborn(type(driver)):
        async def write(self, asked):
            result = await super().write(asked)
            return attrs.evolve(result, value=math.nan, flags=Flag.OUT_OF_SERVICE, effective=False)

    driver.__class__ = Stubborn
    written = await exchange.write(command(house, "demo.b.t", 21.5))
    assert (written.reading.value, written.reading.flags, written.effective) == (None, Flag.OUT_OF_SERVICE, False)


@pytest.mark.parametrize(
    ("point", "value", "error"),
    [
        ({}, 1.0, NotWritable),
        ({"writable": True}, "warm", ValueNotSuitable),
        ({"writable": True}, None, ValueNotSuitable),
        ({"writable": True}, math.nan, ValueNotSuitable),
        ({"writable": True, "max": 30.0}, 31.0, ValueNotSuitable),
        ({"writable": True, "kind": Kind.ENUM, "states": {"1": "Off", "2": "On", "3": "Auto"}}, 9, ValueNotSuitable),
    ],
)
async def test_a_write_that_cannot_be_right_is_refused_before_anything_is_sent(
    house, exchange, driver, storage, point, value, error
):
    house.device("demo.c", "t", **point)
    with pytest.raises(error):
        await exchange.write(command(house, "demo.c.t", value))
    assert driver.writes == []
    assert await storage.read("SELECT * FROM commands") == []


async def test_an_enum_is_written_by_its_state_text_as_its_number(house, exchange, driver):
    house.device("demo.c", "mode", writable=True, kind=Kind.ENUM, states={"1": "Off", "2": "On"})
    written = await exchange.write(command(house, "demo.c.mode", "On"))
    assert driver.writes[0].value == 2
    assert (written.reading.value, written.reading.text) == (2, "On")
    again = await exchange.write(command(house, "demo.c.mode", "On"))
    assert (again, len(driver.writes)) == (written, 1), "the same words are the same write"


async def test_nothing_is_written_where_no_driver_runs_or_another_process_owns_it(house, exchange, driver, clock):
    house.device("other.a", "t", writable=True)
    with pytest.raises(PluginNotRunning, match="other does not run"):
        await exchange.write(command(house, "other.a.t", 1.0))
    house.leadership.lose("demo")
    await clock.advance(0)
    with pytest.raises(PluginNotRunning, match="Another process owns demo"):
        await exchange.write(command(house, "demo.a.t", 1.0))
    assert driver.writes == []


async def test_the_same_id_is_carried_out_once_and_answered_the_same(house, exchange, driver):
    first = await exchange.write(command(house, "demo.a.t", 5.0))
    assert await exchange.write(command(house, "demo.a.t", 5.0, expires_at=1.0)) == first
    await exchange.write(command(house, "demo.a.t", 5.0, key="2"))
    assert [each.id for each in driver.writes] == ["1", "2"]


async def test_the_same_id_is_carried_out_once_also_while_the_first_is_under_way(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    writes = [asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0))) for _ in range(5)]
    await driver.asked.wait()
    driver.gates["demo.a"].set()
    results = await asyncio.gather(*writes)
    assert len(driver.writes) == 1
    assert results == [results[0]] * 5


@pytest.mark.parametrize("under_way", [True, False])
@pytest.mark.parametrize("other", [{"value": 6.0}, {"priority": 9}, {"principal": "bob"}, {"point": "demo.a.u"}])
async def test_another_command_under_a_used_id_is_a_conflict(house, exchange, driver, under_way: bool, other):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    if not under_way:
        driver.gates["demo.a"].set()
        await first
    if "point" in other:
        other = {"point": house.registry.point(other["point"]).point}
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await exchange.write(attrs.evolve(command(house, "demo.a.t", 5.0), **other))
    driver.gates["demo.a"].set()
    await first
    assert [each.value for each in driver.writes] == [5.0]


async def test_a_point_that_was_described_anew_does_not_make_a_repeated_write_another(house, exchange, driver):
    first = await exchange.write(command(house, "demo.a.t", 5.0))
    house.device("demo.a", "t", "u", "v", interval=3600.0, writable=True, unit="percent")
    assert await exchange.write(command(house, "demo.a.t", 5.0)) == first


async def test_a_write_that_failed_may_be_tried_again_under_its_id(house, exchange, driver):
    driver.silent.add("demo.a")
    with capture_logs() as logs, pytest.raises(DeviceTimeout):
        await exchange.write(command(house, "demo.a.t", 5.0))
    assert [(line["event"], line["point"], line["code"]) for line in logs] == [
        ("write_failed", "demo.a.t", "device.timeout")
    ]
    driver.silent.clear()
    assert (await exchange.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0


async def test_a_write_is_on_record_before_it_is_answered(house, exchange, driver, storage, clock):
    with capture_logs() as logs:
        await exchange.write(command(house, "demo.b.t", 21.5, key="key-1", priority=8))
    ((id_, principal, origin, point_id, request, result, at),) = await storage.read("SELECT * FROM commands")
    assert (id_, principal, origin, point_id, at) == ("key-1", "alice", "rest", "demo.b.t", clock.utc())
    assert json.loads(request) == {"value": 21.5, "relinquish": False, "priority": 8}
    assert json.loads(result) == {"value": 21.5, "effective": True, "active_priority": 8}
    (line,) = [line for line in logs if line["event"] == "point_written"]
    assert (line["principal"], line["origin"], line["before"], line["value"], line["after"]) == (
        "alice", "rest", 1.0, 21.5, 21.5,
    )  # fmt: skip


async def test_a_write_that_could_not_be_recorded_is_an_error_and_is_not_carried_out_twice(
    house, exchange, driver, storage
):
    full = "CREATE TRIGGER full BEFORE INSERT ON commands BEGIN SELECT RAISE(ABORT, 'no room'); END"
    await storage.write((full, [()]))
    with pytest.raises(PlantroomError, match="no room"):
        await exchange.write(command(house, "demo.a.t", 5.0))
    assert (await exchange.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0
    assert len(driver.writes) == 1


async def test_a_write_is_not_carried_out_again_after_a_restart(house, exchange, driver, storage, clock):
    await exchange.write(command(house, "demo.a.t", 5.0, key="once"))
    restarted = Exchange(house.registry, house.polls, house.leases, storage, clock)
    again = await restarted.write(command(house, "demo.a.t", 5.0, key="once"))
    assert again.effective
    assert again.reading.value == 5.0
    assert len(driver.writes) == 1
    with pytest.raises(Conflict, match="another write"):
        await restarted.write(command(house, "demo.a.t", 6.0, key="once"))


async def test_the_points_of_a_plugin_that_does_not_run_are_not_to_be_had(house, exchange, driver):
    house.polls.remove_plugin("demo")
    assert isinstance((await refresh(house, exchange, "demo.a.t"))["demo.a.t"], PluginNotRunning)


async def test_only_the_newest_records_are_kept(house, exchange, driver, storage, clock):
    old = [
        (f"old-{number}", "bob", "rest", "demo.a.t", "{}", "{}", float(number)) for number in range(RESULTS_KEPT + 50)
    ]
    await storage.write(("INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)", old))
    await exchange.write(command(house, "demo.a.t", 5.0))
    ((kept, newest),) = await storage.read("SELECT count(*), max(at) FROM commands")
    assert abs(kept - RESULTS_KEPT) <= 1
    assert newest == clock.utc()


async def test_an_expired_command_is_refused_and_nothing_is_sent(house, exchange, driver, clock):
    with pytest.raises(Conflict, match="expired"):
        await exchange.write(command(house, "demo.a.t", 5.0, expires_at=clock.utc()))
    assert driver.writes == []
    await exchange.write(command(house, "demo.a.t", 5.0, expires_at=clock.utc() + 1))
    assert len(driver.writes) == 1


async def test_a_device_gets_one_write_at_a_time_and_those_that_waited_too_long_none(house, exchange, driver, clock):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    late = asyncio.create_task(exchange.write(command(house, "demo.a.t", 6.0, key="2", expires_at=clock.utc() + 5)))
    third = asyncio.create_task(exchange.write(command(house, "demo.a.u", 7.0, key="3")))
    await exchange.write(command(house, "demo.b.t", 8.0, key="4"))
    assert [each.id for each in driver.writes] == ["1", "4"], "another device does not wait"
    await clock.advance(5)
    driver.gates["demo.a"].set()
    with pytest.raises(Conflict, match="expired"):
        await late
    await asyncio.gather(first, third)
    assert [each.id for each in driver.writes] == ["1", "4", "3"]


async def test_the_lease_is_looked_at_again_when_a_writes_turn_comes(house, exchange, driver, clock):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    second = asyncio.create_task(exchange.write(command(house, "demo.a.t", 6.0, key="2")))
    await clock.advance(0)
    house.leadership.lose("demo")
    await clock.advance(0)
    driver.gates["demo.a"].set()
    await first
    with pytest.raises(PluginNotRunning, match="Another process"):
        await second
    assert len(driver.writes) == 1


async def test_a_device_that_never_answers_a_write_is_an_error_within_bounded_time(house, exchange, driver, leap):
    driver.gates["demo.a"] = asyncio.Event()
    write = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    await leap(LONGEST_WRITE_S + 1)
    with pytest.raises(DeviceTimeout, match="did not answer within 20 s"):
        await write


async def test_a_write_whose_asker_has_gone_is_carried_out_and_answered_to_the_next(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    asker = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    asker.cancel()
    await asyncio.wait({asker})
    driver.gates["demo.a"].set()
    assert (await exchange.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0
    assert (asker.cancelled(), len(driver.writes)) == (True, 1)


async def test_those_who_write_are_told_when_the_house_closes(house, exchange, driver):
    driver.gates["demo.a"] = asyncio.Event()
    write = asyncio.create_task(exchange.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    await exchange.close()
    with pytest.raises(PluginNotRunning):
        await write


async def test_a_write_to_an_offline_device_that_answers_brings_all_its_points_back(house, exchange, driver, clock):
    house.registry.silent(house.registry.device("demo.a"), "no answer")
    await exchange.write(command(house, "demo.a.t", 5.0))
    await clock.advance(0)
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE
    assert house.value("demo.a.u") == 2.0


async def test_a_poll_that_was_under_way_does_not_undo_what_was_written(house, exchange, driver, clock):
    (poll,) = [item for item in house.poller.all if item.name.startswith("demo.a")]
    gate = driver.gates["demo.a"] = asyncio.Event()
    run = house.polls.now(poll)
    await driver.asked.wait()
    del driver.gates["demo.a"]
    await clock.advance(1)
    await exchange.write(command(house, "demo.a.t", 5.0))
    gate.set()
    await run
    assert house.value("demo.a.t") == 5.0
    assert house.value("demo.a.u") == 2.0


async def test_the_priority_array_is_read_from_the_device(house, exchange, driver, leap):
    priorities = await exchange.priorities(house.registry.point("demo.b.t"))
    assert (priorities.active, priorities.slots[7], priorities.relinquish_default) == (8, 2.0, 20.0)
    with pytest.raises(NotWritable, match="has no priority array"):
        await exchange.priorities(house.registry.point("demo.a.t"))
    driver.gates["demo.b"] = asyncio.Event()
    driver.asked.clear()
    read = asyncio.create_task(exchange.priorities(house.registry.point("demo.b.t")))
    await driver.asked.wait()
    await leap(LONGEST_READ_S + 1)
    with pytest.raises(DeviceTimeout):
        await read
