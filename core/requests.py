"""The request object that handlers are given: aiohttp's, with the plain data that it was made from."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from core.callers import CALL, REQUEST_ID
from core.errors import RequestError
from core.policies import Call

if TYPE_CHECKING:
    from core.chain import Begun, Chain
    from core.web import Application

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROCESS = secrets.token_hex(4)
_count = itertools.count(secrets.randbits(24))


class Request(web.Request):
    """A request on its way; where it was routed to in aiohttp's terms is worked out only when somebody asks."""

    ATTRS = web.Request.ATTRS | {"begun", "invited", "_entered", "_place"}

    def __init__(self, call: Call, begun: tuple[Chain, Begun] | None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, state={CALL: call, REQUEST_ID: call.request_id}, **options)
        self.begun = begun
        self.invited = False
        self._entered: tuple[Application, Chain] | None = None
        self._place: UrlMappingMatchInfo | None = None

    def enter(self, application: Application, chain: Chain) -> None:
        """Note what answers it."""
        self._entered = application, chain

    def limit_body(self, size: int) -> None:
        """Let the body have so many bytes, instead of what all may have."""
        self._client_max_size = size

    @property
    def chain(self) -> Chain | None:
        """The chain that answers it, once that is known."""
        return None if self._entered is None else self._entered[1]

    @property  # aiohttp's own code reads it as the attribute that it is there
    def _match_info(self) -> UrlMappingMatchInfo | None:
        if self._place is None and self._entered is not None:
            application, chain = self._entered
            self._place = application.place_of(self[CALL], chain)
        return self._place

    @_match_info.setter
    def _match_info(self, place: UrlMappingMatchInfo | None) -> None:
        self._place = place

    @property
    def waits_for_invitation(self) -> bool:
        """Whether the client sends its body only when it is told to go on (RFC 9110, 10.1.1)."""
        return not self.invited and hdrs.EXPECT in self.headers and self.version >= HttpVersion11


async def invite(request: web.Request) -> None:
    """Have a client that waits for it send its body."""
    if not isinstance(request, Request) or not request.waits_for_invitation:
        return
    request.invited = True
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await request.writer.drain()
    request.writer.output_size = 0  # the answer proper has not begun


def check_expectation(request: web.BaseRequest) -> None:
    """Raise HTTPExpectationFailed for a request that expects what nobody here can do (RFC 9110, 10.1.1)."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is not None and request.version >= HttpVersion11 and expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed


def check_framing(request: web.BaseRequest) -> None:
    """Raise RequestError where nobody can tell whether a body follows: for a coding that names none (RFC 9112, 6.3)."""
    if hdrs.TRANSFER_ENCODING in request.headers and not request._message.chunked:  # noqa: SLF001  # shown nowhere else
        raise RequestError("Transfer-Encoding names no coding: send chunked, or leave the header out.")


def path_and_query(message: RawRequestMessage) -> tuple[str, str]:
    """Split a request's target into its path, still percent-encoded, and what follows the question mark."""
    target = message.path
    if target.startswith("/") and "#" not in target:
        path, _mark, query = target.partition("?")
        return path, query
    return message.url.raw_path, message.url.raw_query_string


def request_id_of(given: str | None) -> str:
    """Return the caller's request id where it is a sane one, else a new one."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return f"{_PROCESS}{next(_count) & 0xFFFFFFFF:08x}"
