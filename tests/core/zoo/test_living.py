"""Plugins that are bad at starting, running and stopping, and what they leave behind."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

LIFE = """
@hookimpl
@contextlib.asynccontextmanager
async def lifespan(self):
    {}
"""

STUBBORN = """
@hookimpl
@contextlib.asynccontextmanager
async def lifespan(self):
    {}
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
    {}
"""

STARTING: Mapping[str, tuple[str, str]] = {
    "raises": (LIFE.format("raise RuntimeError('boom'); yield"), "RuntimeError: boom"),
    "exits": (LIFE.format("sys.exit(3); yield"), "it called sys.exit()"),
    "interrupts": (LIFE.format("raise KeyboardInterrupt; yield"), "it raised KeyboardInterrupt"),
    "cancels": (LIFE.format("asyncio.current_task().cancel(); await asyncio.sleep(1); yield"),
                "it was cancelled from within"),
    "hangs": (LIFE.format("await asyncio.Event().wait(); yield"), "did not start within 0.3 s"),
    "stubborn": (STUBBORN.format("pass", "yield"), "did not start within 0.3 s"),
    "empty": (LIFE.format("return; yield"), "RuntimeError: generator didn't yield"),
    "synchronous": ("@hookimpl\n@contextlib.contextmanager\ndef lifespan(self): yield",
                    "lifespan answered _GeneratorContextManager, which has no __aenter__, __aexit__"),
}  # fmt: skip

STOPPING: Mapping[str, tuple[str, str]] = {
    "raises": (LIFE.format("yield; raise RuntimeError('boom')"), "RuntimeError: boom"),
    "exits": (LIFE.format("yield; sys.exit(3)"), "it called sys.exit()"),
    "hangs": (LIFE.format("yield; await asyncio.Event().wait()"), "did not stop within 0.2 s"),
    "yields": (LIFE.format("yield; yield"), "RuntimeError: generator didn't stop"),
}

DYING: Mapping[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "exits": ("sys.exit(3)", "it called sys.exit()"),
    "interrupts": ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
}

LEAKS = """
@hookimpl
@contextlib.asynccontextmanager
async def lifespan(self):
    await self.leak()
    {}

async def leak(self):
    loop = asyncio.get_running_loop()
    self.task = asyncio.create_task(asyncio.Event().wait(), name="leak")
    self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    self.server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    self.endpoint = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    self.file = await asyncio.to_thread(open, self.ctx.data_dir / "leak.txt", "w")
    self.file.write("leaked")
"""

LEAKED = ["file", "socket", "socket", "socket", "task"]


async def test_plugins_that_do_not_start_fail_alone(zoo):
    house = await zoo({name: body for name, (body, _says) in STARTING.items()})
    for name, (_body, says) in STARTING.items():
        await house.has_failed(name, says)
    (left,) = house.told("plugin_left_behind", plugin="stubborn")
    assert (left["what"], left["task"]) == ("task", "plugin:stubborn")
    assert left["at"].endswith(" _run")
    await house.is_well()
    await house.until(lambda: house.kernel.manager.plugins["stubborn"].belongings.tasks == [])


@pytest.mark.parametrize("how", STOPPING)
async def test_a_plugin_that_does_not_stop_well_is_named_and_the_others_stop(zoo, how: str):
    body, says = STOPPING[how]
    house = await zoo({"bad": body})
    await house.runs("bad")
    await house.is_well()
    await house.stop()
    [line] = house.told("plugin_stop_failed", plugin="bad")
    assert line["error"].partition(" (")[0] == says
    assert {plugin.state for plugin in house.kernel.manager} == {"stopped"}


async def test_a_plugin_that_swallows_being_stopped_is_left_behind_and_named(zoo):
    house = await zoo({"bad": STUBBORN.format("yield", "pass")})
    await house.runs("bad")
    await house.stop()
    assert len(house.told("plugin_stop_failed", plugin="bad", error="did not stop within 0.2 s")) == 1
    (left,) = house.told("plugin_left_behind", plugin="bad")
    assert (left["what"], left["task"]) == ("task", "plugin:bad")
    await house.until(lambda: house.kernel.manager.plugins["bad"].belongings.tasks == [])


@pytest.mark.parametrize("how", DYING)
async def test_a_plugin_that_dies_while_it_runs_has_failed_and_what_needs_it_waits_again(zoo, how: str):
    does, says = DYING[how]
    group = "async with asyncio.TaskGroup() as group: group.create_task(self.die()); yield"
    house = await zoo(
        {
            "bad": LIFE.format(group) + f"\nasync def die(self):\n    await asyncio.to_thread(HANG.wait)\n    {does}"
            "\n@hookimpl\ndef register_routes(self): return [Route('POST', '/die', self.now, 'Die')]"
            "\nasync def now(self, request): HANG.set()"
        }
    )
    await house.runs("bad")
    await house.ask("/api/v1/bad/die", "POST")
    await house.until(lambda: house.told("plugin_failed", plugin="bad"))
    await house.kernel.manager.buried()
    shown = await house.plugin("bad")
    assert shown["state"] == "failed"
    assert says in shown["error"] or "TaskGroup" in shown["error"]
    await house.keeps_waiting("bad")
    assert (await house.ask("/api/v1/bad/die", "POST"))[0] in (404, 503)
    await house.is_well()


async def test_tasks_sockets_and_files_that_a_plugin_leaves_behind_are_named_and_closed_as_it_stops(zoo):
    house = await zoo({"bad": LEAKS.format("yield")})
    await house.runs("bad")
    await house.is_well()
    bad = house.kernel.manager.plugins["bad"].instance
    await house.stop()
    left = house.told("plugin_left_behind", plugin="bad")
    assert sorted(line["what"] for line in left) == LEAKED
    assert [line["task"] for line in left if line["what"] == "task"] == ["leak"]
    assert [line["path"] for line in left if line["what"] == "file"] == [bad.file.name]
    assert (bad.ctx.data_dir / "leak.txt").read_text() == "leaked"
    assert bad.task.cancelled()
    assert house.told("plugin_left_behind") == left


async def test_what_a_plugin_leaves_behind_that_fails_to_start_is_named_and_closed_at_once(zoo):
    house = await zoo(
        {
            "starting": LEAKS.format("raise RuntimeError('boom'); yield"),
            "built": "def __init__(self, config, ctx):\n    self.socket = socket.socket()\n    KEPT.append(self)\n"
            "    raise RuntimeError('boom')\nglobal KEPT\nKEPT = []",
        }
    )
    for name in ("starting", "built"):
        await house.has_failed(name, "RuntimeError: boom")
    assert sorted(line["what"] for line in house.told("plugin_left_behind", plugin="starting")) == LEAKED
    assert [line["what"] for line in house.told("plugin_left_behind", plugin="built")] == ["socket"]
    await house.is_well()


async def test_what_a_plugin_opens_while_it_works_is_closed_too_when_it_leaves_it_behind(zoo):
    house = await zoo(
        {
            "bad": """
            @hookimpl
            def register_pollers(self): return [Poller("open", 60, self.open)]
            @hookimpl
            def register_routes(self): return [Route("POST", "/open", self.answer, "Open")]
            async def open(self): self.polled = socket.socket()
            async def answer(self, request): self.asked = asyncio.create_task(asyncio.sleep(60), name="asked")
            """
        }
    )
    await house.ask("/api/v1/bad/open", "POST")
    await house.until(lambda: hasattr(house.kernel.manager.plugins["bad"].instance, "polled"))
    await house.stop()
    assert sorted(line["what"] for line in house.told("plugin_left_behind", plugin="bad")) == ["socket", "task"]
