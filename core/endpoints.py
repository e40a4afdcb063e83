"""The inner end of a chain: structures what a request carries, and turns what the handler answers into a reply."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import attrs
from aiohttp import web

from core.chain import AtOnce, Inner, Outcome, raised_if_refused
from core.errors import FieldFault, Invalid, UnsupportedMediaType
from core.policies import Call
from core.problem import Overdue, RequestTimedOut
from core.replies import Answer, Reply
from core.requests import Request, invite
from core.routes import Route
from core.serialize import all_optional, compile_body, compile_query, dumps, loads


@attrs.frozen
class _NoQuery:
    """What a route takes that names no query parameters."""


def endpoint(route: Route, body_timeout_s: float) -> Inner:
    """Make the end of a route's chain; raises TypeError where its query or body cannot be structured."""
    query_class: type[Any] = route.query or _NoQuery
    parse_query = compile_query(query_class)
    read_body = None if route.body is None else _body_reader(route, route.body, body_timeout_s)
    takes_query = route.query is not None
    handler, respond = _within(route.timeout_s, route.handler), _responder(route)
    limit = route.max_body_bytes

    async def call_handler(call: Call, request: web.Request) -> Outcome:
        arguments: dict[str, Any] = {**call.arguments}
        if limit is not None:
            cast("Request", request).limit_body(limit)
        if read_body is not None:
            arguments["body"] = await read_body(request)
        elif request.can_read_body:
            await _refuse_body(request, body_timeout_s)
        if takes_query:
            arguments["query"] = parse_query(request.query)
        elif call.query:
            parse_query(request.query)
        result = await handler(request, **arguments)
        return raised_if_refused(result) if isinstance(result, web.StreamResponse) else respond(result)

    return call_handler


def _within(seconds: float | None, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Give a handler so many seconds; what times out inside of it is its own affair."""
    if seconds is None:
        return handler

    async def handle(request: web.Request, **arguments: Any) -> Any:
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await handler(request, **arguments)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Overdue(f"There was no answer within {seconds:g} s. {Overdue.remedy}") from None

    return handle


def at_once(route: Route) -> AtOnce | None:
    """Make what answers a route's requests without waiting; None where the route has nothing of the sort."""
    ready = route.at_once
    if ready is None:
        return None
    respond = _responder(route)

    def call_ready(call: Call) -> Reply | None:
        result = ready(**call.arguments)
        return None if result is None else respond(result)

    return call_ready


def _body_reader(route: Route, body_class: type[Any], timeout_s: float) -> Callable[[web.Request], Awaitable[object]]:
    structure, optional = compile_body(body_class), all_optional(body_class)
    readers = {"application/json": loads} | {each.type: each.read for each in route.takes_also if each.read is not None}
    refusal = f"Send the body as {' or '.join(readers)} in UTF-8."

    async def read(request: web.Request) -> object:
        if optional and not request.can_read_body:
            return structure({})
        reader = readers.get(request.content_type)
        if reader is None or (request.charset or "utf-8").lower() != "utf-8":
            raise UnsupportedMediaType(refusal)
        return structure(reader(await _read(request, timeout_s)))

    return read


async def _refuse_body(request: web.Request, timeout_s: float) -> None:
    """Raise Invalid for a body that nobody takes, unless it is empty."""
    if await _read(request, timeout_s):
        fault = FieldFault("body", "unknown", "is not taken here")
        raise Invalid(f"{request.method} takes no body here; send none.", errors=[fault])


async def _read(request: web.Request, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            await invite(request)
            return await request.read()
    except TimeoutError:
        raise RequestTimedOut(f"The body did not arrive within {timeout_s:g} s.") from None


def _responder(route: Route) -> Callable[[object], Reply]:
    """Make what turns a handler's result into the reply, with an ETag where the route is a read."""
    status = route.status
    if status == HTTPStatus.NO_CONTENT:
        return lambda _result: Reply(status)
    tagged = route.method == "GET" and status == HTTPStatus.OK
    content_type = route.media_type + ("; charset=utf-8" if _is_text(route.media_type) else "")

    def respond(result: object) -> Reply:
        if not isinstance(result, Answer):
            body = dumps(result)
            return Reply(status, body, content_type, (("ETag", _etag(body)),) if tagged else ())
        headers = (*result.headers.items(),)
        if tagged:
            etag = result.etag or _etag(result.body if result.tag is None else result.tag)
            headers = (*headers, ("ETag", etag))
        return Reply(status, result.body, content_type, headers)

    return respond


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/")


def _etag(content: bytes) -> str:
    return f'W/"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
