"""Builds the web application: a table of routes, each with its compiled chain."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

import structlog
from aiohttp import HttpVersion, web
from aiohttp.web_urldispatcher import AbstractRoute, MatchInfoError, UrlMappingMatchInfo

from core import problem
from core.callers import CALL
from core.chain import Chain, Outcome
from core.endpoints import at_once, endpoint
from core.errors import MethodNotAllowed, NotFound, PlantroomError, PluginError
from core.openapi import Document
from core.policies import Call, Policy
from core.replies import ADDED_UP, SERVER, Fixed, Reply, Sent, size_of, written
from core.requests import Request
from core.routes import Middleware, Route
from core.routing import Routing

MIB = 1024 * 1024
DRAINED_AT_MOST = 16 * MIB
BODY_TIMEOUT_S = 60.0
PATHS_REMEMBERED = 4096
LONGEST_REMEMBERED = 200

DOCUMENT = web.AppKey("document", Document)


class Application:
    """Answers requests: finds their route, and runs its chain.

    ``handle`` is aiohttp's application, which a handler's ``request.app`` and ``request.match_info`` are of.
    """

    def __init__(self, *, max_body_bytes: int, body_timeout_s: float) -> None:
        self.handle = web.Application()
        self.handle.on_response_prepare.append(_stamp)
        self.max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._routing: Routing[Chain] = Routing()
        self._places: dict[Chain, AbstractRoute] = {}
        self._found: dict[tuple[str, str], tuple[Chain, Mapping[str, str]]] = {}
        self._unrouted: Chain

    def add(self, route: Route, parts: Sequence[Middleware | Policy]) -> None:
        """Compile a route's chain; what takes GET takes HEAD too. Raises TypeError or ValueError for what is none."""
        chain = Chain(parts, route, endpoint(route, self._body_timeout_s), at_once(route))
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            self._places[chain] = self.handle.router.add_route(method, route.path, _stand_in)
            self._routing.add(method, route.path, chain)

    def add_unrouted(self, parts: Sequence[Middleware | Policy]) -> None:
        """Compile the chain of requests that match no route."""

        async def refuse(call: Call, _request: web.Request) -> Outcome:
            raise self._nothing_at(call)

        self._unrouted = Chain(parts, None, refuse)

    @property
    def fixed(self) -> Fixed:
        """The headers of answers to what is no request that could be routed."""
        return self._unrouted.fixed

    def after_refusal(self, call: Call, status: int) -> None:
        """Let the policies that see every answer see one that no chain gave."""
        self._unrouted.after_refusal(call, status)

    def chain_of(self, call: Call) -> Chain:
        """Find a call's chain, and note its route and arguments."""
        key = call.method, call.path
        found = self._found.get(key)
        if found is None:
            found = self._routing.find(*key)
            if found is None:
                call.methods_at = self._routing.methods
                return self._unrouted
            self._remember(key, found)
        chain, call.arguments = found
        call.route = chain.route
        return chain

    def _remember(self, key: tuple[str, str], found: tuple[Chain, Mapping[str, str]]) -> None:
        """Keep what was found at a path, within bounds."""
        if len(key[1]) <= LONGEST_REMEMBERED:
            if len(self._found) >= PATHS_REMEMBERED:
                self._found.clear()
            self._found[key] = found

    def _nothing_at(self, call: Call) -> NotFound | MethodNotAllowed:
        """Tell whether it is the address or only the method that is wrong."""
        allowed = self._routing.methods(call.path)
        if allowed:
            names = ", ".join(sorted(allowed))
            return MethodNotAllowed(f"This address takes {names}.", headers={"Allow": names})
        return NotFound(f"Nothing is at {call.path}; GET /api/v1 tells what there is.")

    async def answer(self, request: Request) -> web.StreamResponse | Sent:
        """Answer a request by its chain, and take in what is left of its body."""
        call: Call = request[CALL]
        chain, begun = request.begun or (None, None)
        if chain is None or (chain is not self._unrouted and chain not in self._places):  # another application's by now
            if begun is not None:
                begun.drop()
                call.answer_headers.clear()
                call.remarks.clear()
            chain, begun = self.chain_of(call), None
        request.enter(self, chain)
        outcome = await chain.answer(call, request, begun)
        keep_alive = request.keep_alive
        if not request.content.is_eof():
            left_s = call.started + self._body_timeout_s - time.perf_counter()
            keep_alive = await _drained(request, left_s) and keep_alive
        if isinstance(outcome, Reply):
            return sent(outcome, call, chain.fixed, request, keep_alive=keep_alive)
        if not keep_alive:
            outcome.force_close()
        if isinstance(outcome, web.HTTPException):
            raise outcome
        return outcome

    def place_of(self, call: Call, chain: Chain) -> UrlMappingMatchInfo:
        """Give aiohttp's account of where a call was routed to."""
        place = self._places.get(chain)
        info: UrlMappingMatchInfo = MatchInfoError(web.HTTPNotFound())
        if place is not None:
            info = UrlMappingMatchInfo(dict(call.arguments), place)
        info.add_app(self.handle)
        info.freeze()
        return info


def build_application(
    routes: Sequence[tuple[str, Route]],
    parts: Sequence[Middleware | Policy],
    *,
    max_body_bytes: int = MIB,
    body_timeout_s: float = BODY_TIMEOUT_S,
    secured: bool = False,
) -> Application:
    """Compile routes, given with their owners, and what is around them, with the OpenAPI document.

    Requests that match no route pass the parts too. ``secured`` where credentials are asked for. Raises PluginError,
    naming the owners, where two routes answer the same method and path, and where a route cannot be compiled or
    described.
    """
    app = Application(max_body_bytes=max_body_bytes, body_timeout_s=body_timeout_s)
    _refuse_twins(routes)
    for owner, route in routes:
        try:
            app.add(route, parts)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{owner}'s route {route.method} {route.path} cannot be used: {error}") from error
    app.add_unrouted(parts)
    app.handle[DOCUMENT] = Document(routes, parts, secured=secured)
    app.handle.freeze()
    return app


def sent(reply: Reply, call: Call, fixed: Fixed, request: web.BaseRequest, *, keep_alive: bool) -> Sent:
    """Write a reply to a request as aiohttp takes it."""
    data = written_reply(reply, call, fixed, version=request.version, keep_alive=keep_alive)
    return Sent(reply.status, data, keep_alive=keep_alive, size=size_of(reply, call.method))


def written_reply(reply: Reply, call: Call, fixed: Fixed, *, version: HttpVersion, keep_alive: bool) -> bytes:
    """Write a reply to a call; a header that would break it is logged, and a 500 written instead."""
    head = call.method == "HEAD"
    try:
        return written(reply, call.answer_headers, fixed, call.request_id, version, keep_alive=keep_alive, head=head)
    except ValueError:
        structlog.get_logger().exception("request_failed")
        failure = problem.reply(PlantroomError(PlantroomError.remedy), call.request_id, instance=call.path)
        return written(failure, (), fixed, call.request_id, version, keep_alive=keep_alive, head=head)


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Put on an answer of aiohttp's form what every answer has."""
    call: Call = request[CALL]
    for name, value in call.answer_headers:
        if name == "Set-Cookie":
            response.headers.add(name, value)
        else:
            response.headers[name] = value
    if isinstance(request, Request) and request.chain is not None:
        for name, value in request.chain.fixed.headers.items():
            if name.lower() in ADDED_UP:
                response.headers.add(name, value)
            else:
                response.headers.setdefault(name, value)
    response.headers["X-Request-ID"] = call.request_id
    response.headers["Server"] = SERVER


def _refuse_twins(routes: Sequence[tuple[str, Route]]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for owner, route in routes:
        key = route.method, re.sub(r"{[^}]*}", "{}", route.path)
        if key in taken:
            raise PluginError(f"{taken[key]} and {owner} both answer {route.method} {route.path}: rename one")
        taken[key] = owner


async def _stand_in(_request: web.Request) -> web.StreamResponse:
    """Stand in aiohttp's router, which is only asked where a request was routed to."""
    raise web.HTTPNotImplemented


async def _drained(request: Request, seconds: float) -> bool:
    """Take in the rest of a body that nobody read, within bounds, so that the client gets to see the answer."""
    if request.waits_for_invitation:
        return False
    left = DRAINED_AT_MOST
    try:
        async with asyncio.timeout(seconds):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        pass  # whatever ails the rest, the answer stands and the connection ends
    return request.content.at_eof()
