"""Compiles what must happen to the requests of one route into a flat chain, and runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeAlias, TypeVar, cast

import attrs
import structlog
from aiohttp import web

from core import problem
from core.callers import CALL
from core.errors import PlantroomError, RequestError
from core.owner import refuse_exit
from core.policies import Before, Call, Policy, Steps
from core.replies import Fixed, Reply, response_of, unless_known
from core.routes import Handler, Middleware, Phase, Route

Outcome: TypeAlias = "Reply | web.StreamResponse"
Inner: TypeAlias = Callable[[Call, web.Request], Awaitable[Outcome]]
OutcomeT = TypeVar("OutcomeT", bound="Reply | web.StreamResponse")
AtOnce: TypeAlias = Callable[[Call], Reply | None]

CLIENT_GONE = 499
"""The status that is noted where nobody is there any more to be answered."""


@attrs.define(eq=False)
class Begun:
    """How far the chain has come with a call already; ``waits`` is what the last step answered to be awaited."""

    steps: int
    waits: Awaitable[Reply | None] | None = None

    def drop(self) -> None:
        """Wait for nothing any more: the request begins anew elsewhere."""
        if isinstance(self.waits, Coroutine):
            self.waits.close()


class Segment:
    """A flat stretch of a chain: steps of policies, outermost first, around what is inside of them.

    One that ``catches`` answers every exception as a problem document; others let it through.
    """

    def __init__(self, steps: Sequence[Steps], inner: Inner, *, catches: bool) -> None:
        self._befores = tuple((depth, step.before) for depth, step in enumerate(steps) if step.before is not None)
        self._refuseds = tuple((depth, step.refused) for depth, step in enumerate(steps) if step.refused is not None)
        self._afters = tuple(step.after for step in reversed(steps) if step.after is not None)
        replieds = [(depth, step.replied) for depth, step in enumerate(steps) if step.replied is not None]
        self._replieds = tuple(reversed(replieds))
        self._inner = inner
        self._catches = catches
        self._depth = len(steps)

    async def answer(self, call: Call, request: web.Request, begun: Begun | None = None) -> Outcome:
        """Answer a request, going on where it was ``begun``."""
        depth, befores = (0, self._befores) if begun is None else self._left(begun)
        reply: Outcome | None = None
        try:
            if begun is not None and begun.waits is not None:
                reply = await begun.waits
            if reply is None:
                for depth, before in befores:  # noqa: B007  # how far it came
                    said = before(call)
                    if said is not None:
                        reply = said if isinstance(said, Reply) else await said
                        if reply is not None:
                            break
                else:
                    depth = self._depth
                    reply = await self._inner(call, request)
            reply = self._shown(call, reply, depth)
        except BaseException as error:  # any handler's code, a plugin's too: the failure stays with its request
            if isinstance(error, asyncio.CancelledError | GeneratorExit) or _is_cut(error, request):
                self.finish(call, CLIENT_GONE)
                raise
            reply = self._refusal(call, error, depth)
            if request.writer.output_size:
                self.finish(call, CLIENT_GONE)
                raise ConnectionResetError("the answer broke off after its headers had been sent") from error
        self.finish(call, reply.status)
        return reply

    def answer_at_once(self, call: Call, at_once: AtOnce | None) -> Reply | Begun:
        """Answer without waiting for anything, or say how far this came."""
        count = depth = 0
        try:
            for depth, before in self._befores:  # noqa: B007  # as above
                count += 1
                said = before(call)
                if said is not None:
                    if not isinstance(said, Reply):
                        return Begun(count, said)
                    reply = said
                    break
            else:
                depth = self._depth
                ready = None if at_once is None else at_once(call)
                if ready is None:
                    return Begun(count)
                reply = ready
            reply = self._shown(call, reply, depth)
        except BaseException as error:  # as above
            reply = self._problem(call, error, depth)
        self.finish(call, reply.status)
        return reply

    def _left(self, begun: Begun) -> tuple[int, Sequence[tuple[int, Callable[[Call], Before]]]]:
        """Return how deep a request has come, and the steps before the handler that are left."""
        depth = self._befores[begun.steps - 1][0] if begun.steps else 0
        return depth, self._befores[begun.steps :] if begun.steps < len(self._befores) else ()

    def _shown(self, call: Call, reply: OutcomeT, depth: int) -> OutcomeT | Reply:
        """Show a reply to the policies outside of where it was made; answer what the client is to get of it."""
        if not isinstance(reply, Reply):
            if isinstance(reply, web.StreamResponse):
                return reply
            raise TypeError(f"a policy answered {type(reply).__name__} in the place of a reply")
        for at, replied in self._replieds:
            if at < depth:
                try:
                    replied(call, reply)
                except Exception as error:  # a plugin's code: the answer stands
                    structlog.get_logger().error("policy_failed", exc_info=error)
        return unless_known(reply, call.headers) if "If-None-Match" in call.headers else reply

    def finish(self, call: Call, status: int) -> None:
        """Tell the policies what the answer's status is, the innermost first."""
        for after in self._afters:
            try:
                after(call, status)
            except BaseException as error:  # a plugin's code, were it sys.exit(): the answer stands
                structlog.get_logger().error("policy_failed", exc_info=error)

    def _refusal(self, call: Call, error: BaseException, depth: int) -> Outcome:
        moved = isinstance(error, web.HTTPException) and error.status < 400
        if self._catches:
            return cast("web.HTTPException", error) if moved else self._problem(call, error, depth)
        seen = error
        if self._refuseds and not moved and isinstance(error, PlantroomError | web.HTTPException):
            told = error if isinstance(error, PlantroomError) else problem.from_http(error)
            shown = self._seen(call, told, depth)
            seen = error if shown is told else shown
        self.finish(call, seen.status if isinstance(seen, PlantroomError | web.HTTPException) else problem.INTERNAL)
        if seen is error:
            raise error
        raise seen from error

    def _problem(self, call: Call, error: BaseException, depth: int) -> Reply:
        status = error.status if isinstance(error, web.HTTPException) else None
        seen = self._seen(call, _told(error), depth)
        return problem.reply(seen, call.request_id, instance=call.path, status=status)

    def _seen(self, call: Call, error: PlantroomError, depth: int) -> PlantroomError:
        """Show an error to the policies outside of where it was raised, the innermost first."""
        for at, refused in reversed(self._refuseds):
            if at < depth:
                try:
                    shown = refused(call, error)
                    if not isinstance(shown, PlantroomError):
                        raise TypeError(f"a policy answered {type(shown).__name__} in the place of an error")  # noqa: TRY301
                except BaseException as failure:  # a plugin's code
                    shown = _told(failure)
                error = shown
        return error


class Chain:
    """All that happens to the requests of one route: a flat segment, in which ordinary middleware may stand as a wall.

    ``route`` is None for requests that match none; ``at_once`` answers a call without waiting, where that can be.
    `answer` is the outermost segment's: exceptions that get through are aiohttp's to treat.
    """

    def __init__(
        self, parts: Sequence[Middleware | Policy], route: Route | None, endpoint: Inner, at_once: AtOnce | None = None
    ) -> None:
        self.route = route
        self._at_once = at_once
        inner, stretch, headers, walls = endpoint, list[Steps](), dict[str, str](), 0
        everywhere: list[Steps] = []
        catches = False
        for part in sorted(parts, key=lambda part: part.phase)[::-1]:
            if part.phase < Phase.ERRORS:
                catches = True
            if isinstance(part, Policy):
                steps = part.compile(route)
                if steps is not None:
                    stretch.insert(0, steps)
                    headers = {**steps.headers, **headers}
                    if part.phase <= Phase.HEADERS:
                        everywhere.insert(0, steps)
            else:
                segment = Segment(stretch, inner, catches=catches).answer if stretch or catches else inner
                wall = _behind(part, route, segment)
                if wall is not None:
                    inner, stretch, catches, walls = wall, [], False, walls + 1
        self._outermost = Segment(stretch, inner, catches=True)
        self.answer = self._outermost.answer
        self._flat = not walls
        self._everywhere = Segment(everywhere, endpoint, catches=True)
        self.fixed = Fixed(headers)

    def after_refusal(self, call: Call, status: int) -> None:
        """Tell the policies that see every answer, up to phase HEADERS, of one that was given before any was asked."""
        self._everywhere.finish(call, status)

    def answer_at_once(self, call: Call) -> Reply | Begun:
        """Answer a request that has no body without waiting, or say how far this came."""
        return self._outermost.answer_at_once(call, self._at_once if self._flat and not call.query else None)


def raised_if_refused(response: web.StreamResponse) -> web.StreamResponse:
    """Raise an exception of aiohttp's that was returned, as it once could be, where it refuses the request."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        raise response
    return response


def _told(error: BaseException) -> PlantroomError:
    """Turn any exception into one that can be answered; what nobody foresaw is logged, and its words are not shown."""
    if isinstance(error, PlantroomError):
        if error.status == problem.INTERNAL:
            structlog.get_logger().error("request_failed", exc_info=error)
        return error
    if isinstance(error, web.HTTPException):
        return problem.from_http(error)
    if isinstance(error, web.RequestPayloadError):
        return RequestError(f"The body did not arrive as its headers announce it: {error}.")
    structlog.get_logger().error("request_failed", exc_info=error)
    try:
        refuse_exit(error)
    except PlantroomError as told:
        return told
    return PlantroomError(PlantroomError.remedy)


def _is_cut(error: BaseException, request: web.Request) -> bool:
    """Tell whether it was the client's connection that failed, or an answer that broke off, and no other connection."""
    if not isinstance(error, ConnectionError):
        return False
    transport = request.transport
    return transport is None or transport.is_closing() or request.writer.output_size > 0


def _behind(middleware: Middleware, route: Route | None, inner: Inner) -> Inner | None:
    """Put ordinary middleware around a stretch of a chain; None where it leaves it as it is."""

    async def handler(request: web.Request) -> web.StreamResponse:
        outcome = await inner(request[CALL], request)
        return response_of(outcome) if isinstance(outcome, Reply) else outcome

    wrapped: Handler = middleware.wrap(route, handler)
    if wrapped is handler:
        return None

    async def call_wrapped(_call: Call, request: web.Request) -> Outcome:
        return raised_if_refused(await wrapped(request))

    return call_wrapped
