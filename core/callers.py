"""What a handler asks about its request: who sent it, and whether it may make the field bus work."""

from __future__ import annotations

from aiohttp import web

from core.policies import Call, Work
from core.principals import ANONYMOUS, Principal

CALL = web.RequestKey("call", Call)
REQUEST_ID = web.RequestKey("request_id", str)


def call_of_request(request: web.Request) -> Call:
    """Return a request as plain data."""
    call: Call = request[CALL]
    return call


def principal_of(request: web.Request) -> Principal:
    """Return who sent a request."""
    call: Call | None = request.get(CALL)
    return ANONYMOUS if call is None or call.principal is None else call.principal


async def spend(request: web.Request, work: Work, count: int) -> None:
    """Let a limiter count what the field bus is about to do for a request; raises TooManyRequests where it is too much.

    ``count`` is how many points are read or written, or scans begun.
    """
    call: Call | None = request.get(CALL)
    if count and call is not None and call.meter is not None:
        waits = call.meter(call, work, count)
        if waits is not None:
            await waits
