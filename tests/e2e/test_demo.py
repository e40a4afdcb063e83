"""The demo, as a newcomer meets it: the real process, real datagrams, real HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from e2e.program import ROOT, Program, StartProgram, free_port, get, signed_in, until

INTERVAL_S = 5.0


@pytest.fixture
def ports() -> dict[str, str]:
    return {
        "PLANTROOM_BACNET_PORT": str(free_port()),
        "PLANTROOM_SIMULATOR_PORT": str(free_port()),
    }


async def demo(start: StartProgram, folder: Path, env: dict[str, str]) -> tuple[Program, str]:
    """Start the demo; returns it with where its API is."""
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=folder, env=env)
    return program, await program.ready()


@pytest.fixture
async def client(start: StartProgram, tmp_path: Path, ports: dict[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    program, url = await demo(start, tmp_path, ports)
    async with signed_in(url, tmp_path) as session:
        yield session
    assert await program.stop(seconds=3) == 0


def share_good(page: dict[str, Any]) -> float:
    good = [item for item in page["items"] if item["reading"] and item["reading"]["quality"] == "good"]
    return len(good) / max(1, len(page["items"]))


async def the_house_is_live(client: aiohttp.ClientSession) -> dict[str, Any]:
    """Wait until the scan has ended and nearly all points are good, as the demo promises within 30 s."""
    await until(
        lambda: get(client, "/api/v1/jobs"),
        lambda page: page.get("items") and all(job["state"] == "succeeded" for job in page["items"]),
    )
    page: dict[str, Any] = await until(
        lambda: get(client, "/api/v1/points?limit=1000&count=true"),
        lambda page: page.get("total", 0) >= 600 and share_good(page) >= 0.99,
    )
    return page


async def test_within_half_a_minute_six_hundred_points_are_good_fresh_and_moving(
    client: aiohttp.ClientSession,
) -> None:
    before = await the_house_is_live(client)

    async def changes() -> dict[str, Any]:
        now: dict[str, Any] = await get(client, "/api/v1/points?limit=1000")
        return now

    old = {item["id"]: item["reading"]["value"] for item in before["items"] if item["reading"]}
    after = await until(
        changes,
        lambda page: sum(item["reading"]["value"] != old.get(item["id"]) for item in page["items"]) >= 100,
        seconds=10 + INTERVAL_S,
    )

    now = dt.datetime.now(dt.UTC)
    ages = [now - dt.datetime.fromisoformat(item["reading"]["time"]) for item in after["items"]]
    assert max(ages) <= dt.timedelta(seconds=2 * INTERVAL_S)
    assert {"number", "boolean", "enum"} <= {item["kind"] for item in after["items"]}
    assert any(item["symbol"] == "°C" and item["unit"] == "degrees-celsius" for item in after["items"])
    assert any(item["reading"]["text"] for item in after["items"] if item["kind"] == "enum")
    devices = await get(client, "/api/v1/devices?limit=1000")
    assert len(devices["items"]) >= 24
    assert all(device["status"] == "online" and device["vendor"] for device in devices["items"])


async def test_a_room_follows_a_set_point_written_through_the_api(client: aiohttp.ClientSession) -> None:
    page = await the_house_is_live(client)
    points = {item["id"]: item for item in page["items"]}
    setpoint, temperature = _a_room(points)
    before = points[temperature]["reading"]["value"]
    target = points[setpoint]["reading"]["value"] + 4

    async with client.put(f"/api/v1/points/{setpoint}/value", json={"value": target}) as answer:
        written = await answer.json()
    assert answer.status == 200
    assert written["effective"]
    assert written["reading"]["value"] == pytest.approx(target)

    async def now() -> Any:
        return (await get(client, f"/api/v1/points/{temperature}/value?max_age=1"))["value"]

    await until(now, lambda value: value >= before + 0.3, seconds=30)


def _a_room(points: dict[str, Any]) -> tuple[str, str]:
    """Pick a room: a writable temperature set-point and the room temperature beside it on the same device."""
    for point in points.values():
        if point["writable"] and point["name"].lower().endswith("room temperature set-point"):
            for other in points.values():
                name = other["name"].lower()
                if other["device_id"] == point["device_id"] and "room temperature" in name and not other["writable"]:
                    return point["id"], other["id"]
    pytest.fail("the building has no room with a set-point")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_everything_within_two_seconds_without_a_trace(
    start: StartProgram, tmp_path: Path, ports: dict[str, str], number: signal.Signals
) -> None:
    program, _url = await demo(start, tmp_path, ports)
    children = _children(program.process.pid)
    assert children

    began = time.monotonic()
    assert await program.stop(number=number) == 0

    assert time.monotonic() - began < 2
    assert not any("Traceback" in line for line in program.err)
    await until(lambda: asyncio.sleep(0, [pid for pid in children if _alive(pid)]), lambda alive: not alive, seconds=2)


async def test_the_simulator_ends_when_plantroom_is_killed(
    start: StartProgram, tmp_path: Path, ports: dict[str, str]
) -> None:
    program, _url = await demo(start, tmp_path, ports)
    children = _children(program.process.pid)

    program.process.kill()
    await program.ended()

    await until(lambda: asyncio.sleep(0, [pid for pid in children if _alive(pid)]), lambda alive: not alive, seconds=3)


async def test_the_second_start_lists_the_known_points_at_once_with_their_last_readings(
    start: StartProgram, tmp_path: Path, ports: dict[str, str]
) -> None:
    first, url = await demo(start, tmp_path, ports)
    async with signed_in(url, tmp_path) as client:
        known = await the_house_is_live(client)
    assert await first.stop() == 0

    second, url = await demo(start, tmp_path, ports)
    async with signed_in(url, tmp_path) as client:
        page = await get(client, "/api/v1/points?limit=1000")
    assert {item["id"] for item in page["items"]} == {item["id"] for item in known["items"]}
    assert all(item["reading"] for item in page["items"])
    assert await second.stop() == 0


async def test_a_simulator_that_is_killed_and_started_again_goes_offline_and_comes_back(
    start: StartProgram, tmp_path: Path
) -> None:
    port, bacnet_port = free_port(), free_port()
    config = tmp_path / "plantroom.yaml"
    config.write_text(
        "plugins:\n  bacnet:\n    interval: 2\n    networks:\n"
        f"      - {{address: '127.0.0.1/8:{bacnet_port}', targets: ['127.0.0.1:{port}']}}\n"
    )
    simulator = await start("simulate", "--port", str(port), cwd=tmp_path)
    await simulator.wait_for(str(port))
    program = await start("run", "--port", "0", cwd=tmp_path)
    url = await program.ready()
    async with aiohttp.ClientSession(base_url=url) as client:
        await the_house_is_live(client)

        simulator.process.kill()
        await simulator.ended()
        await until(
            lambda: get(client, "/api/v1/devices?limit=1000"),
            lambda page: all(device["status"] == "offline" for device in page["items"]),
            seconds=2 * 2 + 5,
        )
        page = await get(client, "/api/v1/points?limit=1000")
        assert {item["reading"]["quality"] for item in page["items"]} == {"bad"}
        assert {item["reading"]["reason"] for item in page["items"]} == {"offline"}

        simulator = await start("simulate", "--port", str(port), cwd=tmp_path)
        await until(lambda: get(client, "/api/v1/points?limit=1000"), lambda page: share_good(page) >= 0.99, seconds=30)
    assert await program.stop() == 0
    assert await simulator.stop() == 0


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
