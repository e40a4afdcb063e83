"""Writes: checked, in turn, once, and on record."""

from __future__ import annotations

import asyncio
import json
import math

import attrs
import pytest
from structlog.testing import capture_logs

from core.commands import LONGEST_WRITE_S, Commands
from core.errors import (
    Conflict,
    DeviceTimeout,
    Invalid,
    NotWritable,
    PlantroomError,
    PluginNotRunning,
    ValueNotSuitable,
)
from core.exchange import LONGEST_READ_S
from core.model import DeviceStatus, Flag, Kind, Source
from core.records import RECORDS_KEPT

from .conftest import command


async def test_a_write_is_carried_out_read_back_and_shown_at_once(house, commands, driver, clock):
    driver.silent.add("demo.a")
    written = await commands.write(command(house, "demo.b.t", 21.5, priority=8))
    assert [(each.value, each.priority) for each in driver.writes] == [(21.5, 8)]
    assert (written.effective, written.active_priority) == (True, 8)
    assert written.reading == house.registry.reading(house.registry.point("demo.b.t"))
    assert (written.reading.value, written.reading.source, written.reading.time) == (21.5, Source.WRITE, clock.utc())


async def test_a_relinquish_goes_the_same_way(house, commands, driver):
    await commands.write(command(house, "demo.b.t", relinquish=True, priority=8))
    assert [(each.relinquish, each.value) for each in driver.writes] == [(True, None)]


async def test_what_is_read_back_is_shown_with_its_flags_even_if_it_is_no_number(house, commands, driver):
    class Stubborn(type(driver)):
        async def write(self, asked):
            result = await super().write(asked)
            return attrs.evolve(result, value=math.nan, flags=Flag.OUT_OF_SERVICE, effective=False)

    driver.__class__ = Stubborn
    written = await commands.write(command(house, "demo.b.t", 21.5))
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
    house, commands, driver, storage, point, value, error
):
    house.device("demo.c", "t", **point)
    with pytest.raises(error):
        await commands.write(command(house, "demo.c.t", value))
    assert driver.writes == []
    assert await storage.read("SELECT * FROM commands") == []


async def test_an_enum_is_written_by_its_state_text_as_its_number(house, commands, driver):
    house.device("demo.c", "mode", writable=True, kind=Kind.ENUM, states={"1": "Off", "2": "On"})
    written = await commands.write(command(house, "demo.c.mode", "On"))
    assert driver.writes[0].value == 2
    assert (written.reading.value, written.reading.text) == (2, "On")
    again = await commands.write(command(house, "demo.c.mode", "On"))
    assert (again, len(driver.writes)) == (written, 1), "the same words are the same write"


async def test_nothing_is_written_where_no_driver_runs_or_another_process_owns_it(house, commands, driver, clock):
    house.device("other.a", "t", writable=True)
    with pytest.raises(PluginNotRunning, match="other does not run"):
        await commands.write(command(house, "other.a.t", 1.0))
    house.leadership.lose("demo")
    await clock.advance(0)
    with pytest.raises(PluginNotRunning, match="Another process owns demo"):
        await commands.write(command(house, "demo.a.t", 1.0))
    assert driver.writes == []


async def test_the_same_id_is_carried_out_once_and_answered_the_same(house, commands, driver):
    first = await commands.write(command(house, "demo.a.t", 5.0))
    assert await commands.write(command(house, "demo.a.t", 5.0, expires_at=1.0)) == first
    await commands.write(command(house, "demo.a.t", 5.0, key="2"))
    assert [each.id for each in driver.writes] == ["1", "2"]


async def test_the_same_id_is_carried_out_once_also_while_the_first_is_under_way(house, commands, driver):
    driver.gates["demo.a"] = asyncio.Event()
    writes = [asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0))) for _ in range(5)]
    await driver.asked.wait()
    driver.gates["demo.a"].set()
    results = await asyncio.gather(*writes)
    assert len(driver.writes) == 1
    assert results == [results[0]] * 5


@pytest.mark.parametrize("under_way", [True, False])
@pytest.mark.parametrize("other", [{"value": 6.0}, {"priority": 9}, {"principal": "bob"}, {"point": "demo.a.u"}])
async def test_another_command_under_a_used_id_is_refused(house, commands, driver, under_way: bool, other):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    if not under_way:
        driver.gates["demo.a"].set()
        await first
    if "point" in other:
        other = {"point": house.registry.point(other["point"]).point}
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await commands.write(attrs.evolve(command(house, "demo.a.t", 5.0), **other))
    driver.gates["demo.a"].set()
    await first
    assert [each.value for each in driver.writes] == [5.0]


async def test_a_point_that_was_described_anew_does_not_make_a_repeated_write_another(house, commands, driver):
    first = await commands.write(command(house, "demo.a.t", 5.0))
    house.device("demo.a", "t", "u", "v", interval=3600.0, writable=True, unit="percent")
    assert await commands.write(command(house, "demo.a.t", 5.0)) == first


async def test_a_write_that_failed_may_be_tried_again_under_its_id(house, commands, driver):
    driver.silent.add("demo.a")
    with capture_logs() as logs, pytest.raises(DeviceTimeout):
        await commands.write(command(house, "demo.a.t", 5.0))
    assert [(line["event"], line["point"], line["code"]) for line in logs] == [
        ("write_failed", "demo.a.t", "device.timeout")
    ]
    driver.silent.clear()
    assert (await commands.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0


async def test_a_write_is_on_record_before_it_is_answered(house, commands, driver, storage, clock):
    with capture_logs() as logs:
        await commands.write(command(house, "demo.b.t", 21.5, key="key-1", priority=8))
    ((id_, principal, origin, point_id, request, result, at),) = await storage.read("SELECT * FROM commands")
    assert (id_, principal, origin, point_id, at) == ("key-1", "alice", "rest", "demo.b.t", clock.utc())
    assert json.loads(request) == {"value": 21.5, "relinquish": False, "priority": 8}
    assert json.loads(result) == {
        "value": 21.5, "effective": True, "active_priority": 8, "priority": 8, "verified": True, "held": 21.5,
    }  # fmt: skip
    (line,) = [line for line in logs if line["event"] == "point_written"]
    assert (line["principal"], line["origin"], line["before"], line["value"], line["after"]) == (
        "alice", "rest", 1.0, 21.5, 21.5,
    )  # fmt: skip


async def test_a_write_that_could_not_be_recorded_is_an_error_and_is_not_carried_out_twice(
    house, commands, driver, storage
):
    full = "CREATE TRIGGER full BEFORE INSERT ON commands BEGIN SELECT RAISE(ABORT, 'no room'); END"
    await storage.write((full, [()]))
    with pytest.raises(PlantroomError, match="no room"):
        await commands.write(command(house, "demo.a.t", 5.0))
    assert (await commands.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0
    assert len(driver.writes) == 1


async def test_a_write_is_not_carried_out_again_after_a_restart(house, commands, driver, storage, clock):
    await commands.write(command(house, "demo.a.t", 5.0, key="once"))
    restarted = Commands(house.registry, house.polls, house.leases, storage, clock)
    again = await restarted.write(command(house, "demo.a.t", 5.0, key="once"))
    assert again.effective
    assert again.reading.value == 5.0
    assert len(driver.writes) == 1
    with pytest.raises(Invalid, match="another write"):
        await restarted.write(command(house, "demo.a.t", 6.0, key="once"))


async def test_only_the_newest_records_are_kept(house, commands, driver, storage, clock):
    old = [
        (f"old-{number}", "bob", "rest", "demo.a.t", "{}", "{}", float(number)) for number in range(RECORDS_KEPT + 50)
    ]
    await storage.write(("INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)", old))
    await commands.write(command(house, "demo.a.t", 5.0))
    ((kept, newest),) = await storage.read("SELECT count(*), max(at) FROM commands")
    assert abs(kept - RECORDS_KEPT) <= 1
    assert newest == clock.utc()


async def test_an_expired_command_is_refused_and_nothing_is_sent(house, commands, driver, clock):
    with pytest.raises(Conflict, match="expired"):
        await commands.write(command(house, "demo.a.t", 5.0, expires_at=clock.utc()))
    assert driver.writes == []
    await commands.write(command(house, "demo.a.t", 5.0, expires_at=clock.utc() + 1))
    assert len(driver.writes) == 1


async def test_a_device_gets_one_write_at_a_time_and_those_that_waited_too_long_none(house, commands, driver, clock):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    late = asyncio.create_task(commands.write(command(house, "demo.a.t", 6.0, key="2", expires_at=clock.utc() + 5)))
    third = asyncio.create_task(commands.write(command(house, "demo.a.u", 7.0, key="3")))
    await commands.write(command(house, "demo.b.t", 8.0, key="4"))
    assert [each.id for each in driver.writes] == ["1", "4"], "another device does not wait"
    await clock.advance(5)
    driver.gates["demo.a"].set()
    with pytest.raises(Conflict, match="expired"):
        await late
    await asyncio.gather(first, third)
    assert [each.id for each in driver.writes] == ["1", "4", "3"]


async def test_the_lease_is_looked_at_again_when_a_writes_turn_comes(house, commands, driver, clock):
    driver.gates["demo.a"] = asyncio.Event()
    first = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    second = asyncio.create_task(commands.write(command(house, "demo.a.t", 6.0, key="2")))
    await clock.advance(0)
    house.leadership.lose("demo")
    await clock.advance(0)
    driver.gates["demo.a"].set()
    await first
    with pytest.raises(PluginNotRunning, match="Another process"):
        await second
    assert len(driver.writes) == 1


async def test_a_device_that_never_answers_a_write_is_an_error_within_bounded_time(house, commands, driver, leap):
    driver.gates["demo.a"] = asyncio.Event()
    write = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    await leap(LONGEST_WRITE_S + 1)
    with pytest.raises(DeviceTimeout, match="did not answer within 20 s"):
        await write


async def test_a_write_whose_asker_has_gone_is_carried_out_and_answered_to_the_next(house, commands, driver):
    driver.gates["demo.a"] = asyncio.Event()
    asker = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    asker.cancel()
    await asyncio.wait({asker})
    driver.gates["demo.a"].set()
    assert (await commands.write(command(house, "demo.a.t", 5.0))).reading.value == 5.0
    assert (asker.cancelled(), len(driver.writes)) == (True, 1)


async def test_those_who_write_are_told_when_the_house_closes(house, commands, driver):
    driver.gates["demo.a"] = asyncio.Event()
    write = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    await commands.close()
    with pytest.raises(PluginNotRunning):
        await write


async def test_a_write_to_an_offline_device_that_answers_brings_all_its_points_back(house, commands, driver, clock):
    house.registry.silent(house.registry.device("demo.a"), "no answer")
    await commands.write(command(house, "demo.a.t", 5.0))
    await clock.advance(0)
    assert house.registry.device("demo.a").status is DeviceStatus.ONLINE
    assert house.value("demo.a.u") == 2.0


async def test_a_poll_that_was_under_way_does_not_undo_what_was_written(house, commands, driver, clock):
    (poll,) = [item for item in house.poller.all if item.name.startswith("demo.a")]
    gate = driver.gates["demo.a"] = asyncio.Event()
    run = house.polls.now(poll)
    await driver.asked.wait()
    del driver.gates["demo.a"]
    await clock.advance(1)
    await commands.write(command(house, "demo.a.t", 5.0))
    gate.set()
    await run
    assert house.value("demo.a.t") == 5.0
    assert house.value("demo.a.u") == 2.0


async def test_the_priority_array_is_read_from_the_device(house, commands, driver, leap):
    priorities = await commands.priorities(house.registry.point("demo.b.t"))
    assert (priorities.active, priorities.slots[7], priorities.relinquish_default) == (8, 2.0, 20.0)
    with pytest.raises(NotWritable, match="has no priority array"):
        await commands.priorities(house.registry.point("demo.a.t"))
    driver.gates["demo.b"] = asyncio.Event()
    driver.asked.clear()
    read = asyncio.create_task(commands.priorities(house.registry.point("demo.b.t")))
    await driver.asked.wait()
    await leap(LONGEST_READ_S + 1)
    with pytest.raises(DeviceTimeout):
        await read
