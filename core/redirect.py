"""Sends clients that ask by plain HTTP on to TLS: a port of its own, which serves nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import quote

import attrs
from yarl import URL

from core.hosts import host_of
from core.policies import Call, Policy, Steps
from core.replies import Reply
from core.routes import Phase
from core.server import Server
from core.serving import Http
from core.web import build_application

HTTPS = 443
_KEPT = "%/?#[]@!$&'()*+,;=:"


@asynccontextmanager
async def redirecting(http: Http, *, to: Server) -> AsyncIterator[Server]:
    """Redirect from ``redirect_port`` while this is held open, to the same name's address on ``to``.

    A name that is not ours gets what it gets there, 421. Raises ListenFailed.
    """
    server = Server(
        attrs.evolve(http, port=http.redirect_port or 0),
        deadlines=http.deadlines,
        connections_per_address=http.connections_per_address,
        hosts=http.hosts,
    )

    def send_on(call: Call) -> Reply:
        return Reply(HTTPStatus.PERMANENT_REDIRECT, headers=(("Location", address(call, to)),))

    policy = Policy(Phase.ERRORS, lambda _route: Steps(before=send_on))
    await server.start(build_application([], [policy]))
    try:
        yield server
    finally:
        await server.stop()


def address(call: Call, to: Server) -> str:
    """Write the address of what a call asks for, by TLS."""
    named = call.headers.get("Host")
    host = (None if named is None else host_of(f"//{named}")) or URL(to.url).host or ""
    authority = f"[{host}]" if ":" in host else host
    port = "" if to.port == HTTPS else f":{to.port}"
    target = call.path + (f"?{call.query}" if call.query else "")
    rest = quote(target, safe=_KEPT, errors="surrogateescape") if target.startswith("/") else "/"
    return f"https://{authority}{port}{rest}"
