"""Many writes at once, and those of which it is not certain what became of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from core.commands import LONGER_FOR_EACH_S, LONGEST_WRITE_S
from core.errors import (
    DeviceTimeout,
    Invalid,
    NotSent,
    NotWritable,
    PluginNotRunning,
)
from core.records import PERHAPS

from .conftest import command


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
