"""The kernel's own REST routes: one module for each resource, each given exactly what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from core.api.devices import Devices
from core.api.documents import docs_page, openapi_json
from core.api.errors import ErrorReference
from core.api.health import healthz, readyz
from core.api.history import history_routes
from core.api.idempotency import Idempotency
from core.api.jobs import JobRoutes
from core.api.metrics import Metrics, ServerFigures
from core.api.plugins import Plugins
from core.api.points import Points
from core.api.readings import Readings
from core.api.reload import Reload, ReloadRoutes
from core.api.sinks import Sinks
from core.api.system import System, SystemFacts
from core.api.writes import Writes
from core.clock import Clock
from core.commands import Commands
from core.cursors import Cursors
from core.delivery import Deliveries
from core.exchange import Exchange
from core.jobs import Jobs
from core.manager import PluginManager
from core.registry import Registry
from core.routes import HealthCheck, Metric, Route
from core.scans import Scans
from core.services import Services


@attrs.frozen
class Parts:
    """What the routes are made of; all of it outlives the application, so that a new one goes on where it was.

    ``checks`` are looks at the house itself; ``metrics`` gives the figures of what runs with their owners; ``secret``
    signs cursors.
    """

    clock: Clock
    registry: Registry
    exchange: Exchange
    commands: Commands
    jobs: Jobs
    scans: Scans
    deliveries: Deliveries
    manager: PluginManager
    services: Services
    figures: ServerFigures
    idempotency: Idempotency
    metrics: Callable[[], Iterable[tuple[str, Metric]]]
    reload: Reload
    facts: SystemFacts
    secret: bytes
    checks: Sequence[HealthCheck] = ()


def kernel_routes(parts: Parts) -> list[Route]:
    """Make every route of the kernel."""
    cursors = Cursors(parts.secret)
    return [
        healthz(),
        readyz(parts.manager, parts.checks),
        *Metrics(parts.figures, parts.metrics).routes,
        *System(parts.facts, parts.manager).routes,
        openapi_json(),
        *docs_page(),
        *ReloadRoutes(parts.reload).routes,
        *ErrorReference(cursors).routes,
        *Plugins(parts.manager, parts.registry, cursors).routes,
        *Devices(parts.registry, cursors).routes,
        *Points(parts.registry, cursors, parts.clock).routes,
        *Readings(parts.registry, parts.exchange, parts.clock).routes,
        *history_routes(parts.registry, parts.services, cursors, parts.clock),
        *Writes(parts.registry, parts.commands, parts.idempotency, parts.clock).routes,
        *JobRoutes(parts.jobs, parts.scans, cursors, parts.idempotency).routes,
        *Sinks(parts.deliveries, cursors).routes,
    ]


def described_routes() -> list[Route]:
    """Make every route of the kernel with nothing behind it: to be described, not served."""
    nothing: dict[str, Any] = dict.fromkeys(part.name for part in attrs.fields(Parts))
    return kernel_routes(Parts(**nothing | {"secret": b""}))
