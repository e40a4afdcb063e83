"""One client's connection: with deadlines, every refusal in our form, and answers at once where that can be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from core import problem
from core.chain import Begun, Chain
from core.errors import PlantroomError, RequestError
from core.heads import END, Head, head_of
from core.policies import Call
from core.replies import Sent
from core.requests import Request, path_and_query, request_id_of

if TYPE_CHECKING:
    from core.server import Server
    from core.serving import Deadlines

_AT_ONCE = struct.pack("ii", 1, 0)


class Connection(web.RequestHandler):
    """A connection of aiohttp's that takes a request without a body into its own hands as soon as it is read.

    Where nothing has to be waited for, it is answered there and then, without a task or a response object; where it
    has, its task begins at once. Everything else, such as what arrives before the last answer is sent, goes aiohttp's
    way.
    """

    __slots__ = (
        "_address", "_begun", "_between", "_encrypted", "_header_since", "_in_request", "_owner", "_parked", "_serving",
        "_stuck_since", "_wire",
    )  # fmt: skip

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
        self._encrypted = False
        self._in_request = False
        self._between = True  # where aiohttp's parser stands, as far as can be known from outside
        self._begun: tuple[Call, Chain, Begun] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._parked: asyncio.Future[None] | None = None
        self._header_since: float | None = None
        self._stuck_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._wire = transport
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        if not self._encrypted and not self._owner.enter(address):  # else `core.tls` has counted it already
            self.abort()
            return
        self._address = address
        self._owner.connected.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self._owner.connected.discard(self)
            if not self._encrypted:
                self._owner.exit(self._address)
            self._address = None
        working = self._serving or (self._task_handler if self._request_in_progress else None)
        if working is not None:
            self._owner.leave_behind(working)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        idle = waiter is not None and not waiter.done() and self._payload_parser is None and not self._upgraded
        if idle and self._stuck_since is None and not self._force_close and not self._close:
            known = self._owner.heads.find(data) if self._between else None
            if known is not None and self._take(known):
                return
            self._waiter = None  # so that nobody takes what arrives before it was looked at here
            super().data_received(data)
            self._waiter = waiter
            head = head_of(*self._messages[0]) if len(self._messages) == 1 else None
            if self._between:
                self._between = head is not None and data.find(END) == len(data) - len(END)
                if head is not None and self._between:
                    self._owner.heads.keep(data, head)
            if head is not None and self._take(head):
                self._messages.popleft()
                if self._parser is not None:
                    self._parser.message_consumed()
                return
            if self._messages:
                waiter.set_result(None)  # type: ignore[union-attr]  # it is idle: there is one
        else:
            self._between = False
            super().data_received(data)
        if not self._in_request and self._header_since is None and not self._messages:
            self._header_since = self._loop.time()

    def _take(self, head: Head) -> bool:
        """Take the one request that has arrived: answer it now, or begin to."""
        call = self._call(head.message, head.path, head.query, head.request_id)
        found = self._owner.at_once(call, head)
        if found is None:
            return False
        if isinstance(found, bytes):
            self._header_since = None
            self._stay_open()
            if self.transport is not None:
                self.transport.write(found)
        else:
            self._begun = call, *found
            self._parked, self._waiter = self._waiter, None  # what arrives meanwhile waits its turn
            self._serving = asyncio.Task(self._serve(head.message, EMPTY_PAYLOAD), loop=self._loop)  # the kernel's own
        return True

    async def _serve(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """Answer a request as `start` does, in its own task from the beginning."""
        alive = False
        task = cast("asyncio.Task[None]", self._serving)
        request = self._owner.make_request(message, payload, self, StreamWriter(self, self._loop), task)
        try:
            self._request_in_progress, self._current_request = True, request
            response = await self._owner.handle(request)
            if isinstance(response, Sent):
                await response.prepare(request)
                alive = response.keep_alive
            else:
                response, reset = await self.finish_response(request, response, None)
                alive = not reset and bool(response.keep_alive)
        except ConnectionError:
            pass  # the client is gone
        except Exception as error:  # a redirect that is raised, or what fails where nothing may: aiohttp's to treat
            with contextlib.suppress(ConnectionError):
                response, reset = await self._handle_request(request, None, _raising(error))
                alive = not reset and bool(response.keep_alive)
        finally:
            self._resume(alive=alive)

    def _resume(self, *, alive: bool) -> None:
        """Go on with what has arrived meanwhile, or close."""
        waiter, self._parked, self._serving = self._parked, None, None
        self._request_in_progress, self._current_request = False, None
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if not alive or self._force_close or self._close:
            self.force_close()
            if waiter is not None:
                waiter.cancel()
            return
        self._stay_open()
        self._waiter = waiter
        if self._messages and waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _stay_open(self) -> None:
        """Begin to count how long the connection is idle."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # aiohttp's own
        """Let the request under way finish within so many seconds, and close."""
        waiting = self._task_handler
        await super().shutdown(timeout)
        if self._serving is not None:
            self._serving.cancel()
        for task in (self._serving, waiting):
            if task is not None and not task.done():
                self._owner.leave_behind(task)

    def _call(self, message: RawRequestMessage, path: str, query: str, request_id: str | None) -> Call:
        return Call(
            message.method, path, query, message.headers, self._address or "", request_id_of(request_id),
            encrypted=self._encrypted, proxies=self._owner.proxies, started=time.perf_counter(),
        )  # fmt: skip

    def make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
        *,
        max_body_bytes: int,
    ) -> Request:
        """Make the request object of what has arrived, and note that it has."""
        self._in_request, self._header_since = True, None
        if message.upgrade and message.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            message = message._replace(should_close=True)  # aiohttp's parser loses what arrives together with it
        begun, self._begun = self._begun, None
        if begun is None:
            call = self._call(message, *path_and_query(message), message.headers.get("X-Request-ID"))
            chain = None
        else:
            call, chain = begun[0], begun[1:]
        return Request(call, chain, message, payload, self, writer, task, self._loop, client_max_size=max_body_bytes)

    def pause_writing(self) -> None:
        self._stuck_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_since = None
        super().resume_writing()

    def end_request(self) -> None:
        """Note that the next header may come."""
        self._in_request = False

    def is_late(self, now: float, deadlines: Deadlines) -> bool:
        """Tell whether the client has been sending a header, or not reading its answer, for too long."""
        return (self._header_since is not None and now - self._header_since > deadlines.header_s) or (
            self._stuck_since is not None and now - self._stuck_since > deadlines.unread_answer_s
        )

    def abort(self) -> None:
        """Close at once, whatever is still unsent: else the system would go on offering it to who does not read."""
        if isinstance(self._wire, asyncio.Transport):
            with contextlib.suppress(OSError):  # closed already
                self._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._wire.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; one that cannot be sent, such as for a header that would break it, becomes a 500."""
        try:
            return await super().finish_response(request, resp, start_time)
        except ConnectionError:
            raise
        except Exception as error:  # a plugin's own response
            failure = self.handle_error(request, problem.INTERNAL, error)
            return await super().finish_response(request, failure, start_time)

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
        if isinstance(exc, ConnectionError):
            raise ConnectionResetError("the client left before its request was complete") from exc
        if status >= problem.INTERNAL:
            structlog.get_logger().error("request_failed", exc_info=exc)
            error: PlantroomError = PlantroomError(PlantroomError.remedy)
        else:
            first_line = (message or "bad request").strip().splitlines()[0].rstrip(":.")
            error = RequestError(f"The request is not well-formed HTTP: {first_line}.")
        noted = status >= problem.INTERNAL  # by who handled it
        refused = self._owner.refuse(request, error, status=error.status, keep_alive=False, log=not noted)
        return cast("web.StreamResponse", refused)

    def log_exception(self, *arguments: Any, **options: Any) -> None:
        """Log what failed while the rest of a body was awaited, unless it is only that it did not arrive in order."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError | ConnectionError):
            super().log_exception(*arguments, **options)


def _raising(error: Exception) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        raise error

    return handler
