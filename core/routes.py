"""What a plugin declares to the web: routes, middleware with a phase, health checks and metrics."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from aiohttp import web

from core.errors import PlantroomError
from core.principals import Role
from core.structure import FieldInfo

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

WELL_KNOWN = "/.well-known/"


@attrs.frozen
class Header:
    """A header of requests or answers, as the API document tells of it."""

    name: str
    info: FieldInfo
    type: type = str


@attrs.frozen
class Link:
    """What can be asked next with what an answer holds.

    ``parameters`` are those of the route at ``method`` and ``path``, each with where its value is found, as OpenAPI
    writes it: ``$response.body#/id``.
    """

    method: str
    path: str
    parameters: Mapping[str, str]


@attrs.frozen
class Media:
    """A media type that a route takes or answers beside JSON.

    ``example`` shows a body of it, as text. ``read`` makes of a body what JSON would be; it raises RequestError.
    """

    type: str
    example: str
    read: Callable[[bytes], Any] | None = None


@attrs.frozen
class Cached:
    """For how long a GET's answer may be given to the same principal again, by a plugin that keeps answers.

    For ``ttl_s`` seconds at most, and only while ``stamp`` answers the same, where there is one. The answer depends on
    the path, the query and the principal alone.
    """

    ttl_s: float
    stamp: Callable[[], Hashable] | None = None


@attrs.frozen
class Route:
    """One REST route, declared once: the chain, the checks and the API document all follow from it.

    ``handler`` is called with the request, each path parameter by name, and ``query`` and ``body`` where their
    attrs classes are given; it answers an attrs object, plain JSON data, or a ready response.
    A plugin's ``path`` is below ``/api/v1/<instance>``, unless it begins with ``/.well-known/``, where others look for
    what they know by its name (RFC 8615); see `placed`. ``role`` None makes the route public. A principal with a scope
    may use a route whose path names a ``device_id`` or ``point_id`` within it, a plugin's routes where all of the
    plugin is within it (but not of a plugin that knows who comes: whoever manages that has the whole house), and those
    that are ``minds_scope``: their handlers show and do no more than the scope allows.

    A ``body`` may also come as one of ``takes_also``, each of which has its ``read``. A body may have
    ``max_body_bytes``, else as many as `http.max_body` says. A handler that has not answered
    ``timeout_s`` seconds after it was called is cancelled, and the request answered with 503 `request.overdue`: for
    what waits for something outside, so that nobody waits for ever.

    ``at_once`` answers, synchronously, a request without query and body from what is there already, or None to have the
    handler called; it is given each path parameter by name. ``cached`` tells whether a GET's answers may be kept.

    What follows ``errors`` is for the document alone: ``parameters`` are those of the path; ``takes`` and ``sends``
    are headers beside those that every route has; ``example`` shows an answer where its class cannot; ``answers_also``
    are media types that the handler answers, where the request asks for them. A route that is not ``documented`` is
    left out of it.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    query: type | None = None
    body: type | None = None
    answer: Any = None
    status: int = 200
    role: Role | None = Role.VIEWER
    minds_scope: bool = False
    at_once: Callable[..., Any] | None = None
    max_body_bytes: int | None = None
    timeout_s: float | None = None
    cached: Cached | None = None
    errors: tuple[type[PlantroomError], ...] = ()
    description: str = ""
    parameters: Mapping[str, FieldInfo] = attrs.field(factory=dict)
    takes: tuple[Header, ...] = ()
    sends: tuple[Header, ...] = ()
    links: tuple[Link, ...] = ()
    media_type: str = "application/json"
    takes_also: tuple[Media, ...] = ()
    answers_also: tuple[Media, ...] = ()
    example: Any = None
    documented: bool = True


def placed(path: str, plugin: str) -> str:
    """Return where the path of a plugin's route is in the API."""
    return path if path.startswith(WELL_KNOWN) else f"/api/v1/{plugin}{path}"


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
    Requests that match no route pass a wrapped handler too; their route is None. ``errors`` are those that it may
    answer on any route.
    """

    phase: Phase
    wrap: Callable[[Route | None, Handler], Handler]
    errors: tuple[type[PlantroomError], ...] = ()


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
