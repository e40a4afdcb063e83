"""A whole kernel: plugins that behave and plugins that do not, what a restart keeps, what a port conflict says."""

from __future__ import annotations

import asyncio
import socket
import textwrap
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ConfigError, PlantroomError
from core.events import ClockStepped, EventHandler
from core.registry import Overrides
from core.testing import Running, StartPlantroom, running

GOOD = """
    from core.plugin import Inventory, Plugin, Poller, Route, hookimpl

    class Good(Plugin[dict]):
        def __init__(self, config, ctx):
            super().__init__(config, ctx)
            self.level = ctx.device("tank").point("level", unit="percent", symbol="%")

        @hookimpl
        def register_points(self):
            return [Inventory(self.ctx.device("tank"), [self.level])]

        @hookimpl
        def register_pollers(self):
            return [Poller("tank", 1.0, self.poll)]

        @hookimpl
        def register_routes(self):
            return [Route("GET", "/hello", self.hello, "Say hello")]

        async def poll(self):
            return {self.level: 42.0}

        async def hello(self, request):
            return {"hello": self.ctx.name}
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / "custom_plugins").mkdir(exist_ok=True)
    (folder / "custom_plugins" / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")


def bad(body: str) -> str:
    return f"""
    import asyncio, contextlib, time
    from core.plugin import Inventory, Plugin, Poller, Route, hookimpl

    class Bad(Plugin[dict]):
{textwrap.indent(textwrap.dedent(body), " " * 8)}
"""


BAD = {
    "on import": ("raise RuntimeError('boom')", "boom"),
    "in its constructor": (bad("def __init__(self, config, ctx):\n    raise RuntimeError('boom')"), "boom"),
    "in a hook": (bad("@hookimpl\ndef register_points(self):\n    raise RuntimeError('boom')"), "boom"),
    "with the wrong answer": (
        bad("@hookimpl\ndef register_points(self):\n    return [3]"),
        "register_points answered a int",
    ),
    "at start": (
        bad(
            "@hookimpl\n@contextlib.asynccontextmanager\nasync def lifespan(self):\n"
            "    raise RuntimeError('boom')\n    yield"
        ),
        "boom",
    ),
    "by never starting": (
        bad(
            "start_timeout_s = 0.2\n@hookimpl\n@contextlib.asynccontextmanager\n"
            "async def lifespan(self):\n    await asyncio.Event().wait()\n    yield"
        ),
        "did not start within 0.2 s",
    ),
    "with a route twice": (
        bad(
            "@hookimpl\ndef register_routes(self):\n    return [Route('GET', '/a', self.a, 'A')] * 2\n"
            "async def a(self, request):\n    return {}"
        ),
        "both answer GET",
    ),
}


@pytest.mark.parametrize("way", BAD)
async def test_a_plugin_that_fails_is_named_what_needs_it_waits_and_all_else_runs(
    way: str, plantroom: StartPlantroom, tmp_path: Path
) -> None:
    body, words = BAD[way]
    write(tmp_path, "bad", body)
    write(tmp_path, "needy", "from core.plugin import Plugin\nclass Needy(Plugin[dict]):\n    requires = ('bad',)")
    write(tmp_path, "good", GOOD)

    house = await plantroom("plugins: {bad: , needy: , good: }")

    plugins = {each["name"]: each for each in (await house.get("/api/v1/plugins"))["items"]}
    assert plugins["bad"]["state"] == "failed"
    assert words in plugins["bad"]["error"]
    assert plugins["needy"]["state"] == "waiting"
    assert "bad" in plugins["needy"]["error"]
    assert plugins["good"]["state"] == "running"
    assert await house.value_of("good.tank.level") == 42.0
    assert (await house.get("/readyz"))["status"] == "degraded"


async def test_a_poller_that_raises_or_never_returns_is_named_and_delays_nobody(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "bad",
        bad(
            "@hookimpl\ndef register_pollers(self):\n"
            "    return [Poller('raises', 1.0, self.fail), Poller('hangs', 1.0, self.hang)]\n"
            "async def fail(self):\n    raise RuntimeError('boom')\n"
            "async def hang(self):\n    await asyncio.Event().wait()"
        ),
    )
    write(tmp_path, "good", GOOD)

    house = await plantroom("plugins: {bad: , good: }")

    assert await house.value_of("good.tank.level") == 42.0
    await house.until(lambda: any(item.skipped for item in house.kernel.poller.all if item.name == "bad.hangs"))
    shown = await house.get("/api/v1/plugins/bad")
    assert shown["state"] == "running"
    raises, hangs = shown["health"]
    assert raises == {"check": "poller raises", "status": "degraded", "detail": "boom"}
    assert (hangs["check"], hangs["status"]) == ("poller hangs", "degraded")
    assert "has not returned" in hangs["detail"]
    assert (await house.get("/readyz"))["status"] == "degraded"


async def test_a_required_plugin_that_fails_makes_the_house_not_ready(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    write(tmp_path, "bad", BAD["at start"][0])

    house = await plantroom("plugins: {bad: {required: true}}")

    async with house.client.get("/readyz") as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert "bad" in (await answer.json())["detail"]


async def test_a_plugins_routes_are_below_its_own_name_also_as_a_second_instance(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    write(tmp_path, "good", GOOD)

    house = await plantroom("plugins: {good: , annex: {use: good}}")

    assert await house.get("/api/v1/good/hello") == {"hello": "good"}
    assert await house.get("/api/v1/annex/hello") == {"hello": "annex"}
    assert await house.value_of("annex.tank.level") == 42.0


async def test_two_providers_of_a_service_stop_the_start_and_are_both_named(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    provider = bad(
        "@hookimpl\ndef provide_cache(self):\n    return self\n"
        "async def get(self, key):\n    return None\n"
        "async def set(self, key, value, *, ttl_s, tags=()):\n    pass\n"
        "async def delete(self, key):\n    pass\n"
        "async def forget(self, tag):\n    pass"
    )
    write(tmp_path, "redis", provider)
    write(tmp_path, "memory", provider)

    with pytest.raises(ConfigError, match="'redis' and 'memory' both provide the cache: enable one of them"):
        await plantroom("plugins: {redis: , memory: }")


async def test_a_taken_port_is_an_error_that_names_it_and_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        kernel = await _kernel(tmp_path, port)

        with pytest.raises(PlantroomError, match=rf"TCP port {port} .* http.port .* --port"):
            await kernel.start()


async def _kernel(folder: Path, port: int):  # type: ignore[no-untyped-def]
    from core.catalog import Catalog
    from core.config import load
    from core.kernel import Kernel
    from core.settings import read

    path = folder / "plantroom.yaml"
    path.write_text("plugins: {}")
    return Kernel(read(load([path]), Catalog(None), port=port, data_dir=folder / "data"))


async def test_points_readings_and_what_people_changed_are_there_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path, "good", GOOD)
    async with running("plugins: {good: }", tmp_path) as house:
        await house.value_of("good.tank.level")
        first = await _identity(house)
        house.kernel.registry.override_point("good.tank.level", lambda _old: Overrides(name="Sump", tags=("roof",)))

    write(tmp_path, "good", GOOD.replace("return {self.level: 42.0}", "raise RuntimeError('down')"))
    async with running("plugins: {good: }", tmp_path) as house:
        point = await house.get("/api/v1/points/good.tank.level")
        assert await _identity(house) == first
        assert point["name"] == "Sump"
        assert point["tags"] == ["roof"]
        assert point["reading"]["value"] == 42.0
        assert (point["reading"]["quality"], point["reading"]["reason"]) == ("uncertain", "restored")


async def _identity(house: Running) -> tuple[str, int]:
    facts = await house.get("/api/v1")
    return facts["installation_id"], house.kernel.registry.point("good.tank.level").slot


async def test_a_step_of_the_system_clock_is_an_event(plantroom: StartPlantroom) -> None:
    class Stepping(ManualClock):
        step = 0.0

        def utc(self) -> float:
            return super().utc() + self.step

    clock, seen = Stepping(), []
    house = await plantroom("plugins: {}", clock=clock)

    async def note(event: ClockStepped) -> None:
        seen.append(event.seconds)

    house.kernel.events.subscribe(EventHandler(ClockStepped, note), owner="test")
    clock.step = 3600.0
    async with asyncio.timeout(5):
        while not seen:
            await clock.advance(5)

    assert seen == [pytest.approx(3600.0)]


async def test_what_changes_is_handed_to_the_history(plantroom: StartPlantroom, tmp_path: Path) -> None:
    write(tmp_path, "good", GOOD)
    house = await plantroom("plugins: {good: }")
    await house.value_of("good.tank.level")
    slot = house.kernel.registry.point("good.tank.level").slot

    async with asyncio.timeout(5):
        while not len(await house.kernel.services.history.samples(slot, 0, 2**52, limit=1)):
            await asyncio.sleep(0.01)


async def test_the_kernels_figures_are_counted_by_plugin(plantroom: StartPlantroom, tmp_path: Path) -> None:
    write(tmp_path, "good", GOOD)
    house = await plantroom("plugins: {good: }")
    await house.value_of("good.tank.level")

    async with house.client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()

    assert 'plantroom_devices{plugin="good",status="online"} 1' in lines
    assert 'plantroom_points{plugin="good"} 1' in lines
    assert any(line.startswith('plantroom_poll_runs_total{plugin="good"} ') for line in lines)
    assert 'plantroom_http_connections{plugin="core"} 1' in lines
    assert 'plantroom_events_dropped_total{plugin="core",event="ReadingsChanged"} 0' in lines
