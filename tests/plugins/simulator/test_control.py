"""The building's process obeys while it runs: through REST, and after it was started anew."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

import pytest

from core.plugin import Context
from core.serialize import dumps, loads
from core.testing import Running, StartPlantroom
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.control import LONGEST_LINE, Commands
from plugins.simulator.errors import BuildingAway, SimulatorError
from plugins.simulator.process import BuildingProcess
from plugins.simulator.testing import simulation
from plugins.simulator.trunks import TrunkOptions

from .conftest import is_free, until
from .wire import place_of, wire_to

AT = "/api/v1/simulator"


@pytest.fixture
async def house(plantroom: StartPlantroom, port: int) -> Running:
    return await plantroom(f"""
        plugins:
          simulator:
            port: {port}
            trunks:
              - {{network: 3001, controllers: 2, points: 10, latency: 0.001}}
            faults:
              - {{kind: silent, devices: [2002]}}
    """)


async def answers(port: int, device: int) -> bool:
    """Tell whether a device is there; the weather station is."""
    async with wire_to(f"127.0.0.1:{port}") as wire:
        await wire.who_is(device)
        await wire.who_is(2029)
        return (await wire.hear()).npdu.source == place_of(device)


async def test_devices_are_listed_in_pages_with_all_that_they_say(house: Running, port: int) -> None:
    async with wire_to(f"127.0.0.1:{port}") as wire:
        assert (await wire.subscribe(2004, "analog-input.1")).apdu[0] == 0x20
    first = (await house.api.get(f"{AT}/devices", limit="4")).json
    assert [each["instance"] for each in first["items"]] == [2001, 2002, 2003, 2004]
    assert first["items"][3] == {
        "instance": 2004, "name": "VAV-1-01", "vendor": "Northgate Controls", "model": "RoomBox 20", "network": 2001,
        "address": "04", "max_apdu": 480, "segmentation": False, "objects": 22, "subscriptions": 1,
        "restarting": False, "faults": [],
    }  # fmt: skip
    assert first["items"][1]["faults"] == ["1"]
    rest = (await house.api.get(f"{AT}/devices", cursor=first["next_cursor"])).json
    assert (len(rest["items"]), rest["next_cursor"]) == (27, None)
    assert (rest["items"][-1]["name"], rest["items"][-1]["network"]) == ("TC-00002", 3001)
    assert (await house.api.get(f"{AT}/devices", cursor="abc")).json["code"] == "cursor.invalid"


async def test_a_fault_is_added_shown_and_taken_back(house: Running, port: int) -> None:
    assert await answers(port, 2001)
    added = await house.api.post(f"{AT}/faults", {"kind": "silent", "devices": [2001, "2005-2006"]})
    assert (added.status, added.headers["Location"]) == (201, f"{AT}/faults/2")
    assert (added.json["id"], added.json["devices"]) == ("2", [2001, "2005-2006"])
    assert not await answers(port, 2001)
    assert (await house.api.get(f"{AT}/faults/2")).json == added.json
    listed = (await house.api.get(f"{AT}/faults", limit="1")).json
    assert [each["id"] for each in listed["items"]] == ["1"]
    listed = (await house.api.get(f"{AT}/faults", cursor=listed["next_cursor"])).json
    assert [each["id"] for each in listed["items"]] == ["2"]
    assert (await house.api.delete(f"{AT}/faults/2")).status == 204
    assert await answers(port, 2001)
    for gone in (await house.api.get(f"{AT}/faults/2"), await house.api.delete(f"{AT}/faults/2")):
        assert (gone.status, gone.json["code"]) == (404, "simulator.fault_not_found")


async def test_a_reset_takes_all_faults_back(house: Running, port: int) -> None:
    assert not await answers(port, 2002)
    assert (await house.api.post(f"{AT}/faults/reset")).status == 204
    assert (await house.api.get(f"{AT}/faults")).json == {"items": [], "next_cursor": None}
    assert await answers(port, 2002)


async def test_what_makes_no_sense_is_refused_and_changes_nothing(house: Running) -> None:
    refused = await house.api.post(f"{AT}/faults", {"kind": "delay"})
    assert (refused.status, refused.json["errors"][0]["message"]) == (422, "seconds is required")
    assert len((await house.api.get(f"{AT}/faults")).json["items"]) == 1
    assert (await house.api.post(f"{AT}/devices/2001/reboot", {"seconds": -1})).status == 422


async def test_no_more_faults_are_taken_than_there_is_room_for(house: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.simulator.injected.MOST_FAULTS", 2)
    assert (await house.api.post(f"{AT}/faults", {"kind": "no_cov"})).status == 201
    assert (await house.api.post(f"{AT}/faults", {"kind": "no_cov"})).status == 409


async def test_a_device_is_restarted(house: Running, port: int) -> None:
    restarted = await house.api.post(f"{AT}/devices/2001/reboot", {"seconds": 600})
    assert (restarted.status, restarted.json["restarting"]) == (200, True)
    assert not await answers(port, 2001)
    assert (await house.api.post(f"{AT}/devices/2001/reboot", {"seconds": 0})).status == 200
    async with asyncio.timeout(5):
        while not await answers(port, 2001):
            pass
    for unknown in ("2999", "-1", "x", "4194303", "99999999999"):
        assert (await house.api.post(f"{AT}/devices/{unknown}/reboot", {})).json["code"] == "device.not_found"


async def test_faults_are_there_again_after_the_building_was_started_anew(house: Running, port: int) -> None:
    supervisor: Any = house.plugin("simulator").instance.supervisor  # type: ignore[union-attr]
    assert (await house.api.post(f"{AT}/faults", {"kind": "silent", "devices": [2001]})).status == 201
    assert (await house.api.delete(f"{AT}/faults/1")).status == 204
    os.kill(supervisor.pid, signal.SIGKILL)
    await house.until(lambda: is_free(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        await house.until(lambda: "is taken" in (supervisor.problem or ""))
        for away in (
            await house.api.post(f"{AT}/faults", {"kind": "silent"}),
            await house.api.delete(f"{AT}/faults/2"),
            await house.api.post(f"{AT}/faults/reset"),
            await house.api.get(f"{AT}/devices"),
            await house.api.post(f"{AT}/devices/2001/reboot", {}),
        ):
            assert (away.status, away.json["code"], away.headers["Retry-After"]) == (503, "simulator.not_running", "2")
        assert [each["id"] for each in (await house.api.get(f"{AT}/faults")).json["items"]] == ["2"]
    await house.until(lambda: supervisor.problem is None)
    assert await answers(port, 2002)
    assert not await answers(port, 2001)


async def test_a_child_is_asked_and_answers_or_says_why_not(context: Context, port: int) -> None:
    child = BuildingProcess(SimulatorConfig(port=port, trunks=(TrunkOptions(network=9, controllers=1),)), context.log)
    with pytest.raises(BuildingAway):
        await child.ask("devices", after=-1, limit=1)
    await child.start()
    try:
        asked = [child.ask("device", instance=each) for each in (2001, 20001, 5)]
        found = await asyncio.gather(*asked)
        assert [each and each["network"] for each in found] == [2001, 9, None]
        with pytest.raises(SimulatorError, match="KeyError: 'dance'"):
            await child.ask("dance")
        with pytest.raises(SimulatorError, match="Invalid"):
            await child.ask("afflict", faults=[{"kind": "dead"}])
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await child.ended()
        with pytest.raises(BuildingAway):
            await child.ask("device", instance=2001)
    finally:
        await child.stop()


async def test_a_child_that_hangs_is_given_up_and_its_late_answer_is_no_one_elses(
    context: Context, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.simulator.control.ANSWER_TIMEOUT_S", 0.2)
    child = BuildingProcess(SimulatorConfig(port=port), context.log)
    await child.start()
    try:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(BuildingAway):
            await child.ask("device", instance=2001)
        monkeypatch.setattr("plugins.simulator.control.ANSWER_TIMEOUT_S", 5.0)
        os.kill(child.pid, signal.SIGCONT)
        assert (await child.ask("device", instance=2002))["name"] == "AHU-2"
    finally:
        await child.stop()


def test_commands_are_taken_in_pieces_and_nonsense_is_answered() -> None:
    commands = Commands({"double": lambda number: 2 * number})
    line = dumps({"id": 1, "do": "double", "with": {"number": 21}}) + b"\n"
    assert commands.take(line[:9]) == []
    assert [loads(each) for each in commands.take(line[9:] + line)] == [{"id": 1, "result": 42}] * 2
    for nonsense in (b"{\n", b"[]\n", b'{"id": 3}\n', b'{"id": 3, "do": "double", "with": {}}\n'):
        [answer] = commands.take(nonsense)
        assert "error" in loads(answer)
    assert commands.take(b"x" * (LONGEST_LINE + 1)) == []
    assert [loads(each) for each in commands.take(line)] == [{"id": 1, "result": 42}]


async def test_the_building_has_its_faults_and_trunks_in_this_process_as_well() -> None:
    async with simulation(trunks=[{"network": 3001}], faults=[{"kind": "silent", "devices": ["20002-20008"]}]) as one:
        async with wire_to(one.address) as wire:
            await wire.who_is(0, 4194302)
            assert [each.device.instance for each in await wire.found(1)] == [20001]

        async def asked() -> bool:
            return one.requests == 1

        await until(asked)


async def test_a_building_that_does_not_answer_a_change_is_started_anew_without_it(
    house: Running, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.simulator.control.ANSWER_TIMEOUT_S", 0.5)
    supervisor: Any = house.plugin("simulator").instance.supervisor  # type: ignore[union-attr]
    hanging = supervisor.pid
    os.kill(hanging, signal.SIGSTOP)
    away = await house.api.post(f"{AT}/faults", {"kind": "small_apdu", "octets": 50, "devices": [2001]})
    assert (away.status, away.json["code"]) == (503, "simulator.not_running")
    monkeypatch.setattr("plugins.simulator.control.ANSWER_TIMEOUT_S", 5.0)
    await house.until(lambda: supervisor.pid != hanging and supervisor.problem is None)
    listed = (await house.api.get(f"{AT}/devices", limit="1")).json["items"][0]
    assert (listed["instance"], listed["max_apdu"], listed["faults"]) == (2001, 1476, [])
