"""Writes: checked, in turn, once, on record, and whoever holds a slot by them."""

from __future__ import annotations

import asyncio
import json
import math

import attrs
import pytest
from structlog.testing import capture_logs

from core.commands import LONGER_FOR_EACH_S, LONGEST_WRITE_S, Commands
from core.errors import (
    Conflict,
    DeviceNotFound,
    DeviceRefused,
    DeviceTimeout,
    Invalid,
    NotSent,
    NotWritable,
    PlantroomError,
    PluginNotRunning,
    ValueNotSuitable,
)
from core.exchange import LONGEST_READ_S
from core.model import Command, Deed, DeviceStatus, Done, Flag, Kind, Source, Taken
from core.records import PERHAPS, RECORDS_KEPT


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


# many at once


class BatchDriver:
    """What makes a driver one that writes many at once; points of ``refused`` are, each alone."""

    refused: dict[str, Exception] = {}  # noqa: RUF012 - a test gives each its own

    async def write_many(self, asked):
        self.batches.append([each.id for each in asked])
        for index, each in enumerate(asked):
            yield {index: self.refused.get(each.point.key) or await self.write(each)}


def at_once(driver):
    driver.__class__ = type("AtOnce", (BatchDriver, type(driver)), {})
    driver.batches, driver.refused = [], {}
    return driver


async def test_commands_for_one_device_reach_a_driver_that_can_at_once_and_in_order(house, commands, driver, storage):
    at_once(driver).refused["u"] = NotWritable("demo.a.u is locked.")
    asked = [
        command(house, f"demo.{point}", value, key=key)
        for point, value, key in [("a.t", 5.0, "1"), ("b.t", 6.0, "2"), ("a.u", 7.0, "3"), ("a.t", 8.0, "4")]
    ]
    outcomes = await commands.write_many([*asked, command(house, "demo.a.v", "warm", key="5")])
    assert driver.batches == [["1", "3", "4"]], "one alone is written as ever, and what cannot be right is not sent"
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Written", "Written", "NotWritable", "Written", "ValueNotSuitable",
    ]  # fmt: skip
    assert house.value("demo.a.t") == 8.0
    rows = await storage.read("SELECT id FROM commands ORDER BY at")
    assert [id_ for (id_,) in rows if id_ != "2"] == ["1", "4"]


async def test_a_batch_that_is_asked_for_again_is_not_carried_out_again(house, commands, driver):
    at_once(driver)
    asked = [command(house, f"demo.a.{key}", 5.0, key=key) for key in "tu"]
    first = await commands.write_many(asked)
    assert await commands.write_many(asked) == first
    assert driver.batches == [["t", "u"]]


async def test_after_a_write_without_answer_no_more_of_a_batch_is_sent_to_that_device(house, commands, driver):
    driver.silent.add("demo.a")
    asked = [command(house, f"demo.{key}", 5.0, key=key) for key in ("a.t", "a.u", "b.t")]
    silent, unsent, other = await commands.write_many(asked)
    assert isinstance(silent, DeviceTimeout)
    assert isinstance(unsent, DeviceTimeout)
    assert isinstance(unsent, NotSent)
    assert other.reading.value == 5.0
    assert sorted(each.id for each in driver.writes) == ["a.t", "b.t"]


async def test_a_driver_that_answers_too_few_results_fails_all_of_a_batch(house, commands, driver):
    async def write_many(_asked):
        for _ in ():
            yield {}

    at_once(driver).write_many = write_many
    outcomes = await commands.write_many([command(house, f"demo.a.{key}", 5.0, key=key) for key in "tu"])
    assert [str(outcome) for outcome in outcomes] == ["The driver did not tell of 2 of 2 writes."] * 2


async def test_a_batch_under_way_is_told_when_the_house_closes(house, commands, driver):
    driver.gates["demo.a"] = asyncio.Event()
    write = asyncio.create_task(
        commands.write_many([command(house, f"demo.a.{key}", 5.0, key=key) for key in ("t", "u")])
    )
    await driver.asked.wait()
    await commands.close()
    assert [type(outcome) for outcome in await write] == [PluginNotRunning] * 2


async def test_points_that_are_not_writable_reach_only_a_driver_that_asks_the_device(house, commands, driver):
    house.device("demo.c", "sensor")
    with pytest.raises(NotWritable):
        await commands.write(command(house, "demo.c.sensor", 5.0))
    driver.overrides_inputs = True
    assert (await commands.write(command(house, "demo.c.sensor", 5.0))).reading.value == 5.0


async def test_what_was_told_of_a_batch_before_its_time_was_over_is_on_record(house, commands, driver, storage, leap):
    at_once(driver)
    asked = [command(house, f"demo.a.{key}", 5.0, key=key) for key in "tuv"]
    gate = driver.gates["demo.a"] = asyncio.Event()
    gate.set()

    class Slow(type(driver)):
        async def write(self, each):
            if each.id == "u":
                self.asked.clear()
                gate.clear()
            return await super().write(each)

    driver.__class__ = Slow
    writing = asyncio.create_task(commands.write_many(asked))
    await driver.asked.wait()
    while gate.is_set() or not driver.asked.is_set():
        await asyncio.sleep(0)
    await leap(LONGEST_WRITE_S + 3 * LONGER_FOR_EACH_S)
    first, *rest = await writing
    assert (first.reading.value, [type(each) for each in rest]) == (5.0, [DeviceTimeout] * 2)
    rows = dict(await storage.read("SELECT id, result FROM commands"))
    assert (json.loads(rows["t"])["value"], [PERHAPS in json.loads(rows[key]) for key in "uv"]) == (5.0, [True] * 2)
    del driver.gates["demo.a"]
    driver.writes.clear()
    again = await commands.write_many(asked)
    assert (again[0], [each.id for each in driver.writes]) == (first, ["u", "v"]), "perhaps is sent again"


async def test_a_write_to_a_device_that_is_deleted_meanwhile_is_on_record(house, commands, driver, storage):
    gate = driver.gates["demo.a"] = asyncio.Event()
    writing = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await driver.asked.wait()
    house.registry.device("demo.a").vanished = True
    house.registry.delete_device("demo.a")
    gate.set()
    written = await writing
    assert (written.reading, written.verified) == (None, True)
    assert [id_ for (id_,) in await storage.read("SELECT id FROM commands")] == ["1"]


async def test_a_write_that_was_taken_and_not_read_back_is_on_record_held_and_not_sent_again(
    house, commands, driver, storage, clock
):
    class Mumbling(type(driver)):
        async def write(self, asked):
            await super().write(asked)
            return Taken(DeviceRefused("It had taken the write.", extra={"bacnet": {"kind": "error"}}), asked.priority)

    driver.__class__ = Mumbling
    asked = command(house, "demo.b.t", 21.7, priority=9)
    restarted = Commands(house.registry, house.polls, house.leases, storage, clock)
    with capture_logs() as logs:
        for carrier in (commands, commands, restarted):
            with pytest.raises(DeviceRefused, match="had taken the write") as caught:
                await carrier.write(asked)
            assert caught.value.extra == {"bacnet": {"kind": "error"}}
    assert len(driver.writes) == 1
    assert [(line["event"], line["verified"]) for line in logs] == [("point_written", None)]
    await restarted.load()
    assert holders(house, commands, (9, 21.7)) == holders(house, restarted, (9, 21.7)) == [("alice", 21.7)]


async def test_a_write_without_answer_is_on_record_as_perhaps_carried_out_and_sent_again(
    house, commands, driver, storage
):
    driver.silent.add("demo.a")
    with pytest.raises(DeviceTimeout):
        await commands.write(command(house, "demo.a.t", 5.0))
    ((result,),) = await storage.read("SELECT result FROM commands")
    assert json.loads(result)[PERHAPS] is True
    with pytest.raises(Invalid):
        await commands.write(command(house, "demo.a.t", 6.0))
    driver.silent.clear()
    await commands.write(command(house, "demo.a.t", 5.0))
    ((result,),) = await storage.read("SELECT result FROM commands")
    assert (json.loads(result)["value"], len(driver.writes)) == (5.0, 2)


# who holds what


def holders(house, commands, *shown):
    point = house.registry.point("demo.b.t").point
    found = [commands.holder(point, priority, value) for priority, value in shown]
    return [each and (each.principal, each.value) for each in found]


async def test_the_holder_is_noted_of_the_slot_that_was_written_also_where_it_is_outranked(house, commands, driver):
    class Outranked(type(driver)):
        async def write(self, asked):
            result = await super().write(asked)
            return attrs.evolve(result, value=1.0, effective=False, active_priority=5, priority=asked.priority or 16)

    driver.__class__ = Outranked
    await commands.write(command(house, "demo.b.t", 21.7, priority=9))
    await commands.write(command(house, "demo.b.t", 22.0, key="2"))
    assert holders(house, commands, (9, 21.7), (16, 22.0), (5, 1.0)) == [("alice", 21.7), ("alice", 22.0), None]
    await commands.write(command(house, "demo.b.t", relinquish=True, key="3"))
    assert holders(house, commands, (9, 21.7), (16, 22.0)) == [("alice", 21.7), None], "at the default priority, too"


async def test_a_slot_that_shows_another_value_is_not_ours_any_more(house, commands, driver):
    await commands.write(command(house, "demo.b.t", 21.7, priority=9))
    assert holders(house, commands, (9, 21.700000762939453), (9, 21.8), (10, 21.7)) == [("alice", 21.7), None, None]


async def test_a_write_that_the_device_did_not_take_makes_nobody_its_holder(house, commands, driver):
    class Deaf(type(driver)):
        async def write(self, asked):
            return attrs.evolve(await super().write(asked), verified=False)

    driver.__class__ = Deaf
    with capture_logs() as logs:
        written = await commands.write(command(house, "demo.b.t", 21.7, priority=9))
    assert written.verified is False
    assert holders(house, commands, (9, 21.7)) == [None]
    assert [(line["event"], line["log_level"], line["verified"]) for line in logs] == [
        ("point_written", "warning", False)
    ]


async def test_holders_survive_a_restart(house, commands, driver, storage, clock):
    for number, (who, value, priority) in enumerate(
        [("alice", 5.0, 8), ("bob", 6.0, 8), ("alice", 7.0, 9), ("carol", 8.0, 10)]
    ):
        asked = command(house, "demo.b.t", value, key=str(number), priority=priority)
        await commands.write(attrs.evolve(asked, principal=who))
    await commands.write(command(house, "demo.b.t", relinquish=True, key="last", priority=9))
    restarted = Commands(house.registry, house.polls, house.leases, storage, clock)
    assert holders(house, restarted, (8, 6.0)) == [None]
    await restarted.load()
    assert holders(house, restarted, (8, 6.0), (9, 7.0), (10, 8.0)) == [("bob", 6.0), None, ("carol", 8.0)]
    holder = restarted.holder(house.registry.point("demo.b.t").point, 8, 6.0)
    assert holder == commands.holder(house.registry.point("demo.b.t").point, 8, 6.0)


# deeds


def deed(*, key: str = "d1", **fields) -> Deed:
    about = {"device_id": "demo.a", "target": "demo.a.t description", "request": {"value": "new"}}
    return Deed(key, "alice", "rest", **(about | fields))


class Labels:
    """What a plugin may change of a device, beside its points."""

    def __init__(self) -> None:
        self.label = "old"
        self.changes = 0
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def change(self) -> Done:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        before, self.label = self.label, "new"
        self.changes += 1
        return Done(before, {"value": self.label})


async def test_a_deed_is_carried_out_once_logged_and_on_record(house, commands, driver, storage, clock):
    labels = Labels()
    with capture_logs() as logs:
        answers = [await commands.carry_out(deed(), labels.change) for _ in range(2)]
    assert answers == [{"value": "new"}] * 2
    assert labels.changes == 1
    (line,) = logs
    assert (line["event"], line["principal"], line["target"], line["request"]) == (
        "deed_done", "alice", "demo.a.t description", {"value": "new"},
    )  # fmt: skip
    assert (line["before"], line["after"]) == ("old", {"value": "new"})
    ((principal, target, request, result),) = await storage.read(
        "SELECT principal, point_id, request, result FROM commands"
    )
    assert (principal, target) == ("alice", "demo.a.t description")
    assert (json.loads(request), json.loads(result)) == ({"value": "new"}, {"before": "old", "after": {"value": "new"}})
    restarted = Commands(house.registry, house.polls, house.leases, storage, clock)
    await restarted.load()
    assert await restarted.carry_out(deed(), labels.change) == {"value": "new"}
    with pytest.raises(Invalid):
        await restarted.carry_out(deed(request={"value": "newer"}), labels.change)
    with pytest.raises(Invalid):
        await commands.carry_out(deed(target="demo.a.u description"), labels.change)
    assert labels.changes == 1


async def test_a_deed_and_a_write_to_one_device_wait_for_each_other(house, commands, driver):
    labels = Labels()
    labels.gate = asyncio.Event()
    doing = asyncio.create_task(commands.carry_out(deed(), labels.change))
    await labels.asked.wait()
    writing = asyncio.create_task(commands.write(command(house, "demo.a.t", 5.0)))
    await commands.write(command(house, "demo.b.t", 5.0, key="2"))
    assert [each.id for each in driver.writes] == ["2"]
    labels.gate.set()
    await asyncio.gather(doing, writing)
    assert [each.id for each in driver.writes] == ["2", "1"]


async def test_a_deed_is_bounded_in_time_and_needs_the_lease(house, commands, driver, leap, clock):
    labels = Labels()
    labels.gate = asyncio.Event()
    doing = asyncio.create_task(commands.carry_out(deed(), labels.change))
    await labels.asked.wait()
    await leap(LONGEST_WRITE_S + 1)
    with pytest.raises(DeviceTimeout):
        await doing
    house.leadership.lose("demo")
    await clock.advance(0)
    with pytest.raises(PluginNotRunning, match="Another process owns demo"):
        await commands.carry_out(deed(), labels.change)
    with pytest.raises(DeviceNotFound):
        await commands.carry_out(deed(device_id="demo.z"), labels.change)
    assert labels.changes == 0


async def test_a_deed_that_fails_is_logged_and_may_be_tried_again(house, commands, driver, storage):
    async def refuse() -> Done:
        raise NotWritable("It is sealed.")

    with capture_logs() as logs, pytest.raises(NotWritable):
        await commands.carry_out(deed(), refuse)
    assert [(line["event"], line["code"]) for line in logs] == [("deed_failed", "point.not_writable")]
    assert await storage.read("SELECT * FROM commands") == []
    assert await commands.carry_out(deed(), Labels().change) == {"value": "new"}


async def test_a_deed_that_was_done_and_not_read_back_is_on_record_and_not_done_again(
    house, commands, driver, storage, clock
):
    labels = Labels()

    async def change() -> Done:
        return attrs.evolve(await labels.change(), after=None, error=DeviceTimeout("It had taken the write."))

    restarted = Commands(house.registry, house.polls, house.leases, storage, clock)
    for carrier in (commands, commands, restarted):
        with pytest.raises(DeviceTimeout, match="had taken the write"):
            await carrier.carry_out(deed(), change)
    assert labels.changes == 1


async def test_a_deed_is_given_up_when_the_house_closes(house, commands, driver):
    labels = Labels()
    labels.gate = asyncio.Event()
    doing = asyncio.create_task(commands.carry_out(deed(), labels.change))
    await labels.asked.wait()
    await commands.close()
    with pytest.raises(PluginNotRunning, match="may have been carried out"):
        await doing
