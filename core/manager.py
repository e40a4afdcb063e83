"""Keeps all plugins of a configuration: in the order of their needs, each failing alone."""

from __future__ import annotations

import asyncio
import enum
import functools
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

import attrs

from core.answers import owned_answers
from core.asking import HOOK_TIMEOUT_S, build
from core.belongings import Belongings, clear_up
from core.errors import ConfigError, PlantroomError, PluginError
from core.events import EventBus, PluginStateChanged
from core.life import Life
from core.owner import owned_by
from core.plugin import Context, Plugin, logger
from core.routes import HealthCheck
from core.services import Services
from core.settings import PluginEntry
from core.tasks import end_tasks, place

FINISH_S = 0.4


class PluginState(enum.StrEnum):
    """How a plugin is."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    DISABLED = "disabled"
    STOPPED = "stopped"


@attrs.define(eq=False)
class LoadedPlugin:
    """A plugin with its answers to the hooks and its state.

    ``kernel_checks`` tell how what the kernel does for it goes, its own pollers and its sinks.
    ``keeper`` is told when its lifespan ends by itself; ``requests`` counts those that its routes are answering.
    """

    entry: PluginEntry
    instance: Plugin[Any] | None = None
    state: PluginState = PluginState.WAITING
    error: str | None = None
    answers: dict[str, Any] = attrs.field(factory=dict)
    requires: tuple[str, ...] = ()
    kernel_checks: tuple[HealthCheck, ...] = ()
    requests: int = 0
    life: Life | None = attrs.field(default=None, repr=False)
    keeper: PluginManager | None = attrs.field(default=None, repr=False)
    failure: BaseException | None = attrs.field(default=None, repr=False)
    belongings: Belongings = attrs.field(
        default=attrs.Factory(lambda self: Belongings(self.entry.name), takes_self=True), repr=False
    )
    _idle: asyncio.Event | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.entry.name

    def many(self, hook: str) -> tuple[Any, ...]:
        """What the plugin answered to a hook that asks for several; empty where it did not."""
        return tuple(self.answers.get(hook, ()))

    @property
    def checks(self) -> tuple[HealthCheck, ...]:
        """Looks at how the plugin does: its own, and one for each of its pollers and sinks."""
        return (*self.many("register_health_checks"), *self.kernel_checks)

    def leave_out(self, error: BaseException) -> None:
        """Note that it cannot be started, and forget what it has answered."""
        self.answers.clear()
        self.requires = ()
        self.state, self.error, self.failure = PluginState.FAILED, _sentence(error), error

    def request_ended(self) -> None:
        """Count a request out."""
        self.requests -= 1
        if self._idle is not None and not self.requests:
            self._idle.set()

    async def finish_requests(self, within_s: float) -> None:
        """Wait until its routes have answered what they were asked, for so long at most."""
        if self.requests:
            self._idle = asyncio.Event()
            waiting = asyncio.create_task(self._idle.wait(), name=f"idle:{self.name}")
            await asyncio.wait({waiting}, timeout=within_s)
            waiting.cancel()


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
    """All plugins of the configuration, in the order of their needs.

    ``running`` are plugins that run already, under an earlier configuration, and stay as they are.
    """

    def __init__(
        self,
        entries: Sequence[PluginEntry],
        events: EventBus,
        *,
        running: Iterable[LoadedPlugin] = (),
        hook_timeout_s: float = HOOK_TIMEOUT_S,
    ) -> None:
        self._hook_timeout_s = hook_timeout_s
        self._events = events
        kept = {plugin.name: plugin for plugin in running}
        self.plugins = {entry.name: kept.get(entry.name) or LoadedPlugin(entry) for entry in entries}
        self._entries = tuple(entries)
        self._burials: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[LoadedPlugin]:
        return iter(self.plugins.values())

    @property
    def running(self) -> Iterator[LoadedPlugin]:
        return (plugin for plugin in self if plugin.state is PluginState.RUNNING)

    async def load(self, context: Callable[[str], Context]) -> None:
        """Build every enabled plugin and ask it every hook, one plugin at a time; nobody is told before `start`."""
        for plugin in self:
            entry = plugin.entry
            if plugin.state is PluginState.RUNNING:
                continue
            if not entry.enabled:
                plugin.state = PluginState.DISABLED
            elif entry.plugin_class is None:
                plugin.leave_out(entry.error or PluginError("its module holds no plugin"))
            else:
                try:
                    with owned_by(plugin.belongings):
                        plugin.instance, answers = await build(
                            entry, entry.plugin_class, context(plugin.name), timeout_s=self._hook_timeout_s
                        )
                    plugin.answers = owned_answers(answers, plugin.belongings)
                except Exception as error:  # a plugin's code: its failure stays with it
                    plugin.leave_out(error)
                    await clear_up(plugin.belongings)
        self._resolve_requires()
        self._break_circles()

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
                    self.plugins[name].leave_out(problem)
            else:
                return

    def _resolve_requires(self) -> None:
        """Turn each name in ``requires`` into an instance: by its key, or by the class it uses."""
        by_class: dict[str, str] = {}
        for plugin in sorted(self, key=lambda item: item.state is PluginState.DISABLED):
            by_class.setdefault(plugin.entry.use, plugin.name)
        for plugin in self:
            if plugin.instance is not None and plugin.state is PluginState.WAITING:
                named = plugin.instance.requires
                plugin.requires = tuple(name if name in self.plugins else by_class.get(name, name) for name in named)

    def dependents(self, names: Iterable[str]) -> set[str]:
        """Name those that need one of these, or one that does."""
        found: set[str] = set()
        new = set(names)
        while new:
            new = {other.name for other in self if new & set(other.requires)} - found
            found |= new
        return found

    async def start(self, host: Host) -> None:
        """Start all plugins in the order of their needs; those whose needs do not run keep waiting."""
        for entry in self._entries:
            plugin = self.plugins[entry.name]
            plugin.entry, plugin.keeper = entry, self
            if plugin.failure is not None:
                self._fail(plugin, plugin.failure)
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
        died = functools.partial(_note_death, plugin, host)
        plugin.life = Life(plugin.name, _lifespan(plugin), died, plugin.belongings)
        try:
            await plugin.life.start(plugin.instance.start_timeout_s)
        except Exception as error:  # a plugin's code: its failure stays with it
            await clear_up(plugin.belongings)
            self._fail(plugin, error)
            return
        try:
            await host.admit(plugin)
        except Exception as error:  # what it answered does not fit
            await self._leave(plugin, host, finish_s=0)
            self._fail(plugin, error)
        else:
            self._tell(plugin, PluginState.RUNNING)

    async def stop(self, host: Host, names: Collection[str] | None = None, *, finish_s: float = FINISH_S) -> None:
        """Stop all plugins, or those that are named: what others need last, those without such ties at once.

        Requests that a plugin's routes are answering have ``finish_s`` seconds to end.
        """
        sorter = TopologicalSorter({plugin.name: self._left_before(plugin) for plugin in self})
        sorter.prepare()
        while sorter.is_active():
            ready = sorter.get_ready()
            chosen = [self.plugins[name] for name in ready if names is None or name in names]
            await asyncio.gather(*(self._stop_one(plugin, host, finish_s=finish_s) for plugin in chosen))
            sorter.done(*ready)
        if names is None:
            await end_tasks(self._burials)

    async def discard(self) -> None:
        """Clear up after plugins that were built and are not to be started."""
        for plugin in self:
            if plugin.state is not PluginState.RUNNING:
                await clear_up(plugin.belongings)

    async def buried(self) -> None:
        """Wait until plugins that have died, and those that need them, are left."""
        await asyncio.gather(*self._burials, return_exceptions=True)

    async def _stop_one(
        self,
        plugin: LoadedPlugin,
        host: Host,
        *,
        then: PluginState = PluginState.STOPPED,
        finish_s: float = FINISH_S,
    ) -> None:
        if plugin.state is PluginState.RUNNING:
            await self._leave(plugin, host, finish_s=finish_s)
            self._tell(plugin, then)
        else:
            await clear_up(plugin.belongings)

    async def _leave(self, plugin: LoadedPlugin, host: Host, *, finish_s: float) -> None:
        await plugin.finish_requests(finish_s)
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
        await clear_up(plugin.belongings)

    def note_death(self, plugin: LoadedPlugin, host: Host, error: Exception) -> None:
        """Bury a plugin whose lifespan ended while it ran."""
        task = asyncio.create_task(self._bury(plugin, host, error), name=f"bury:{plugin.name}")
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _bury(self, plugin: LoadedPlugin, host: Host, error: Exception) -> None:
        plugin.life = None
        await self._leave(plugin, host, finish_s=0)
        self._fail(plugin, error)
        for name in self._needed_by(plugin):
            await self._orphan(self.plugins[name], plugin, host)

    async def _orphan(self, plugin: LoadedPlugin, needed: LoadedPlugin, host: Host) -> None:
        """Stop a plugin, and those that need it, because what it needs has failed."""
        for name in self._needed_by(plugin):
            await self._orphan(self.plugins[name], plugin, host)
        if plugin.state is PluginState.RUNNING:
            plugin.error = f"waits for {needed.name}, which does not run"
            await self._stop_one(plugin, host, then=PluginState.WAITING)

    def _needed_by(self, plugin: LoadedPlugin) -> list[str]:
        return [other.name for other in self if plugin.name in other.requires]

    def _left_before(self, plugin: LoadedPlugin) -> list[str]:
        """Name those that are left before a plugin: what needs it, and all others where it takes what they log."""
        if "register_log_sinks" in plugin.answers and not plugin.requires:
            return [
                each.name for each in self if "register_log_sinks" not in each.answers or plugin.name in each.requires
            ]
        return self._needed_by(plugin)

    def _runs(self, name: str) -> bool:
        return name in self.plugins and self.plugins[name].state is PluginState.RUNNING

    def _fail(self, plugin: LoadedPlugin, error: BaseException) -> None:
        plugin.error, plugin.failure = _sentence(error), None
        expected = isinstance(error, PlantroomError)  # its sentence says enough
        logger(plugin.name).error("plugin_failed", error=plugin.error, exc_info=None if expected else error)
        self._tell(plugin, PluginState.FAILED)

    def _tell(self, plugin: LoadedPlugin, state: PluginState) -> None:
        plugin.state = state
        if state is PluginState.RUNNING:
            plugin.error = None
        self._events.publish(PluginStateChanged(plugin.name, state, plugin.error))


def _note_death(plugin: LoadedPlugin, host: Host, error: Exception) -> None:
    if plugin.keeper is not None:
        plugin.keeper.note_death(plugin, host, error)


def _lifespan(plugin: LoadedPlugin) -> AbstractAsyncContextManager[Any]:
    lifespan: AbstractAsyncContextManager[Any] = plugin.answers.get("lifespan") or AsyncExitStack()
    return lifespan


def _sentence(error: BaseException) -> str:
    """Say what went wrong, and for what the plugin did not foresee also where in its code."""
    if isinstance(error, PlantroomError):
        return str(error)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package not in ("core", "pluggy") and package not in sys.stdlib_module_names:
            return f"{type(error).__name__}: {error} ({place(frame.f_code, line)})"
    return f"{type(error).__name__}: {error}"
