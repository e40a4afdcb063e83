"""What a plugin declares to the web: routes, middleware with a phase, health checks and metrics."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from aiohttp import web

from core.errors import PlantroomError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Role(enum.StrEnum):
    """What a principal may do; each role includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@attrs.frozen
class Route:
    """One REST route, declared once: the chain, the checks and the API document all follow from it.

    ``handler`` is called with the request, each path parameter by name, and ``query`` and ``body`` where their
    attrs classes are given; it answers an attrs object, plain JSON data, or a ready response.
    A plugin's ``path`` is below ``/api/v1/<instance>``. ``role`` None makes the route public.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    query: type | None = None
    body: type | None = None
    answer: type | None = None
    status: int = 200
    role: Role | None = Role.VIEWER
    errors: tuple[type[PlantroomError], ...] = ()


class Phase(enum.IntEnum):
    """Where a middleware stands, outermost first."""

    LOG = 10
    METRICS = 20
    HEADERS = 30
    CORS = 40
    ERRORS = 50
    AUTH = 60
    RATE_LIMIT = 70
    CACHE = 80


@attrs.frozen
class Middleware:
    """A request wrapper at a phase.

    ``wrap`` is called once for each route when the application is built, and answers the handler to call: what can
    be worked out beforehand costs a request nothing, and a route that needs nothing gets its handler back as it is.
    Requests that match no route pass a wrapped handler too; their route is None.
    """

    phase: Phase
    wrap: Callable[[Route | None, Handler], Handler]


def from_aiohttp(
    phase: Phase, middleware: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
) -> Middleware:
    """Place an ordinary aiohttp middleware at a phase."""

    def wrap(_route: Route | None, handler: Handler) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            return await middleware(request, handler)

        return call

    return Middleware(phase, wrap)


class Health(enum.StrEnum):
    """How a plugin does."""

    OK = "ok"
    DEGRADED = "degraded"


@attrs.frozen
class HealthCheck:
    """A quick look at whether a part does its work; ``check`` answers a state and a sentence, and never waits."""

    name: str
    check: Callable[[], tuple[Health, str]]


@attrs.frozen
class Metric:
    """A figure in Prometheus terms; ``collect`` gives (labels, value) pairs when it is scraped.

    ``name`` carries its unit (``_seconds``, ``_bytes``; ``_total`` for a counter); ``kind`` is counter or gauge.
    """

    name: str
    kind: str
    help: str
    collect: Callable[[], Iterable[tuple[Mapping[str, str], float]]]
