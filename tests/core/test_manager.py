"""Plugins: built, asked, started and stopped, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from core.asking import HOOK_TIMEOUT_S, MANY, ONE
from core.caches import MemoryCache
from core.clock import ManualClock
from core.defaults import MemoryHistory, MemoryRateLimitStore, SoleLeadership, in_memory_services
from core.errors import ConfigError, PluginError
from core.events import EventBus, EventHandler, PluginStateChanged
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.model import Device, Inventory
from core.plugin import Context, JobKind, Plugin, Poller, hookimpl, logger
from core.services import Services
from core.settings import PluginEntry
from core.storage import Storage


class Host:
    """What the kernel does for plugins: lends them what they need, and notes who comes and goes."""

    def __init__(self, clock: ManualClock, storage: Storage, data_dir: Path) -> None:
        self.events = EventBus()
        self.services = in_memory_services(clock)
        self.story: list[str] = []
        self.refuses: str | None = None
        self.fails_to_dismiss: str | None = None
        self._clock, self._storage, self._data_dir = clock, storage, data_dir

    def context(self, name: str) -> Context:
        return Context(
            name=name,
            log=logger(name),
            clock=self._clock,
            services=self.services,
            events=self.events,
            store=self._storage,
            commands=None,
            data_dir=self._data_dir,
            publish=lambda _polled: None,
            seen=lambda _device_id: None,
        )

    async def admit(self, plugin: LoadedPlugin) -> None:
        if plugin.name == self.refuses:
            raise PluginError("its poller's name is taken")
        self.story.append(f"admit {plugin.name}")

    async def dismiss(self, plugin: LoadedPlugin) -> None:
        self.story.append(f"dismiss {plugin.name}")
        if plugin.name == self.fails_to_dismiss:
            raise RuntimeError("could not let go")


@pytest.fixture
async def host(clock: ManualClock, storage: Storage, tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(clock, storage, tmp_path)
    yield host
    await host.events.close()


class Story(Plugin[Any]):
    """A plugin that writes into its configuration, a list, when it is opened and closed."""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.config.append(f"open {self.ctx.name}")
        yield
        self.config.append(f"close {self.ctx.name}")


def plugin(**members: Any) -> type[Plugin[Any]]:
    """Write a plugin class: hooks are given by name, as functions of the plugin."""
    hooks = {name: hookimpl(member) if callable(member) else member for name, member in members.items()}
    return type("ThirdParty", (Plugin,), hooks)


def needing(*requires: str, base: type[Plugin[Any]] = Story) -> type[Plugin[Any]]:
    return type("Needing", (base,), {"requires": requires})


def entry(name: str, cls: type[Plugin[Any]] | None = None, **fields: Any) -> PluginEntry:
    return PluginEntry(**{"name": name, "use": name, "plugin_class": cls, **fields})


async def loaded(host: Host, *entries: PluginEntry) -> PluginManager:
    manager = PluginManager(entries, host.events)
    async with asyncio.timeout(4):
        await manager.load(host.context)
    return manager


async def started(host: Host, *entries: PluginEntry) -> PluginManager:
    manager = await loaded(host, *entries)
    async with asyncio.timeout(4):
        await manager.start(host)
    return manager


def states(manager: PluginManager) -> dict[str, str]:
    return {each.name: each.state.value for each in manager}


def well(host: Host) -> PluginEntry:
    """A neighbour that must run whatever the others do."""
    return entry("well", Story, config=host.story)


# how it goes


async def test_a_plugin_gets_its_configuration_and_what_it_is_lent(host: Host):
    manager = await loaded(host, entry("campus", Story, config=["its", "options"]))
    instance = manager.plugins["campus"].instance
    assert instance is not None
    assert instance.config == ["its", "options"]
    assert instance.ctx.name == "campus"
    assert instance.ctx.device("a").id == "campus.a"


async def test_plugins_run_from_start_to_stop_and_what_they_answered_is_put_to_use_in_between(host: Host):
    manager = await started(host, well(host))
    assert states(manager) == {"well": "running"}
    assert [each.name for each in manager.running] == ["well"]
    await manager.stop(host)
    assert states(manager) == {"well": "stopped"}
    assert host.story == ["open well", "admit well", "dismiss well", "close well"]


async def test_a_plugin_without_a_lifespan_runs_too(host: Host):
    manager = await started(host, entry("plain", plugin()))
    assert states(manager) == {"plain": "running"}
    await manager.stop(host)


async def test_each_hook_is_asked_once_and_each_plugin_has_its_own_answers(host: Host):
    asked: list[str] = []

    def points(self: Plugin[Any]) -> Iterator[Inventory]:
        asked.append(self.ctx.name)
        yield Inventory(self.ctx.device("a"), [])

    cls = plugin(register_points=points)
    manager = await loaded(host, entry("first", cls), entry("second", cls, use="first"), entry("silent", plugin()))
    assert asked == ["first", "second"]
    answers = {each.name: [found.device.id for found in each.many("register_points")] for each in manager}
    assert answers == {"first": ["first.a"], "second": ["second.a"], "silent": []}


async def test_every_hook_has_a_kind_of_answer_that_is_checked():
    from core import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith(("register_", "provide_", "lifespan"))}
    assert hooks == set(MANY) | set(ONE)
    assert {name for name in ONE if name.startswith("provide_")} == {
        f"provide_{field.name}" for field in attrs.fields(Services)
    }


async def test_disabled_plugins_are_not_built(host: Host):
    manager = await started(host, entry("off", None, enabled=False), well(host))
    assert states(manager) == {"off": "disabled", "well": "running"}
    await manager.stop(host)
    assert states(manager)["off"] == "disabled"


async def test_states_are_told_on_the_bus(host: Host, clock: ManualClock):
    told: list[tuple[str, str, str | None]] = []

    async def handle(event: PluginStateChanged) -> None:
        told.append((event.name, event.state, event.error and event.error.partition(" (")[0]))

    host.events.subscribe(EventHandler(PluginStateChanged, handle), owner="test")
    with capture_logs():
        manager = await started(host, well(host), entry("bad", plugin(lifespan=lambda self: 1 / 0)))
        await manager.stop(host)
    await clock.advance(0)
    assert told == [
        ("bad", "failed", "ZeroDivisionError: division by zero"),
        ("well", "running", None),
        ("well", "stopped", None),
    ]


# needs


async def test_plugins_start_behind_those_they_need_and_stop_before_them(host: Host):
    manager = await started(
        host,
        entry("roof", needing("walls"), config=host.story),
        entry("walls", needing("ground"), config=host.story),
        entry("ground", Story, config=host.story),
    )
    await manager.stop(host)
    happened = [line for line in host.story if line.startswith(("open", "close"))]
    assert happened == [f"open {name}" for name in ("ground", "walls", "roof")] + [
        f"close {name}" for name in ("roof", "walls", "ground")
    ]


async def test_a_need_is_met_by_the_key_or_by_what_the_instance_uses(host: Host):
    manager = await loaded(
        host,
        entry("by_class", needing("bacnet")),
        entry("by_key", needing("campus")),
        entry("campus", Story, use="bacnet"),
        entry("spare", Story, use="bacnet"),
    )
    assert {each.name: each.requires for each in manager if each.requires} == {
        "by_class": ("campus",), "by_key": ("campus",),
    }  # fmt: skip


async def test_a_key_goes_before_a_class_and_an_enabled_instance_before_a_disabled_one(host: Host):
    manager = await loaded(
        host,
        entry("old", None, use="store", enabled=False),
        entry("new", Story, use="store"),
        entry("keyed", Story, use="other"),
        entry("shadow", Story, use="keyed"),
        entry("asks", needing("store", "keyed")),
    )
    assert manager.plugins["asks"].requires == ("new", "keyed")


@pytest.mark.parametrize("there", [False, True])
async def test_a_plugin_whose_need_is_missing_or_disabled_waits_and_says_for_what(host: Host, there: bool):
    needed = [entry("history", None, enabled=False)] if there else []
    manager = await started(host, entry("trends", needing("history", "well"), config=[]), *needed, well(host))
    assert states(manager)["trends"] == "waiting"
    assert manager.plugins["trends"].error == "waits for history, which does not run"
    assert states(manager)["well"] == "running"
    await manager.stop(host)
    assert states(manager)["trends"] == "waiting"


async def test_what_needs_a_plugin_that_fails_waits_and_so_does_what_needs_that(host: Host):
    with capture_logs():
        manager = await started(
            host,
            entry("ground", plugin(lifespan=lambda self: 1 / 0)),
            entry("walls", needing("ground"), config=[]),
            entry("roof", needing("walls"), config=[]),
            well(host),
        )
    assert states(manager) == {"ground": "failed", "walls": "waiting", "roof": "waiting", "well": "running"}
    assert manager.plugins["roof"].error == "waits for walls, which does not run"
    await manager.stop(host)


async def test_a_circle_of_needs_is_named_in_full_and_the_others_run(host: Host):
    with capture_logs():
        manager = await started(
            host,
            entry("a", needing("b"), config=[]),
            entry("b", needing("c"), config=[]),
            entry("c", needing("a"), config=[]),
            entry("self", needing("self"), config=[]),
            entry("behind", needing("a"), config=[]),
            well(host),
        )
    assert states(manager) == {
        "a": "failed", "b": "failed", "c": "failed", "self": "failed", "behind": "waiting", "well": "running",
    }  # fmt: skip
    error = manager.plugins["a"].error
    assert error == manager.plugins["b"].error == manager.plugins["c"].error
    assert error in {
        f"{circle} need each other in a circle"
        for circle in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")
    }
    assert manager.plugins["self"].error == "self -> self need each other in a circle"
    await manager.stop(host)


async def test_needs_written_as_one_text_are_an_error_that_says_how_to_write_them(host: Host):
    with capture_logs():
        manager = await loaded(host, entry("slip", type("Slip", (Plugin,), {"requires": "history"})))
    assert manager.plugins["slip"].error == "`requires` must be a tuple of names: write ('history',)"


# services


async def test_a_plugins_service_takes_the_place_of_the_default(host: Host, clock: ManualClock):
    mine = MemoryCache(clock)
    manager = await loaded(host, entry("redis", plugin(provide_cache=lambda self: mine)))
    before = host.services.history
    manager.choose_services(host.services)
    await host.services.cache.set("key", b"value", ttl_s=60)
    assert await mine.get("key") == b"value"
    assert host.services.history is before


async def test_two_providers_of_one_service_are_an_error_that_names_both_for_each_service(
    host: Host, clock: ManualClock
):
    provider = plugin(
        provide_cache=lambda self: MemoryCache(clock),
        provide_rate_limit_store=lambda self: MemoryRateLimitStore(clock),
        provide_history=lambda self: MemoryHistory(),
        provide_leadership=lambda self: SoleLeadership(),
    )
    manager = await loaded(host, entry("redis", provider), entry("memory", provider))
    with pytest.raises(ConfigError) as refused:
        manager.choose_services(host.services)
    assert refused.value.problems == tuple(
        f"plugins: 'redis' and 'memory' both provide the {service}: enable one of them"
        for service in ("cache", "rate limit store", "history", "leadership")
    )


async def test_a_plugin_that_failed_provides_nothing(host: Host, clock: ManualClock):
    mine = MemoryCache(clock)
    provides = {"provide_cache": lambda self: mine}
    circle = type("Circle", (plugin(**provides),), {"requires": ("circle",)})
    with capture_logs():
        manager = await loaded(
            host,
            entry("broken", plugin(**provides, provide_history=lambda self: 1 / 0)),
            entry("circle", circle),
            entry("sound", plugin(**provides)),
        )
    manager.choose_services(host.services)
    await host.services.cache.set("key", b"value", ttl_s=60)
    assert await mine.get("key") == b"value"
    assert manager.plugins["broken"].answers == manager.plugins["circle"].answers == {}


# plugins that fail


def raises(_self: Plugin[Any], *_: object) -> Any:
    raise RuntimeError("not today")


class RaisesAtBirth(Plugin[Any]):
    def __init__(self, config: Any, ctx: Context) -> None:
        raise RuntimeError("not today")


class ExitsAtBirth(Plugin[Any]):
    def __init__(self, config: Any, ctx: Context) -> None:
        raise SystemExit(3)


def half_a_list(_self: Plugin[Any]) -> Iterator[Inventory]:
    yield Inventory(Device("demo.a", "demo", "A"), [])
    raise RuntimeError("not today")


def stops_iterating(_self: Plugin[Any]) -> Any:
    return next(iter(()))


class MisnamedHook(Plugin[Any]):
    @hookimpl
    def register_device(self) -> list[Inventory]:
        return []


class WrongSignature(Plugin[Any]):
    @hookimpl
    def register_points(self, everything: bool) -> list[Inventory]:
        return []


class NotToday(Plugin[Any]):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        raise RuntimeError("not today")
        yield


class ClosedByThird(Plugin[Any]):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        raise TimeoutError("the database did not answer")
        yield


FAILURES: Mapping[str, tuple[type[Plugin[Any]], str]] = {
    "raises in its constructor": (RaisesAtBirth, "RuntimeError: not today"),
    "exits in its constructor": (ExitsAtBirth, "its constructor raised SystemExit"),
    "raises in a hook": (plugin(register_pollers=raises), "RuntimeError: not today"),
    "raises while it lists": (plugin(register_points=half_a_list), "RuntimeError: not today"),
    "stops iterating": (plugin(register_points=stops_iterating), "register_points raised StopIteration"),
    "times out in a hook by itself": (
        plugin(register_points=lambda self: (_ for _ in ()).throw(TimeoutError("the database"))),
        "TimeoutError: the database",
    ),
    "answers no list": (plugin(register_points=lambda self: 3), "register_points answered int instead of an iterable"),
    "lists something else": (
        plugin(register_jobs=lambda self: [JobKind("a", raises), "b"]),
        "register_jobs answered a str where JobKind is due",
    ),
    "answers with text": (
        plugin(register_routes=lambda self: "/x"),
        "register_routes answered a str where Route is due",
    ),
    "has a processor that cannot be called": (
        plugin(register_log_processors=lambda self: [3]),
        "register_log_processors answered a int where a callable is due",
    ),
    "is half a driver": (
        plugin(register_driver=lambda self: MemoryHistory()),
        "register_driver answered MemoryHistory, which has no scan, read, write, priorities, scan_interval_s",
    ),
    "is no cache": (
        plugin(provide_cache=lambda self: {}),
        "provide_cache answered dict, which has no set, delete, forget",
    ),
    "has no life": (plugin(lifespan=lambda self: 3), "lifespan answered int, which has no __aenter__, __aexit__"),
    "misnames a hook": (MisnamedHook, "unknown hook 'register_device'"),
    "wants what a hook does not give": (WrongSignature, "Argument(s) {'everything'} are declared"),
    "raises as it starts": (NotToday, "RuntimeError: not today"),
    "times out by itself as it starts": (ClosedByThird, "TimeoutError: the database did not answer"),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_plugin_fails_alone_and_is_named_with_its_error(host: Host, what: str):
    cls, says = FAILURES[what]
    with capture_logs() as logs:
        manager = await started(host, entry("bad", cls), well(host))
    assert states(manager) == {"bad": "failed", "well": "running"}
    error = manager.plugins["bad"].error
    assert error is not None
    assert says in error
    assert [(line["plugin"], line["error"]) for line in logs if line["event"] == "plugin_failed"] == [("bad", error)]
    await manager.stop(host)
    assert states(manager)["bad"] == "failed"


async def test_a_hook_that_is_a_coroutine_is_a_wrong_answer(host: Host):
    async def points(_self: Plugin[Any]) -> list[Inventory]:
        return []

    with capture_logs():
        manager = await started(host, entry("bad", plugin(register_points=points)), well(host))
    assert states(manager) == {"bad": "failed", "well": "running"}
    assert manager.plugins["bad"].error == (
        "register_points is a coroutine function: write it as `def`, hooks answer at once"
    )
    await manager.stop(host)


async def test_a_plugin_that_could_not_be_imported_has_failed_with_that_error(host: Host):
    with capture_logs():
        manager = await started(
            host, entry("missing", error=PluginError("no module named 'pymodbus'")), entry("empty"), well(host)
        )
    assert states(manager) == {"missing": "failed", "empty": "failed", "well": "running"}
    assert manager.plugins["missing"].error == "no module named 'pymodbus'"
    assert manager.plugins["empty"].error == "its module holds no plugin"
    await manager.stop(host)


async def test_a_plugin_that_the_house_does_not_admit_is_closed_again(host: Host):
    host.refuses = "bad"
    with capture_logs():
        manager = await started(host, entry("bad", Story, config=host.story), well(host))
    assert manager.plugins["bad"].error == "its poller's name is taken"
    assert host.story == ["open bad", "dismiss bad", "close bad", "open well", "admit well"]
    await manager.stop(host)


# plugins that never return


@pytest.fixture
def stuck() -> Iterator[Callable[..., Any]]:
    """Synchronous code that does not return before the test has ended; ``entered`` is set once it is in."""
    leave = threading.Event()

    def never(*_: object) -> None:
        never.entered.set()
        leave.wait(10)

    never.entered = threading.Event()
    yield never
    leave.set()


@pytest.mark.parametrize("where", ["its constructor", "register_points"])
async def test_a_plugin_that_never_returns_when_asked_is_named_and_the_house_goes_on(
    host: Host, stuck, leap, where: str
):
    members = {"__init__": stuck} if where == "its constructor" else {where: hookimpl(stuck)}
    cls = type("Stuck", (Plugin,), members)
    manager = PluginManager([entry("bad", cls), well(host)], host.events)
    with capture_logs():
        loading = asyncio.create_task(manager.load(host.context))
        assert await asyncio.to_thread(stuck.entered.wait, 3)
        await leap(HOOK_TIMEOUT_S + 1)
        await loading
        await manager.start(host)
    assert states(manager) == {"bad": "failed", "well": "running"}
    assert manager.plugins["bad"].error == f"{where} did not return within 5 s"
    await manager.stop(host)


class NeverOpens(Story):
    entered: asyncio.Event
    start_timeout_s = 30.0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        try:
            self.config.set()
            await asyncio.Event().wait()
            yield
        finally:
            self.ctx.log.info("cleaned_up")


async def test_a_plugin_that_never_starts_is_given_up_in_time_and_cleans_up(host: Host, leap):
    entered = asyncio.Event()
    manager = await loaded(host, entry("bad", NeverOpens, config=entered), well(host))
    with capture_logs() as logs:
        starting = asyncio.create_task(manager.start(host))
        await entered.wait()
        await leap(31)
        await starting
    assert states(manager) == {"bad": "failed", "well": "running"}
    assert manager.plugins["bad"].error == "did not start within 30 s"
    assert [(line["event"], line["plugin"]) for line in logs][:2] == [("cleaned_up", "bad"), ("plugin_failed", "bad")]
    await manager.stop(host)


class NeverCloses(Plugin[Any]):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield
        self.config.set()
        await asyncio.Event().wait()


async def test_a_plugin_that_never_stops_is_given_up_in_time_and_the_others_stop(host: Host, leap):
    closing = asyncio.Event()
    manager = await started(host, well(host), entry("bad", NeverCloses, config=closing))
    with capture_logs() as logs:
        stopping = asyncio.create_task(manager.stop(host))
        await closing.wait()
        await leap(2)
        await stopping
    assert states(manager) == {"bad": "stopped", "well": "stopped"}
    assert [(line["event"], line["plugin"], line["error"]) for line in logs] == [
        ("plugin_stop_failed", "bad", "did not stop within 1 s")
    ]
    assert host.story[-1] == "close well"


class RaisesAtTheEnd(Plugin[Any]):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield
        raise RuntimeError("not so fast")


async def test_a_plugin_that_raises_as_it_stops_is_named_and_the_others_stop(host: Host):
    manager = await started(host, well(host), entry("bad", RaisesAtTheEnd))
    with capture_logs() as logs:
        await manager.stop(host)
    assert states(manager) == {"bad": "stopped", "well": "stopped"}
    [line] = logs
    assert (line["event"], line["plugin"]) == ("plugin_stop_failed", "bad")
    assert re.fullmatch(r"RuntimeError: not so fast \(core/test_manager.py:\d+ lifespan\)", line["error"])


async def test_a_plugin_is_closed_even_if_the_house_could_not_let_it_go(host: Host):
    manager = await started(host, well(host))
    host.fails_to_dismiss = "well"
    with capture_logs() as logs:
        await manager.stop(host)
    assert host.story[-1] == "close well"
    assert [line["event"] for line in logs] == ["plugin_dismissal_failed"]


async def test_pollers_and_other_answers_are_kept_as_they_were_given(host: Host):
    async def poll() -> str:
        return "polled"

    poller = Poller("all", 5.0, poll)
    manager = await loaded(host, entry("demo", plugin(register_pollers=lambda self: [poller])))
    [kept] = manager.plugins["demo"].many("register_pollers")
    assert (kept.name, kept.interval, await kept.poll()) == ("all", 5.0, "polled")
    assert manager.plugins["demo"].many("register_routes") == ()
    assert manager.plugins["demo"].state is PluginState.WAITING


# a life that ends too early


async def test_a_plugin_whose_lifespan_dies_is_failed_and_what_needs_it_waits(host: Host):
    class Dying(Plugin[Any]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())
                yield

        async def fail(self) -> None:
            await self.config.wait()
            raise RuntimeError("boom")

    trigger = asyncio.Event()
    needs = entry("needs", needing("dying"), config=host.story)
    manager = await started(host, entry("dying", Dying, config=trigger), needs, well(host))
    with capture_logs():
        trigger.set()
        async with asyncio.timeout(2):
            while states(manager)["needs"] == "running":
                await asyncio.sleep(0)
    assert states(manager) == {"dying": "failed", "needs": "waiting", "well": "running"}
    assert "dying" in str(manager.plugins["needs"].error)
    assert "close needs" in host.story
    await manager.stop(host)


async def test_a_plugin_that_calls_exit_in_its_life_ends_alone(host: Host):
    @asynccontextmanager
    async def leave(_self: Plugin[Any]) -> AsyncIterator[None]:
        raise SystemExit(3)
        yield

    with capture_logs():
        manager = await started(host, entry("bad", plugin(lifespan=leave)), well(host))
    assert states(manager) == {"bad": "failed", "well": "running"}
    assert manager.plugins["bad"].error == "it called sys.exit()"
    await manager.stop(host)
