"""TLS as it is spoken on the wire: with whom, with whom not, and while the certificate changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import attrs
import pytest
from aiohttp import web
from authority import Authority
from wire import Wire, application, get, hello, leaving_nothing, post, until

from core.certificates import Certificate
from core.routes import Route
from core.server import Server
from core.serving import Deadlines, Http
from core.testing import StartPlantroom

AUTHORITY = Authority()
LARGE = "x" * 4_000_000


async def large(_request: web.Request) -> str:
    return LARGE


async def echo(_request: web.Request, *, body: Anything) -> str:
    return body.text


@attrs.frozen
class Anything:
    text: str = ""


ROUTES = (
    Route("GET", "/hello", hello, ""),
    Route("GET", "/large", large, ""),
    Route("POST", "/echo", echo, "", body=Anything),
)


@contextlib.asynccontextmanager
async def serving(folder: Path, **options: object) -> AsyncIterator[Server]:
    tls = AUTHORITY.pair().into(folder)
    version = options.pop("min_version", "1.2")
    server = Server(Http(port=0), certificate=Certificate(attrs.evolve(tls, min_version=version)), **options)
    await server.start()
    try:
        await server.swap(application(*ROUTES))
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def wire_to(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Open a raw connection, by TLS where a client's context is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()  # no goodbye: where it does not read, it would wait for an answer to that
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def test_requests_are_answered_over_tls_as_over_plain_http(tmp_path: Path) -> None:
    async with leaving_nothing(), serving(tmp_path) as server, wire_to(server, AUTHORITY.client()) as wire:
        assert server.url == f"https://127.0.0.1:{server.port}"
        for _ in range(3):
            assert (await wire.ask(get("/hello"))).json == "hello"
        wire.writer.write(get("/hello") + get("/nowhere") + get("/hello"))
        assert [(await wire.answer()).status for _ in range(3)] == [200, 404, 200]
        assert (await wire.ask(post("/echo", b'{"text": "there and back"}'))).json == "there and back"
        assert (await wire.ask(get("/large"))).json == LARGE
        assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
        assert server.connections == 1


async def test_a_client_gets_the_best_there_is_and_may_go_on_with_an_earlier_session(tmp_path: Path) -> None:
    context = AUTHORITY.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(tmp_path) as server, wire_to(server, context) as wire:
        spoken = wire.writer.get_extra_info("ssl_object")
        assert (spoken.version(), spoken.selected_alpn_protocol(), spoken.compression()) == (
            "TLSv1.3",
            "http/1.1",
            None,
        )


def oldest(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    context = AUTHORITY.client(minimum_version=version, maximum_version=version)
    context.set_ciphers(ciphers)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize(
    "context",
    [
        lambda: oldest(ssl.TLSVersion.TLSv1),
        lambda: oldest(ssl.TLSVersion.TLSv1_1),
        lambda: oldest(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"),
        lambda: oldest(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
        lambda: oldest(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-CCM:@SECLEVEL=0"),
        lambda: oldest(ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"),
        lambda: oldest(ssl.TLSVersion.TLSv1_2, "NULL:aNULL:@SECLEVEL=0"),
    ],
)
async def test_old_versions_and_weak_ciphers_are_refused(tmp_path: Path, context: Callable[[], ssl.SSLContext]) -> None:
    async with leaving_nothing(), serving(tmp_path) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with wire_to(server, context()):
                pass
        async with wire_to(server, oldest(ssl.TLSVersion.TLSv1_2, "DEFAULT")) as wire:
            assert (await wire.ask(get("/hello"))).status == 200
        await until(lambda: server.connections == 0)


async def test_where_1_3_is_the_oldest_1_2_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, min_version="1.3") as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with wire_to(server, oldest(ssl.TLSVersion.TLSv1_2, "DEFAULT")):
                pass
        async with wire_to(server, oldest(ssl.TLSVersion.TLSv1_3, "DEFAULT")) as wire:
            assert (await wire.ask(get("/hello"))).status == 200


async def test_plain_http_on_the_tls_port_is_told_so_and_closed(tmp_path: Path) -> None:
    async with leaving_nothing(), serving(tmp_path) as server:
        for request in (get("/hello"), post("/echo", b"{}"), b"BREW / HTTP/1.0\r\n"):
            async with wire_to(server) as wire:
                answer = await wire.ask(request)
                assert (answer.status, answer.headers["Connection"]) == (400, "close")
                assert answer.json["code"] == "request.malformed" or answer.json["status"] == 400
                assert "https://" in answer.json["detail"]
                assert await wire.closed() == b""
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 20_000, b"\x80\x2e\x01", b"\xff"])
async def test_garbage_is_closed_and_harms_nobody(tmp_path: Path, garbage: bytes) -> None:
    deadlines = Deadlines(handshake_s=0.2)
    async with leaving_nothing(), serving(tmp_path, deadlines=deadlines) as server:  # noqa: SIM117
        async with wire_to(server, AUTHORITY.client()) as well, wire_to(server) as bad:
            bad.writer.write(garbage)
            said = await bad.closed()
            assert not said or said[0] == 0x15, "nothing, or an alert"
            assert (await well.ask(get("/hello"))).status == 200
            await until(lambda: server.connections == 1)


async def test_half_a_handshake_is_closed_within_its_deadline_and_counts_for_its_address(tmp_path: Path) -> None:
    deadlines = Deadlines(handshake_s=0.3)
    options = {"deadlines": deadlines, "connections_per_address": 3}
    async with leaving_nothing(), serving(tmp_path, **options) as server:
        async with contextlib.AsyncExitStack() as stack:
            well = await stack.enter_async_context(wire_to(server, AUTHORITY.client()))
            silent = await stack.enter_async_context(wire_to(server))
            half = await stack.enter_async_context(wire_to(server))
            half.writer.write(b"\x16\x03\x01\x02\x00\x01")
            await until(lambda: server.connections == 3)
            async with wire_to(server) as fourth:
                assert await fourth.closed() == b""
            assert await silent.closed() == await half.closed() == b""
            assert server.connections == 1
            assert (await well.ask(get("/hello"))).status == 200
        await until(lambda: server.connections == 0)


async def test_over_tls_slow_headers_and_answers_that_nobody_reads_are_closed_too(tmp_path: Path) -> None:
    deadlines = Deadlines(header_s=0.1, unread_answer_s=0.1)
    async with leaving_nothing(), serving(tmp_path, deadlines=deadlines) as server:  # noqa: SIM117
        async with wire_to(server, AUTHORITY.client()) as slow, wire_to(server, AUTHORITY.client()) as deaf:
            slow.writer.write(b"GET /hello HTTP/1.1\r\nHo")
            deaf.writer.transport.pause_reading()
            deaf.writer.write(get("/large") * 3)
            await slow.closed()
            await until(lambda: server.connections == 0)


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with leaving_nothing(), serving(tmp_path) as server:
        for part in (b"", b"GET", get("/large")):
            async with wire_to(server, AUTHORITY.client()) as wire:
                wire.writer.write(part)
                wire.writer.transport.abort()
        await until(lambda: server.connections == 0)


async def test_a_server_that_stops_ends_connections_whose_client_never_says_goodbye(tmp_path: Path) -> None:
    async with leaving_nothing(), serving(tmp_path, deadlines=Deadlines(finish_s=0.05)) as server:  # noqa: SIM117
        async with wire_to(server, AUTHORITY.client()) as wire, wire_to(server) as silent:
            assert (await wire.ask(get("/hello"))).status == 200
            wire.writer.transport.pause_reading()
            await server.stop()
            await until(lambda: server.connections == 0 and not server.encrypted)
            assert await silent.closed() == b""


async def test_a_certificate_is_changed_under_load_without_a_request_that_fails(tmp_path: Path) -> None:
    """Requests go on, over connections that stay and over new ones, while the files change in the worst order."""
    async with leaving_nothing(), serving(tmp_path) as server:
        shown, counts, done = set[bytes](), [0, 0], asyncio.Event()

        async def stay() -> None:
            async with wire_to(server, AUTHORITY.client()) as wire:
                while not done.is_set():
                    assert (await wire.ask(get("/hello"))).status == 200
                    counts[0] += 1

        async def come_anew() -> None:
            while not done.is_set():
                async with wire_to(server, AUTHORITY.client()) as wire:
                    shown.add(wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
                    assert (await wire.ask(get("/hello"))).status == 200
                    counts[1] += 1

        async with asyncio.TaskGroup() as group:
            for ask in (stay, stay, come_anew, come_anew):
                group.create_task(ask())
            for turn in range(1, 5):
                tls, pair = server.certificate.tls, AUTHORITY.pair()
                for file, content in ((tls.certificate, pair.certificate[:200]), (tls.certificate, pair.certificate)):
                    file.write_bytes(content)
                    await server.follow_certificate()
                tls.key.write_bytes(pair.key)
                await server.follow_certificate()
                await until(lambda turn=turn: len(shown) > turn and counts[0] > 20 * turn)
            done.set()
        assert len(shown) == 5
        assert counts[0] > 80 and counts[1] >= 5


async def test_over_tls_the_house_says_so_and_tells_when_its_certificate_expires(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    tls = AUTHORITY.pair(days=12).into(tmp_path)
    house = await plantroom(
        f"http: {{tls: {{certificate: {tls.certificate}, key: {tls.key}}}}}\nplugins: {{security: }}\n"
    )
    connector = aiohttp.TCPConnector(ssl=AUTHORITY.client())
    async with aiohttp.ClientSession(house.kernel.url, connector=connector) as client:
        async with client.get("/readyz") as answer:
            ready = json.loads(await answer.text())
            assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert ready["status"] == "degraded"
        assert ready["checks"] == [
            {"check": "certificate", "status": "degraded", "detail": "the certificate expires in 12 days"}
        ]
        async with client.get("/metrics") as answer:
            assert "plantroom_tls_certificate_expires_timestamp_seconds{" in await answer.text()
        AUTHORITY.pair().into(tmp_path)
        await house.reload(house._path.read_text(encoding="utf-8"))
        async with client.get("/readyz") as answer:
            assert json.loads(await answer.text())["status"] == "ok"
    assert house.logged("certificate_replaced")
