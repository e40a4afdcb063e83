"""What docs/writing-a-plugin.md shows is run, as it stands there."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from docs.blocks import blocks

from core.model import Quality
from core.testing import StartPlantroom

PAGE = "docs/writing-a-plugin.md"
WEATHER, LAMPS, TEST = blocks(PAGE, "python")
CONFIGURATION = blocks(PAGE, "yaml")[0]


@pytest.fixture
async def station() -> AsyncIterator[TestServer]:
    """A weather station that speaks JSON over HTTP."""

    async def now(_request: web.Request) -> web.Response:
        return web.json_response({"temperature": 21.5, "humidity": 48})

    app = web.Application()
    app.router.add_get("/now", now)
    async with TestServer(app) as server:
        yield server


@pytest.fixture
def custom_plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "custom_plugins"
    folder.mkdir()
    return folder


def test_the_first_plugin_is_about_forty_lines() -> None:
    assert len([line for line in WEATHER.splitlines() if line.strip()]) <= 42


async def test_the_weather_plugins_points_are_in_the_api(
    plantroom: StartPlantroom, custom_plugins: Path, station: TestServer
) -> None:
    (custom_plugins / "weather.py").write_text(WEATHER, encoding="utf-8")
    running = await plantroom(CONFIGURATION.replace("http://127.0.0.1:8099/now", str(station.make_url("/now"))))

    assert await running.value_of("weather.station.temperature") == 21.5
    page = await running.get("/api/v1/points", plugin="weather")
    assert [point["id"] for point in page["items"]] == ["weather.station.humidity", "weather.station.temperature"]
    assert page["items"][1]["symbol"] == "°C"
    assert page["items"][1]["reading"]["quality"] == "good"


async def test_a_silent_station_leaves_the_house_running_and_says_so(
    plantroom: StartPlantroom, custom_plugins: Path, station: TestServer
) -> None:
    (custom_plugins / "weather.py").write_text(WEATHER, encoding="utf-8")
    running = await plantroom(CONFIGURATION.replace("http://127.0.0.1:8099/now", str(station.make_url("/now"))))
    await running.value_of("weather.station.temperature")
    await station.close()

    item = running.kernel.polls.bringer(running.kernel.registry.point("weather.station.temperature").slot)
    assert item is not None
    run = running.kernel.polls.now(item)
    assert run is not None
    await asyncio.wait({run})
    assert item.last_error is not None

    reading = running.kernel.registry.reading(running.kernel.registry.point("weather.station.temperature"))
    assert reading is not None
    assert reading.value == 21.5
    assert reading.quality is Quality.GOOD


async def test_the_lamp_driver_passes_the_test_of_the_page(plantroom: StartPlantroom, custom_plugins: Path) -> None:
    (custom_plugins / "lamps.py").write_text(LAMPS, encoding="utf-8")
    names: dict[str, object] = {}
    exec(compile(TEST, PAGE, "exec"), names)

    test = names["test_the_lamp_is_dimmed_through_the_api"]
    assert callable(test)
    await test(plantroom)


def test_the_entry_point_is_in_the_group_that_the_catalogue_reads() -> None:
    [project] = blocks(PAGE, "toml")

    assert list(tomllib.loads(project)["project"]["entry-points"]) == ["plantroom.plugins"]
