"""The composition root: builds what plugins share, starts it in order, and takes it down again."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import attrs
import structlog

from core import __version__, log
from core.access import Doorkeeper, access
from core.api import Parts, kernel_routes
from core.api.idempotency import Idempotency
from core.api.metrics import ServerFigures
from core.api.system import SystemFacts
from core.clock import Clock, SystemClock
from core.commands import Commands
from core.defaults import in_memory_services
from core.differences import Differences
from core.errors import PluginError, PluginNotRunning
from core.events import ClockStepped, EventBus, EventHandler, ReadingsChanged, Subscription
from core.exchange import Exchange
from core.figures import kernel_metrics
from core.jobs import MemoryJobs
from core.leases import Leases
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.persistence import MIGRATIONS, OWNER, Persistence
from core.plugin import Context, logger
from core.policies import Policy
from core.poller import Poller, Repeated
from core.polls import Polls
from core.proxies import Proxies
from core.registry import Registry
from core.reload import Reload
from core.requests import Request
from core.routes import Health, HealthCheck, Metric, Middleware, Route
from core.scans import Scans
from core.server import Server
from core.services import Services
from core.settings import Settings
from core.storage import StorageError, open_storage
from core.tasks import end_tasks
from core.watchdog import Watchdog
from core.web import Application, build_application

SAVE_EVERY_S = 10.0
CLOCK_CHECK_EVERY_S = 5.0
CLOCK_STEP_S = 1.0


class Kernel:
    """One installation of Plantroom in one process; a test can start ten."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, reread: Callable[[], Settings] | None = None
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.events = EventBus()
        self.registry = Registry(self.clock, self.events)
        self.defaults = in_memory_services(self.clock)
        self.services = attrs.evolve(self.defaults)
        self.poller = Poller(self.clock)
        self.jobs = MemoryJobs(self.clock, self.events)
        self.manager = PluginManager(settings.plugins, self.events)
        self.leases = Leases(self.services.leadership, self.clock)
        self.polls = Polls(self.registry, self.poller, self.leases, self.clock, self.events)
        self.scans = Scans(self.registry, self.polls, self.poller, self.jobs, self.clock)
        self.server = Server(settings.http, proxies=Proxies(settings.http.trusted_proxies))
        self._reload = Reload(self, reread or (lambda: settings))
        self._stopping = False
        self._reloads: set[asyncio.Task[Differences]] = set()
        self.watchdog = Watchdog()
        self._own_metrics = kernel_metrics(
            self.registry, self.poller, self.events, connections=lambda: self.server.connections
        )
        self._own_metrics += self.watchdog.metrics()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where the REST API is."""
        return self.server.url

    async def start(self) -> None:
        """Bring everything up; plugins that fail are left out.

        Raises StorageError, ConfigError, or PlantroomError for a port that is taken, having started nothing.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self.watchdog.watching())
            stack.push_async_callback(self.events.close)
            self.storage = await stack.enter_async_context(open_storage(self.settings.data_dir))
            await self.storage.migrate(OWNER, MIGRATIONS)
            self.persistence = Persistence(self.storage, self.registry, self.clock)
            await self.persistence.load()
            await self.server.start()
            stack.push_async_callback(self.server.stop)
            await self._bring_up(stack)
            self._stack = stack.pop_all()
        structlog.get_logger().info("ready", url=self.url, devices=len(self.registry.device_ids()))

    async def _bring_up(self, stack: AsyncExitStack) -> None:
        self.exchange = Exchange(self.registry, self.polls, self.clock)
        self.commands = Commands(self.registry, self.polls, self.leases, self.storage, self.clock)
        await self.commands.load()
        await self.manager.load(self.context)
        self.manager.choose_services(self.services)
        self.leases.use(self.services.leadership)
        await self.migrate(self.manager)
        self.jobs.register(self.scans.kind, owner="core")
        await stack.enter_async_context(self.leases.holding([]))
        stack.push_async_callback(self._stop_plugins)
        stack.push_async_callback(self._save_all)
        for part in (self.exchange.close, self.commands.close, self.jobs.close, self.poller.stop):
            stack.push_async_callback(part)
        self._keep_house()
        self.poller.start()
        self.parts = await self._parts()
        await self.use(self.manager, self.settings)
        await self.manager.start(self)
        await self.opened()

    async def _stop_plugins(self) -> None:
        await end_tasks(self._reloads)
        await self.manager.stop(self)

    async def stop(self) -> None:
        """Take everything down, in reverse order, within seconds."""
        self._stopping = True
        await self.server.stopping()
        await self._stack.aclose()

    async def reload(self, *, dry_run: bool = False) -> Differences:
        """Read the configuration again and follow it, or say what would change; goes on whoever stops waiting for it.

        Raises ReloadRefused or ReloadUndone where everything runs as before.
        """
        task = asyncio.create_task(self._reload(dry_run=dry_run), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return await asyncio.shield(task)

    # what a reload changes (core.reload.House)

    async def migrate(self, manager: PluginManager) -> None:
        """Bring the tables of plugins that are about to start up to date; those that cannot be have failed."""
        for plugin in manager:
            if plugin.state is PluginState.WAITING:
                try:
                    await self.storage.migrate(plugin.name, plugin.many("register_migrations"))
                except StorageError as error:
                    plugin.leave_out(error)

    def rehearse(self, manager: PluginManager, plugins: Iterable[LoadedPlugin]) -> None:
        """See whether these would fit together; raises PlantroomError where they do not."""
        self._application(manager, plugins)

    async def use(self, manager: PluginManager, settings: Settings) -> None:
        """Let these plugins be those of the house, before they start."""
        gone = [plugin.name for plugin in self.manager if plugin.name not in manager.plugins]
        self.manager, self.settings = manager, settings
        processors = [each for plugin in manager for each in plugin.many("register_log_processors")]
        log.configure(settings.log, processors)
        for field in attrs.fields(Services):
            setattr(self.services, field.name, getattr(self.defaults, field.name))
        manager.choose_services(self.services)
        await self.leases.release(gone)
        await self.leases.hold([plugin.name for plugin in manager])
        self.parts = attrs.evolve(self.parts, manager=manager)

    def hold(self, prefixes: Iterable[str]) -> None:
        """Let requests whose path begins like this wait until the house is `opened`."""
        self.server.hold(prefixes)

    async def opened(self) -> None:
        """Serve what runs now, with the services in memory where the plugins that were to provide them do not run."""
        for plugin in self.manager:
            for field in attrs.fields(Services):
                provides = f"provide_{field.name}" in plugin.answers
                if provides and field.name != "leadership" and plugin.state is not PluginState.RUNNING:
                    setattr(self.services, field.name, getattr(self.defaults, field.name))
                    logger(plugin.name).warning("service_falls_back", service=field.name)
        if not self._stopping:
            await self.server.swap(self._application(self.manager, self.manager.running))

    def _application(self, manager: PluginManager, plugins: Iterable[LoadedPlugin]) -> Application:
        """Build the web application of these plugins; raises PluginError where two of them do not fit together."""
        routes = kernel_routes(attrs.evolve(self.parts, manager=manager))
        served, parts = served_by(routes, plugins)
        owners = {id(route): owner for owner, route in served}
        doorkeepers = [keeper_of(plugin) for plugin in manager if plugin.entry.keeps_the_door]
        guard = access(doorkeepers, self.registry, lambda route: owners[id(route)])
        return build_application(served, [self.parts.figures.policy, guard, *parts], secured=bool(doorkeepers))

    async def _parts(self) -> Parts:
        installation_id = await self.persistence.installation_id()
        secret = await self.persistence.fact("cursor_secret", lambda: secrets.token_hex(32))
        return Parts(
            clock=self.clock,
            registry=self.registry,
            exchange=self.exchange,
            commands=self.commands,
            jobs=self.jobs,
            scans=self.scans,
            manager=self.manager,
            figures=ServerFigures(self.clock),
            idempotency=Idempotency(self.clock),
            metrics=self.metrics,
            reload=self.reload,
            facts=SystemFacts(__version__, self.settings.site, installation_id),
            secret=bytes.fromhex(secret),
        )

    def _keep_house(self) -> None:
        """Save what changed, feed the history, and watch the clock."""
        self._subscribe("core", EventHandler(ReadingsChanged, self._remember, queue=10_000))
        self._drift = self.clock.utc() - self.clock.monotonic()
        save = self.poller.add(Repeated("core.save", "core", SAVE_EVERY_S, self.persistence.save))
        self.registry.on_change.append(lambda _devices: self.poller.soon(save))
        self.poller.add(Repeated("core.clock", "core", CLOCK_CHECK_EVERY_S, self._check_clock))

    async def _remember(self, event: ReadingsChanged) -> None:
        await self.services.history.append([event.batch])

    async def _check_clock(self) -> None:
        drift = self.clock.utc() - self.clock.monotonic()
        step, self._drift = drift - self._drift, drift
        if abs(step) >= CLOCK_STEP_S:
            structlog.get_logger().warning("clock_stepped", seconds=round(step, 3))
            self.events.publish(ClockStepped(step))

    async def _save_all(self) -> None:
        await self.persistence.save(everything=True)

    # what the kernel does for plugins (core.manager.Host)

    def context(self, name: str) -> Context:
        """Make what a plugin is lent."""
        return Context(
            name=name,
            log=logger(name),
            clock=self.clock,
            services=self.services,
            events=self.events,
            store=self.storage,
            commands=self.commands,
            data_dir=self.settings.data_dir,
            publish=lambda polled: self.polls.take(name, polled),
            seen=self.polls.seen,
            found=functools.partial(self.scans.take, name),
            live=lambda points, every: self.polls.live(name, points, every),
        )

    async def admit(self, plugin: LoadedPlugin) -> None:
        """Put a started plugin's answers to use; raises PluginError where one is not fit."""
        name = plugin.name
        build_application(own_routes(plugin), plugin.many("register_middlewares"))  # to see that they fit
        inventories = plugin.many("register_points")
        for inventory in inventories:
            if inventory.device.plugin != name:
                raise PluginError(f"device {inventory.device.id!r} is not {name}'s: make it with ctx.device()")
        for kind in plugin.many("register_jobs"):
            self.jobs.register(kind, owner=name)
        self.registry.put(inventories)
        if "register_driver" not in plugin.answers and inventories:
            named = {inventory.device.id for inventory in inventories}
            self.registry.mark_vanished([each.id for each in self.registry.devices(name) if each.id not in named])
        for handler in plugin.many("register_event_handlers"):
            self._subscribe(name, handler)
        self.polls.add_plugin(name)
        plugin.poller_checks = tuple(
            HealthCheck(f"poller {poller.name}", functools.partial(_poller_health, self.polls.add_poller(name, poller)))
            for poller in plugin.many("register_pollers")
        )
        driver = plugin.answers.get("register_driver")
        if driver is not None:
            self.polls.add_driver(name, driver)
            self.scans.schedule(name, driver)

    async def dismiss(self, plugin: LoadedPlugin) -> None:
        """Take a plugin's answers out of use."""
        self.polls.remove_plugin(plugin.name)
        self.jobs.unregister(plugin.name)
        for subscription in self._subscriptions.pop(plugin.name, []):
            await self.events.unsubscribe(subscription)

    def _subscribe(self, owner: str, handler: EventHandler[Any]) -> None:
        self._subscriptions.setdefault(owner, []).append(self.events.subscribe(handler, owner=owner))

    def metrics(self) -> Iterator[tuple[str, Metric]]:
        """The figures of everything that runs, with their owners."""
        for metric in self._own_metrics:
            yield "core", metric
        for plugin in self.manager.running:
            for metric in plugin.many("register_metrics"):
                yield plugin.name, metric


def served_by(
    kernel: Iterable[Route], plugins: Iterable[LoadedPlugin]
) -> tuple[list[tuple[str, Route]], list[Middleware | Policy]]:
    """Put together what is served: routes with their owners, and what plugins put around them."""
    routes = [("core", route) for route in kernel]
    parts: list[Middleware | Policy] = []
    for plugin in plugins:
        routes.extend(own_routes(plugin))
        parts.extend(plugin.many("register_middlewares"))
    return routes, parts


def keeper_of(plugin: LoadedPlugin) -> Doorkeeper:
    """Make of a plugin what is asked who somebody is."""
    return Doorkeeper(plugin.name, lambda: plugin.state is PluginState.RUNNING, plugin.many("register_authenticators"))


def own_routes(plugin: LoadedPlugin) -> list[tuple[str, Route]]:
    """Return a plugin's routes, below its own address."""
    at = f"/api/v1/{plugin.name}"
    return [
        (
            plugin.name,
            attrs.evolve(
                route,
                path=at + route.path,
                handler=_while_running(plugin, route.handler),
                at_once=_if_running(plugin, route.at_once),
            ),
        )
        for route in plugin.many("register_routes")
    ]


def _if_running(plugin: LoadedPlugin, at_once: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if at_once is None:
        return None
    return lambda **arguments: at_once(**arguments) if plugin.state is PluginState.RUNNING else None


def _poller_health(item: Repeated) -> tuple[Health, str]:
    """Say how a plugin's poller does."""
    if item.last_error is not None:
        return Health.DEGRADED, item.last_error
    if item.skipped:
        return Health.DEGRADED, f"a run has not returned, {item.skipped} turns were skipped"
    return Health.OK, f"polls every {item.interval:g} s"


def _while_running(plugin: LoadedPlugin, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle(request: Request, **arguments: Any) -> Any:
        if plugin.state is not PluginState.RUNNING:
            raise PluginNotRunning(f"{plugin.name} does not run; see GET /api/v1/plugins/{plugin.name}.")
        plugin.requests += 1
        try:
            return await handler(request, **arguments)
        finally:
            plugin.request_ended()

    return handle
