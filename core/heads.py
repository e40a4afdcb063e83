"""How requests without a body were read, kept for a while: most clients ask the same thing over and over."""

from __future__ import annotations

import attrs
from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from core.requests import path_and_query

KEPT = 2048
LONGEST_KEPT = 2048
END = b"\r\n\r\n"


@attrs.frozen(eq=False)
class Head:
    """A request of HTTP/1.1 without a body, on a connection that stays open: all that there is of it.

    ``path`` is percent-encoded, ``host`` and ``request_id`` what the headers of these names say.
    """

    message: RawRequestMessage
    path: str
    query: str
    host: str | None
    request_id: str | None


class Heads:
    """Heads by the bytes that they were read from, each of which arrived alone between two other requests."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Head] = {}
        self.find = self._kept.get

    def keep(self, data: bytes, head: Head) -> None:
        """Remember a head, within bounds."""
        if len(data) <= LONGEST_KEPT:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[data] = head


def head_of(message: object, payload: StreamReader) -> Head | None:
    """Return what was read where it is all that matters; None for what aiohttp is to treat, such as with a body."""
    if not isinstance(message, RawRequestMessage) or payload is not EMPTY_PAYLOAD:
        return None
    if message.should_close or message.upgrade or message.version.minor != 1 or message.method == "CONNECT":
        return None
    headers = message.headers
    if not message.path.startswith("/") or hdrs.EXPECT in headers or hdrs.TRANSFER_ENCODING in headers:
        return None
    return Head(message, *path_and_query(message), headers.get(hdrs.HOST), headers.get("X-Request-ID"))
