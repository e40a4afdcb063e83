"""Owns the listening socket and hands each request to the web application of the moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from yarl import URL

from core import problem
from core.api.health import healthz
from core.callers import CALL
from core.certificates import Certificate
from core.chain import CLIENT_GONE, Begun, Chain
from core.connection import Connection
from core.errors import PlantroomError, RequestError, Unavailable, any_of
from core.heads import Head, Heads
from core.hosts import Hosts, reachable
from core.policies import Call, Policy, Steps
from core.proxies import NO_PROXIES, Proxies
from core.replies import Sent, size_of
from core.request_ids import REQUEST_ID
from core.request_log import RequestLog
from core.requests import Request, check_expectation, check_framing
from core.routes import Phase
from core.serving import Deadlines, Http
from core.tasks import end_tasks
from core.tls import Encrypted
from core.web import Application, build_application, sent, written_reply

SWEEP_EVERY_S = 1.0
FOLLOW_EVERY_S = 5.0
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


class Server:
    """Listens from `start` to `stop`; what is answered meanwhile is for `swap` to choose."""

    def __init__(
        self,
        address: Address,
        *,
        deadlines: Deadlines | None = None,
        connections_per_address: int = 256,
        proxies: Proxies = NO_PROXIES,
        certificate: Certificate | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self.proxies = proxies
        self.deadlines = deadlines or Deadlines()
        self.port = address.port
        self._host = address.host
        self._hosts = Hosts(address.host, url=lambda: self.url, names=hosts)
        self._name = next((name for name in hosts if not name.startswith("*")), None)
        self.heads = Heads()
        self._log = RequestLog()
        self._limit = connections_per_address
        self._counts: Counter[str] = Counter()
        self.connected: set[Connection] = set()
        self.encrypted: set[Encrypted] = set()
        self.certificate = certificate
        self._left_behind: set[asyncio.Task[None]] = set()
        self._web_server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._current: Application
        self._keepers: list[asyncio.Task[None]] = []
        self._held: tuple[str, ...] = ()
        self._swapped = asyncio.Event()
        self._left = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the server is to be found, once it has started."""
        scheme = "http" if self.certificate is None else "https"
        return str(URL.build(scheme=scheme, host=self._name or reachable(self._host), port=self.port))

    @property
    def connections(self) -> int:
        """How many connections are open, those included that are not encrypted yet."""
        return self._counts.total()

    async def start(self, app: Application | None = None) -> None:
        """Bind and let this application answer, or 503 until the first `swap`; raises ListenFailed."""
        loop = asyncio.get_running_loop()
        await self.swap(app or _closed_application("starting"))
        self._web_server = web.Server(cast("Any", self.handle), request_factory=self.make_request)
        try:
            self._listener = await loop.create_server(self._accept, self._host, self.port, backlog=BACKLOG)
        except OSError as error:
            await self.stop()
            raise ListenFailed(_listen_failure(error, self._host, self.port)) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._keepers = [asyncio.create_task(self._sweep(), name="server:sweep")]
        if self.certificate is not None:
            self._keepers.append(asyncio.create_task(self._keep_following(), name="server:certificate"))

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
        await end_tasks(self._keepers)
        if self._web_server is not None:
            self._web_server.pre_shutdown()
            await self._web_server.shutdown(self.deadlines.finish_s)
        for task in self._left_behind:
            if not task.cancelling():
                task.cancel()
        if self._left_behind:
            await asyncio.wait(self._left_behind, timeout=self.deadlines.finish_s)
        await self._part()
        self._log.flush()
        self._listener = self._web_server = None

    # what connections ask

    def enter(self, address: str) -> bool:
        """Count a new connection in, unless its address has too many."""
        if self._counts[address] >= self._limit:
            return False
        self._counts[address] += 1
        return True

    def exit(self, address: str) -> None:
        """Count a closed connection out."""
        self._left.set()
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

    def at_once(self, call: Call, head: Head) -> bytes | tuple[Chain, Begun] | None:
        """Answer a request without a body, written out, where nothing has to be waited for.

        Else answer how far it came, or None where it has not been begun.
        """
        if not self._hosts.known(head.host):
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
        data = written_reply(found, call, chain.fixed, version=HttpVersion11, keep_alive=True)
        self._log.note(call, found.status, time.perf_counter() - call.started, size_of(found, call.method))
        return data

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse | Sent:
        """Answer one request."""
        if not isinstance(request, Request):
            raise TypeError("requests are made by `make_request`")
        call: Call = request[CALL]
        REQUEST_ID.set(call.request_id)  # the task is this request's alone
        status: int = problem.INTERNAL
        response: web.StreamResponse | Sent | None = None
        try:
            if request.begun is None:  # else `at_once` saw to these
                self._hosts.check(call.headers.get("Host"), request.raw_path, request.version)
                check_framing(request)
                check_expectation(request)
            if self._held and call.path.startswith(self._held):
                await self._next_application()
            response = await self._current.answer(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            if status < 400:
                raise
            response = self.refuse(request, problem.from_http(error), status=status, log=False)
        except RequestError as error:
            status = error.status
            alive = False if status == HTTPStatus.BAD_REQUEST else None  # what follows may be a part of it
            response = self.refuse(request, error, keep_alive=alive, log=False)
        except (asyncio.CancelledError, ConnectionError):
            status = CLIENT_GONE
            raise
        finally:
            self._log.note(call, status, time.perf_counter() - call.started, _size(call, response))
            cast("Connection", request.protocol).end_request()
        return response

    def refuse(
        self,
        request: web.BaseRequest,
        error: PlantroomError,
        *,
        status: int | None = None,
        keep_alive: bool | None = None,
        log: bool = True,
    ) -> Sent:
        """Answer, and log, a request that no chain answers; what is on every answer is on this one too."""
        call: Call = request[CALL]
        reply = problem.reply(error, call.request_id, instance=call.path, status=status)
        self._current.after_refusal(call, reply.status)
        alive = request.keep_alive if keep_alive is None else keep_alive
        if log:
            self._log.note(call, reply.status, time.perf_counter() - call.started, size_of(reply, call.method))
        return sent(reply, call, self._current.fixed, request, keep_alive=alive)

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
            for connection in [each for each in self.connected if each.is_late(now, self.deadlines)]:
                connection.abort()

    def _accept(self) -> asyncio.BaseProtocol:
        """Make what takes a new connection."""
        connection = Connection(cast("web.Server", self._web_server), self)
        if self.certificate is None:
            return connection
        return Encrypted(self, connection, self.certificate.context, handshake_s=self.deadlines.handshake_s)

    async def follow_certificate(self) -> None:
        """Look whether the certificate's files have changed; in a thread, since files may be slow."""
        if self.certificate is not None:
            await asyncio.to_thread(self.certificate.follow)

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            await self.follow_certificate()

    async def _part(self) -> None:
        """Let encrypted connections say goodbye for a moment, and close those that do not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.deadlines.finish_s):
                while self.encrypted:
                    self._left.clear()
                    await self._left.wait()
        for each in [*self.encrypted]:
            each.abort()


def server_of(http: Http) -> Server:
    """Make the server that the configuration describes; raises CertificateUnusable."""
    return Server(
        http,
        deadlines=http.deadlines,
        connections_per_address=http.connections_per_address,
        proxies=Proxies(http.trusted_proxies),
        certificate=None if http.tls is None else Certificate(http.tls),
        hosts=http.hosts,
    )


def _size(call: Call, response: web.StreamResponse | Sent | None) -> int | None:
    """Return how long an answer's body is; None where nobody can say yet."""
    if isinstance(response, Sent):
        return response.size
    if response is None or call.method == "HEAD":
        return None if response is None else 0
    return response.content_length or response.body_length or None


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
