"""What a plugin declares about every request: policies, compiled for each route, and ways to know who asks."""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs
from multidict import CIMultiDict

from core.errors import PlantroomError
from core.principals import Principal
from core.proxies import NO_PROXIES, Proxies
from core.replies import Reply
from core.routes import Phase, Route


class Work(enum.StrEnum):
    """What a request makes the field bus do: read points, write points, scan for devices."""

    READ = "read"
    WRITE = "write"
    SCAN = "scan"


Meter: TypeAlias = "Callable[[Call, Work, int], Awaitable[None] | None]"


def _nothing_at(_path: str) -> Collection[str]:
    """Tell nothing: a route was found, or nobody serves."""
    return ()


@attrs.define(eq=False)
class Call:
    """A request as plain data: what policies look at, and where they note what they find.

    ``path`` is percent-encoded, ``query`` what follows its question mark; ``headers`` take names in any case; ``peer``
    is the IP address of the connection. ``route`` is None where nothing is at the path; ``arguments`` are its parts by
    name; where it is None, ``methods_at`` tells which methods a path takes. ``started`` counts as `time.perf_counter`.
    ``principal`` is known from phase AUTH on.

    What is put into ``answer_headers`` is sent with whatever the request is answered; ``remarks`` are names and texts
    that the log tells of it, such as ``("cache", "hit")``. ``meter`` is asked, with the
    call, before the field bus is made to work for it, and raises TooManyRequests. Nothing in a call may lead back to
    the call: each request would be left to the garbage collector.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str
    request_id: str
    route: Route | None = None
    arguments: Mapping[str, str] = MappingProxyType({})
    encrypted: bool = False
    proxies: Proxies = NO_PROXIES
    started: float = attrs.field(factory=time.perf_counter)
    principal: Principal | None = None
    answer_headers: list[tuple[str, str]] = attrs.field(factory=list)
    meter: Meter | None = None
    methods_at: Callable[[str], Collection[str]] = _nothing_at
    remarks: list[tuple[str, str]] = attrs.field(factory=list)
    _client: str | None = None

    @property
    def client(self) -> str:
        """The IP address that the request comes from: the peer's, or what trusted proxies say of theirs."""
        if self._client is None:
            self._client = self.proxies.client(self.peer, self.headers) if self.proxies.networks else self.peer
        return self._client

    @property
    def secure(self) -> bool:
        """Whether the client's connection is encrypted: ours, or a trusted proxy's."""
        return self.encrypted or (bool(self.proxies.networks) and self.proxies.secure(self.peer, self.headers))


Before: TypeAlias = "Reply | Awaitable[Reply | None] | None"


@attrs.frozen
class Steps:
    """What a policy does about the requests of one route, each step synchronous, and none of them slow.

    ``before`` lets the request pass by returning None, answers it by returning a Reply, so that nothing further inside
    is asked, and refuses it by raising PlantroomError; where it answers something to await, that is what counts.
    ``replied`` is shown the reply that was made further inside, before If-None-Match is looked at; one that is a
    response of aiohttp's it is not shown. ``refused`` is told of an error from further inside and answers it, or
    another one in its place. ``after`` is told the status. ``headers`` are on every answer that has none of that name.
    """

    before: Callable[[Call], Before] | None = None
    refused: Callable[[Call, PlantroomError], PlantroomError] | None = None
    after: Callable[[Call, int], None] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    replied: Callable[[Call, Reply], None] | None = None


@attrs.frozen
class Policy:
    """A rule about requests at a phase, compiled into the chain of each route.

    ``compile`` is called once for each route when the application is built, and with None for requests that match no
    route; it answers None where the route needs nothing. ``errors`` are those that it may answer on any route.
    """

    phase: Phase
    compile: Callable[[Route | None], Steps | None]
    errors: tuple[type[PlantroomError], ...] = ()


Known: TypeAlias = "Principal | None"


@attrs.frozen
class Authenticator:
    """A way to know who a request is from; it is asked only on routes that are not public.

    ``authenticate`` answers None for a request that brings nothing of its kind, or nothing that it knows: the next one
    is asked then, and in the end the request is refused. It raises RequestError for what is to be refused at once.
    """

    name: str
    authenticate: Callable[[Call], Known | Awaitable[Known]]


def call_of(
    method: str = "GET", path: str = "/api/v1", *, headers: Mapping[str, str] | None = None, peer: str = "127.0.0.1"
) -> Call:
    """Make a call that no server received, for the tests of a policy or authenticator."""
    return Call(method, path, "", CIMultiDict(headers or {}), peer, "test")
