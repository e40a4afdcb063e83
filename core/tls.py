"""TLS on a connection: its deadlines and bounds hold from the first byte on, before it is encrypted."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import Protocol, cast

from aiohttp import HttpVersion11

from core import problem
from core.errors import RequestError
from core.replies import Fixed, written
from core.requests import request_id_of

GOODBYE_S = 1.0
NOT_TLS = "Here TLS is spoken: ask for an address that begins with https://."


class Admission(Protocol):
    """Who counts connections."""

    def enter(self, address: str) -> bool:
        """Count a connection in, unless its address has too many."""
        ...

    def exit(self, address: str) -> None:
        """Count it out."""
        ...

    encrypted: set[Encrypted]


class Encrypted(SSLProtocol):
    """The encrypted side of a connection, which the connection itself is behind once both sides have agreed.

    asyncio's own, but that it counts from its beginning, and that a client which speaks plain HTTP is told so.
    """

    def __init__(
        self, owner: Admission, inner: asyncio.Protocol, context: ssl.SSLContext, *, handshake_s: float
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type]  # nobody waits, as its own code allows for
            server_side=True,
            ssl_handshake_timeout=handshake_s,  # type: ignore[arg-type]  # typeshed says int; it is given to call_later
            ssl_shutdown_timeout=GOODBYE_S,  # type: ignore[arg-type,unused-ignore]  # as above
        )
        self._owner = owner
        self._address: str | None = None
        self._wire: asyncio.Transport | None = None
        self._first: memoryview | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._wire = wire = cast("asyncio.Transport", transport)
        if not self._owner.enter(address):
            wire.abort()
            return
        self._address = address
        self._owner.encrypted.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self._owner.exit(self._address)
            self._owner.encrypted.discard(self)
            self._address = None
        self._first = self._wire = None
        super().connection_lost(exc)

    def get_buffer(self, n: int) -> memoryview:
        buffer = super().get_buffer(n)
        if not self._begun:
            self._first = buffer
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._begun and self._first is not None:
            self._begun, first, self._first = True, chr(self._first[0]), None
            if first.isascii() and first.isupper():  # a method of HTTP: no record of TLS begins so (RFC 8446, 5.1)
                self._refuse_plain()
                return
        super().buffer_updated(nbytes)

    def abort(self) -> None:
        """Close at once, whatever is still unsent."""
        if self._wire is not None:
            self._wire.abort()

    def _refuse_plain(self) -> None:
        if self._wire is not None:
            request_id = request_id_of(None)
            reply = problem.reply(RequestError(NOT_TLS), request_id)
            self._wire.write(written(reply, (), Fixed({}), request_id, HttpVersion11, keep_alive=False, head=False))
            self._wire.close()
