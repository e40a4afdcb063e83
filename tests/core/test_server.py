from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings, strategies

from core.routes import Route
from core.server import Deadlines, ListenFailed, Server
from core.settings import Http
from core.web import Application, build_application

Started = Callable[..., Awaitable[Server]]
POST_JSON = b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HELLO = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


@attrs.frozen
class Free:
    x: int = 0


async def hello(_request: web.Request) -> str:
    return "hello"


def hello_app(*routes: Route) -> Application:
    return build_application([("core", route) for route in (Route("GET", "/hello", hello, ""), *routes)], [])


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    servers: list[Server] = []

    async def start(*routes: Route, host: str = "127.0.0.1", **options: Any) -> Server:
        server = Server(Http(host=host, port=0), **options)
        servers.append(server)
        await server.start()
        await server.swap(hello_app(*routes))
        return server

    yield start
    for server in servers:
        await server.stop()


class Wire:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes and take one answer: its status, headers and body."""
        self.writer.write(raw)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(3):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return int(head[0].split()[1]), headers, body

    async def closed(self) -> bytes:
        """Wait until the server closes; answers what came before."""
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""


@contextlib.asynccontextmanager
async def wire_to(server: Server) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def assert_problem(status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    problem: dict[str, Any] = json.loads(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["request_id"] == headers["X-Request-ID"]
    assert headers["Server"] == "plantroom"
    return problem


async def test_a_taken_port_is_named_with_the_options_that_change_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenFailed, match=rf"TCP port {port} of 127.0.0.1 is taken.*http.port.*--port"):
            await Server(Http(port=port)).start()


async def test_two_servers_never_share_a_port(started: Started) -> None:
    server = await started()
    with pytest.raises(ListenFailed):
        await Server(Http(port=server.port)).start()


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ListenFailed, match=r"192\.0\.2\.1:0 cannot be listened on .*http\.host"):
        await Server(Http(host="192.0.2.1", port=0)).start()


async def test_before_the_first_application_only_healthz_answers() -> None:
    server = Server(Http(port=0))
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as client:
            async with client.get("/healthz") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ok"})
            for path in ("/hello", "/readyz"):
                async with client.get(path) as answer:
                    assert answer.status == 503
                    assert int(answer.headers["Retry-After"]) > 0
                    assert "starting" in (await answer.json(content_type=None))["detail"]
            await server.swap(hello_app())
            async with client.get("/hello") as answer:
                assert answer.status == 200
            await server.stopping()
            async with client.get("/hello") as answer:
                assert answer.status == 503
                assert "stopping" in (await answer.json(content_type=None))["detail"]
            async with client.get("/healthz") as answer:
                assert answer.status == 200
    finally:
        await server.stop()


async def test_a_swap_keeps_connections_and_requests_under_way(started: Started) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> str:
        began.set()
        await go.wait()
        return "old"

    async def new(_request: web.Request) -> str:
        return "new"

    server = await started(Route("GET", "/slow", slow, ""))
    async with wire_to(server) as idle, wire_to(server) as busy:
        assert (await idle.ask(HELLO))[0] == 200
        busy.writer.write(HELLO.replace(b"/hello", b"/slow"))
        async with asyncio.timeout(3):
            await began.wait()
        await server.swap(build_application([("core", Route("GET", "/hello", new, ""))], []))
        assert (await idle.ask(HELLO))[2] == b'"new"'
        go.set()
        assert (await busy.answer())[2] == b'"old"'
        assert (await busy.ask(HELLO))[2] == b'"new"'


async def test_stopping_lets_a_request_finish_and_closes_idle_connections(started: Started) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> str:
        began.set()
        await go.wait()
        return "done"

    server = await started(Route("GET", "/slow", slow, ""), deadlines=Deadlines(finish_s=2.0))
    async with wire_to(server) as idle, wire_to(server) as silent, wire_to(server) as busy:
        assert (await idle.ask(HELLO))[0] == 200
        busy.writer.write(HELLO.replace(b"/hello", b"/slow"))
        async with asyncio.timeout(3):
            await began.wait()
        stop = asyncio.create_task(server.stop())
        assert await idle.closed() == b""
        assert await silent.closed() == b""
        go.set()
        assert (await busy.answer())[2] == b'"done"'
        async with asyncio.timeout(3):
            await stop
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_stopping_does_not_wait_for_a_request_that_never_ends(started: Started) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(_request: web.Request) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await started(Route("GET", "/endless", endless, ""), deadlines=Deadlines(finish_s=0.02))
    async with wire_to(server) as wire:
        wire.writer.write(HELLO.replace(b"/hello", b"/endless"))
        async with asyncio.timeout(1):
            await began.wait()
            await server.stop()
            await wire.closed()
            await cancelled.wait()


@pytest.mark.parametrize(
    "raw",
    [
        b"this is not http\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_problem_too(started: Started, raw: bytes) -> None:
    server = await started()
    async with wire_to(server) as wire:
        status, headers, body = await wire.ask(raw)
        assert status == 400
        assert assert_problem(status, headers, body)["code"] == "request.bad"


async def test_bad_chunks_are_a_problem_too(started: Started) -> None:
    async def take(_request: web.Request, *, body: Free) -> Free:
        return body

    server = await started(Route("POST", "/take", take, "", body=Free))
    async with wire_to(server) as wire:
        answer = await wire.ask(POST_JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
        assert answer[0] == 400
        assert_problem(*answer)
        await wire.closed()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("plant.localhost:8080", 200),
        ("127.0.0.1:99", 200),
        ("127.8.8.8", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("10.0.0.1", 421),
        ("[", 421),
        ("l\u00f6calhost", 421),
        ("xn--localhost-9za.example", 421),
    ],
)
async def test_on_loopback_only_loopback_names_are_answered(started: Started, host: str, status: int) -> None:
    server = await started()
    async with wire_to(server) as wire:
        answer = await wire.ask(HELLO.replace(b"localhost", host.encode()))
        assert answer[0] == status
        if status == 421:
            assert assert_problem(*answer)["code"] == "request.misdirected"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/hello", 200),
        ("http://evil.example/hello", 421),
        ("ftp://localhost/hello", 421),
        ("*", 404),
        ("evil.example:443", 421),
    ],
)
async def test_a_target_that_names_a_host_is_checked_too(started: Started, target: str, status: int) -> None:
    server = await started()
    method = b"CONNECT" if ":443" in target else b"OPTIONS" if target == "*" else b"GET"
    async with wire_to(server) as wire:
        answer = await wire.ask(HELLO.replace(b"GET", method).replace(b"/hello", target.encode()))
        assert answer[0] == status
        if status >= 400:
            assert_problem(*answer)


async def test_beyond_loopback_any_name_is_answered(started: Started) -> None:
    server = await started(host="0.0.0.0")
    assert server.url == f"http://127.0.0.1:{server.port}"
    async with wire_to(server) as wire:
        assert (await wire.ask(HELLO.replace(b"localhost", b"plant.example")))[0] == 200


async def test_http_1_0_needs_no_host(started: Started) -> None:
    server = await started()
    async with wire_to(server) as wire:
        assert (await wire.ask(b"GET /hello HTTP/1.0\r\n\r\n"))[0] == 200
        assert await wire.closed() == b""


@pytest.mark.parametrize("coding", ["", " ", "\t"])
async def test_behind_a_request_that_may_go_on_nothing_is_read(started: Started, coding: str) -> None:
    server = await started()
    async with wire_to(server) as wire:
        status, headers, body = await wire.ask(HELLO[:-2] + f"Transfer-Encoding:{coding}\r\n\r\n".encode() + HELLO)
        assert assert_problem(status, headers, body)["code"] == "request.bad"
        assert (status, headers["Connection"]) == (400, "close")
        assert await wire.closed() == b""


async def test_an_expectation_nobody_knows_is_a_problem(started: Started) -> None:
    server = await started()
    async with wire_to(server) as wire:
        answer = await wire.ask(HELLO[:-2] + b"Expect: the-unexpected\r\n\r\n")
        assert answer[0] == 417
        assert_problem(*answer)


async def test_pipelined_requests_are_answered_in_order(started: Started) -> None:
    server = await started()
    async with wire_to(server) as wire:
        wire.writer.write(HELLO * 3)
        assert [(await wire.answer())[0] for _ in range(3)] == [200, 200, 200]


async def test_a_silent_and_an_idle_connection_are_closed(started: Started) -> None:
    server = await started(deadlines=Deadlines(idle_s=0.05))
    async with wire_to(server) as silent, wire_to(server) as idle:
        assert (await idle.ask(HELLO))[0] == 200
        assert await silent.closed() == b""
        assert await idle.closed() == b""


async def test_a_header_that_never_ends_is_given_up_on_new_and_on_used_connections(started: Started) -> None:
    server = await started(deadlines=Deadlines(header_s=0.05))
    async with wire_to(server) as new, wire_to(server) as used:
        new.writer.write(HELLO[:20])
        assert (await used.ask(HELLO))[0] == 200
        used.writer.write(HELLO[:20])
        assert await new.closed() == b""
        assert await used.closed() == b""


async def test_a_slow_body_does_not_count_as_a_slow_header(
    started: Started, leap: Callable[[float], Awaitable[None]]
) -> None:
    async def take(_request: web.Request, *, body: Free) -> Free:
        return body

    server = await started(Route("POST", "/take", take, "", body=Free))
    async with wire_to(server) as wire:
        wire.writer.write(POST_JSON + b"Content-Length: 8\r\n\r\n")
        for part in (b'{"x"', b": 1}"):
            await leap(25.0)
            wire.writer.write(part)
        assert (await wire.answer())[0] == 200


async def test_a_client_that_does_not_read_its_answer_is_given_up(started: Started) -> None:
    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(20_000_000))

    server = await started(Route("GET", "/large", large, ""), deadlines=Deadlines(header_s=0.1, unread_answer_s=0.05))
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(HELLO.replace(b"/hello", b"/large"))
        async with asyncio.timeout(3):
            while not server.connections:
                await asyncio.sleep(0.01)
            while server.connections:
                await asyncio.sleep(0.01)
        client.settimeout(3)
        with pytest.raises(ConnectionResetError):  # nor does the system keep what was not read, to offer it on
            while client.recv(1 << 16):
                pass


async def test_a_client_that_reads_slowly_gets_its_whole_answer(started: Started) -> None:
    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(20_000_000))

    server = await started(Route("GET", "/large", large, ""))
    async with wire_to(server) as wire:
        status, _headers, body = await wire.ask(HELLO.replace(b"/hello", b"/large"))
        assert (status, len(body)) == (200, 20_000_000)


async def test_connections_beyond_the_limit_are_refused_at_once_until_others_close(started: Started) -> None:
    server = await started(connections_per_address=2)
    async with wire_to(server) as first:
        assert (await first.ask(HELLO))[0] == 200
        async with wire_to(server) as second:
            assert (await second.ask(HELLO))[0] == 200
            async with wire_to(server) as third:
                assert await third.closed() == b""
        async with asyncio.timeout(3):
            while server.connections == 2:
                await asyncio.sleep(0.01)
        async with wire_to(server) as fourth:
            assert (await fourth.ask(HELLO))[0] == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
    ],
)
def test_the_address_told_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert Server(Http(host=host, port=8080)).url == url


async def test_a_server_can_stop_before_it_has_started() -> None:
    await Server(Http(port=0)).stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=strategies.binary(min_size=1, max_size=300))
def test_random_bytes_never_harm_the_server(noise: bytes) -> None:
    async def run() -> None:
        server = Server(Http(port=0))
        await server.start()
        await server.swap(hello_app())
        try:
            async with wire_to(server) as wire:
                wire.writer.write(noise + b"\r\n\r\n")
                wire.writer.write_eof()
                assert b"500" not in (await wire.closed())[:20]
            async with wire_to(server) as wire:
                assert (await wire.ask(HELLO))[0] == 200
        finally:
            await server.stop()

    asyncio.run(run())
