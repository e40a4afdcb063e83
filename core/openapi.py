"""Writes the OpenAPI 3.1 document of an application from the routes that it is made of."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from core import __version__
from core.operations import Operations, tag_of
from core.policies import Policy
from core.routes import Middleware, Route
from core.serialize import dumps

OPENAPI = "3.1.0"

_ABOUT = """\
Devices, points, readings and writes of one building, whatever protocol they speak.

Every address that takes GET takes HEAD too. Errors are answered as `application/problem+json` (RFC 9457), each with a
stable `code` that `GET /api/v1/errors/{code}` explains. A request may bring an `X-Request-ID` of its own.
"""
_MEMBERS = ("tags", "operationId", "summary", "description", "security", "parameters", "requestBody", "responses")
_SCHEMES: Mapping[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A program's key."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, as a bearer token."},
    "session": {"type": "apiKey", "in": "cookie", "name": "plantroom_session", "description": "A browser's session."},
}


class Document:
    """The description of some routes, given with their owners; what can be wrong with it is found as it is made.

    ``secured`` where requests need credentials. Raises PluginError, naming the owner of a route that cannot be
    described.
    """

    def __init__(
        self,
        routes: Iterable[tuple[str, Route]],
        around: Iterable[Middleware | Policy] = (),
        *,
        secured: bool = False,
    ) -> None:
        self._routes = [(owner, route) for owner, route in routes if route.documented]
        self._schemes = _SCHEMES if secured else {}
        errors = [error for each in around for error in each.errors]
        self._operations = Operations(self._routes, errors=errors, schemes=self._schemes)

    @functools.cached_property
    def json(self) -> bytes:
        """The document as it is sent."""
        operations = self._operations
        components = {"schemas": dict(sorted(operations.schemas.components.items())), "responses": operations.responses}
        document = {
            "openapi": OPENAPI,
            "info": {"title": "Plantroom", "version": __version__, "description": _ABOUT},
            "servers": [{"url": "/"}],
            "tags": [{"name": name} for name in dict.fromkeys(tag_of(*each) for each in self._routes)],
            "paths": _paths(operations.all),
            "components": components | ({"securitySchemes": self._schemes} if self._schemes else {}),
        }
        return dumps(document)


def _paths(operations: Iterable[tuple[Route, Mapping[str, Any]]]) -> dict[str, Any]:
    """Have aiohttp-apispec walk the routes; what it adds in Swagger 2.0's words is left out."""
    from aiohttp_apispec import AiohttpApiSpec, docs  # type: ignore[import-untyped]

    walked = _Walked()
    for route, operation in operations:
        walked.router.add_route(route.method, route.path, docs(**operation)(_stub()))
    spec = AiohttpApiSpec(url=None, app=walked, in_place=True, title="", version="")
    paths: dict[str, Any] = spec.swagger_dict()["paths"]
    return {
        path: {method: {key: found[key] for key in _MEMBERS if key in found} for method, found in methods.items()}
        for path, methods in paths.items()
    }


class _Walked(dict[str, Any]):
    """What aiohttp-apispec takes for an application: routes, and a place for its own notes."""

    def __init__(self) -> None:
        super().__init__()
        self.router = web.UrlDispatcher()


def _stub() -> Any:
    """Make the function that one route's description is hung on."""

    async def described(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented

    return described
