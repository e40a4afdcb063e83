"""docs/hooks.md is what core/hookspecs.py says, every hook's example is an answer that the kernel takes."""

from __future__ import annotations

import inspect
import re
from contextlib import asynccontextmanager
from typing import Any

import pytest
from docs.blocks import blocks
from docs.hook_reference import PAGE, renewed

from core import caches, defaults, events, hookspecs, plugin
from core.asking import MANY, ONE
from core.clock import SystemClock
from core.hookspecs import HOOKS, Hook, hookimpl
from core.plugin import API_VERSION, Plugin
from core.testing import StartPlantroom

TEXT = PAGE.read_text(encoding="utf-8")


class MemoryDriver:
    """As little as a driver may have."""

    scan_interval_s = None

    async def scan(self, request, report): ...

    async def read(self, group): ...

    async def write(self, command): ...

    async def priorities(self, point): ...


class Archived:
    """As little as a receiver may have."""

    async def deliver(self, delivery): ...


NAMES: dict[str, Any] = {
    **vars(plugin),
    **vars(events),
    "LampDriver": lambda _ctx: MemoryDriver(),
    "FileCache": lambda _folder: caches.MemoryCache(SystemClock()),
    "SharedLimits": lambda _url: defaults.MemoryRateLimitStore(plugin.Clock),
    "Archive": lambda _folder: defaults.MemoryHistory(),
    "Cluster": lambda _url: defaults.SoleLeadership(),
}


class Exhibit(Plugin[Any]):
    """Has what the examples name."""

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.config = type("Config", (), {"url": "redis://127.0.0.1"})
        self.station = ctx.device("station")
        self.temperature = self.station.point("temperature")

    @asynccontextmanager
    async def connection(self):
        yield

    def guard(self, _route, handler):
        return handler

    async def poll(self):
        return {self.temperature: 21.5}

    async def rooms(self, _request):
        return []

    async def export(self, _context, _parameters): ...

    async def note(self, _event): ...

    def list_rooms(self, _options):
        return 0

    def badge(self, _call):
        return None

    def archive(self, _lines): ...

    @asynccontextmanager
    async def archived(self):
        yield Archived()

    def add_building(self, _logger, _method, event):
        return event


def answering(hook: Hook) -> type[Plugin[Any]]:
    """Make a plugin that answers one hook with its example."""

    def answer(self):
        return eval(hook.example, NAMES, {"self": self})

    return type("Answering", (Exhibit,), {hook.name: hookimpl(answer)})


def test_the_page_is_what_the_hookspecs_say() -> None:
    assert renewed(TEXT) == TEXT, "renew it, in tests/: python -m docs.hook_reference"


def test_every_hook_is_declared_with_what_is_promised_about_it() -> None:
    declared = [name for name, each in inspect.getmembers(hookspecs) if hasattr(each, "plantroom_spec")]

    assert sorted(HOOKS) == sorted(declared)
    for hook in HOOKS.values():
        first, blank, *then = hook.about.splitlines()
        assert first.endswith("."), hook.name
        assert not blank, hook.name
        assert then, hook.name
        assert 1 <= hook.since <= API_VERSION, hook.name


def test_every_hook_is_asked_and_its_answer_checked() -> None:
    assert {*MANY, *ONE} == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
async def test_the_kernel_takes_the_example_of_each_hook(plantroom: StartPlantroom, name: str) -> None:
    running = await plantroom("plugins: {exhibit: }", plugins={"exhibit": answering(HOOKS[name])})

    assert running.plugin("exhibit").error is None
    assert running.plugin("exhibit").state == "running"
    assert list(running.plugin("exhibit").answers) == [name]


def test_every_event_of_the_kernel_is_on_the_page() -> None:
    ends = ("Changed", "Stepped", "Asked")
    own = {name for name, each in vars(events).items() if inspect.isclass(each) and name.endswith(ends)}

    assert own == set(re.findall(r"`(\w+(?:Changed|Stepped|Asked))`", TEXT))


def test_the_version_of_the_plugin_api_is_on_the_page() -> None:
    assert f"`core.plugin.API_VERSION`, now {API_VERSION}." in TEXT
    assert f"api_version = {Plugin.api_version}" in blocks("docs/hooks.md", "python")[0]
