"""What a request is answered, as plain data, and how that is written as bytes."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias

import attrs
from aiohttp import HttpVersion, web

SERVER = "plantroom"
_BODILESS = frozenset({204, 304})
_STATUS_LINES = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}
OTHERS_KNOWN = 64
ADDED_UP = frozenset({"vary"})
_ETAG = re.compile(r'(?:W/)?"([^"]*)"|(\*)')

Headers: TypeAlias = Sequence[tuple[str, str]]


@attrs.frozen
class Answer:
    """A body that is rendered already, of its route's media type.

    ``tag`` is what the ETag is made of where that is less than the body, ``etag`` the (weak) ETag as it is sent where
    there is one already; ``headers`` are sent along, on 304 too.
    """

    body: bytes
    tag: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    etag: str | None = None


@attrs.frozen
class Reply:
    """A complete answer; ``content_type`` None where there is no body."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: Headers = ()


class Fixed:
    """Headers that are on every answer of a route unless it has others of the same name, written once.

    One that adds up stands beside others of its name.
    Of those that differ in case only, the last one counts. Raises ValueError for one that would break an answer.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        by_name = {name.lower(): (name, value) for name, value in headers.items()}
        self.headers = dict(by_name.values())
        self._names = frozenset(by_name) - ADDED_UP
        self._lines = _lines([*by_name.values()])
        self._lines.encode()
        self._others: set[str] = set()

    def lines(self, given: Headers) -> str:
        """Return those that are not among the given ones, as header lines."""
        for name, _value in given:
            if name not in self._others and self._is_fixed(name):
                names = {name.lower() for name, _value in given} - ADDED_UP
                return _lines([(name, value) for name, value in self.headers.items() if name.lower() not in names])
        return self._lines

    def _is_fixed(self, name: str) -> bool:
        if name.lower() in self._names:
            return True
        if len(self._others) < OTHERS_KNOWN:
            self._others.add(name)
        return False


def written(
    reply: Reply, more: Headers, fixed: Fixed, request_id: str, version: HttpVersion, *, keep_alive: bool, head: bool
) -> bytes:
    """Write an answer as HTTP/1 (RFC 9112); raises ValueError for a header that would break the message.

    ``more`` are headers beside the reply's own; ``head`` leaves the body out.
    """
    given: Headers = (*reply.headers, *more) if more else reply.headers
    status, body, minor = reply.status, reply.body, int(version.minor == 1)
    about = "" if status in _BODILESS else f"Content-Length: {len(body)}\r\n"
    if reply.content_type is not None:
        about = f"Content-Type: {reply.content_type}\r\n{about}"
    if keep_alive is not (minor != 0):
        about += "Connection: keep-alive\r\n" if keep_alive else "Connection: close\r\n"
    text = (
        f"HTTP/1.{minor} {_STATUS_LINES.get(status) or status}\r\n{about}{_lines(given)}{fixed.lines(given)}"
        f"X-Request-ID: {request_id}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n\r\n"
    )
    return text.encode() if head or not body or status in _BODILESS else text.encode() + body


def unless_known(reply: Reply, asked: Mapping[str, str]) -> Reply:
    """Make a reply 304 where If-None-Match names its ETag, by weak comparison (RFC 9110, 13.1.2)."""
    if reply.status != HTTPStatus.OK or "If-None-Match" not in asked:
        return reply
    etag = next((value for name, value in reply.headers if name == "ETag"), None)
    if etag is None:
        return reply
    tag = etag[3:-1]
    every = getattr(asked, "getall", None)
    lines = every("If-None-Match") if every is not None else [asked["If-None-Match"]]
    if any(tag == known or star for line in lines for known, star in _ETAG.findall(line)):
        return Reply(HTTPStatus.NOT_MODIFIED, headers=reply.headers)
    return reply


def size_of(reply: Reply, method: str) -> int:
    """Return how many bytes of body an answer to a request of this method has."""
    return 0 if method == "HEAD" or reply.status in _BODILESS else len(reply.body)


def response_of(reply: Reply) -> web.Response:
    """Make aiohttp's object of an answer, for ordinary middleware to look at and change."""
    response = web.Response(status=reply.status, body=reply.body or None)
    for name, value in reply.headers:
        response.headers.add(name, value)
    if reply.content_type is not None:
        response.headers["Content-Type"] = reply.content_type
    elif reply.status in _BODILESS:
        response.headers.popall("Content-Type", None)
    return response


class Sent:
    """An answer that is bytes already, ``size`` of them its body: what aiohttp's connection asks of a response."""

    __slots__ = ("_data", "keep_alive", "size", "status")

    def __init__(self, status: int, data: bytes, *, keep_alive: bool, size: int) -> None:
        self.status = status
        self.size = size
        self.keep_alive = keep_alive
        self._data = data

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it all, and wait until a client that reads slowly has read most of it."""
        writer, transport = request.writer, request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self._data)
        if transport.get_write_buffer_size():
            await writer.drain()

    async def write_eof(self, _data: bytes = b"") -> None:
        """Nothing is left to send."""


def _lines(headers: Headers) -> str:
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        raise ValueError("a header holds a line break or a NUL")
    return text


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    """Write a time as HTTP does (RFC 9110, 5.6.7)."""
    return formatdate(second, usegmt=True)
