"""The kernel's REST API over a small house: a real server, a real client, and plugins as a third party writes them."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from shared_history import record

from core.api import Parts, kernel_routes
from core.api.idempotency import Idempotency
from core.api.metrics import ServerFigures
from core.api.system import SystemFacts
from core.clock import ManualClock
from core.commands import Commands
from core.defaults import MemoryCache, in_memory_services
from core.events import DevicesChanged, EventHandler
from core.exchange import Exchange
from core.manager import LoadedPlugin, PluginManager
from core.memory_history import MemoryHistory
from core.model import Inventory, Kind
from core.plugin import (
    Context,
    Health,
    HealthCheck,
    Metric,
    Middleware,
    Migration,
    Phase,
    Plugin,
    Route,
    hookimpl,
    logger,
)
from core.samples import utc_ms
from core.server import Server
from core.settings import Http, PluginEntry
from core.storage import Storage
from core.testing import Running, StartPlantroom
from core.web import build_application

__version__ = "9.9"

UNSET: Any = object()


class Demo(Plugin[Any]):
    """Shows what a plugin can bring."""

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        def broken() -> tuple[Health, str]:
            raise RuntimeError("no look to be had")

        checks = [HealthCheck("link", lambda: (Health.OK, "up"))]
        return [*checks, HealthCheck("broken", broken)] if self.config.get("broken") else checks

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        def broken() -> Iterable[tuple[dict[str, str], float]]:
            raise RuntimeError("no figure to be had")

        return [
            Metric("demo_reads_total", "counter", "Reads.", lambda: [({"device": 'a"b\\c\nd'}, 3)]),
            Metric("demo_level", "gauge", "A level.", lambda: [({}, float("nan")), ({"x": "y"}, float("inf"))]),
            Metric("demo_broken", "gauge", "Never seen.", broken),
        ]

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        async def hello(_request: web.Request) -> str:
            return "hello"

        return [Route("GET", "/api/v1/demo/hello", hello, "Say hello")]


class Rich(Plugin[Any]):
    """Brings one of most things."""

    @hookimpl
    def register_points(self) -> Iterable[Inventory]:
        return [Inventory(self.ctx.device("1"), [])]

    @hookimpl
    def register_middlewares(self) -> Iterable[Middleware]:
        return [Middleware(Phase.AUTH, lambda _route, handler: handler)]

    @hookimpl
    def register_migrations(self) -> Iterable[Migration]:
        return [Migration(1, "SELECT 1")]

    @hookimpl
    def register_event_handlers(self) -> Iterable[EventHandler[DevicesChanged]]:
        async def hear(_event: DevicesChanged) -> None:
            """Nothing comes of it."""

        return [EventHandler(DevicesChanged, hear)]

    @hookimpl
    def register_log_processors(self) -> Iterable[Any]:
        def redact(_logger: Any, _method: str, event: Any) -> Any:
            return event

        return [redact]

    @hookimpl
    def provide_cache(self) -> Any:
        return MemoryCache(self.ctx.clock)


class Failing(Plugin[Any]):
    def __init__(self, config: Any, ctx: Context) -> None:
        raise RuntimeError("no luck today")


class Needy(Plugin[Any]):
    requires = ("failing",)


@attrs.frozen
class Lender:
    """What the manager asks of the kernel (`core.manager.Host`)."""

    house: Any
    commands: Commands
    storage: Storage
    folder: Path

    def context(self, name: str) -> Context:
        house = self.house
        return Context(
            name=name, log=logger(name), clock=house.clock, services=in_memory_services(house.clock),
            events=house.events, store=self.storage, commands=self.commands, data_dir=self.folder,
            publish=lambda polled: house.polls.take(name, polled), seen=house.polls.seen,
        )  # fmt: skip

    async def admit(self, plugin: LoadedPlugin) -> None:
        """Nothing is put to use here but what the routes look at."""

    async def dismiss(self, plugin: LoadedPlugin) -> None:
        """Nothing was put to use."""


@attrs.frozen
class Reply:
    """An answer, taken in whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.json["items"]]


class Api:
    """A client of the API and what stands behind it."""

    def __init__(self, client: aiohttp.ClientSession, house: Any, exchange: Exchange, manager: PluginManager) -> None:
        self.client = client
        self.house = house
        self.exchange = exchange
        self.manager = manager

    async def ask(self, method: str, path: str, body: Any = UNSET, **headers: str) -> Reply:
        data = {} if body is UNSET else {"json": body}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.client.request(method, path, headers=named, **data) as answer:
            reply = Reply(answer.status, answer.headers, await answer.read())
        if reply.status >= 400:
            assert answer.content_type == "application/problem+json"
            assert reply.json["status"] == reply.status
        return reply

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, **headers)

    async def pages(self, path: str) -> list[list[str]]:
        """Follow a list to its end."""
        pages, cursor = [], ""
        while cursor is not None:
            reply = await self.get(f"{path}&cursor={cursor}" if cursor else path)
            assert reply.status == 200, reply.json
            pages.append(reply.ids)
            cursor = reply.json["next_cursor"]
        return pages

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(3):
            while not condition():
                await asyncio.sleep(0.001)


def entry(name: str, cls: type[Plugin[Any]] | None = Demo, **fields: Any) -> PluginEntry:
    config = fields.pop("config", {})
    return PluginEntry(name, re.sub(r"\d+$", "", name), plugin_class=cls, config=config, redacted=config, **fields)


@pytest.fixture
def entries() -> list[PluginEntry]:
    """The plugins of the house; a test may ask for others by its own fixture of this name."""
    return [entry("demo", config={"level": 3})]


@pytest.fixture
def plugin_entry() -> Any:
    """Make an entry of the configuration."""
    return entry


@pytest.fixture
def rich_plugin() -> PluginEntry:
    """A plugin that brings one of most things."""
    return entry("rich", Rich)


@pytest.fixture
def failing_plugins() -> list[PluginEntry]:
    """A plugin that fails, and a required one that needs it."""
    return [entry("failing", Failing), entry("needy", Needy, required=True)]


@asynccontextmanager
async def serving(house: Any, exchange: Exchange, lender: Lender, entries: Sequence[PluginEntry]) -> AsyncIterator[Api]:
    manager = PluginManager(entries, house.events)
    await manager.load(lender.context)
    await manager.start(lender)
    figures = ServerFigures(house.clock)
    parts = Parts(
        clock=house.clock, registry=house.registry, exchange=exchange, commands=lender.commands,
        jobs=house.jobs, scans=house.scans, manager=manager, services=in_memory_services(house.clock), figures=figures,
        idempotency=Idempotency(house.clock),
        metrics=lambda: [(each.name, metric) for each in manager.running for metric in each.many("register_metrics")],
        facts=SystemFacts("1.2.3", "local", "0000-id"), secret=b"secret", reload=None,
        deliveries=house.deliveries,
    )  # fmt: skip
    server = Server(Http(port=0))
    await server.start()
    try:
        await server.swap(build_application([("core", each) for each in kernel_routes(parts)], [figures.policy]))
        async with aiohttp.ClientSession(server.url) as client:
            yield Api(client, house, exchange, manager)
    finally:
        await server.stop()
        await manager.stop(lender)


@pytest.fixture
async def api(
    house: Any, exchange: Exchange, commands: Commands, storage: Storage, tmp_path: Path, entries: list[PluginEntry]
) -> AsyncIterator[Api]:
    async with serving(house, exchange, Lender(house, commands, storage, tmp_path), entries) as api:
        yield api


# a house with a past

NOW = 1_774_872_000.0  # 2026-03-30T12:00:00Z, a day after clocks were set forward in Europe
MODES = {"1": "Off", "2": "Heating", "3": "=Cooling, fast"}


class Rooms(Plugin[Any]):
    """One point of each kind, of which nothing is recorded but what a test adds."""

    @hookimpl
    def register_points(self) -> Iterable[Inventory]:
        room = self.ctx.device("1")
        points = [
            room.point("level", max=100.0, symbol="%"),
            room.point("other"),
            room.point("on", kind=Kind.BOOLEAN, states={"false": "Off", "true": "On"}),
            room.point("mode", kind=Kind.ENUM, states=MODES),
            room.point("note", kind=Kind.TEXT),
        ]
        return [Inventory(room, points)]


class PastHouse:
    """A kernel that runs with rooms, its history, and a client."""

    def __init__(self, running: Running, history: MemoryHistory) -> None:
        self.kernel = running.kernel
        self.client = running.client
        self.history = history
        self.now_ms = round(NOW * 1000)

    def use(self, history: MemoryHistory) -> None:
        """Let another history be the one that is asked."""
        self.history = self.kernel.services.history = history

    def slot(self, key: str) -> int:
        return self.kernel.registry.point(f"rooms.1.{key}").slot

    def record(self, key: str, time: str | int, *values: Any, every_ms: int = 60_000) -> None:
        """Record values, or rows, of a point from a time on."""
        begin = utc_ms(time) if isinstance(time, str) else time
        for number, value in enumerate(values):
            record(self.history, self.slot(key), begin + number * every_ms, value)

    async def ask(self, method: str, path: str, body: Any = UNSET, **headers: str) -> Reply:
        data = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {} if body is UNSET else {"json": body}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.client.request(method, path, headers=named, **data) as answer:
            reply = Reply(answer.status, answer.headers, await answer.read())
        if reply.status >= 400 and method != "HEAD":
            assert answer.content_type == "application/problem+json"
        return reply

    async def get(self, key: str, query: str = "", **headers: str) -> Reply:
        """Ask for a point's history."""
        return await self.ask("GET", f"/api/v1/points/rooms.1.{key}/history?{query}", **headers)

    async def query(self, *keys: str, **asked: Any) -> Reply:
        """Ask for the history of several points."""
        ids = [key if "." in key else f"rooms.1.{key}" for key in keys]
        headers = {"Accept": asked.pop("accept")} if "accept" in asked else {}
        return await self.ask("POST", "/api/v1/history/query", {"point_ids": ids, **asked}, **headers)

    async def items(self, key: str, query: str = "") -> list[Any]:
        reply = await self.get(key, query)
        assert reply.status == 200, reply.json
        items: list[Any] = reply.json["items"]
        return items


@pytest.fixture
async def past(plantroom: StartPlantroom) -> PastHouse:
    clock = ManualClock(NOW)
    running = await plantroom("plugins: {rooms: {}}", plugins={"rooms": Rooms}, clock=clock)
    history = MemoryHistory()
    house = PastHouse(running, history)
    house.use(history)
    return house
