"""Builds plugins, asks them one at a time, starts and stops them; one that fails takes no other with it."""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol, TypeVar

import attrs
import pluggy

from core import hookspecs
from core.errors import ConfigError, PlantroomError, PluginError
from core.events import EventBus, EventHandler, PluginStateChanged
from core.life import Life
from core.model import Inventory
from core.plugin import CliCommand, Context, JobKind, Migration, Plugin, Poller, logger
from core.routes import HealthCheck, Metric, Middleware, Route
from core.services import Services
from core.settings import PluginEntry
from core.tasks import end_tasks

HOOK_TIMEOUT_S = 5.0

AnswerT = TypeVar("AnswerT")

MANY: Mapping[str, type | None] = {
    "register_points": Inventory,
    "register_pollers": Poller,
    "register_jobs": JobKind,
    "register_routes": Route,
    "register_middlewares": Middleware,
    "register_health_checks": HealthCheck,
    "register_metrics": Metric,
    "register_log_processors": None,
    "register_commands": CliCommand,
    "register_migrations": Migration,
    "register_event_handlers": EventHandler,
}
"""Hooks that answer an iterable, and of what; None: of callables."""

ONE: Mapping[str, tuple[str, ...]] = {
    "lifespan": ("__aenter__", "__aexit__"),
    "register_driver": ("scan", "read", "write", "priorities", "scan_interval_s"),
    "provide_cache": ("get", "set", "delete"),
    "provide_rate_limit_store": ("take",),
    "provide_history": ("append", "between"),
    "provide_leadership": ("hold", "release", "changes"),
}
"""Hooks that answer one object, and what it must have."""


class PluginState(enum.StrEnum):
    """How a plugin is."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    DISABLED = "disabled"
    STOPPED = "stopped"


@attrs.define(eq=False)
class LoadedPlugin:
    """A plugin with its answers to the hooks and its state; ``poller_checks`` tell how its own pollers do."""

    entry: PluginEntry
    instance: Plugin[Any] | None = None
    state: PluginState = PluginState.WAITING
    error: str | None = None
    answers: dict[str, Any] = attrs.field(factory=dict)
    requires: tuple[str, ...] = ()
    poller_checks: tuple[HealthCheck, ...] = ()
    life: Life | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.entry.name

    def many(self, hook: str) -> tuple[Any, ...]:
        """What the plugin answered to a hook that asks for several; empty where it did not."""
        return tuple(self.answers.get(hook, ()))

    @property
    def checks(self) -> tuple[HealthCheck, ...]:
        """Looks at how the plugin does: its own, and one for each of its pollers."""
        return (*self.many("register_health_checks"), *self.poller_checks)


class Host(Protocol):
    """What the kernel does for a plugin as it comes and goes."""

    def context(self, name: str) -> Context:
        """Make what the plugin is lent."""
        ...

    async def admit(self, plugin: LoadedPlugin) -> None:
        """Put a started plugin's answers to use; raises PluginError where one is not fit."""
        ...

    async def dismiss(self, plugin: LoadedPlugin) -> None:
        """Take them out of use."""
        ...


class PluginManager:
    """All plugins of the configuration, in the order of their needs."""

    def __init__(
        self, entries: Sequence[PluginEntry], events: EventBus, *, hook_timeout_s: float = HOOK_TIMEOUT_S
    ) -> None:
        self._hook_timeout_s = hook_timeout_s
        self.plugins = {entry.name: LoadedPlugin(entry) for entry in entries}
        self._events = events
        self._burials: set[asyncio.Task[None]] = set()
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)

    def __iter__(self) -> Iterator[LoadedPlugin]:
        return iter(self.plugins.values())

    @property
    def running(self) -> Iterator[LoadedPlugin]:
        return (plugin for plugin in self if plugin.state is PluginState.RUNNING)

    async def load(self, context: Callable[[str], Context]) -> None:
        """Build every enabled plugin and ask it every hook, one plugin at a time."""
        for plugin in self:
            entry = plugin.entry
            if not entry.enabled:
                plugin.state = PluginState.DISABLED
            elif entry.plugin_class is None:
                self._fail(plugin, entry.error or PluginError("its module holds no plugin"))
            else:
                try:
                    await self._build(plugin, entry.plugin_class, context(plugin.name))
                except Exception as error:  # a plugin's code: its failure stays with it
                    self._leave_out(plugin, error)
        self._resolve_requires()
        self._break_circles()

    async def _build(self, plugin: LoadedPlugin, cls: type[Plugin[Any]], ctx: Context) -> None:
        instance = await self._bounded(lambda: cls(plugin.entry.config, ctx), "its constructor")
        if isinstance(instance.requires, str):
            raise PluginError(f"`requires` must be a tuple of names: write ({instance.requires!r},)")
        plugin.instance = instance
        self._pluggy.register(instance, plugin.name)
        self._pluggy.check_pending()
        for hook in (*MANY, *ONE):
            answer = await self._bounded(functools.partial(self.ask, instance, hook), hook)
            if answer is not None:
                plugin.answers[hook] = answer

    def _leave_out(self, plugin: LoadedPlugin, error: Exception) -> None:
        """Fail a plugin that cannot be started, and forget what it has answered."""
        if self._pluggy.has_plugin(plugin.name):
            self._pluggy.unregister(name=plugin.name)
        plugin.answers.clear()
        plugin.requires = ()
        self._fail(plugin, error)

    async def _bounded(self, ask: Callable[[], AnswerT], what: str) -> AnswerT:
        """Run a plugin's code for so long at most, so that code that never returns holds up nobody.

        Raises PluginError for code that takes longer; its thread is left behind.
        """
        deadline = asyncio.timeout(self._hook_timeout_s)
        try:
            async with deadline:
                return await _in_a_thread(ask, what)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise PluginError(f"{what} did not return within {self._hook_timeout_s:g} s") from None

    def ask(self, instance: Plugin[Any], hook: str) -> Any:
        """Ask one plugin one question and check the answer's type; None where it does not answer.

        Raises PluginError for an answer of the wrong type, and whatever the plugin raises.
        """
        others = [other for other in self._pluggy.get_plugins() if other is not instance]
        answers = self._pluggy.subset_hook_caller(hook, others)()
        if not answers:
            return None
        return _checked(hook, answers[0])

    def choose_services(self, services: Services) -> None:
        """Put plugins' services in place of the defaults; raises ConfigError where two provide the same."""
        problems = []
        for field in attrs.fields(Services):
            hook = f"provide_{field.name}"
            providers = [plugin for plugin in self if hook in plugin.answers]
            if len(providers) > 1:
                names = " and ".join(repr(plugin.name) for plugin in providers)
                word = field.name.replace("_", " ")
                problems.append(f"plugins: {names} both provide the {word}: enable one of them")
            for plugin in providers:
                setattr(services, field.name, plugin.answers[hook])
        if problems:
            raise ConfigError(problems)

    def order(self) -> list[LoadedPlugin]:
        """All plugins, each behind those it needs."""
        graph = {plugin.name: [name for name in plugin.requires if name in self.plugins] for plugin in self}
        return [self.plugins[name] for name in TopologicalSorter(graph).static_order()]

    def _break_circles(self) -> None:
        """Fail the plugins that need each other in a circle, naming it in full, so that the others have an order."""
        while True:
            try:
                self.order()
            except CycleError as error:
                circle = list(reversed(error.args[1]))
                for name in circle[1:]:
                    problem = PluginError(f"{' -> '.join(circle)} need each other in a circle")
                    self._leave_out(self.plugins[name], problem)
            else:
                return

    def _resolve_requires(self) -> None:
        """Turn each name in ``requires`` into an instance: by its key, or by the class it uses."""
        by_class: dict[str, str] = {}
        for plugin in sorted(self, key=lambda item: item.state is PluginState.DISABLED):
            by_class.setdefault(plugin.entry.use, plugin.name)
        for plugin in self:
            if plugin.instance is not None and plugin.state is not PluginState.FAILED:
                named = plugin.instance.requires
                plugin.requires = tuple(name if name in self.plugins else by_class.get(name, name) for name in named)

    async def start(self, host: Host) -> None:
        """Start all plugins in the order of their needs; those whose needs do not run keep waiting."""
        for plugin in self.order():
            if plugin.state is PluginState.WAITING:
                await self.start_one(plugin, host)

    async def start_one(self, plugin: LoadedPlugin, host: Host) -> None:
        """Start one plugin: its life within its time-out, then its answers are put to use."""
        if plugin.instance is None:
            return
        missing = [name for name in plugin.requires if not self._runs(name)]
        if missing:
            plugin.error = f"waits for {', '.join(missing)}, which does not run"
            self._tell(plugin, PluginState.WAITING)
            return
        plugin.life = Life(plugin.name, _lifespan(plugin), functools.partial(self._note_death, plugin, host))
        try:
            await plugin.life.start(plugin.instance.start_timeout_s)
        except Exception as error:  # a plugin's code: its failure stays with it
            self._fail(plugin, error)
            return
        try:
            await host.admit(plugin)
        except Exception as error:  # what it answered does not fit
            await self._leave(plugin, host)
            self._fail(plugin, error)
        else:
            self._tell(plugin, PluginState.RUNNING)

    async def stop(self, host: Host) -> None:
        """Stop all plugins, those that others need last, and at once those that do not need each other."""
        sorter = TopologicalSorter({plugin.name: self._dependents(plugin) for plugin in self})
        sorter.prepare()
        while sorter.is_active():
            names = sorter.get_ready()
            await asyncio.gather(*(self._stop_one(self.plugins[name], host) for name in names))
            sorter.done(*names)
        await end_tasks(self._burials)

    async def _stop_one(self, plugin: LoadedPlugin, host: Host, *, then: PluginState = PluginState.STOPPED) -> None:
        if plugin.state is PluginState.RUNNING:
            await self._leave(plugin, host)
            self._tell(plugin, then)

    async def _leave(self, plugin: LoadedPlugin, host: Host) -> None:
        try:
            await host.dismiss(plugin)
        except Exception as error:  # whatever it is, the plugin is to be left
            logger(plugin.name).exception("plugin_dismissal_failed", error=str(error))
        try:
            if plugin.life is not None and plugin.instance is not None:
                await plugin.life.stop(plugin.instance.stop_timeout_s)
        except Exception as error:  # a plugin's code: its failure stays with it
            logger(plugin.name).error("plugin_stop_failed", error=_sentence(error), exc_info=error)
        plugin.life = None

    def _note_death(self, plugin: LoadedPlugin, host: Host, error: Exception) -> None:
        """Bury a plugin whose lifespan ended while it ran."""
        task = asyncio.create_task(self._bury(plugin, host, error), name=f"bury:{plugin.name}")
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _bury(self, plugin: LoadedPlugin, host: Host, error: Exception) -> None:
        plugin.life = None
        await self._leave(plugin, host)
        self._fail(plugin, error)
        for name in self._dependents(plugin):
            await self._orphan(self.plugins[name], plugin, host)

    async def _orphan(self, plugin: LoadedPlugin, needed: LoadedPlugin, host: Host) -> None:
        """Stop a plugin, and those that need it, because what it needs has failed."""
        for name in self._dependents(plugin):
            await self._orphan(self.plugins[name], plugin, host)
        if plugin.state is PluginState.RUNNING:
            plugin.error = f"waits for {needed.name}, which does not run"
            await self._stop_one(plugin, host, then=PluginState.WAITING)

    def _dependents(self, plugin: LoadedPlugin) -> list[str]:
        return [other.name for other in self if plugin.name in other.requires]

    def _runs(self, name: str) -> bool:
        return name in self.plugins and self.plugins[name].state is PluginState.RUNNING

    def fail(self, plugin: LoadedPlugin, error: Exception) -> None:
        """Leave a plugin out that has not started, and say why."""
        self._leave_out(plugin, error)

    def _fail(self, plugin: LoadedPlugin, error: BaseException) -> None:
        plugin.error = _sentence(error)
        expected = isinstance(error, PlantroomError)  # its sentence says enough
        logger(plugin.name).error("plugin_failed", error=plugin.error, exc_info=None if expected else error)
        self._tell(plugin, PluginState.FAILED)

    def _tell(self, plugin: LoadedPlugin, state: PluginState) -> None:
        plugin.state = state
        if state is PluginState.RUNNING:
            plugin.error = None
        self._events.publish(PluginStateChanged(plugin.name, state, plugin.error))


def _lifespan(plugin: LoadedPlugin) -> AbstractAsyncContextManager[Any]:
    lifespan: AbstractAsyncContextManager[Any] = plugin.answers.get("lifespan") or AsyncExitStack()
    return lifespan


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, PlantroomError) else f"{type(error).__name__}: {error}"


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
            due = "a callable" if wanted is None else wanted.__name__
            raise PluginError(f"{hook} answered a {type(item).__name__} where {due} is due")
    return items


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

    threading.Thread(target=work, name=f"ask:{what}", daemon=True).start()
    return await done
