"""Reloads: only what changed restarts, nothing under way breaks, and what fails leaves everything as it was."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import textwrap
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import attrs
import pytest

from core.differences import Action
from core.manager import PluginState
from core.reload import ReloadRefused, ReloadUndone
from core.testing import Running, StartPlantroom

TANK = """
    import asyncio
    from contextlib import asynccontextmanager
    import attrs
    import voluptuous as vol
    from core.plugin import Inventory, JobKind, Phase, Plugin, Poller, Route, from_aiohttp, hookimpl

    @attrs.frozen
    class Config:
        level: float
        interval: float
        fails: bool
        points: int

    class Tank(Plugin[Config]):
        schema = {
            vol.Optional("level", default=1.0): float,
            vol.Optional("interval", default=60.0): float,
            vol.Optional("fails", default=False): bool,
            vol.Optional("points", default=1): int,
        }
        config_class = Config

        def __init__(self, config, ctx):
            super().__init__(config, ctx)
            self.tank = ctx.device("tank")
            self.levels = [self.tank.point(f"level-{number}") for number in range(config.points)]
            self.gate = asyncio.Event()

        @hookimpl
        @asynccontextmanager
        async def lifespan(self):
            if self.config.fails:
                raise OSError("the pump is gone")
            yield

        @hookimpl
        def register_points(self):
            return [Inventory(self.tank, self.levels)]

        @hookimpl
        def register_pollers(self):
            return [Poller("tank", self.config.interval, self.poll)]

        @hookimpl
        def register_routes(self):
            return [Route("GET", "/level", self.level, "Tell the level"), Route("GET", "/slow", self.slow, "Take long")]

        async def poll(self):
            return dict.fromkeys(self.levels, self.config.level)

        async def level(self, request):
            return {"level": self.config.level}

        async def slow(self, request):
            await self.gate.wait()
            return {"level": self.config.level}
"""
NEEDY = """
    from core.plugin import Plugin

    class Needy(Plugin[dict]):
        requires = ("tank",)
"""


@pytest.fixture(autouse=True)
def custom_plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "custom_plugins"
    folder.mkdir()
    for name, text in (("tank", TANK), ("needy", NEEDY)):
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def instances(running: Running) -> dict[str, object]:
    return {plugin.name: plugin.instance for plugin in running.kernel.manager}


def restarted(running: Running, before: dict[str, object]) -> set[str]:
    """Name the plugins that are not the objects that they were."""
    return {name for name, instance in instances(running).items() if before.get(name) is not instance}


PLUGINS = "plugins: {tank: , needy: , other: {use: tank}}"


async def test_a_configuration_that_has_not_changed_changes_nothing(plantroom: StartPlantroom):
    running = await plantroom(PLUGINS)
    before = instances(running)
    found = await running.reload(PLUGINS)
    assert found.plugins == ()
    assert not restarted(running, before)


async def test_only_a_plugin_whose_options_changed_and_what_needs_it_restart(plantroom: StartPlantroom):
    running = await plantroom(PLUGINS)
    before = instances(running)
    found = await running.reload("plugins: {tank: {level: 2.0}, needy: , other: {use: tank}}")
    assert {each.plugin: (each.action, each.because) for each in found.plugins} == {
        "tank": (Action.RESTART, "its options changed: level"),
        "needy": (Action.RESTART, "needs tank"),
    }
    assert restarted(running, before) == {"tank", "needy"}
    assert (await running.get("/api/v1/tank/level"))["level"] == 2.0
    assert (await running.get("/api/v1"))["plugins"] == dict.fromkeys(("tank", "needy", "other"), "running")
    await running.until(lambda: running.reading("tank.tank.level-0").value == 2.0)


async def test_a_dry_run_tells_what_would_change_and_changes_nothing(plantroom: StartPlantroom):
    running = await plantroom("plugins: {tank: , gone: {use: tank}}")
    before = instances(running)
    new = "plugins: {tank: {interval: 5.0, points: 3}, added: {use: tank}}"
    foreseen = await running.reload(new, dry_run=True)
    assert {each.plugin: each.action for each in foreseen.plugins} == {
        "tank": Action.RESTART,
        "gone": Action.STOP,
        "added": Action.START,
    }
    assert foreseen.points.added.first == ("added.tank.level-0", "tank.tank.level-1", "tank.tank.level-2")
    assert foreseen.points.removed.first == ("gone.tank.level-0",)
    assert foreseen.routes.added.first == ("GET /api/v1/added/level", "GET /api/v1/added/slow")
    assert foreseen.routes.removed.first == ("GET /api/v1/gone/level", "GET /api/v1/gone/slow")
    assert foreseen.polls.added.first == ("added.tank",)
    assert foreseen.polls.removed.first == ("gone.tank",)
    assert foreseen.polls.changed.first == ("tank.tank",)
    assert instances(running) == before
    assert (await running.api.get("/api/v1/gone/level")).status == 200
    assert (await running.api.get("/api/v1/added/level")).status == 404

    assert await running.reload(new) == attrs.evolve(foreseen, dry_run=False)
    assert (await running.api.get("/api/v1/gone/level")).status == 404
    assert (await running.api.get("/api/v1/added/level")).status == 200
    assert running.device("gone.tank").status == "unknown"
    assert {item.name for item in running.kernel.poller.all if not item.name.startswith("core.")} == {
        "tank.tank", "added.tank",
    }  # fmt: skip


async def test_a_plugin_is_enabled_disabled_and_removed_and_what_needs_it_waits(plantroom: StartPlantroom):
    running = await plantroom(PLUGINS)
    found = await running.reload("plugins: {tank: {enabled: false}, needy: }")
    assert {each.plugin: (each.action, each.because) for each in found.plugins} == {
        "tank": (Action.STOP, "was disabled"),
        "other": (Action.STOP, "was removed"),
        "needy": (Action.STOP, "waits for tank, which will not run"),
    }
    states = {plugin.name: plugin.state for plugin in running.kernel.manager}
    assert states == {"tank": PluginState.DISABLED, "needy": PluginState.WAITING}
    found = await running.reload("plugins: {tank: , needy: }")
    assert {each.plugin: (each.action, each.because) for each in found.plugins} == {
        "tank": (Action.START, "was enabled"),
        "needy": (Action.START, "did not run: waits for tank, which does not run"),
    }
    assert (await running.get("/api/v1"))["plugins"] == {"tank": "running", "needy": "running"}


async def test_changed_code_of_the_houses_own_plugin_is_taken_over(plantroom: StartPlantroom, custom_plugins: Path):
    running = await plantroom(PLUGINS)
    file = custom_plugins / "tank.py"
    file.write_text(file.read_text().replace('{"level": self.config.level}', '{"level": "new"}'), encoding="utf-8")
    found = await running.reload(PLUGINS)
    assert [(each.plugin, each.because) for each in found.plugins] == [
        ("needy", "needs tank"),
        ("other", "its code changed"),
        ("tank", "its code changed"),
    ]
    assert (await running.get("/api/v1/other/level"))["level"] == "new"


REFUSED = {
    "a mistake in the file": ("plugins: {tank: {levle: 2.0}}", "plugins.tank.levle: unknown option"),
    "a plugin that is not there": ("plugins: {tnak: }", "there is no plugin 'tnak'"),
    "a plugin that cannot be imported": ("plugins: {tank: , broken: }", "boom"),
    "a plugin that cannot be built": ("plugins: {tank: , unfit: }", "unfit: ValueError: no"),
    "a circle": ("plugins: {tank: , a: , b: }", "need each other in a circle"),
    "a job of a name that is taken": ("plugins: {tank: , twin: , twin2: {use: twin}}", "job kind 'twin'"),
    "a service twice": ("plugins: {c: {use: cache1}, d: {use: cache1}}", "both provide the cache"),
    "a middleware that cannot wrap": ("plugins: {tank: , wrong: }", "cannot wrap"),
    "another leader": ("plugins: {leader: }", "changes only when Plantroom is started again"),
}
BAD = {
    "broken": "raise RuntimeError('boom')",
    "unfit": """
        from core.plugin import Plugin
        class Unfit(Plugin[dict]):
            def __init__(self, config, ctx):
                raise ValueError("no")
    """,
    "a": "from core.plugin import Plugin\nclass A(Plugin[dict]):\n    requires = ('b',)",
    "b": "from core.plugin import Plugin\nclass B(Plugin[dict]):\n    requires = ('a',)",
    "twin": """
        from core.plugin import JobKind, Plugin, hookimpl
        class Twin(Plugin[dict]):
            @hookimpl
            def register_jobs(self):
                return [JobKind("twin", None)]
    """,
    "cache1": """
        from core.caches import MemoryCache
        from core.plugin import Plugin, hookimpl
        class Cache(Plugin[dict]):
            @hookimpl
            def provide_cache(self):
                return MemoryCache(self.ctx.clock)
    """,
    "wrong": """
        from core.plugin import Middleware, Phase, Plugin, PlantroomError, hookimpl
        class Wrong(Plugin[dict]):
            @hookimpl
            def register_middlewares(self):
                def wrap(route, handler):
                    raise PlantroomError("cannot wrap")
                return [Middleware(Phase.CACHE, wrap)]
    """,
    "leader": """
        from core.defaults import SoleLeadership
        from core.plugin import Plugin, hookimpl
        class Leader(Plugin[dict]):
            @hookimpl
            def provide_leadership(self):
                return SoleLeadership()
    """,
}


@pytest.mark.parametrize("mistake", REFUSED)
@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_configuration_that_cannot_be_taken_over_changes_nothing_and_says_why(
    plantroom: StartPlantroom, custom_plugins: Path, mistake: str, dry_run: bool
):
    for name, text in BAD.items():
        (custom_plugins / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    yaml, why = REFUSED[mistake]
    running = await plantroom(PLUGINS)
    before = instances(running)
    with pytest.raises(ReloadRefused, match="Everything runs as before") as refusal:
        await running.reload(yaml, dry_run=dry_run)
    assert why in str(refusal.value.extra["problems"])
    assert instances(running) == before
    assert (await running.get("/api/v1"))["plugins"] == dict.fromkeys(("tank", "needy", "other"), "running")
    assert running.logged("plugin_failed") == [], "nothing has failed"


async def test_a_plugin_that_does_not_start_with_its_new_options_runs_on_with_the_old_ones(plantroom: StartPlantroom):
    running = await plantroom(PLUGINS)
    before = instances(running)
    with pytest.raises(ReloadUndone) as undone:
        await running.reload("plugins: {tank: {fails: true}, needy: , new: {use: tank}}")
    [problem] = undone.value.extra["problems"]
    assert re.fullmatch(r"tank: OSError: the pump is gone \(custom_plugins/tank.py:\d+ lifespan\)\.", problem)
    assert "Everything runs as before." in undone.value.detail
    assert (await running.get("/api/v1"))["plugins"] == dict.fromkeys(("tank", "needy", "other"), "running")
    assert restarted(running, before) == {"tank", "needy", "other"}, "other was to be removed, and is back"
    assert (await running.get("/api/v1/tank/level"))["level"] == 1.0
    assert (await running.api.get("/api/v1/new/level")).status == 404
    assert (await running.reload(PLUGINS)).plugins == ()


async def test_a_plugin_that_cannot_be_put_back_is_named(plantroom: StartPlantroom, custom_plugins: Path):
    once = """
        from contextlib import asynccontextmanager
        import voluptuous as vol
        from core.plugin import Plugin, hookimpl
        class Once(Plugin[dict]):
            schema = {vol.Optional("speed"): int}
            starts = 0
            @hookimpl
            @asynccontextmanager
            async def lifespan(self):
                type(self).starts += 1
                if self.starts > 1:
                    raise OSError("taken")
                yield
    """
    (custom_plugins / "once.py").write_text(textwrap.dedent(once), encoding="utf-8")
    running = await plantroom("plugins: {once: , tank: }")
    with pytest.raises(ReloadUndone, match="All else runs as before, but once did not start again"):
        await running.reload("plugins: {once: {speed: 2}, tank: }")
    assert (await running.get("/api/v1"))["plugins"] == {"once": "failed", "tank": "running"}


async def test_an_option_of_the_kernels_restarts_nothing_and_counts(plantroom: StartPlantroom):
    running = await plantroom("plugins: {tank: }")
    before = instances(running)
    assert (await running.reload("plugins: {tank: {required: true}}")).plugins == ()
    assert instances(running) == before
    assert (await running.get("/api/v1/plugins/tank"))["required"] is True


async def test_a_plugin_that_failed_before_is_tried_again_and_its_failure_is_no_news(
    plantroom: StartPlantroom, custom_plugins: Path
):
    running = await plantroom("plugins: {tank: {fails: true}, other: {use: tank}}")
    found = await running.reload("plugins: {tank: {fails: true}, other: {use: tank, level: 3.0}}")
    assert {each.plugin: each.action for each in found.plugins} == {"tank": Action.START, "other": Action.RESTART}
    assert running.plugin("tank").state is PluginState.FAILED
    assert running.plugin("other").state is PluginState.RUNNING
    found = await running.reload("plugins: {tank: , other: {use: tank, level: 3.0}}")
    [tank] = found.plugins
    assert tank.because.startswith("did not run: OSError: the pump is gone (custom_plugins/tank.py:")
    assert running.plugin("tank").state is PluginState.RUNNING


async def test_what_can_only_change_with_a_restart_is_said_and_the_rest_is_done(plantroom: StartPlantroom):
    running = await plantroom("plugins: {tank: }")
    found = await running.reload("site: elsewhere\nplugins: {tank: {level: 4.0}}")
    assert found.restart_required == ("site",)
    assert (await running.get("/api/v1/tank/level"))["level"] == 4.0
    assert (await running.get("/api/v1"))["site"] == "local"


async def test_a_reload_by_rest_answers_the_differences_and_a_refusal_is_a_problem(plantroom: StartPlantroom):
    running = await plantroom("plugins: {tank: }")
    running.write("plugins: {tank: {level: 2.0}}")
    answer = await running.api.post("/api/v1/system/reload?dry_run=true")
    assert answer.status == 200
    assert answer.json["dry_run"] is True
    assert answer.json["plugins"] == [{"plugin": "tank", "action": "restart", "because": "its options changed: level"}]
    assert (await running.get("/api/v1/tank/level"))["level"] == 1.0
    assert (await running.api.post("/api/v1/system/reload")).json["dry_run"] is False
    assert (await running.get("/api/v1/tank/level"))["level"] == 2.0
    running.write("plugins: [")
    answer = await running.api.post("/api/v1/system/reload")
    assert (answer.status, answer.json["code"]) == (409, "reload.refused")
    assert "plantroom.yaml:1" in answer.json["problems"][0]


async def test_one_reload_at_a_time(plantroom: StartPlantroom):
    running = await plantroom("plugins: {tank: }")
    first = asyncio.create_task(running.reload("plugins: {tank: {level: 2.0}}"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ReloadRefused, match="Another reload is under way"):
        await running.kernel.reload()
    assert len((await first).plugins) == 1


async def test_requests_under_way_and_new_ones_are_all_answered_while_their_plugin_restarts(
    plantroom: StartPlantroom,
):
    running = await plantroom(PLUGINS)
    tank = running.plugin("tank").instance
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(_client(running, number)) for number in range(1, 6)]

        async def ask(number: int, path: str) -> tuple[int, float]:
            async with sessions[number % 5].get(path) as answer:
                return answer.status, (await answer.json())["level"]

        under_way = [asyncio.create_task(ask(number, "/api/v1/tank/slow")) for number in range(1000)]
        await running.until(lambda: running.plugin("tank").requests == 1000)
        reload = asyncio.create_task(running.reload("plugins: {tank: {level: 2.0}, needy: , other: {use: tank}}"))
        await running.until(lambda: running.kernel.server.holds)
        elsewhere = await asyncio.gather(*(ask(number, "/api/v1/other/level") for number in range(50)))
        assert set(elsewhere) == {(200, 1.0)}, "what does not restart answers meanwhile"
        meanwhile = [asyncio.create_task(ask(number, "/api/v1/tank/level")) for number in range(50)]
        tank.gate.set()
        await reload
        assert Counter(await asyncio.gather(*under_way)) == {(200, 1.0): 1000}
        assert Counter(await asyncio.gather(*meanwhile)) == {(200, 2.0): 50}


def _client(running: Running, number: int) -> aiohttp.ClientSession:
    """A client with an address of its own, since one address may have 256 connections."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(f"127.0.0.{number}", 0))
    return aiohttp.ClientSession(base_url=running.kernel.url, connector=connector)


async def test_a_constant_load_sees_no_failure_during_twenty_reloads(plantroom: StartPlantroom):
    running = await plantroom(PLUGINS)
    counts: Counter[tuple[str, int]] = Counter()
    done = asyncio.Event()

    async def load(client: aiohttp.ClientSession, path: str) -> None:
        while not done.is_set():
            async with client.get(path) as answer:
                await answer.read()
                counts[path, answer.status] += 1

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(running, number)) for number in (1, 2)]
        paths = ("/api/v1/tank/level", "/api/v1/other/level", "/api/v1/points", "/healthz")
        tasks = [asyncio.create_task(load(client, path)) for client in clients for path in paths]
        for number in range(20):
            await running.reload(f"plugins: {{tank: {{level: {number}.5}}, needy: , other: {{use: tank}}}}")
            await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*tasks)
    assert {status for _path, status in counts} == {200}
    assert {path for path, _status in counts} == set(paths)


async def test_after_a_hundred_reloads_tasks_files_and_memory_are_where_they_were(tmp_path: Path):
    script = Path(__file__).with_name("hundred_reloads.py")
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, log = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, log
    before, after = (json.loads(out)[when] for when in ("before", "after"))
    assert after["tasks"] == before["tasks"]
    assert after["files"] == before["files"]
    kept = after["blocks"] - before["blocks"]
    assert kept < 5000, "each reload makes some 50,000; that of 50 a reload would be kept is what is looked for"


async def test_a_plugin_that_dies_after_a_reload_is_buried_and_what_needs_it_waits(
    plantroom: StartPlantroom, custom_plugins: Path
):
    (custom_plugins / "tank.py").write_text(
        textwrap.dedent("""
        import asyncio
        from contextlib import asynccontextmanager
        from core.plugin import Plugin, hookimpl
        class Mortal(Plugin[dict]):
            @hookimpl
            @asynccontextmanager
            async def lifespan(self):
                self.end = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.die())
                    yield
            async def die(self):
                await self.end.wait()
                raise OSError("it is over")
        """),
        encoding="utf-8",
    )
    running = await plantroom("plugins: {tank: }")
    tank = running.plugin("tank").instance
    await running.reload("plugins: {tank: , needy: }")
    assert running.plugin("tank").instance is tank
    tank.end.set()
    await running.until(lambda: running.plugin("needy").state is PluginState.WAITING)
    assert running.plugin("tank").state is PluginState.FAILED
