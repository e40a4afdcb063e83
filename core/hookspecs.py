"""Every question the kernel asks a plugin: each once per load, synchronously, one plugin at a time."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pluggy

if TYPE_CHECKING:
    from structlog.typing import Processor

    from core.events import EventHandler
    from core.log_sinks import LogSink
    from core.model import Inventory
    from core.plugin import CliCommand, JobKind, Migration, Poller
    from core.policies import Authenticator, Policy
    from core.routes import HealthCheck, Metric, Middleware, Route
    from core.services import Cache, Driver, History, Leadership, RateLimitStore
    from core.sinks import Sink
    from core.weaknesses import Weakness

PROJECT = "plantroom"

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Stability(enum.StrEnum):
    """What may become of a hook: a stable one keeps its name and takes what it takes now, a provisional one may not."""

    STABLE = "stable"
    PROVISIONAL = "provisional"


@attrs.frozen
class Hook:
    """What is promised about a hook, for the documentation.

    ``answer`` is the type of the answer, ``example`` an expression that a plugin's method could return. ``since`` is
    the `core.plugin.API_VERSION` that brought it.
    """

    name: str
    about: str
    answer: str
    example: str
    since: int
    stability: Stability


HOOKS: dict[str, Hook] = {}
"""Every hook by its name, in the order of this page."""


def hook(example: str, *, since: int, stability: Stability) -> Callable[[FunctionT], FunctionT]:
    """Declare a function as a hook: its docstring says what it answers and when that is used."""

    def declare(function: FunctionT) -> FunctionT:
        name, answer = function.__name__, function.__annotations__["return"]
        HOOKS[name] = Hook(name, inspect.cleandoc(function.__doc__ or ""), answer, example, since, stability)
        return _hookspec(function)

    return declare


@hook("self.connection()", since=1, stability=Stability.STABLE)
def lifespan() -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
    """Hold open what the plugin needs while it runs.

    Entered at start, after the plugins that it requires, and left at stop, each within its time-out. Most plugins
    decorate a method with `asynccontextmanager` for it.
    """


@hook("[Inventory(self.station, [self.temperature])]", since=1, stability=Stability.STABLE)
def register_points() -> Iterable[Inventory]:  # type: ignore[empty-body]
    """Name the devices and points that are known without asking anything.

    They are listed as the plugin starts, and keep their ids over restarts.
    """


@hook("LampDriver(self.ctx)", since=1, stability=Stability.STABLE)
def register_driver() -> Driver:  # type: ignore[empty-body]
    """Be a protocol: scan for devices, read points and write points, in batches.

    The kernel scans on its schedule, polls, and writes what comes through the API.
    """


@hook('[Poller("station", 60.0, self.poll)]', since=1, stability=Stability.STABLE)
def register_pollers() -> Iterable[Poller]:  # type: ignore[empty-body]
    """Name the work to repeat at an interval; it returns readings.

    Repeated while the plugin runs. One that raises is tried again, ever later, and delays nobody else.
    """


@hook('[JobKind("export", self.export, "Export all rooms")]', since=1, stability=Stability.STABLE)
def register_jobs() -> Iterable[JobKind]:  # type: ignore[empty-body]
    """Name kinds of one-off background work.

    Run when something submits a job of the kind; shown at ``/api/v1/jobs`` with how far it is.
    """


@hook('[Sink("archive", self.archived)]', since=4, stability=Stability.PROVISIONAL)
def register_sinks() -> Iterable[Sink]:  # type: ignore[empty-body]
    """Take what is recorded out of the house: to a database, a broker, files.

    While the plugin runs, the kernel connects, hands over all batches that the history commits, in their order and at
    least once, and keeps the place; shown at ``/api/v1/sinks``. Whoever is away misses nothing that the history still
    keeps.
    """


@hook('[Route("GET", "/rooms", self.rooms, "List the rooms")]', since=1, stability=Stability.STABLE)
def register_routes() -> Iterable[Route]:  # type: ignore[empty-body]
    """Add REST routes below ``/api/v1/<instance>``.

    Served while the plugin runs; parameters and body are checked before the handler is called.
    """


@hook("[Middleware(Phase.AUTH, self.guard)]", since=1, stability=Stability.STABLE)
def register_middlewares() -> Iterable[Middleware | Policy]:  # type: ignore[empty-body]
    """Have a say in requests, each wrapper or policy at a named phase.

    Put around every route, the kernel's too, when the application is built. A `Policy` is synchronous and costs next to
    nothing; a `Middleware` wraps the handler as aiohttp's do, and costs only itself.
    """


@hook('[Authenticator("badge", self.badge)]', since=2, stability=Stability.STABLE)
def register_authenticators() -> Iterable[Authenticator]:  # type: ignore[empty-body]
    """Turn a request into a principal; the first that knows one wins.

    Asked on every route that is not public; what nobody knows is refused with 401. Where any plugin that is enabled has
    this hook, nobody is let in without: while it does not run, the answer is 503.
    """


@hook('[HealthCheck("link", lambda: (Health.OK, "up"))]', since=1, stability=Stability.STABLE)
def register_health_checks() -> Iterable[HealthCheck]:  # type: ignore[empty-body]
    """Tell whether the plugin does its work.

    Looked at for ``/readyz`` and ``GET /api/v1/plugins``; a check never waits.
    """


@hook(
    '[Metric("weather_requests_total", "counter", "Requests sent", lambda: [({}, 3)])]',
    since=1,
    stability=Stability.STABLE,
)
def register_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Expose figures at ``/metrics``.

    Collected when they are scraped.
    """


@hook('[Weakness("everybody may ask", "give it a key")]', since=3, stability=Stability.PROVISIONAL)
def register_weaknesses() -> Iterable[Weakness]:  # type: ignore[empty-body]
    """Name what in the plugin's configuration should not reach production.

    Shown by ``plantroom check --production``, which refuses it. The plugin is built, but not started, to be asked.
    """


@hook("[self.add_building]", since=1, stability=Stability.STABLE)
def register_log_processors() -> Iterable[Processor]:  # type: ignore[empty-body]
    """Add structlog processors.

    Run on every line, before secrets are blacked out and it is rendered.
    """


@hook('[LogSink("archive", self.archive)]', since=3, stability=Stability.STABLE)
def register_log_sinks() -> Iterable[LogSink]:  # type: ignore[empty-body]
    """Take what is logged, as finished lines of JSON.

    Handed over in batches, whatever form stderr has; a plugin with sinks that requires no other is left last.
    """


@hook('[CliCommand("rooms", "list the rooms", self.list_rooms)]', since=1, stability=Stability.STABLE)
def register_commands() -> Iterable[CliCommand]:  # type: ignore[empty-body]
    """Add subcommands to ``plantroom``.

    The plugin is built, but not started, to be asked and to run one.
    """


@hook('[Migration(1, "CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT)")]', since=1, stability=Stability.STABLE)
def register_migrations() -> Iterable[Migration]:  # type: ignore[empty-body]
    """Make and change the plugin's own tables.

    Run in order, each once in an installation's life, before any plugin starts.
    """


@hook("[EventHandler(DeviceStatusChanged, self.note)]", since=1, stability=Stability.STABLE)
def register_event_handlers() -> Iterable[EventHandler[Any]]:  # type: ignore[empty-body]
    """Name the events that the plugin wants to hear.

    Called for each such event while the plugin runs, one after the other from a bounded queue.
    """


@hook("FileCache(self.ctx.data_dir)", since=1, stability=Stability.STABLE)
def provide_cache() -> Cache:  # type: ignore[empty-body]
    """Be the cache; at most one enabled plugin may.

    Takes the place of the one in memory, for all who use ``ctx.services.cache``.
    """


@hook("SharedLimits(self.config.url)", since=1, stability=Stability.PROVISIONAL)
def provide_rate_limit_store() -> RateLimitStore:  # type: ignore[empty-body]
    """Be the store of the rate limiter; at most one enabled plugin may.

    Takes the place of the one in memory.
    """


@hook("Archive(self.ctx.data_dir)", since=1, stability=Stability.PROVISIONAL)
def provide_history() -> History:  # type: ignore[empty-body]
    """Be the history of readings; at most one enabled plugin may.

    Takes the place of the last samples of the house in memory.
    """


@hook("Cluster(self.config.url)", since=1, stability=Stability.PROVISIONAL)
def provide_leadership() -> Leadership:  # type: ignore[empty-body]
    """Decide which of several processes owns what; at most one enabled plugin may.

    Takes the place of the one that owns everything: a name that is not held is neither polled nor written.
    """
