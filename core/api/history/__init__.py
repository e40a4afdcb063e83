"""The past of points in the REST API: answered in pages or streams, summed up, and taken in from elsewhere."""

from __future__ import annotations

from core.api.history.imports import Imports
from core.api.history.latest import Latest
from core.api.history.past import Past
from core.clock import Clock
from core.cursors import Cursors
from core.registry import Registry
from core.routes import Route
from core.services import Services


def history_routes(registry: Registry, services: Services, cursors: Cursors, clock: Clock) -> list[Route]:
    """Make the routes of the history service, whichever provides it at the time of a request."""
    return [
        *Past(registry, services, cursors, clock).routes,
        *Latest(registry, services, clock).routes,
        *Imports(registry, services, clock).routes,
    ]
