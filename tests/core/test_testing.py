"""The author's kit, with real kernels: what a plugin's own tests can see, turn and wait for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from core.catalog import Catalog, Origin
from core.errors import ConfigError, DeviceNotFound, PointNotFound
from core.events import PluginStateChanged
from core.model import Inventory, Quality, Reason
from core.plugin import Phase, Plugin, Poller, Route, from_aiohttp, hookimpl
from core.testing import KernelClock, ManualClock, StartPlantroom, running

INTERVAL_S = 10.0


@attrs.frozen
class Asked:
    """The query of a route."""

    how: str = ""


@attrs.frozen
class Said:
    """The body of a route."""

    word: str


class Counter(Plugin[dict]):
    """Counts its polls, each of which takes a moment of real time."""

    schema: ClassVar = {"word": str}

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.device = ctx.device("machine")
        self.count = self.device.point("count")
        self.times: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @hookimpl
    def register_points(self):
        return [Inventory(self.device, [self.count])]

    @hookimpl
    def register_pollers(self):
        return [Poller("count", INTERVAL_S, self.poll)]

    @hookimpl
    def register_routes(self):
        return [
            Route("GET", "/word", self.word, "The word", query=Asked),
            Route("PUT", "/word", self.echo, "Set the word", body=Said),
            Route("POST", "/word", self.echo, "Say a word", body=Said),
            Route("DELETE", "/word", self.word, "Forget the word", query=Asked),
        ]

    async def poll(self):
        await asyncio.to_thread(os.getpid)  # as long as a question to a device takes
        await self.gate.wait()
        self.times.append(self.ctx.clock.monotonic())
        return {self.count: len(self.times)}

    async def word(self, _request, query):
        return {"word": self.config.get("word"), "asked": query.how}

    async def echo(self, request, body):
        return {"word": body.word, "key": request.headers.get("X-Key")}


HOUSE = "plugins: {counter: {word: hello}}"


async def test_a_plugin_is_tested_by_its_class_without_a_file(plantroom: StartPlantroom, tmp_path: Path) -> None:
    house = await plantroom(HOUSE, plugins={"counter": Counter})

    assert isinstance(house.plugin("counter").instance, Counter)
    assert house.plugin("counter").state == "running"
    assert await house.value_of("counter.machine.count") == 1
    assert not (tmp_path / "custom_plugins").exists()
    with pytest.raises(KeyError):
        house.plugin("other")


def test_a_class_that_is_given_wins_over_every_other_of_its_name() -> None:
    catalog = Catalog(given={"simulator": Counter})

    assert catalog.load("simulator") is Counter
    assert (catalog.find("simulator").origin, catalog.find("simulator").instead_of) == (Origin.GIVEN, Origin.BUNDLED)
    assert catalog.find("simulator").summary() == ""
    assert Catalog().find("simulator").origin is Origin.BUNDLED


async def test_the_client_gives_status_headers_and_json(plantroom: StartPlantroom) -> None:
    api = (await plantroom(HOUSE, plugins={"counter": Counter})).api

    answer = await api.get("/api/v1/counter/word", how="loud")
    assert (answer.status, answer.json) == (200, {"word": "hello", "asked": "loud"})
    assert answer.headers["X-Request-ID"]
    put = await api.put("/api/v1/counter/word", {"word": "put"}, headers={"X-Key": "k"})
    assert put.json == {"word": "put", "key": "k"}
    assert (await api.post("/api/v1/counter/word", {"word": "post"})).json["word"] == "post"
    assert (await api.delete("/api/v1/counter/word", how="z")).json["asked"] == "z"
    missing = await api.get("/api/v1/counter/nothing")
    assert (missing.status, missing.json["code"]) == (404, "route.not_found")
    metrics = await api.get("/metrics")
    assert metrics.json is None
    assert "plantroom_points" in metrics.text


async def test_the_house_shows_its_devices_points_and_readings(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {counter: , second: {use: counter}}", plugins={"counter": Counter})
    await house.value_of("second.machine.count")

    assert house.device_ids() == ["counter.machine", "second.machine"]
    assert house.device_ids("second") == ["second.machine"]
    assert house.point_ids("counter") == ["counter.machine.count"]
    assert len(house.point_ids()) == 2
    assert house.device("second.machine").status == "online"
    assert house.point("second.machine.count").point.name == "count"
    reading = house.reading("second.machine.count")
    assert reading is not None
    assert (reading.value, reading.quality) == (1, Quality.GOOD)
    with pytest.raises(DeviceNotFound):
        house.device("third.machine")
    with pytest.raises(PointNotFound):
        house.reading("third.machine.count")


async def test_advancing_the_clock_runs_each_poll_at_its_time_and_to_its_end(plantroom: StartPlantroom) -> None:
    house = await plantroom(HOUSE, plugins={"counter": Counter}, clock=ManualClock())
    started = house.clock.utc()
    counter = house.plugin("counter").instance
    assert isinstance(counter, Counter)

    await house.clock.advance(60)

    first, *repeats = counter.times
    assert first == 0.0
    assert len(repeats) == 6
    assert all(later - earlier == pytest.approx(INTERVAL_S) for earlier, later in pairwise(repeats))
    assert house.clock.utc() == started + 60
    reading = house.reading("counter.machine.count")
    assert reading is not None
    assert reading.value == 7
    assert not house.logged("poll_overrun")


async def test_readings_age_as_the_clock_is_advanced(plantroom: StartPlantroom) -> None:
    house = await plantroom(HOUSE, plugins={"counter": Counter}, clock=ManualClock())
    await house.value_of("counter.machine.count")
    await house.kernel.poller.stop()

    await house.clock.advance(2.4 * INTERVAL_S)
    fresh = house.reading("counter.machine.count")
    await house.clock.advance(0.2 * INTERVAL_S)
    old = house.reading("counter.machine.count")

    assert fresh is not None
    assert old is not None
    assert (fresh.reason, old.reason) == (Reason.NONE, Reason.STALE)


async def test_a_poll_that_hangs_is_left_to_run_on_as_the_clock_advances(plantroom: StartPlantroom) -> None:
    house = await plantroom(HOUSE, plugins={"counter": Counter}, clock=ManualClock())
    await house.value_of("counter.machine.count")
    counter = house.plugin("counter").instance
    assert isinstance(counter, Counter)
    counter.gate.clear()

    await house.clock.advance(3 * INTERVAL_S)
    assert len(counter.times) == 1
    assert house.logged("poll_overrun", plugin="counter")

    counter.gate.set()
    await house.clock.advance(2 * INTERVAL_S)
    assert len(counter.times) >= 3
    assert house.logged("poll_on_time")


async def test_a_kernel_by_the_machines_clock_is_not_advanced(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {}")

    with pytest.raises(TypeError, match=r"start it with clock=ManualClock\(\)"):
        await house.clock.advance(1)
    assert isinstance(house.clock, KernelClock)


class Fragile(Plugin[dict]):
    """Fails a moment after its start, when it is told to."""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        self.end = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        self.ender = asyncio.create_task(self._fail(task))
        try:
            yield
        except asyncio.CancelledError:
            raise RuntimeError("the line was cut") from None
        finally:
            self.ender.cancel()

    async def _fail(self, life: asyncio.Task[None]) -> None:
        await self.end.wait()
        life.cancel()


async def test_events_and_log_lines_can_be_waited_for(
    plantroom: StartPlantroom, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await plantroom("plugins: {fragile: , counter: }", plugins={"fragile": Fragile, "counter": Counter})
    states = house.hear(PluginStateChanged)
    fragile = house.plugin("fragile").instance
    assert isinstance(fragile, Fragile)
    assert house.logged("ready")

    fragile.end.set()

    [failed] = await house.until(lambda: [event for event in states if event.state == "failed"])
    assert failed.name == "fragile"
    assert "the line was cut" in str(failed.error)
    [line] = await house.until(lambda: house.logged("plugin_failed", plugin="fragile"))
    assert line["level"] == "error"
    assert not house.logged("plugin_failed", plugin="counter")
    assert '"event":"plugin_failed"' in capsys.readouterr().err


async def test_conditions_are_waited_for_and_their_answer_is_returned(plantroom: StartPlantroom) -> None:
    house = await plantroom(HOUSE, plugins={"counter": Counter})

    async def shown() -> object:
        return (await house.get("/api/v1/points/counter.machine.count"))["reading"]

    assert await house.until(house.device_ids) == ["counter.machine"]
    assert isinstance(await house.until(shown), dict)
    with pytest.raises(TimeoutError, match=r"it did not become true within 0\.05 s"):
        await house.until(lambda: False, seconds=0.05)
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        await house.value_of("counter.machine.nothing", seconds=0.05)


async def test_a_time_out_within_the_condition_is_its_own(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {}")

    def impatient() -> bool:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await house.until(impatient)


class Stamp(Plugin[dict]):
    @hookimpl
    def register_middlewares(self):
        async def stamp(request, handler):
            answer = await handler(request)
            answer.headers["X-Stamp"] = self.ctx.name
            return answer

        return [from_aiohttp(Phase.HEADERS, stamp)]


async def test_one_test_can_start_several_kernels_with_plugins_of_their_own(plantroom: StartPlantroom) -> None:
    one = await plantroom("plugins: {mine: }", plugins={"mine": Stamp})
    other = await plantroom(HOUSE, plugins={"counter": Counter})

    assert (await one.api.get("/healthz")).headers["X-Stamp"] == "mine"
    assert "X-Stamp" not in (await other.api.get("/healthz")).headers
    with pytest.raises(ConfigError, match="there is no plugin 'mine'"):
        await plantroom("plugins: {mine: }")


async def test_standard_error_is_as_before_once_a_kernel_has_stopped(tmp_path: Path) -> None:
    before = sys.stderr
    async with running("plugins: {}", tmp_path) as house:
        sys.stderr.write("not a line of the log\n{nor this}\n")
        sys.stderr.flush()
        assert all("event" in line for line in house.log)
    assert sys.stderr is before


def test_the_kit_costs_nothing_until_a_test_asks_for_it() -> None:
    heavy = "print([name for name in ('aiohttp', 'structlog', 'core.kernel') if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, core.testing; {heavy}"], capture_output=True, text=True, check=True
    )

    assert found.stdout == "[]\n"


async def test_the_fixture_is_there_by_the_entry_point_alone(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "async def test_it(plantroom):\n"
        "    running = await plantroom('plugins: {}')\n"
        "    assert (await running.api.get('/healthz')).status == 200\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "--rootdir", ".",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()

    assert "1 passed" in out.decode()
    assert process.returncode == 0
