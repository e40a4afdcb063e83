"""Every question the kernel asks a plugin: each once per load, synchronously, one plugin at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from structlog.typing import Processor

    from core.events import EventHandler
    from core.model import Inventory
    from core.plugin import CliCommand, JobKind, Migration, Poller
    from core.routes import HealthCheck, Metric, Middleware, Route
    from core.services import Cache, Driver, History, Leadership, RateLimitStore

PROJECT = "plantroom"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def lifespan() -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
    """Hold open what the plugin needs while it runs; entered at start, left at stop, each within its time-out."""


@hookspec
def register_points() -> Iterable[Inventory]:  # type: ignore[empty-body]
    """Name the devices and points that are known without asking anything."""


@hookspec
def register_driver() -> Driver:  # type: ignore[empty-body]
    """Be a protocol: scan for devices, read points and write points, in batches."""


@hookspec
def register_pollers() -> Iterable[Poller]:  # type: ignore[empty-body]
    """Name the work to repeat at an interval; it returns readings."""


@hookspec
def register_jobs() -> Iterable[JobKind]:  # type: ignore[empty-body]
    """Name kinds of one-off background work."""


@hookspec
def register_routes() -> Iterable[Route]:  # type: ignore[empty-body]
    """Add REST routes below ``/api/v1/<instance>``."""


@hookspec
def register_middlewares() -> Iterable[Middleware]:  # type: ignore[empty-body]
    """Wrap requests, each wrapper at a named phase."""


@hookspec
def register_health_checks() -> Iterable[HealthCheck]:  # type: ignore[empty-body]
    """Tell whether the plugin does its work."""


@hookspec
def register_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Expose figures at ``/metrics``."""


@hookspec
def register_log_processors() -> Iterable[Processor]:  # type: ignore[empty-body]
    """Add structlog processors, run before a line is rendered."""


@hookspec
def register_commands() -> Iterable[CliCommand]:  # type: ignore[empty-body]
    """Add subcommands to ``plantroom``; the plugin is built, but not started, to be asked."""


@hookspec
def register_migrations() -> Iterable[Migration]:  # type: ignore[empty-body]
    """Make and change the plugin's own tables; run in order before any plugin starts."""


@hookspec
def register_event_handlers() -> Iterable[EventHandler[Any]]:  # type: ignore[empty-body]
    """Name the events that the plugin wants to hear."""


@hookspec
def provide_cache() -> Cache:  # type: ignore[empty-body]
    """Be the cache; at most one enabled plugin may."""


@hookspec
def provide_rate_limit_store() -> RateLimitStore:  # type: ignore[empty-body]
    """Be the store of the rate limiter; at most one enabled plugin may."""


@hookspec
def provide_history() -> History:  # type: ignore[empty-body]
    """Be the history of readings; at most one enabled plugin may."""


@hookspec
def provide_leadership() -> Leadership:  # type: ignore[empty-body]
    """Decide which of several processes owns what; at most one enabled plugin may."""
