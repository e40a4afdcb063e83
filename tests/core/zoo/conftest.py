"""A house with good plugins before, between and behind bad ones, and what must hold there whatever the bad ones do."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core.catalog import Catalog
from core.config import load
from core.kernel import Kernel
from core.log import configure
from core.process import STOP_WITHIN_S
from core.settings import read

HOOK_TIMEOUT_S = 0.3
LONGEST_S = 30.0

GOOD = """
    from core.plugin import Inventory, Plugin, Poller, Route, hookimpl

    class Good(Plugin[dict]):
        def __init__(self, config, ctx):
            super().__init__(config, ctx)
            self.level = ctx.device("tank").point("level")
            self.polls = 0

        @hookimpl
        def register_points(self):
            return [Inventory(self.ctx.device("tank"), [self.level])]

        @hookimpl
        def register_pollers(self):
            return [Poller("tank", 0.05, self.poll)]

        @hookimpl
        def register_routes(self):
            return [Route("GET", "/hello", self.hello, "Say hello")]

        async def poll(self):
            self.polls += 1
            return {self.level: float(self.polls)}

        async def hello(self, request):
            return {"hello": self.ctx.name}
"""

NEEDY = "from core.plugin import Plugin\nclass Needy(Plugin[dict]):\n    requires = ({name!r},)"

HEAD = """
import asyncio, contextlib, os, socket, sys, threading, time
from core.plugin import *
from core.routes import *

HANG = threading.Event()

class Bad(Plugin[dict]):
    start_timeout_s = 0.3
    stop_timeout_s = 0.2
"""


def animal(body: str) -> str:
    """Write the module of a bad plugin, given what stands in its class."""
    return HEAD + textwrap.indent(textwrap.dedent(body), "    ")


class House:
    """A kernel that runs, seen from outside: by its API and its log."""

    def __init__(self, kernel: Kernel, client: aiohttp.ClientSession, log: io.StringIO) -> None:
        self.kernel = kernel
        self._client = client
        self._log = log
        self._stopped = False

    async def stop(self) -> None:
        """Stop the kernel, within the time that `plantroom run` gives it."""
        if not self._stopped:
            self._stopped = True
            async with asyncio.timeout(STOP_WITHIN_S):
                await self.kernel.stop()

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """Ask the API; answer status and JSON (or text)."""
        async with asyncio.timeout(LONGEST_S), self._client.request(method, path, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def plugin(self, name: str) -> dict[str, Any]:
        """Look at a plugin as an operator does."""
        status, shown = await self.ask(f"/api/v1/plugins/{name}")
        assert status == 200
        return shown

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of the log with this event and these fields."""
        lines = (json.loads(line) for line in self._log.getvalue().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(LONGEST_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def is_well(self) -> None:
        """See that the good plugins go on: their points are read, their routes and the kernel's answer."""
        for name in ("early", "late"):
            assert (await self.plugin(name))["state"] == "running"
            assert await self.ask(f"/api/v1/{name}/hello") == (200, {"hello": name})
            before = await self._level(name)
            async with asyncio.timeout(LONGEST_S):
                while await self._level(name) == before:
                    await asyncio.sleep(0.01)
        assert (await self.ask("/healthz"))[0] == 200
        assert (await self.ask("/metrics"))[0] == 200

    async def _level(self, name: str) -> Any:
        _status, point = await self.ask(f"/api/v1/points/{name}.tank.level")
        return point["reading"] and point["reading"]["value"]

    async def has_failed(self, name: str, says: str) -> None:
        """See that a plugin has failed with this sentence, told once; and that what needs it waits and says so."""
        shown = await self.plugin(name)
        assert (shown["state"], _but_place(shown["error"])) == ("failed", says)
        assert len(self.told("plugin_failed", plugin=name, error=shown["error"])) == 1
        await self.keeps_waiting(name)

    async def keeps_waiting(self, name: str) -> None:
        """See that what needs a plugin waits for it."""
        waiting = await self.plugin(f"needs-{name}")
        assert (waiting["state"], waiting["error"]) == ("waiting", f"waits for {name}, which does not run")

    async def runs(self, name: str) -> None:
        """See that a plugin runs, bad as it is, and so does what needs it."""
        shown = await self.plugin(name)
        assert (shown["state"], shown["error"]) == ("running", None)
        assert (await self.plugin(f"needs-{name}"))["state"] == "running"


@pytest.fixture
async def zoo(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Open a house with these bad plugins, each the body of a class, or a whole module.

    It is to stop in time, and to leave no task and no descriptor.
    """
    tasks, open_before = asyncio.all_tasks(), descriptors()
    async with AsyncExitStack() as stack:
        stack.callback(release_threads)

        async def start(
            bodies: Mapping[str, str] | None = None,
            *,
            modules: Mapping[str, str] | None = None,
        ) -> House:
            animals = {name: animal(body) for name, body in (bodies or {}).items()} | dict(modules or {})
            return await stack.enter_async_context(opened(tmp_path, animals))

        yield start
    await asyncio.sleep(0)
    assert {task.get_name() for task in asyncio.all_tasks() - tasks - {asyncio.current_task()}} == set()
    assert descriptors() <= open_before


@asynccontextmanager
async def opened(folder: Path, animals: Mapping[str, str]) -> AsyncIterator[House]:
    custom = folder / "custom_plugins"
    custom.mkdir()
    modules = {"good": textwrap.dedent(GOOD), **animals}
    modules |= {f"needs_{name}": NEEDY.format(name=name) for name in animals}
    for name, text in modules.items():
        (custom / f"{name}.py").write_text(text, encoding="utf-8")
    plugins: dict[str, Any] = {"early": {"use": "good"}}
    plugins |= {f"needs-{name}": {"use": f"needs_{name}"} for name in animals}
    plugins |= {name: {} for name in animals} | {"late": {"use": "good"}}
    path = folder / "plantroom.yaml"
    path.write_text(json.dumps({"plugins": plugins}), encoding="utf-8")
    log = io.StringIO()
    with redirect_stderr(log):
        settings = read(load([path]), Catalog(custom), host="127.0.0.1", port=0, data_dir=folder / "data")
        configure(settings.log)  # as the command line does before it starts anything
        kernel = Kernel(settings)
        kernel.manager._hook_timeout_s = HOOK_TIMEOUT_S
        async with asyncio.timeout(LONGEST_S):
            await kernel.start()
        async with aiohttp.ClientSession(base_url=kernel.url) as client:
            house = House(kernel, client, log)
            try:
                yield house
            finally:
                await house.stop()


def descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder itself was one of them
            found.add(f"{each.name} {each.readlink()}")
    return found


def release_threads() -> None:
    """Forget the bad plugins' modules, and let the threads go that hang in their hooks."""
    for name in [each for each in sys.modules if each.split(".")[0] == "custom_plugins"]:
        module = sys.modules.pop(name)
        if hasattr(module, "HANG"):
            module.HANG.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ask:"):
            thread.join(LONGEST_S)


def _but_place(error: str) -> str:
    """Leave out where in the plugin's code it was, as in ``(custom_plugins/bad.py:12 register_points)``."""
    return re.sub(r" \([\w/.-]+:\d+ [\w<>]+\)$", "", error)
