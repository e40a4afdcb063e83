"""The composition root: builds what plugins share, starts it in order, and takes it down again."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import attrs
import structlog

from core import __version__, log
from core.access import access
from core.api import Parts, kernel_routes
from core.api.idempotency import Idempotency
from core.api.metrics import ServerFigures
from core.api.system import SystemFacts
from core.clock import Clock, SystemClock
from core.commands import Commands
from core.defaults import in_memory_services
from core.delivery import Deliveries
from core.differences import Differences
from core.errors import PluginError
from core.events import ClockStepped, EventBus, EventHandler, Subscription
from core.exchange import Exchange
from core.figures import kernel_metrics
from core.jobs import MemoryJobs
from core.known_points import KnownPoints
from core.leases import Leases
from core.log_levels import Levels
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.outbox import Sender
from core.persistence import MIGRATIONS, OWNER, Persistence
from core.plugin import Context, logger
from core.poller import Poller, Repeated
from core.polls import Polls
from core.pump import Surroundings
from core.recording import RESUME_EVERY_S, Recording
from core.redirect import redirecting
from core.registry import Registry
from core.reload import Reload
from core.routes import HealthCheck, Metric
from core.scans import Scans
from core.served import keeper_of, own_routes, served_by
from core.server import server_of
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
        self.levels = Levels(self._configure_log)
        self.manager = PluginManager(settings.plugins, self.events)
        self.leases = Leases(self.services.leadership, self.clock)
        self.polls = Polls(self.registry, self.poller, self.leases, self.clock, self.events)
        self.scans = Scans(self.registry, self.polls, self.poller, self.jobs, self.clock)
        self.server = server_of(settings.http)
        self._reload = Reload(self, reread or (lambda: settings))
        self._stopping = False
        self._reloads: set[asyncio.Task[Differences]] = set()
        self.watchdog = Watchdog()
        self._own_metrics = kernel_metrics(
            self.registry, self.poller, self.events, connections=lambda: self.server.connections
        )
        self._own_metrics += self.watchdog.metrics()
        self._own_checks: list[HealthCheck] = []
        if self.server.certificate is not None:
            self._own_metrics += self.server.certificate.metrics()
            self._own_checks.append(self.server.certificate.check(self.clock.utc))
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
            if self.settings.http.redirect_port is not None:
                await stack.enter_async_context(redirecting(self.settings.http, to=self.server))
            await self._bring_up(stack)
            self._stack = stack.pop_all()
        structlog.get_logger().info("ready", url=self.url, devices=len(self.registry.device_ids()))

    async def _bring_up(self, stack: AsyncExitStack) -> None:
        self.exchange = Exchange(self.registry, self.polls, self.clock)
        self.commands = Commands(self.registry, self.polls, self.leases, self.storage, self.clock)
        await self.commands.load()
        await self._prepare_deliveries()
        await self.manager.load(self.context)
        self.manager.choose_services(self.services)
        self.leases.use(self.services.leadership)
        await self.migrate(self.manager)
        self.jobs.register(self.scans.kind, owner="core")
        await stack.enter_async_context(self.leases.holding([]))
        stack.push_async_callback(self._stop_plugins)
        stack.push_async_callback(self._save_all)
        for part in (
            self.exchange.close, self.commands.close, self.deliveries.close, self.jobs.close, self.poller.stop,
        ):  # fmt: skip
            stack.push_async_callback(part)
        self._keep_house()
        self.poller.start()
        self.parts = await self._parts()
        await self.use(self.manager, self.settings)
        await self.manager.start(self)
        await self.opened()

    async def _prepare_deliveries(self) -> None:
        self.installation_id = await self.persistence.installation_id()
        sender = Sender(self.installation_id, self.settings.site)
        self.deliveries = Deliveries(
            Surroundings(self.services, self.registry, sender, self.clock),
            read_names=self.persistence.sink_names, keep_names=self.persistence.keep_sink_names,
        )  # fmt: skip
        self._own_metrics += self.deliveries.metrics()

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
        history = self.services.history
        self.manager, self.settings = manager, settings
        self._configure_log()
        for field in attrs.fields(Services):
            setattr(self.services, field.name, getattr(self.defaults, field.name))
        manager.choose_services(self.services)
        if self.services.history is not history:
            await self.deliveries.pause()
        await self.leases.release(gone)
        await self.leases.hold([plugin.name for plugin in manager])
        await self.server.follow_certificate()
        self.parts = attrs.evolve(self.parts, manager=manager)

    def _configure_log(self) -> None:
        """Log as the settings of the moment, the plugins and the levels say."""
        answers = {
            hook: [each for plugin in self.manager for each in plugin.many(hook)]
            for hook in ("register_log_processors", "register_log_sinks")
        }
        log.configure(
            self.settings.log,
            answers["register_log_processors"],
            sinks=answers["register_log_sinks"],
            levels=self.levels,
        )

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
            running = [plugin.name for plugin in self.manager.running]
            await self.deliveries.resume(configured=self.manager.plugins, running=running)

    def _application(self, manager: PluginManager, plugins: Iterable[LoadedPlugin]) -> Application:
        """Build the web application of these plugins; raises PluginError where two of them do not fit together."""
        routes = kernel_routes(attrs.evolve(self.parts, manager=manager))
        served, parts = served_by(routes, plugins)
        owners = {id(route): owner for owner, route in served}
        doorkeepers = [keeper_of(plugin) for plugin in manager if plugin.entry.keeps_the_door]
        guard = access(doorkeepers, self.registry, lambda route: owners[id(route)])
        around = [self.parts.figures.policy, guard, *parts]
        http = self.settings.http
        return build_application(
            served, around,
            max_body_bytes=http.max_body, body_timeout_s=http.deadlines.body_s, secured=bool(doorkeepers),
        )  # fmt: skip

    async def _parts(self) -> Parts:
        secret = await self.persistence.fact("cursor_secret", lambda: secrets.token_hex(32))
        return Parts(
            clock=self.clock,
            registry=self.registry,
            exchange=self.exchange,
            commands=self.commands,
            jobs=self.jobs,
            scans=self.scans,
            deliveries=self.deliveries,
            manager=self.manager,
            services=self.services,
            checks=self._own_checks,
            figures=ServerFigures(self.clock),
            idempotency=Idempotency(self.clock),
            metrics=self.metrics,
            reload=self.reload,
            facts=SystemFacts(__version__, self.settings.site, self.installation_id),
            secret=bytes.fromhex(secret),
        )

    def _keep_house(self) -> None:
        """Save what changed, feed the history, and watch the clock."""
        recording = Recording(self.registry, self.services)
        for handler in recording.handlers:
            self._subscribe("core", handler)
        self.poller.add(Repeated("core.recording", "core", RESUME_EVERY_S, recording.resume))
        self._drift = self.clock.utc() - self.clock.monotonic()
        save = self.poller.add(Repeated("core.save", "core", SAVE_EVERY_S, self.persistence.save))
        self.registry.on_change.append(lambda _devices: self.poller.soon(save))
        self.poller.add(Repeated("core.clock", "core", CLOCK_CHECK_EVERY_S, self._check_clock))

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
            site=self.settings.site,
            log_levels=self.levels,
            points=KnownPoints(self.registry),
            installation_id=self.installation_id,
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
        pollers = plugin.many("register_pollers")
        plugin.kernel_checks = (
            *(HealthCheck(f"poller {each.name}", self.polls.add_poller(name, each).health) for each in pollers),
            *(
                HealthCheck(f"sink {each.name}", each.health)
                for each in self.deliveries.add(name, plugin.many("register_sinks"), plugin.belongings)
            ),
        )
        driver = plugin.answers.get("register_driver")
        if driver is not None:
            self.polls.add_driver(name, driver)
            self.scans.schedule(name, driver)

    async def dismiss(self, plugin: LoadedPlugin) -> None:
        """Take a plugin's answers out of use."""
        await self.deliveries.remove(plugin.name)
        if "provide_history" in plugin.answers:
            await self.deliveries.pause()
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
