"""Has a plugin's answers to the hooks run on its own behalf, wherever the kernel calls them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

import attrs

from core.events import EventHandler
from core.log_sinks import LogSink
from core.owner import Owner, owned_by
from core.plugin import JobKind, Poller
from core.policies import Policy
from core.routes import Handler, HealthCheck, Metric, Middleware, Route
from core.sinks import Sink

CALLED: Mapping[type, str] = {
    Poller: "poll",
    JobKind: "run",
    Route: "handler",
    EventHandler: "handle",
    HealthCheck: "check",
    Metric: "collect",
    LogSink: "write",
    Sink: "connect",
}
"""What is called of each kind of answer."""


def owned_answers(answers: Mapping[str, Any], owner: Owner) -> dict[str, Any]:
    """Return a plugin's answers, by hook, as ones that run on its behalf; its lifespan is for `core.life` to run."""
    return {hook: answer if hook == "lifespan" else _owned(answer, owner) for hook, answer in answers.items()}


def _owned(answer: Any, owner: Owner) -> Any:
    return tuple(_owned_item(item, owner) for item in answer) if isinstance(answer, tuple) else _stand_in(answer, owner)


def _owned_item(item: Any, owner: Owner) -> Any:
    for kind, called in CALLED.items():
        if isinstance(item, kind):
            return attrs.evolve(cast("Any", item), **{called: owned_call(getattr(item, called), owner)})
    if isinstance(item, Middleware):
        return attrs.evolve(item, wrap=_owned_wrap(item.wrap, owner))
    if isinstance(item, Policy):
        return attrs.evolve(item, compile=owned_call(item.compile, owner))
    return owned_call(item, owner) if callable(item) else item


def _owned_wrap(
    wrap: Callable[[Route | None, Handler], Handler], owner: Owner
) -> Callable[[Route | None, Handler], Handler]:
    """Have a wrapper run on its owner's behalf, and what it wraps on nobody's; one that adds nothing costs nothing."""

    def wrap_owned(route: Route | None, handler: Handler) -> Handler:
        inner = owned_call(handler, None)
        with owned_by(owner):
            outer = wrap(route, inner)
        return handler if outer is inner else owned_call(outer, owner)

    return wrap_owned


def _stand_in(thing: Any, owner: Owner) -> Any:
    """Make an object that does what another one does, on its owner's behalf, and bears the name of its class."""
    called = {
        name: staticmethod(owned_call(value, owner))
        for name in dir(thing)
        if not name.startswith("_") and callable(value := getattr(thing, name))
    }
    return type(type(thing).__name__, (_StandIn,), called)(thing)


class _StandIn:
    """Passes as the object that it stands in for: its attributes, and its class for `isinstance`."""

    def __init__(self, thing: Any) -> None:
        object.__setattr__(self, "_thing", thing)

    @property  # type: ignore[misc]  # `object` has it as an attribute
    def __class__(self) -> type[Any]:
        return type(self._thing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._thing, name, value)


def owned_call(function: Callable[..., Any], owner: Owner | None) -> Callable[..., Any]:
    """Return a function that runs on an owner's behalf, and so does what it answers to be awaited or iterated over."""
    if inspect.iscoroutinefunction(function):

        async def call_async(*arguments: Any, **named: Any) -> Any:
            with owned_by(owner):
                return await function(*arguments, **named)

        return functools.wraps(function)(call_async)

    def call(*arguments: Any, **named: Any) -> Any:
        with owned_by(owner):
            result = function(*arguments, **named)
        if inspect.isawaitable(result):
            return _awaited(result, owner)
        return _iterated(result, owner) if isinstance(result, AsyncIterator) else result

    return functools.wraps(function)(call)


async def _awaited(result: Awaitable[Any], owner: Owner | None) -> Any:
    with owned_by(owner):
        return await result


async def _iterated(items: AsyncIterator[Any], owner: Owner | None) -> AsyncIterator[Any]:
    """Pass items on; between them, whoever asks for them runs on its own behalf."""
    while True:
        try:
            with owned_by(owner):
                item = await anext(items)
        except StopAsyncIteration:
            return
        yield item
