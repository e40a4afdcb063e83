"""A server of a few routes, and raw connections to it, for tests that look at what goes over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import attrs
from aiohttp import web
from multidict import CIMultiDict

from core.policies import Policy
from core.routes import Middleware, Route
from core.server import Server
from core.settings import Http
from core.web import Application, build_application

PATIENCE_S = 5.0


@attrs.frozen
class Received:
    """One answer, as it came over the wire."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, raw: bytes, *, head: bool = False) -> Received:
        """Send bytes and take one answer."""
        self.writer.write(raw)
        return await self.answer(head=head)

    async def answer(self, *, head: bool = False) -> Received:
        """Take one answer; ``head`` where it has no body, whatever its headers say."""
        async with asyncio.timeout(PATIENCE_S):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers: CIMultiDict[str] = CIMultiDict()
            for line in filter(None, lines[1:]):
                name, _colon, value = line.partition(": ")
                headers.add(name, value)
            assert len(headers.getall("Content-Length", [])) <= 1
            body = b"" if head else await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return Received(int(lines[0].split()[1]), headers, body)

    async def closed(self) -> bytes:
        """Wait until the server closes; answers what came before."""
        async with asyncio.timeout(PATIENCE_S):
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


def application(*routes: Route, parts: Sequence[Middleware | Policy] = (), **options: Any) -> Application:
    return build_application([("core", route) for route in routes], parts, **options)


@contextlib.asynccontextmanager
async def serving(app: Application, **options: Any) -> AsyncIterator[Server]:
    """Serve an application on a free port; ``options`` are the server's."""
    server = Server(Http(port=0), **options)
    await server.start()
    try:
        await server.swap(app)
        yield server
    finally:
        await server.stop()


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Write a request without a body."""
    head = (f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", "")
    return "\r\n".join(head).encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    """Write a request with a JSON body."""
    return get(path, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines, method="POST") + body


async def hello(_request: web.Request) -> str:
    return "hello"


async def until(condition: Callable[[], object]) -> None:
    """Wait, as long as is bearable, for what has no event."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """See that no task is left of what was done within."""
    before = asyncio.all_tasks()
    yield
    await until(lambda: asyncio.all_tasks() <= before)
