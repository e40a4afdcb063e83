"""Builds a plugin and asks it every hook, once: in a thread with a time-out, each answer checked for its type."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pluggy

from core import hookspecs
from core.errors import PluginError
from core.events import EventHandler
from core.log_sinks import LogSink
from core.model import Inventory
from core.plugin import API_VERSION, CliCommand, Context, JobKind, Migration, Plugin, Poller
from core.policies import Authenticator, Policy
from core.routes import HealthCheck, Metric, Middleware, Route
from core.settings import PluginEntry
from core.sinks import Sink
from core.weaknesses import Weakness

HOOK_TIMEOUT_S = 5.0

AnswerT = TypeVar("AnswerT")

MANY: Mapping[str, type | tuple[type, ...] | None] = {
    "register_points": Inventory,
    "register_pollers": Poller,
    "register_jobs": JobKind,
    "register_sinks": Sink,
    "register_routes": Route,
    "register_middlewares": (Middleware, Policy),
    "register_authenticators": Authenticator,
    "register_health_checks": HealthCheck,
    "register_metrics": Metric,
    "register_weaknesses": Weakness,
    "register_log_processors": None,
    "register_log_sinks": LogSink,
    "register_commands": CliCommand,
    "register_migrations": Migration,
    "register_event_handlers": EventHandler,
}
"""Hooks that answer an iterable, and of what; None: of callables."""

ONE: Mapping[str, tuple[str, ...]] = {
    "lifespan": ("__aenter__", "__aexit__"),
    "register_driver": ("scan", "read", "write", "priorities", "scan_interval_s"),
    "provide_cache": ("get", "set", "delete", "forget"),
    "provide_rate_limit_store": ("take",),
    "provide_history": (
        "newest", "record", "flush", "add", "samples", "latest", "gaps", "read_after", "register", "advance", "forget",
    ),
    "provide_leadership": ("hold", "release", "changes"),
}  # fmt: skip
"""Hooks that answer one object, and what it must have."""


async def build(
    entry: PluginEntry, plugin_class: type[Plugin[Any]], context: Context, *, timeout_s: float = HOOK_TIMEOUT_S
) -> tuple[Plugin[Any], dict[str, Any]]:
    """Make a plugin, and return it with its answers to the hooks that it has; it is not started.

    Raises PluginError where it needs a newer Plantroom, takes longer than ``timeout_s`` over one question, or answers
    what a hook does not take, and whatever the plugin raises.
    """
    if plugin_class.api_version > API_VERSION:
        raise PluginError(
            f"it is written for plugin API {plugin_class.api_version}, this Plantroom has {API_VERSION}: "
            "update Plantroom, or install an older version of the plugin"
        )
    instance = await _bounded(lambda: plugin_class(entry.config, context), "its constructor", timeout_s)
    if isinstance(instance.requires, str):
        raise PluginError(f"`requires` must be a tuple of names: write ({instance.requires!r},)")
    asked = pluggy.PluginManager(hookspecs.PROJECT)
    asked.add_hookspecs(hookspecs)
    asked.register(instance, entry.name)
    asked.check_pending()
    answers: dict[str, Any] = {}
    for hook in (*MANY, *ONE):
        answer = await _bounded(functools.partial(_ask, asked, hook), hook, timeout_s)
        if answer is not None:
            answers[hook] = answer
    return instance, answers


def _ask(asked: pluggy.PluginManager, hook: str) -> Any:
    answers = getattr(asked.hook, hook)()
    return _checked(hook, answers[0]) if answers else None


def _checked(hook: str, answer: Any) -> Any:
    if inspect.iscoroutine(answer):
        answer.close()
        raise PluginError(f"{hook} is a coroutine function: write it as `def`, hooks answer at once")
    if hook in ONE:
        lacking = [name for name in ONE[hook] if not hasattr(answer, name)]
        if lacking:
            raise PluginError(f"{hook} answered {type(answer).__name__}, which has no {', '.join(lacking)}")
        return answer
    if not isinstance(answer, Iterable):
        raise PluginError(f"{hook} answered {type(answer).__name__} instead of an iterable")
    items = tuple(answer)
    wanted = MANY[hook]
    for item in items:
        if not (callable(item) if wanted is None else isinstance(item, wanted)):
            due = "a callable" if wanted is None else _named(wanted)
            raise PluginError(f"{hook} answered a {type(item).__name__} where {due} is due")
    return items


def _named(wanted: type | tuple[type, ...]) -> str:
    return wanted.__name__ if isinstance(wanted, type) else " or ".join(each.__name__ for each in wanted)


async def _bounded(ask: Callable[[], AnswerT], what: str, timeout_s: float) -> AnswerT:
    """Run a plugin's code for so long at most, so that code that never returns holds up nobody.

    Raises PluginError for code that takes longer; its thread is left behind.
    """
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            return await _in_a_thread(ask, what)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise PluginError(f"{what} did not return within {timeout_s:g} s") from None


async def _in_a_thread(ask: Callable[[], AnswerT], what: str) -> AnswerT:
    """Run a plugin's synchronous code in a thread of its own, which does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[AnswerT] = loop.create_future()

    def deliver(result: AnswerT | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            done.set_exception(error)
        else:
            done.set_exception(PluginError(f"{what} raised {type(error).__name__}"))

    def work() -> None:
        result, failure = None, None
        try:
            result = ask()
        except BaseException as error:  # a plugin's code, SystemExit included: handed to who asked
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, failure)

    context = contextvars.copy_context()  # on whose behalf it runs
    threading.Thread(target=context.run, args=(work,), name=f"ask:{what}", daemon=True).start()
    return await done
