"""The inner end of a chain: structures what a request carries, and turns what the handler answers into a reply."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import attrs
from aiohttp import web

from core.chain import AtOnce, Inner, Outcome, raised_if_refused
from core.errors import FieldFault, Invalid, UnsupportedMediaType
from core.policies import Call
from core.problem import RequestTimedOut
from core.replies import Answer, Reply
from core.requests import invite
from core.routes import Route
from core.serialize import all_optional, compile_body, compile_query, dumps, loads

_ETAG = re.compile(r'(?:W/)?"([^"]*)"|(\*)')


@attrs.frozen
class _NoQuery:
    """What a route takes that names no query parameters."""


def endpoint(route: Route, body_timeout_s: float) -> Inner:
    """Make the end of a route's chain; raises TypeError where its query or body cannot be structured."""
    query_class: type[Any] = route.query or _NoQuery
    parse_query = compile_query(query_class)
    read_body = None if route.body is None else _body_reader(route.body, body_timeout_s)
    takes_query = route.query is not None
    handler, respond = route.handler, _responder(route)

    async def call_handler(call: Call, request: web.Request) -> Outcome:
        arguments: dict[str, Any] = {**call.arguments}
        if read_body is not None:
            arguments["body"] = await read_body(request)
        elif request.can_read_body:
            await _refuse_body(request, body_timeout_s)
        if takes_query:
            arguments["query"] = parse_query(request.query)
        elif call.query:
            parse_query(request.query)
        result = await handler(request, **arguments)
        return raised_if_refused(result) if isinstance(result, web.StreamResponse) else respond(result, call.headers)

    return call_handler


def at_once(route: Route) -> AtOnce | None:
    """Make what answers a route's requests without waiting; None where the route has nothing of the sort."""
    ready = route.at_once
    if ready is None:
        return None
    respond = _responder(route)

    def call_ready(call: Call) -> Reply | None:
        result = ready(**call.arguments)
        return None if result is None else respond(result, call.headers)

    return call_ready


def _body_reader(body_class: type[Any], timeout_s: float) -> Callable[[web.Request], Awaitable[object]]:
    structure, optional = compile_body(body_class), all_optional(body_class)

    async def read(request: web.Request) -> object:
        if optional and not request.can_read_body:
            return structure({})
        if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
            raise UnsupportedMediaType("Send the body as application/json in UTF-8.")
        return structure(loads(await _read(request, timeout_s)))

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


def _responder(route: Route) -> Callable[[object, Mapping[str, str]], Reply]:
    """Make what turns a handler's result into the reply, with an ETag where the route is a read."""
    status = route.status
    if status == HTTPStatus.NO_CONTENT:
        return lambda _result, _headers: Reply(status)
    tagged = route.method == "GET" and status == HTTPStatus.OK
    content_type = route.media_type + ("; charset=utf-8" if _is_text(route.media_type) else "")

    def respond(result: object, asked: Mapping[str, str]) -> Reply:
        answer = result if isinstance(result, Answer) else Answer(dumps(result))
        headers = (*answer.headers.items(),)
        if tagged:
            etag = answer.etag or _etag(answer.body if answer.tag is None else answer.tag)
            headers = (*headers, ("ETag", etag))
            if "If-None-Match" in asked and _matches(etag[3:-1], asked):
                return Reply(HTTPStatus.NOT_MODIFIED, headers=headers)
        return Reply(status, answer.body, content_type, headers)

    return respond


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/")


def _etag(content: bytes) -> str:
    return f'W/"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'


def _matches(tag: str, asked: Mapping[str, str]) -> bool:
    """Tell whether If-None-Match names an ETag (RFC 9110, 13.1.2): by weak comparison."""
    every = getattr(asked, "getall", None)
    lines = every("If-None-Match") if every is not None else [asked["If-None-Match"]]
    return any(tag == known or star for line in lines for known, star in _ETAG.findall(line))
