"""Answers to hooks run on their plugin's behalf, whoever calls them; what they are called for stays as it was."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from core.answers import owned_answers
from core.asking import MANY, ONE
from core.belongings import Belongings
from core.caches import MemoryCache
from core.clock import ManualClock
from core.errors import PluginError
from core.events import EventHandler, JobChanged
from core.log_sinks import LogSink
from core.model import Device, Inventory
from core.owner import owner_name
from core.plugin import CliCommand, JobKind, Migration, Poller
from core.policies import Authenticator
from core.routes import Handler, Health, HealthCheck, Metric, Middleware, Phase, Route
from core.services import PointConfiguration
from core.sinks import Sink
from core.weaknesses import Weakness


async def who(*_arguments: object, **_named: object) -> str:
    return owner_name()


def who_now(*_arguments: object) -> Any:
    return owner_name()


def owned(hook: str, *answers: Any) -> Any:
    return owned_answers({hook: tuple(answers)}, Belongings("guest"))[hook]


async def whose(call: Callable[..., Any], *arguments: Any) -> Any:
    result = call(*arguments)
    return await result if isinstance(result, Awaitable) else result


CALLED = {
    "register_pollers": (Poller("a", 1.0, who), lambda item: item.poll),
    "register_jobs": (JobKind("a", who), lambda item: item.run),
    "register_routes": (Route("GET", "/a", who, "A"), lambda item: item.handler),
    "register_event_handlers": (EventHandler(JobChanged, who), lambda item: item.handle),
    "register_health_checks": (HealthCheck("a", who_now), lambda item: item.check),
    "register_metrics": (Metric("a", "gauge", "A", who_now), lambda item: item.collect),
    "register_log_processors": (who_now, lambda item: item),
    "register_log_sinks": (LogSink("a", who_now), lambda item: item.write),
    "register_sinks": (Sink("a", who_now), lambda item: item.connect),
}
AS_THEY_ARE = {
    "register_points": Inventory(Device("guest.a", "guest", "A"), []),
    "register_migrations": Migration(1, "SELECT 1"),
    "register_commands": CliCommand("a", "A", lambda _arguments: 0),
    "register_weaknesses": Weakness("a", "b"),
    "register_authenticators": Authenticator("a", lambda _call: None),
}


def test_every_hook_that_answers_many_is_in_one_of_these_tables():
    assert {*CALLED, *AS_THEY_ARE, "register_middlewares"} == set(MANY)


@pytest.mark.parametrize("hook", CALLED)
async def test_what_is_called_runs_on_its_plugins_behalf(hook: str):
    answer, called = CALLED[hook]
    (mine,) = owned(hook, answer)
    assert await whose(called(mine)) == "guest"
    assert owner_name() == "core"
    assert type(mine) is type(answer)


@pytest.mark.parametrize("hook", AS_THEY_ARE)
def test_what_is_not_called_while_the_house_runs_stays_as_it_is(hook: str):
    assert owned(hook, AS_THEY_ARE[hook]) == (AS_THEY_ARE[hook],)


async def test_callables_of_every_kind_run_on_its_behalf():
    class Caller:
        async def __call__(self) -> str:
            return owner_name()

    for call in (who, lambda: who(1), functools.partial(who, 1), Caller()):
        (mine,) = owned("register_pollers", Poller("a", 1.0, call))
        assert await mine.poll() == "guest"


async def test_a_middleware_runs_on_its_behalf_and_what_it_wraps_does_not():
    seen: list[str] = []

    def wrap(_route: Route | None, handler: Handler) -> Handler:
        seen.append(f"build {owner_name()}")

        async def call(request: Any) -> Any:
            seen.append(f"before {owner_name()}")
            answer = await handler(request)
            seen.append(f"after {owner_name()}")
            return answer

        return call

    async def inside(_request: Any) -> Any:
        seen.append(f"inside {owner_name()}")

    (middleware,) = owned("register_middlewares", Middleware(Phase.CACHE, wrap))
    await middleware.wrap(None, inside)(None)
    assert seen == ["build guest", "before guest", "inside core", "after guest"]


async def test_a_middleware_that_adds_nothing_to_a_route_costs_it_nothing():
    (middleware,) = owned("register_middlewares", Middleware(Phase.CACHE, lambda _route, handler: handler))
    assert middleware.wrap(None, who) is who


class Store:
    """Answers whose it is, in every way that an object can."""

    scan_interval_s = 5.0

    async def get(self) -> str:
        return owner_name()

    def now(self) -> str:
        return owner_name()

    async def changes(self) -> AsyncIterator[str]:
        yield owner_name()
        yield owner_name()

    def configured(self, point: Any) -> Any:
        return point


@pytest.mark.parametrize("hook", [hook for hook in ONE if hook != "lifespan"])
async def test_an_object_of_a_plugin_does_all_that_it_does_on_its_plugins_behalf(hook: str):
    mine = owned_answers({hook: Store()}, Belongings("guest"))[hook]
    assert (await mine.get(), mine.now(), mine.scan_interval_s) == ("guest", "guest", 5.0)
    between = [(each, owner_name()) async for each in mine.changes()]
    assert between == [("guest", "core")] * 2, "whoever asks for the next one is on its own behalf in between"
    assert type(mine).__name__ == "Store"
    assert isinstance(mine, PointConfiguration)
    assert not isinstance(owned_answers({hook: MemoryCache(ManualClock())}, Belongings("a"))[hook], PointConfiguration)


def test_a_lifespan_stays_as_it_is():
    lifespan = object()
    assert owned_answers({"lifespan": lifespan}, Belongings("guest")) == {"lifespan": lifespan}


async def leave(*_arguments: object) -> None:
    sys.exit(3)


def leave_now(*_arguments: object) -> Any:
    raise KeyboardInterrupt


async def leave_iterating() -> AsyncIterator[int]:
    yield 1
    sys.exit(3)


async def test_none_of_it_can_end_the_process():
    (poller,) = owned("register_pollers", Poller("a", 1.0, leave))
    (check,) = owned("register_health_checks", HealthCheck("a", leave_now))
    with pytest.raises(PluginError, match=r"it called sys.exit\(\)"):
        await poller.poll()
    with pytest.raises(PluginError, match="it raised KeyboardInterrupt"):
        check.check()
    (metric,) = owned("register_metrics", Metric("a", "gauge", "A", leave_iterating))
    with pytest.raises(PluginError, match=r"it called sys.exit\(\)"):
        [each async for each in metric.collect()]


async def test_errors_and_cancellation_pass_as_they_are():
    async def fail() -> None:
        raise ZeroDivisionError

    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    failing, waiting = owned("register_pollers", Poller("a", 1.0, fail), Poller("b", 1.0, wait))
    with pytest.raises(ZeroDivisionError):
        await failing.poll()
    task = asyncio.create_task(waiting.poll())
    await asyncio.wait_for(started.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert HealthCheck("a", lambda: (Health.OK, "")).check()[0] is Health.OK
