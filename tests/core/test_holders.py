"""Whoever holds a slot of a priority array by a write."""

from __future__ import annotations

import attrs
import pytest
from structlog.testing import capture_logs

from core.commands import Commands
from core.errors import (
    DeviceRefused,
)
from core.model import Taken

from .conftest import command


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
