"""Everything a plugin author imports."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import attrs
import structlog
from structlog.typing import FilteringBoundLogger

from core.caches import Fills
from core.callers import call_of_request, principal_of, spend
from core.clock import Clock
from core.errors import (
    CredentialsRequired,
    DeviceRefused,
    DeviceTimeout,
    Example,
    FieldFault,
    Invalid,
    NotFound,
    NotSent,
    NotWritable,
    PermissionDenied,
    PlantroomError,
    PointNotFound,
    PriorityNotAllowed,
    RequestError,
    TooManyRequests,
    ValueNotSuitable,
    any_of,
)
from core.events import EventBus, EventHandler
from core.hookspecs import hookimpl
from core.log_levels import Levels, LogLevels
from core.log_sinks import LogSink
from core.model import (
    Command,
    Deed,
    Device,
    Done,
    Flag,
    Inventory,
    Kind,
    Point,
    Priorities,
    Reason,
    Source,
    Taken,
    Value,
    WriteResult,
    Written,
)
from core.owner import owned_by
from core.policies import Authenticator, Call, Policy, Steps, Work, call_of
from core.principals import ANONYMOUS, Principal, PrincipalKind, Role, Scope
from core.proxies import within
from core.readings import Chunk, PointGroup, ReadingBatch, Row, StoredReading, batch_of
from core.replies import Answer, Reply
from core.routes import Cached, Header, Health, HealthCheck, Link, Media, Metric, Middleware, Phase, Route, from_aiohttp
from core.samples import Committed, Lost, PointSamples, Position, Sample, Samples
from core.serialize import FieldInfo, field
from core.services import Allowance, ScanReport, ScanRequest, Services
from core.sinks import Delivery, Receiver, Sink
from core.weaknesses import Weakness

__all__ = [
    "ANONYMOUS",
    "API_VERSION",
    "Allowance",
    "Answer",
    "Authenticator",
    "Cached",
    "Call",
    "Chunk",
    "CliCommand",
    "Clock",
    "Command",
    "Commands",
    "Committed",
    "Context",
    "CredentialsRequired",
    "Deed",
    "Delivery",
    "Device",
    "DeviceRefused",
    "DeviceTimeout",
    "Done",
    "EventHandler",
    "Example",
    "FieldFault",
    "FieldInfo",
    "Flag",
    "Header",
    "Health",
    "HealthCheck",
    "Invalid",
    "Inventory",
    "JobContext",
    "JobKind",
    "Kind",
    "Link",
    "LogLevels",
    "LogSink",
    "Lost",
    "Media",
    "Metric",
    "Middleware",
    "Migration",
    "NotFound",
    "NotSent",
    "NotWritable",
    "PermissionDenied",
    "Phase",
    "PlantroomError",
    "Plugin",
    "Point",
    "PointGroup",
    "PointNotFound",
    "PointSamples",
    "Points",
    "Policy",
    "Poller",
    "Position",
    "Principal",
    "PrincipalKind",
    "Priorities",
    "PriorityNotAllowed",
    "ReadingBatch",
    "Reason",
    "Receiver",
    "Reply",
    "RequestError",
    "Role",
    "Route",
    "Row",
    "Sample",
    "Samples",
    "ScanReport",
    "ScanRequest",
    "Scope",
    "Sink",
    "Source",
    "Steps",
    "StoredReading",
    "Taken",
    "TooManyRequests",
    "Value",
    "ValueNotSuitable",
    "Weakness",
    "Work",
    "WriteResult",
    "Written",
    "any_of",
    "batch_of",
    "call_of",
    "call_of_request",
    "field",
    "from_aiohttp",
    "hookimpl",
    "owned_by",
    "principal_of",
    "spend",
    "within",
]

ConfigT = TypeVar("ConfigT")

API_VERSION = 4
"""What this Plantroom offers to plugins; it grows when something is added or changed."""

Polled: TypeAlias = Mapping[Point, Value] | ReadingBatch | None


@attrs.frozen
class Poller:
    """Work to repeat every ``interval`` seconds; ``poll`` returns the readings it found."""

    name: str
    interval: float
    poll: Callable[[], Awaitable[Polled]]


class JobContext(Protocol):
    """What a running job can tell; cancelling the job cancels its task."""

    def progress(self, phase: str, done: int, total: int | None = None) -> None:
        """Tell how far the job is."""
        ...

    def found(self, count: int) -> None:
        """Tell that so many more things were found."""
        ...

    def counted(self, counts: Mapping[str, int]) -> None:
        """Tell how many of each sort there are so far, such as ``{"devices": 3, "points": 120}``."""
        ...

    def warn(self, code: str, detail: str, remedy: str) -> None:
        """Tell what is wrong or may be so, and what to do about it."""
        ...


@attrs.frozen
class JobKind:
    """A kind of one-off work: ``run`` takes the job's context and parameters and returns a JSON result."""

    name: str
    run: Callable[[JobContext, Mapping[str, Any]], Awaitable[Any]]
    summary: str = ""
    attempts: int = 1


@attrs.frozen
class Migration:
    """One step of a plugin's tables: ``version`` counts from 1, ``sql`` is one or more statements."""

    version: int
    sql: str


@attrs.frozen
class CliCommand:
    """A subcommand of ``plantroom``; ``run`` returns the exit code."""

    name: str
    summary: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


class Store(Protocol):
    """The installation's SQLite file."""

    async def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one query on a read-only connection."""
        ...

    async def write(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        """Run statements, each for all of its rows, in one transaction."""
        ...


class Commands(Protocol):
    """The house's one way to write: one at a time to each device, each id once, checked, logged and on record."""

    def device(self, device_id: str) -> Device:
        """Return a device as it was last described; raises DeviceNotFound."""
        ...

    def point(self, point_id: str) -> Point | None:
        """Return a point as it was last described, None where there is none of this id."""
        ...

    async def write(self, command: Command) -> Written:
        """Write or relinquish a point and read back; raises as REST answers (docs/api.md)."""
        ...

    async def carry_out(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> Any:
        """Do something else to a device when its turn comes, and answer what it showed afterwards (`Done.after`).

        ``run`` has 20 s. Raises what it raises, `Done.error`, PluginNotRunning, DeviceTimeout, and Invalid for an id
        that was used.
        """
        ...


class Points(Protocol):
    """Everybody's points, by slot, for plugins that deal with the readings of the whole house."""

    @property
    def version(self) -> int:
        """A number that grows with each change of what points are."""
        ...

    def point(self, slot: int) -> Point | None:
        """Return the point of a slot as it was last described; None where there is none any more."""
        ...

    def tags(self, slot: int) -> tuple[str, ...]:
        """Return a point's tags and its device's."""
        ...

    def confirmed(self, slot: int) -> StoredReading | None:
        """Return what a point that is polled reads, in columns; None where it has never been read."""
        ...


class NoPoints:
    """A house without any."""

    version = 0

    def point(self, _slot: int) -> Point | None:
        """Return None."""
        return None

    def tags(self, _slot: int) -> tuple[str, ...]:
        """Return none."""
        return ()

    def confirmed(self, _slot: int) -> StoredReading | None:
        """Return None."""
        return None


@attrs.frozen
class Context:
    """What the kernel lends a plugin.

    ``publish`` hands in readings that arrive by themselves. ``seen`` tells of a sign of life of a device, which is
    then polled at once if it was offline. ``found`` hands over a device with its points outside of scans. ``live`` says
    of points that their devices tell of each change, so that they are polled only each so many seconds, to verify that;
    None: they are polled at their interval again. ``site`` is the installation's short name; ``log_levels`` say how
    much is logged of whom. ``points`` are those of the whole house, by slot. ``installation_id`` is a UUID, made
    once in the data directory.
    """

    name: str
    log: FilteringBoundLogger
    clock: Clock
    services: Services
    events: EventBus
    store: Store
    commands: Commands
    data_dir: Path
    publish: Callable[[Polled], None]
    seen: Callable[[str], None]
    found: Callable[[Inventory], object] = lambda _inventory: None
    live: Callable[[Iterable[Point], float | None], None] = lambda _points, _every: None
    site: str = "local"
    log_levels: LogLevels = attrs.field(factory=Levels)
    points: Points = attrs.field(factory=NoPoints)
    installation_id: str = ""
    _fills: Fills = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: Fills(lambda: self.services.cache), True)
    )

    async def cached(
        self, key: str, fill: Callable[[], Awaitable[bytes]], *, ttl_s: float, tags: Collection[str] = ()
    ) -> bytes:
        """Return what the house's cache has under a key of this plugin, or else fetch it, once for all who ask by now.

        It is kept for ``ttl_s`` seconds, unless `forget` is told one of its tags before. Raises what ``fill`` raises.
        """
        own = [f"{self.name}|{tag}" for tag in tags]
        return await self._fills.get(f"{self.name}|{key}", fill, ttl_s=ttl_s, tags=own)

    async def forget(self, tag: str) -> None:
        """Forget all that `cached` keeps with a tag."""
        await self.services.cache.forget(f"{self.name}|{tag}")

    def device(self, key: str, *, name: str = "", **fields: Any) -> Device:
        """Describe a device of this plugin; ``fields`` are those of `Device`."""
        return Device(id=f"{self.name}.{key}", plugin=self.name, name=name or key, **fields)


class Plugin(Generic[ConfigT]):
    """What every plugin is: one instance for each entry under ``plugins:``.

    ``schema`` is checked by voluptuous, then structured into ``config_class`` (a frozen attrs class). ``requires``
    names the plugins (by class name in the catalogue or by instance key) that must run first. ``api_version`` is the
    `API_VERSION` that it is written for: a Plantroom with a lower one leaves it out and says so.
    """

    schema: ClassVar[Mapping[Any, Any]] = {}
    config_class: ClassVar[type[Any]] = dict
    requires: ClassVar[tuple[str, ...]] = ()
    api_version: ClassVar[int] = 1
    start_timeout_s: ClassVar[float] = 10.0
    stop_timeout_s: ClassVar[float] = 1.0

    def __init__(self, config: ConfigT, ctx: Context) -> None:
        self.config = config
        self.ctx = ctx


def logger(name: str) -> FilteringBoundLogger:
    """Return a logger that says which plugin speaks, and follows whatever is changed of the log."""
    lasting: FilteringBoundLogger = structlog.get_logger(plugin=name)
    return lasting
