"""The port of plain HTTP beside TLS: it sends clients on, and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from authority import Authority
from hypothesis import given
from hypothesis import strategies as st
from wire import application, get, hello, leaving_nothing, post, until, wire_to

from core.certificates import Certificate
from core.policies import call_of
from core.redirect import address, redirecting
from core.routes import Route
from core.server import ListenFailed, Server
from core.serving import Deadlines, Http

AUTHORITY = Authority()


@asynccontextmanager
async def house(folder: Path, **options: Any) -> AsyncIterator[tuple[Server, Server]]:
    """Serve by TLS, and redirect there; answers both servers."""
    http = Http(port=0, redirect_port=0, tls=AUTHORITY.pair().into(folder), **options)
    server = Server(http, certificate=Certificate(http.tls), hosts=http.hosts)
    await server.start(application(Route("GET", "/hello", hello, "")))
    try:
        async with redirecting(http, to=server) as plain:
            yield server, plain
    finally:
        await server.stop()


async def test_every_request_is_sent_on_to_the_same_name_path_and_query(tmp_path: Path) -> None:
    async with leaving_nothing(), house(tmp_path) as (server, plain), wire_to(plain) as wire:
        for path in ("/hello", "/", "/healthz", "/readyz", "/nowhere?a=b&c=%2F%20", "//evil.example/x", "/a%0d%0ab"):
            answer = await wire.ask(get(path))
            assert answer.status == 308
            assert answer.headers["Location"] == f"https://localhost:{server.port}{path}"
            assert answer.body == b""
        assert (await wire.ask(post("/hello", b'{"x": 1}'))).status == 308
        assert (await wire.ask(get("/hello", method="HEAD"), head=True)).headers["Location"].endswith("/hello")
        absolute = await wire.ask(get("http://127.0.0.1/x?y"))
        assert absolute.headers["Location"] == f"https://localhost:{server.port}/x?y"
        old = await wire.ask(get("/x", version="1.0").replace(b"Host: localhost\r\n", b""))
        assert old.headers["Location"] == f"https://127.0.0.1:{server.port}/x"


async def test_only_to_names_of_ours(tmp_path: Path) -> None:
    names = ("bms.example", "*.plant.example")
    async with house(tmp_path, hosts=names) as (server, plain), wire_to(plain) as wire:
        for host, status in (
            ("bms.example:80", 308),
            ("x.plant.example", 308),
            ("evil.example", 421),
            ("localhost", 421),
        ):
            answer = await wire.ask(get("/").replace(b"localhost", host.encode()))
            assert answer.status == status
            wanted = f"https://{host.partition(':')[0]}:{server.port}/" if status == 308 else None
            assert answer.headers.get("Location") == wanted
    async with house(tmp_path) as (_server, plain), wire_to(plain) as wire:
        assert (await wire.ask(get("/").replace(b"localhost", b"evil.example"))).status == 421


async def test_it_has_the_same_deadlines_and_bounds(tmp_path: Path) -> None:
    deadlines = Deadlines(header_s=0.1, idle_s=0.1)
    async with house(tmp_path, deadlines=deadlines, connections_per_address=2) as (_server, plain):  # noqa: SIM117
        async with wire_to(plain) as slow, wire_to(plain) as idle:
            slow.writer.write(b"GET / HTTP/1.1\r\n")
            assert (await idle.ask(get("/"))).status == 308
            await until(lambda: plain.connections == 2)
            async with wire_to(plain) as third:
                assert await third.closed() == b""
            assert await slow.closed() == await idle.closed() == b""


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with house(tmp_path) as (server, plain):
        http = attrs.evolve(Http(), redirect_port=plain.port)
        with pytest.raises(ListenFailed, match=str(plain.port)):
            async with redirecting(http, to=server):
                raise AssertionError


def test_the_port_of_https_is_not_named_and_an_ipv6_address_stands_in_brackets() -> None:
    to = Server(Http(port=443), hosts=("bms.example",))
    assert address(call_of(path="/x", headers={"Host": "bms.example:80"}), to) == "https://bms.example/x"
    assert address(call_of(path="/x", headers={"Host": "[2001:db8::1]:80"}), to) == "https://[2001:db8::1]/x"


@given(st.binary(max_size=40))
def test_whatever_bytes_a_path_holds_the_address_is_ascii_and_one_line(raw: bytes) -> None:
    path = "/" + raw.decode("utf-8", "surrogateescape")
    found = address(call_of(path=path, headers={"Host": "bms.example"}), Server(Http(port=443)))
    assert found.isascii() and found.isprintable() and found.startswith("https://bms.example/")


async def test_bytes_that_are_no_text_make_no_500(tmp_path: Path) -> None:
    async with house(tmp_path) as (_server, plain), wire_to(plain) as wire:
        answer = await asyncio.wait_for(wire.ask(b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n"), 3)
        assert answer.status in (308, 400)
