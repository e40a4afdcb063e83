"""Owns the listening socket and hands each request to the web application of the moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, cast

import attrs
import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from yarl import URL

from core import problem
from core.api.health import healthz
from core.errors import PlantroomError, RequestError, Unavailable, any_of
from core.problem import Misdirected
from core.routes import Handler, Middleware, Phase, Route
from core.web import REQUEST_ID, build_application, request_id_of, stamp

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
        self, address: Address, *, deadlines: Deadlines | None = None, connections_per_address: int = 256
    ) -> None:
        self.deadlines = deadlines or Deadlines()
        self.port = address.port
        self._host = address.host
        self._local = _is_loopback(address.host)
        self._limit = connections_per_address
        self._counts: Counter[str] = Counter()
        self._connections: set[_Connection] = set()
        self._web_server: _WebServer | None = None
        self._listener: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None
        self._current: web.Server
        self._sweeper: asyncio.Task[None] | None = None
        self._held: tuple[str, ...] = ()
        self._swapped = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the server is to be found, once it has started."""
        return str(URL.build(scheme="http", host=_reachable(self._host), port=self.port))

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

    async def swap(self, app: web.Application) -> None:
        """Let this application answer from the next request on; requests under way end in the one they began in."""
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._current = cast("web.Server", runner.server)
        self._runner, old = runner, self._runner
        self._held = ()
        self._swapped.set()
        if old is not None:
            await old.cleanup()

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
        if self._runner is not None:
            await self._runner.cleanup()
        self._listener = self._sweeper = self._web_server = self._runner = None

    # what connections ask

    def admit(self, connection: _Connection, address: str) -> bool:
        """Count a new connection in, unless its address has too many."""
        if self._counts[address] >= self._limit:
            return False
        self._counts[address] += 1
        self._connections.add(connection)
        return True

    def leave(self, connection: _Connection, address: str) -> None:
        """Count a closed connection out."""
        self._connections.discard(connection)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """Make the request object of the application of the moment."""
        if isinstance(protocol, _Connection):
            protocol.begin_request()
        return self._current.request_factory(message, payload, protocol, writer, task)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._check_host(request)
            if self._held and request.path.startswith(self._held):
                await self._next_application()
            return await self._current.request_handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return refusal(request, problem.from_http(error), status=error.status)
        except RequestError as error:
            return refusal(request, error)
        finally:
            if isinstance(request.protocol, _Connection):
                request.protocol.end_request()

    async def _next_application(self) -> None:
        """Wait for the application that is being built; if it takes too long, the present one may say why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.deadlines.held_s):
                await self._swapped.wait()

    def _check_host(self, request: web.BaseRequest) -> None:
        """On loopback, answer to loopback's own names only: a web page may have pointed its name here."""
        host = request.headers.get("Host")
        if host is None and request.version >= HttpVersion11:
            raise RequestError("HTTP/1.1 requests name their host: send a Host header.")
        if not self._local:
            return
        targets = [] if request.raw_path.startswith("/") else [request.raw_path]
        for name in [f"//{host}"] * (host is not None) + targets:
            if not self._is_us(name):
                raise Misdirected(f"This server does not answer to that name; use {self.url}.")

    def _is_us(self, authority: str) -> bool:
        host = _host_of(authority)
        return authority == "*" or (host is not None and (host == self._host or _is_loopback(host)))

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
        return _Connection(self, self._owner)


class _Connection(web.RequestHandler):
    """One client's connection, with deadlines, and with every refusal in our form."""

    __slots__ = ("_address", "_header_since", "_in_request", "_owner", "_stuck_since", "_wire")

    def __init__(self, web_server: web.Server, owner: Server) -> None:
        super().__init__(
            web_server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=owner.deadlines.idle_s,
            lingering_time=1.0,
            access_log=None,  # type: ignore[arg-type]  # documented as the way to switch it off
        )
        self._owner = owner
        self._wire: asyncio.BaseTransport | None = None
        self._address: str | None = None
        self._in_request = False
        self._header_since: float | None = None
        self._stuck_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._wire = transport
        if not self._owner.admit(self, address):
            self.abort()
            return
        self._address = address
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self._owner.leave(self, self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_request and self._header_since is None:
            self._header_since = self._loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        self._stuck_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_since = None
        super().resume_writing()

    def begin_request(self) -> None:
        """Note that a complete header has arrived."""
        self._in_request, self._header_since = True, None

    def end_request(self) -> None:
        """Note that the next header may come."""
        self._in_request = False

    def is_late(self, now: float, deadlines: Deadlines) -> bool:
        """Tell whether the client has been sending a header, or not reading its answer, for too long."""
        return (self._header_since is not None and now - self._header_since > deadlines.header_s) or (
            self._stuck_since is not None and now - self._stuck_since > deadlines.unread_answer_s
        )

    def abort(self) -> None:
        """Close at once, whatever is still unsent."""
        if isinstance(self._wire, asyncio.Transport):
            self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached the application, or failed outside its error phase."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer broke off after its headers had been sent")
        if status >= problem.INTERNAL:
            structlog.get_logger().error("request_failed", exc_info=exc)
            error: PlantroomError = PlantroomError(PlantroomError.remedy)
        else:
            first_line = (message or "bad request").strip().splitlines()[0].rstrip(":.")
            error = RequestError(f"The request is not well-formed HTTP: {first_line}.")
        response = refusal(request, error, status=error.status)
        response.force_close()
        return response


def refusal(request: web.BaseRequest, error: PlantroomError, *, status: int | None = None) -> web.Response:
    """Answer, and log, a request that no application handles."""
    known = request.get(REQUEST_ID)
    request_id = request[REQUEST_ID] = known or request_id_of(request)
    response = problem.answer(error, request_id, instance=request.rel_url.raw_path, status=status)
    stamp(response, request_id)
    if known is None:  # no application has logged it
        log = structlog.get_logger().bind(request_id=request_id)
        log.info("request", method=request.method, path=request.rel_url.raw_path, status=response.status)
    return response


def _closed_application(state: str) -> web.Application:
    """Make the application that answers while the house is not open."""

    def close(route: Route | None, handler: Handler) -> Handler:
        async def refuse(_request: web.Request) -> web.StreamResponse:
            raise Unavailable(f"Plantroom is {state}.")

        return refuse if route is None else handler

    return build_application([("core", healthz())], [Middleware(Phase.ERRORS, close)])


def _reachable(host: str) -> str:
    """Name the address under which this machine reaches what listens on all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


@functools.lru_cache(maxsize=1024)
def _host_of(authority: str) -> str | None:
    """Return the host of a Host header or a request target, None where it has none."""
    try:
        return URL(authority, encoded=True).host
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _listen_failure(error: OSError, host: str, port: int) -> str:
    options = "choose another with http.port in the configuration, or --port"
    if error.errno == errno.EADDRINUSE:
        return f"TCP port {port} of {host} is taken by another program; {options}."
    if error.errno == errno.EACCES:
        return f"TCP port {port} needs privileges that this user has not; {options}."
    return (
        f"{host}:{port} cannot be listened on ({error.strerror or error}): see http.host and http.port, --host, --port."
    )
