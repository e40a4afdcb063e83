"""What plugins do to devices beside writing points: in turn, once, on record."""

from __future__ import annotations

import asyncio
import json

import attrs
import pytest
from structlog.testing import capture_logs

from core.commands import LONGEST_WRITE_S, Commands
from core.errors import (
    DeviceNotFound,
    DeviceTimeout,
    Invalid,
    NotWritable,
    PluginNotRunning,
)
from core.model import Deed, Done

from .conftest import command


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
