"""Owns the listening socket and hands each request to the web application of the moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, cast

import attrs
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from yarl import URL

from core import problem
from core.api.health import healthz
from core.callers import CALL
from core.chain import CLIENT_GONE, Begun, Chain
from core.connection import Connection
from core.errors import PlantroomError, RequestError, Unavailable, any_of
from core.hosts import Hosts, reachable
from core.log import REQUEST_ID
from core.policies import Call, Policy, Steps
from core.proxies import NO_PROXIES, Proxies
from core.request_log import RequestLog
from core.requests import Request, check_expectation
from core.routes import Phase
from core.web import Application, build_application, sent, written_reply

SWEEP_EVERY_S = 1.0
BACKLOG = 1024


class ListenFailed(PlantroomError):
    """The address cannot be listened on, for the reason that the detail gives."""

    code = "server.listen_failed"
    title = "Cannot listen"
    causes = any_of(
        "Another program has the TCP port, perhaps another Plantroom: `ss -ltnp` names it.",
        "The port is below 1024, which needs privileges.",
        "`http.host` or `--host` is no address of this machine, or not yet: the network may still be coming up.",
    )
    remedy = "Choose another address with http.host and http.port, or --host and --port."


class Address(Protocol):
    """Where to listen; port 0 takes a free one."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@attrs.frozen
class Deadlines:
    """How long, in seconds, a connection may take for what."""

    header_s: float = 20.0
    idle_s: float = 30.0
    unread_answer_s: float = 60.0
    finish_s: float = 0.4
    held_s: float = 20.0


class Server:
    """Listens from `start` to `stop`; what is answered meanwhile is for `swap` to choose."""

    def __init__(
        self,
        address: Address,
        *,
        deadlines: Deadlines | None = None,
        connections_per_address: int = 256,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.proxies = proxies
        self.deadlines = deadlines or Deadlines()
        self.port = address.port
        self._host = address.host
        self._hosts = Hosts(address.host, url=lambda: self.url)
        self._log = RequestLog()
        self._limit = connections_per_address
        self._counts: Counter[str] = Counter()
        self._connections: set[Connection] = set()
        self._left_behind: set[asyncio.Task[None]] = set()
        self._web_server: _WebServer | None = None
        self._listener: asyncio.Server | None = None
        self._current: Application
        self._sweeper: asyncio.Task[None] | None = None
        self._held: tuple[str, ...] = ()
        self._swapped = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the server is to be found, once it has started."""
        return str(URL.build(scheme="http", host=reachable(self._host), port=self.port))

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self) -> None:
        """Bind and answer 503 until the first `swap`; raises ListenFailed."""
        loop = asyncio.get_running_loop()
        await self.swap(_closed_application("starting"))
        self._web_server = _WebServer(self)
        try:
            self._listener = await loop.create_server(self._web_server, self._host, self.port, backlog=BACKLOG)
        except OSError as error:
            await self.stop()
            raise ListenFailed(_listen_failure(error, self._host, self.port)) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep(), name="server:sweep")

    async def swap(self, app: Application) -> None:
        """Let this application answer from the next request on; requests under way end in the one they began in."""
        self._current = app
        self._held = ()
        self._swapped.set()

    def hold(self, prefixes: Iterable[str]) -> None:
        """Let requests whose path begins like this wait for the next `swap`, which answers them."""
        self._held, self._swapped = tuple(prefixes), asyncio.Event()

    @property
    def holds(self) -> bool:
        """Whether some requests wait for the next `swap`."""
        return bool(self._held)

    async def stopping(self) -> None:
        """Answer 503 from now on, but for /healthz."""
        await self.swap(_closed_application("stopping"))

    async def stop(self) -> None:
        """Stop listening, give requests under way a moment to finish, and close every connection."""
        if self._listener is not None:
            self._listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._web_server is not None:
            self._web_server.pre_shutdown()
            await self._web_server.shutdown(self.deadlines.finish_s)
        for task in self._left_behind:
            if not task.cancelling():
                task.cancel()
        if self._left_behind:
            await asyncio.wait(self._left_behind, timeout=self.deadlines.finish_s)
        self._log.flush()
        self._listener = self._sweeper = self._web_server = None

    # what connections ask

    def admit(self, connection: Connection, address: str) -> bool:
        """Count a new connection in, unless its address has too many."""
        if self._counts[address] >= self._limit:
            return False
        self._counts[address] += 1
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection, address: str) -> None:
        """Count a closed connection out."""
        self._connections.discard(connection)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def leave_behind(self, task: asyncio.Task[None]) -> None:
        """Remember a task whose connection is closed: it ends by itself, or with the server."""
        self._left_behind.add(task)
        task.add_done_callback(self._left_behind.discard)

    def make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """Make the request object of what has arrived."""
        limit = self._current.max_body_bytes
        return cast("Connection", protocol).make_request(message, payload, writer, task, max_body_bytes=limit)

    def at_once(self, call: Call, message: RawRequestMessage) -> bytes | tuple[Chain, Begun] | None:
        """Answer a request without a body, written out, where nothing has to be waited for.

        Else answer how far it came, or None where it has not been begun.
        """
        headers = message.headers
        if not self._hosts.known(headers.get("Host")) or not message.path.startswith("/") or hdrs.EXPECT in headers:
            return None
        if self._held and call.path.startswith(self._held):
            return None
        chain = self._current.chain_of(call)
        token = REQUEST_ID.set(call.request_id)
        try:
            found = chain.answer_at_once(call)
        finally:
            REQUEST_ID.reset(token)
        if isinstance(found, Begun):
            return chain, found
        data = written_reply(found, call, chain.fixed, version=message.version, keep_alive=True)
        self._log.note(call, found.status, time.perf_counter() - call.started)
        return data

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        call: Call = request[CALL]
        REQUEST_ID.set(call.request_id)  # the task is this request's alone
        status: int = problem.INTERNAL
        try:
            self._hosts.check(call.headers.get("Host"), request.raw_path, request.version)
            check_expectation(request)
            if self._held and call.path.startswith(self._held):
                await self._next_application()
            response = await self._current.answer(cast("Request", request))
            status = response.status
        except web.HTTPException as error:
            status = error.status
            if status < 400:
                raise
            return self.refuse(request, problem.from_http(error), status=status, log=False)
        except RequestError as error:
            status = error.status
            return self.refuse(request, error, log=False)
        except (asyncio.CancelledError, ConnectionError):
            status = CLIENT_GONE
            raise
        finally:
            self._log.note(call, status, time.perf_counter() - call.started)
            cast("Connection", request.protocol).end_request()
        return cast("web.StreamResponse", response)

    def refuse(
        self,
        request: web.BaseRequest,
        error: PlantroomError,
        *,
        status: int | None = None,
        keep_alive: bool | None = None,
        log: bool = True,
    ) -> web.StreamResponse:
        """Answer, and log, a request that no chain answers; what is on every answer is on this one too."""
        call: Call = request[CALL]
        reply = problem.reply(error, call.request_id, instance=call.path, status=status)
        self._current.after_refusal(call, reply.status)
        alive = request.keep_alive if keep_alive is None else keep_alive
        if log:
            self._log.note(call, reply.status, time.perf_counter() - call.started)
        return cast("web.StreamResponse", sent(reply, call, self._current.fixed, request, keep_alive=alive))

    async def _next_application(self) -> None:
        """Wait for the application that is being built; if it takes too long, the present one may say why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.deadlines.held_s):
                await self._swapped.wait()

    async def _sweep(self) -> None:
        """Close connections that take too long to send a header or to read their answer."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_EVERY_S, self.deadlines.header_s / 4))
            now = loop.time()
            for connection in [each for each in self._connections if each.is_late(now, self.deadlines)]:
                connection.abort()


class _WebServer(web.Server):
    """aiohttp's low-level server, with connections of ours."""

    def __init__(self, owner: Server) -> None:
        super().__init__(owner.handle, request_factory=owner.make_request)
        self._owner = owner

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._owner)


def _closed_application(state: str) -> Application:
    """Make the application that answers while the house is not open."""

    def close(_call: Call) -> None:
        raise Unavailable(f"Plantroom is {state}.")

    policy = Policy(Phase.ERRORS, lambda route: Steps(before=close) if route is None else None)
    return build_application([("core", healthz())], [policy])


def _listen_failure(error: OSError, host: str, port: int) -> str:
    options = "choose another with http.port in the configuration, or --port"
    if error.errno == errno.EADDRINUSE:
        return f"TCP port {port} of {host} is taken by another program; {options}."
    if error.errno == errno.EACCES:
        return f"TCP port {port} needs privileges that this user has not; {options}."
    return (
        f"{host}:{port} cannot be listened on ({error.strerror or error}): see http.host and http.port, --host, --port."
    )
