"""Builds the web application: each route is compiled once into one flat chain of wrappers."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import structlog
from aiohttp import web

from core import problem
from core.errors import (
    FieldFault,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PlantroomError,
    PluginError,
    RequestError,
    UnsupportedMediaType,
)
from core.openapi import Document
from core.problem import RequestTimedOut
from core.routes import Handler, Middleware, Phase, Route
from core.serialize import all_optional, compile_body, compile_query, dumps, loads

MIB = 1024 * 1024
DRAINED_AT_MOST = 16 * MIB
BODY_TIMEOUT_S = 60.0
CLIENT_GONE = 499

REQUEST_ID = web.RequestKey("request_id", str)
PRINCIPAL = web.RequestKey("principal", str)
DOCUMENT = web.AppKey("document", Document)
ANONYMOUS = "anonymous"

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@attrs.frozen
class Answer:
    """A body that is rendered already, of its route's media type.

    ``tag`` is what the ETag is made of where that is less than the body, ``etag`` the ETag as it is sent where there is
    one already; ``headers`` are sent along, on 304 too.
    """

    body: bytes
    tag: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    etag: str | None = None


@attrs.frozen
class _NoQuery:
    """What a route takes that names no query parameters."""


def build_application(
    routes: Sequence[tuple[str, Route]],
    middlewares: Sequence[Middleware],
    *,
    max_body_bytes: int = MIB,
    body_timeout_s: float = BODY_TIMEOUT_S,
    secured: bool = False,
) -> web.Application:
    """Compile routes, given with their owners, and middlewares into an application, with its OpenAPI document.

    Requests that match no route pass the chain too. ``secured`` where a middleware asks for credentials. Raises
    PluginError, naming the owners, where two routes answer the same method and path, and where a route cannot be
    compiled or described.
    """
    app = web.Application(client_max_size=max_body_bytes)
    app.on_response_prepare.append(_stamp)
    built_in = [Middleware(Phase.LOG, _log_wrapper(body_timeout_s)), Middleware(Phase.ERRORS, _errors_wrapper)]
    chain = sorted([*built_in, *middlewares], key=lambda middleware: middleware.phase)
    _refuse_twins(routes)
    for owner, route in routes:
        try:
            handler = _wrapped(chain, route, _endpoint(route, body_timeout_s))
            for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
                app.router.add_route(method, route.path, handler)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{owner}'s route {route.method} {route.path} cannot be used: {error}") from error
    app[DOCUMENT] = Document(routes, middlewares, secured=secured)
    app.router.add_route("*", "/{path:.*}", _wrapped(chain, None, _unrouted(app)))
    return app


def request_id_of(request: web.BaseRequest) -> str:
    """Return the caller's request id where it is a sane one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)


def stamp(response: web.StreamResponse, request_id: str) -> None:
    """Put the headers on that every answer has."""
    response.headers["X-Request-ID"] = request_id
    response.headers["Server"] = "plantroom"


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    stamp(response, request.get(REQUEST_ID) or request_id_of(request))


def _refuse_twins(routes: Sequence[tuple[str, Route]]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for owner, route in routes:
        key = route.method, re.sub(r"{[^}]*}", "{}", route.path)
        if key in taken:
            raise PluginError(f"{taken[key]} and {owner} both answer {route.method} {route.path}: rename one")
        taken[key] = owner


def _wrapped(chain: Sequence[Middleware], route: Route | None, handler: Handler) -> Handler:
    for middleware in reversed(chain):
        handler = middleware.wrap(route, handler)
    return handler


# the built-in phases


def _log_wrapper(body_timeout_s: float) -> Callable[[Route | None, Handler], Handler]:
    """LOG: give the request its id, write its one line, and take in what is left of its body."""

    def wrap(_route: Route | None, handler: Handler) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            request[REQUEST_ID] = request_id = request_id_of(request)
            structlog.contextvars.bind_contextvars(request_id=request_id)
            clock = asyncio.get_running_loop().time
            started, status = clock(), problem.INTERNAL
            try:
                response = await handler(request)
                status = response.status
                if not request.content.is_eof():
                    await _drain(request, response, deadline=started + body_timeout_s)
            except web.HTTPException as error:
                status = error.status
                raise
            except (asyncio.CancelledError, ConnectionError):
                status = CLIENT_GONE
                raise
            finally:
                structlog.get_logger().info(
                    "request",
                    method=request.method,
                    path=request.rel_url.raw_path,
                    status=status,
                    duration_ms=round((clock() - started) * 1000, 2),
                )
            return response

        return call

    return wrap


async def _drain(request: web.Request, response: web.StreamResponse, *, deadline: float) -> None:
    """Take in the rest of a body that nobody read, within bounds, so that the client gets to see the answer."""
    left = DRAINED_AT_MOST
    try:
        async with asyncio.timeout_at(deadline):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        pass  # whatever ails the rest, the answer stands and the connection ends
    if not request.content.at_eof():
        response.force_close()


def _errors_wrapper(_route: Route | None, handler: Handler) -> Handler:
    """ERRORS: answer every exception as a problem document."""

    async def call(request: web.Request) -> web.StreamResponse:
        status = None
        try:
            return await handler(request)
        except PlantroomError as error:
            failure = error
            if error.status == problem.INTERNAL:
                structlog.get_logger().exception("request_failed")
        except web.HTTPException as error:
            if error.status < 400:
                raise
            failure, status = problem.from_http(error), error.status
        except web.RequestPayloadError as error:
            failure = RequestError(f"The body did not arrive as its headers announce it: {error}.")
        except ConnectionError:
            raise
        except Exception:  # any handler's code, a plugin's too: the failure stays with its request
            structlog.get_logger().exception("request_failed")
            failure = PlantroomError(PlantroomError.remedy)
        if request.writer.output_size:
            raise ConnectionResetError("the answer broke off after its headers had been sent")
        return problem.answer(failure, request[REQUEST_ID], instance=request.rel_url.raw_path, status=status)

    return call


# the ends of the chain


def _unrouted(app: web.Application) -> Handler:
    """Tell whether it is the address or only the method that is wrong."""

    async def call(request: web.Request) -> web.StreamResponse:
        allowed: set[str] = set()
        for resource in app.router.resources():
            matched, methods = await resource.resolve(request)
            if matched is None:
                allowed |= methods
        if allowed:
            names = ", ".join(sorted(allowed))
            raise MethodNotAllowed(f"This address takes {names}.", headers={"Allow": names})
        raise NotFound(f"Nothing is at {request.path}; GET /api/v1 tells what there is.")

    return call


def _endpoint(route: Route, body_timeout_s: float) -> Handler:
    """Check and structure what a request carries, call the route's handler, and write what it answers."""
    query_class: type[Any] = route.query or _NoQuery
    parse_query = compile_query(query_class)
    read_body = _body_reader(route, body_timeout_s)

    async def call(request: web.Request) -> web.StreamResponse:
        arguments: dict[str, Any] = dict(request.match_info)
        body = await read_body(request)
        query = parse_query(request.query)
        if route.body is not None:
            arguments["body"] = body
        if route.query is not None:
            arguments["query"] = query
        return _respond(request, route, await route.handler(request, **arguments))

    return call


def _body_reader(route: Route, timeout_s: float) -> Callable[[web.Request], Awaitable[object]]:
    if route.body is None:

        async def refuse(request: web.Request) -> None:
            if request.can_read_body and await _read(request, timeout_s):
                fault = FieldFault("body", "unknown", "is not taken here")
                raise Invalid(f"{request.method} takes no body here; send none.", errors=[fault])

        return refuse
    body_class: type[Any] = route.body
    structure, optional = compile_body(body_class), all_optional(body_class)

    async def read(request: web.Request) -> object:
        if optional and not request.can_read_body:
            return structure({})
        if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
            raise UnsupportedMediaType("Send the body as application/json in UTF-8.")
        return structure(loads(await _read(request, timeout_s)))

    return read


async def _read(request: web.Request, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await request.read()
    except TimeoutError:
        raise RequestTimedOut(f"The body did not arrive within {timeout_s:g} s.") from None


def _respond(request: web.Request, route: Route, result: object) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if route.status == 204:
        return web.Response(status=204)
    answer = result if isinstance(result, Answer) else Answer(dumps(result))
    headers = dict(answer.headers)
    if route.method == "GET" and route.status == 200:
        headers["ETag"] = answer.etag or _etag(answer.body if answer.tag is None else answer.tag)
        digest = headers["ETag"][3:-1]
        if any(etag.value in (digest, "*") for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
    charset = "utf-8" if route.media_type.startswith("text/") else None
    return web.Response(
        body=answer.body, status=route.status, headers=headers, content_type=route.media_type, charset=charset
    )


def _etag(content: bytes) -> str:
    return f'W/"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
