from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings, strategies
from hypothesis import Phase as Phase_
from structlog.testing import capture_logs
from wire import PATIENCE_S, Wire, application, get, hello, leaving_nothing, post, serving, until, wire_to

from core.errors import CredentialsRequired
from core.policies import Call, Policy, Steps
from core.replies import Answer
from core.routes import Phase, Route
from core.server import Deadlines, Server
from core.web import Application

Leap = Callable[[float], Awaitable[None]]


@attrs.frozen
class Numbered:
    n: int = 0


class House:
    """An application with a route of each sort; it counts what is called, and slow handlers wait for its gate."""

    def __init__(self, *, word: str = "old", size: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.word = word
        self.size = size

    @property
    def routes(self) -> list[Route]:
        return [
            Route("GET", "/hello", self.hello, ""),
            Route("GET", "/ready", self.hello, "", at_once=self.ready),
            Route("GET", "/later", self.later, ""),
            Route("GET", "/slow", self.slow, ""),
            Route("GET", "/ws", self.socket, ""),
            Route("GET", "/held/{x}", self.held, ""),
            Route("POST", "/take", self.take, "", body=Numbered),
        ]

    def app(self, **options: Any) -> Application:
        return application(*self.routes, **options)

    async def hello(self, request: web.Request) -> str:
        self.calls[request.headers.get("X-Request-ID", "")] += 1
        return self.word

    def ready(self) -> Answer:
        self.calls["ready"] += 1
        return Answer(b'"' + b"r" * self.size + b'"')

    async def later(self, request: web.Request) -> str:
        self.calls[request.headers.get("X-Request-ID", "")] += 1
        for _ in range(7):
            await asyncio.sleep(0)
        return self.word

    async def slow(self, request: web.Request) -> str:
        self.calls[request.headers.get("X-Request-ID", "slow")] += 1
        self.began.set()
        await self.gate.wait()
        return self.word

    async def held(self, _request: web.Request, *, x: str) -> str:
        self.calls[x] += 1
        return self.word

    async def take(self, request: web.Request, *, body: Numbered) -> Numbered:
        self.calls[request.headers.get("X-Request-ID", "take")] += 1
        return body

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(f"{message.data}!")
        return response


async def opened(server: Server, wire: Wire) -> None:
    """Make a server know its host, so that it may answer at once."""
    assert (await wire.ask(get("/hello"))).status == 200


KINDS = {
    "hello": (lambda at: get("/hello", f"X-Request-ID: {at}"), 200),
    "ready": (lambda at: get("/ready", f"X-Request-ID: {at}"), 200),
    "query": (lambda at: get("/ready?x=1", f"X-Request-ID: {at}"), 422),
    "later": (lambda at: get("/later", f"X-Request-ID: {at}"), 200),
    "nowhere": (lambda at: get("/nowhere", f"X-Request-ID: {at}"), 404),
    "post": (lambda at: post("/take", b'{"n": 7}', f"X-Request-ID: {at}"), 200),
    "chunked": (
        lambda at: (
            get(
                "/take",
                "Content-Type: application/json",
                "Transfer-Encoding: chunked",
                f"X-Request-ID: {at}",
                method="POST",
            )
            + b'8\r\n{"n": 7}\r\n0\r\n\r\n'
        ),
        200,
    ),
    "unread": (lambda at: post("/hello", b"x" * 300, f"X-Request-ID: {at}"), 405),
}
# An upgrade that is declined is not among them: aiohttp 3.14 mixes up what comes in pieces behind one.
LAST = {
    "malformed": (lambda _at: b"GET /hello HTTP/1.1\r\nbad header\r\n\r\n", 400),
    "closing": (lambda at: get("/hello", "Connection: close", f"X-Request-ID: {at}"), 200),
    "old": (lambda at: get("/hello", f"X-Request-ID: {at}", version="1.0"), 200),
}


@settings(max_examples=40, phases=[Phase_.generate], deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=strategies.lists(strategies.sampled_from(sorted(KINDS)), min_size=1, max_size=40),
    last=strategies.sampled_from([None, *LAST]),
    cut=strategies.sampled_from([1, 7, 60, 150, 1000, 100_000]),
    known=strategies.booleans(),
)
def test_requests_in_every_mixture_and_in_every_slice_are_answered_in_order_and_each_once(
    kinds: list[str], last: str | None, cut: int, known: bool
) -> None:
    async def run() -> None:
        house = House()
        asked = [KINDS[kind] for kind in (kinds if cut > 1 else kinds[:6])] + ([LAST[last]] if last else [])
        *raws, end = [
            make(at) for at, (make, _status) in enumerate(asked)
        ]  # a server may close at half a malformed one
        raw = b"".join(raws)
        async with leaving_nothing(), serving(house.app()) as server, wire_to(server) as wire:
            if known:
                await opened(server, wire)
                async with wire_to(server) as other:  # from which the server knows them by now
                    for each in [*raws, end]:
                        await other.ask(each)
                house.calls.clear()

            async def send() -> None:
                for piece in (raw[at : at + cut] for at in range(0, len(raw), cut)):
                    wire.writer.write(piece)
                    await wire.writer.drain()
                    await asyncio.sleep(0)

            sending = asyncio.create_task(send())
            for at, (_make, status) in enumerate(asked):
                if at == len(asked) - 1:  # aiohttp forgets what comes in one segment with what is malformed
                    await sending
                    wire.writer.write(end)
                answer = await wire.answer()
                assert answer.status == status
                if status != 400:
                    assert answer.headers["X-Request-ID"] == str(at)
            if last:
                assert await wire.closed() == b""
            else:
                assert (await wire.ask(get("/later"))).status == 200
            house.calls.pop("ready", None)
            house.calls.pop("", None)
            assert set(house.calls.values()) <= {1}

    with capture_logs():
        asyncio.run(run())


async def test_what_arrives_while_a_request_is_under_way_waits_for_its_turn() -> None:
    house = House()
    async with serving(house.app()) as server, wire_to(server) as wire:
        await opened(server, wire)
        wire.writer.write(get("/slow", "X-Request-ID: one"))
        await asyncio.wait_for(house.began.wait(), PATIENCE_S)
        for at in range(40):
            wire.writer.write(get("/ready", f"X-Request-ID: {at}"))
            await asyncio.sleep(0)
        house.gate.set()
        order = [(await wire.answer()).headers["X-Request-ID"] for _ in range(41)]
    assert order == ["one", *map(str, range(40))]
    assert house.calls["one"] == 1


async def test_requests_beyond_what_is_kept_waiting_are_answered_too() -> None:
    house = House()
    async with serving(house.app()) as server, wire_to(server) as wire:
        await opened(server, wire)
        wire.writer.write(get("/slow"))
        await asyncio.wait_for(house.began.wait(), PATIENCE_S)
        wire.writer.write(get("/ready") * 1000)
        house.gate.set()
        assert [(await wire.answer()).status for _ in range(1001)] == [200] * 1001


@pytest.mark.parametrize("path", ["/ready", "/hello"])
async def test_a_client_that_does_not_read_is_answered_no_more_than_fits(path: str) -> None:
    size = 200_000
    house = House(word="w" * size, size=size)
    async with serving(house.app(), deadlines=Deadlines(unread_answer_s=30.0)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, get("/hello"))
            async with asyncio.timeout(PATIENCE_S):
                got = b""
                while not got.endswith(b'w"'):
                    got += await loop.sock_recv(client, 2**20)
            (connection,) = server.connected
            while connection._stuck_since is None:
                await loop.sock_sendall(client, get(path))
                await asyncio.sleep(0.001)
            called = house.calls.total()
            for _ in range(50):
                with contextlib.suppress(BlockingIOError):
                    client.send(get(path))
                await asyncio.sleep(0.001)
            assert connection.transport is not None
            assert connection.transport.get_write_buffer_size() < 3 * size
            assert house.calls.total() <= called + 1
            async with asyncio.timeout(PATIENCE_S):  # once it reads, it is given the rest
                while connection._stuck_since is not None or house.calls.total() < called + 40:
                    await loop.sock_recv(client, 2**20)


@pytest.mark.parametrize("path", ["/ready", "/hello", "/later"])
async def test_an_idle_connection_is_no_slow_header_whatever_it_was_answered(path: str, leap: Leap) -> None:
    async with (
        serving(House().app(), deadlines=Deadlines(idle_s=30.0, header_s=4.0)) as server,
        wire_to(server) as wire,
    ):
        await opened(server, wire)
        assert (await wire.ask(get(path))).status == 200
        for _ in range(5):
            await leap(5.0)
        assert (await wire.ask(get(path))).status == 200
        await leap(29.0)
        assert (await wire.ask(get(path))).status == 200
        await leap(31.0)
        assert await wire.closed() == b""
        assert not server.connections


@pytest.mark.parametrize("path", ["/ready", "/hello", "/later"])
async def test_a_header_that_never_ends_is_given_up_whatever_was_answered_before(path: str, leap: Leap) -> None:
    async with (
        serving(House().app(), deadlines=Deadlines(idle_s=300.0, header_s=4.0)) as server,
        wire_to(server) as wire,
    ):
        await opened(server, wire)
        assert (await wire.ask(get(path))).status == 200
        wire.writer.write(get(path)[:20])
        (connection,) = server.connected
        await until(lambda: connection._header_since is not None)
        for _ in range(3):
            await leap(2.0)
        assert await wire.closed() == b""


async def test_a_slow_handler_is_no_idle_connection(leap: Leap) -> None:
    house = House()
    async with serving(house.app(), deadlines=Deadlines(idle_s=30.0)) as server, wire_to(server) as wire:
        await opened(server, wire)
        wire.writer.write(get("/slow"))
        await asyncio.wait_for(house.began.wait(), PATIENCE_S)
        await leap(100.0)
        house.gate.set()
        assert (await wire.answer()).status == 200
        await leap(29.0)
        assert (await wire.ask(get("/ready"))).status == 200
        await leap(31.0)
        assert await wire.closed() == b""


@pytest.mark.parametrize("path", ["/ready", "/hello"])
async def test_an_answer_that_is_not_read_is_given_up(path: str) -> None:
    house = House(word="w" * 200_000, size=200_000)
    deadlines = Deadlines(header_s=0.1, unread_answer_s=0.05)
    async with leaving_nothing(), serving(house.app(), deadlines=deadlines) as server:
        async with wire_to(server) as first:
            await first.ask(get("/hello"))
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await until(lambda: server.connections == 1)
            sent = 0
            async with asyncio.timeout(PATIENCE_S):
                while server.connections:
                    if sent < 200:
                        sent += 1
                        with contextlib.suppress(OSError):
                            client.send(get(path))
                    await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", ["/ready", "/hello", "/nowhere"])
async def test_a_client_that_wants_to_close_is_let_go(path: str) -> None:
    async with serving(House().app()) as server, wire_to(server) as wire:
        await opened(server, wire)
        answer = await wire.ask(get(path, "Connection: close"))
        assert answer.headers["Connection"] == "close"
        assert await wire.closed() == b""
        await until(lambda: not server.connections)


def guarded() -> Policy:
    def before(call: Call) -> None:
        if "X-Key" not in call.headers:
            raise CredentialsRequired("who are you?")

    return Policy(Phase.AUTH, lambda _route: Steps(before=before))


INVITING = ("Content-Type: application/json", "Content-Length: 8", "Expect: 100-continue")


async def test_a_body_is_not_invited_from_whom_nobody_knows() -> None:
    house = House()
    async with serving(house.app(parts=[guarded()])) as server, wire_to(server) as wire:
        assert (await wire.ask(get("/hello", "X-Key: 1"))).status == 200
        answer = await wire.ask(get("/take", *INVITING, method="POST"))
        assert (answer.status, answer.headers["Connection"]) == (401, "close")
        assert await wire.closed() == b""
        assert not house.calls["take"]


async def test_a_body_is_invited_from_who_may_send_it() -> None:
    async with serving(House().app(parts=[guarded()])) as server, wire_to(server) as wire:
        for _ in range(2):
            wire.writer.write(get("/take", "X-Key: 1", *INVITING, method="POST"))
            assert (
                await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
                == b"HTTP/1.1 100 Continue\r\n\r\n"
            )
            answer = await wire.ask(b'{"n": 7}')
            assert (answer.status, answer.json) == (200, {"n": 7})
        assert (await wire.ask(get("/hello", "X-Key: 1", "Expect: 100-continue"))).status == 200


@pytest.mark.parametrize("known", [True, False])
async def test_a_client_that_leaves_a_slow_handler_costs_nothing_more(known: bool) -> None:
    house = House()
    async with leaving_nothing(), serving(house.app()) as server:
        async with wire_to(server) as wire:
            if known:
                await opened(server, wire)
            wire.writer.write(get("/slow") + get("/hello", "X-Request-ID: never") * 3)
            await asyncio.wait_for(house.began.wait(), PATIENCE_S)
        await until(lambda: not server.connections)
        with capture_logs() as lines:
            house.gate.set()
            await until(lambda: not server._left_behind)
        assert [line["path"] for line in lines] == ["/slow"]
        assert not house.calls["never"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("raw", "answered"),
    [
        (b"", False),
        (get("/slow")[:20], False),
        (get("/slow"), True),
        (get("/slow") + get("/ready") * 5, True),
        (get("/slow", "Connection: close"), True),
        (post("/take", b'{"n": 7}')[:-3], False),
        (get("/take", *INVITING, method="POST"), False),
    ],
    ids=["idle", "header", "slow", "pipelined", "closing", "body", "invited"],
)
async def test_a_server_stops_whatever_is_under_way(raw: bytes, answered: bool, known: bool) -> None:
    house = House()
    async with leaving_nothing():  # noqa: SIM117
        async with serving(house.app(), deadlines=Deadlines(finish_s=2.0 if answered else 0.02)) as server:
            async with wire_to(server) as wire:
                if known:
                    await opened(server, wire)
                wire.writer.write(raw)
                if answered:
                    await asyncio.wait_for(house.began.wait(), PATIENCE_S)
                else:
                    await until(lambda: server.connections)
                stop = asyncio.create_task(server.stop())
                await asyncio.sleep(0)
                house.gate.set()
                if answered:
                    assert (await wire.answer()).status == 200
                await asyncio.wait_for(stop, PATIENCE_S)
                await wire.closed()
            assert not server.connections


@pytest.mark.parametrize("known", [True, False])
async def test_the_last_line_of_the_log_is_written_when_a_server_has_stopped(known: bool) -> None:
    house = House()
    with capture_logs() as lines:
        async with serving(house.app(), deadlines=Deadlines(finish_s=0.02)) as server, wire_to(server) as wire:
            if known:
                await opened(server, wire)
            wire.writer.write(get("/slow"))
            await asyncio.wait_for(house.began.wait(), PATIENCE_S)
            await server.stop()
            assert [line["status"] for line in lines if line["path"] == "/slow"] == [499]


@pytest.mark.parametrize("half", [False, True])
async def test_a_client_that_leaves_within_its_body_is_no_failure_of_ours(half: bool) -> None:
    house = House()
    async with leaving_nothing(), serving(house.app()) as server:
        with capture_logs() as lines:
            async with wire_to(server) as wire:
                wire.writer.write(get("/hello"))
                await wire.answer()
                wire.writer.write(post("/take", b'{"n": 7}')[:-3])
                await wire.writer.drain()
                if half:
                    wire.writer.write_eof()
                    assert await wire.closed() == b""
            await until(lambda: not server.connections and len(lines) == 2)
        assert [(line["path"], line["status"]) for line in lines] == [("/hello", 200), ("/take", 499)]


@pytest.mark.parametrize("path", ["/take", "/nowhere", "/hello"])
async def test_a_body_that_is_not_packed_as_it_says_is_refused_and_nothing_else(path: str) -> None:
    house = House()
    errors = logging.getLogger("aiohttp.server")
    heard: list[logging.LogRecord] = []
    errors.addFilter(heard.append)
    try:
        async with leaving_nothing(), serving(house.app()) as server, wire_to(server) as wire:
            answer = await wire.ask(post(path, b"not packed", "Content-Encoding: gzip"))
            assert 400 <= answer.status < 500
            await wire.closed()
    finally:
        errors.removeFilter(heard.append)
    assert heard == []


class Counted:
    """A policy that has to be waited for, and something to do before that."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act
        self.begun = self.awaited = 0

    def before(self, call: Call) -> Awaitable[None]:
        self.begun += 1
        call.answer_headers.append(("X-Counted", "1"))
        self.act()
        return self.wait()

    async def wait(self) -> None:
        self.awaited += 1

    @property
    def policy(self) -> Policy:
        return Policy(
            Phase.AUTH, lambda route: Steps(self.before) if route and route.path.startswith("/held") else None
        )


async def test_a_request_that_was_begun_when_the_application_changes_is_the_next_ones() -> None:
    old, new = House(), House(word="new")
    server: Server

    def change() -> None:
        server._current = new.app()

    counted = Counted(change)
    async with leaving_nothing(), serving(old.app(parts=[counted.policy])) as server, wire_to(server) as wire:
        await opened(server, wire)
        answer = await wire.ask(get("/held/x"))
        assert answer.json == "new"
        assert (counted.begun, counted.awaited) == (1, 0)
        assert "X-Counted" not in answer.headers
        assert (old.calls["x"], new.calls["x"]) == (0, 1)


async def test_a_request_that_was_begun_when_its_plugin_is_held_waits_for_the_next_application() -> None:
    old, new = House(), House(word="new")
    server: Server
    counted, again = Counted(lambda: server.hold(["/held/"])), Counted()
    async with leaving_nothing(), serving(old.app(parts=[counted.policy])) as server, wire_to(server) as wire:
        await opened(server, wire)
        wire.writer.write(get("/held/x"))
        await until(lambda: server.holds)
        async with wire_to(server) as other:
            assert (await other.ask(get("/ready"))).status == 200
        await server.swap(new.app(parts=[again.policy]))
        answer = await wire.answer()
        assert (answer.json, answer.headers.getall("X-Counted")) == ("new", ["1"])
        assert (counted.begun, counted.awaited, again.begun, again.awaited) == (1, 0, 1, 1)
        assert (old.calls["x"], new.calls["x"]) == (0, 1)


async def test_a_held_request_is_answered_by_the_old_application_where_no_new_one_comes() -> None:
    house = House()
    counted = Counted()
    app = house.app(parts=[counted.policy])
    async with serving(app, deadlines=Deadlines(held_s=0.02)) as server, wire_to(server) as wire:
        await opened(server, wire)
        server.hold(["/held/"])
        assert (await wire.ask(get("/held/x"))).json == "old"
        assert (counted.begun, counted.awaited, house.calls["x"]) == (1, 1, 1)


async def test_a_connection_becomes_a_web_socket_new_or_used() -> None:
    async with leaving_nothing(), serving(House().app()) as server, aiohttp.ClientSession(server.url) as client:
        for _ in range(2):
            async with client.ws_connect("/ws") as peer:
                for word in ("a", "b"):
                    await peer.send_str(word)
                    assert await peer.receive_str(timeout=PATIENCE_S) == f"{word}!"
            async with client.get("/hello") as answer:
                assert answer.status == 200


@pytest.mark.parametrize("lines", [("Upgrade: h2c",), ("Upgrade: tcp",), ("Upgrade: h2c, websocket",), ()])
async def test_behind_an_upgrade_that_nobody_here_knows_nothing_is_read_nor_lost(lines: tuple[str, ...]) -> None:
    house = House()
    method = "GET" if lines else "CONNECT"
    async with leaving_nothing(), serving(house.app()) as server:
        for raw in (get("/hello"), get("/hello")[:40]):
            async with wire_to(server) as wire:
                await opened(server, wire)
                asked = get("/hello", "Connection: Upgrade", *lines, method=method) + raw
                answer = await wire.ask(asked, head=False)
                assert (answer.status, answer.headers["Connection"]) == (200 if lines else 405, "close")
                assert await wire.closed() == b""


async def test_a_server_stops_while_a_web_socket_is_open() -> None:
    async with leaving_nothing(), serving(House().app(), deadlines=Deadlines(finish_s=0.02)) as server:  # noqa: SIM117
        async with aiohttp.ClientSession(server.url) as client, client.ws_connect("/ws") as peer:
            await peer.send_str("a")
            await peer.receive_str(timeout=PATIENCE_S)
            await asyncio.wait_for(server.stop(), PATIENCE_S)
            assert (await peer.receive(timeout=PATIENCE_S)).type in {
                aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR,
            }  # fmt: skip


async def test_a_connection_that_was_refused_leaves_nothing() -> None:
    async with leaving_nothing(), serving(House().app(), connections_per_address=1) as server, wire_to(server) as wire:
        await opened(server, wire)
        for _ in range(5):
            async with wire_to(server) as other:
                assert await other.closed() == b""
        assert server.connections == 1
        assert (await wire.ask(get("/ready"))).status == 200


@pytest.mark.parametrize("version", ["0.9", "2.0"])
async def test_an_odd_version_is_answered_as_the_oldest(version: str) -> None:
    async with serving(House().app()) as server, wire_to(server) as wire:
        wire.writer.write(get("/hello", version=version))
        assert (await wire.closed()).startswith(b"HTTP/1.0 200 OK\r\n")


async def test_a_response_that_breaks_off_while_it_is_sent_ends_the_connection_and_its_task_quietly() -> None:
    async def parts() -> Any:
        yield b"first"
        raise RuntimeError("lost")

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=parts())

    app = application(Route("GET", "/a", handler, ""), Route("GET", "/hello", hello, ""))
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    async with leaving_nothing(), serving(app) as server:
        for known in (False, True):
            async with wire_to(server) as wire:
                if known:
                    await wire.ask(get("/hello"))
                wire.writer.write(get("/a"))
                assert b"first" in await wire.closed()
        await until(lambda: not server.connections)
    assert unheard == []
