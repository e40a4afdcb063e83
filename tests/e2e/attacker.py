"""A raw connection of somebody who keeps to no rule, and a strict reading of what is answered."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

import attrs
from multidict import CIMultiDict
from wire import Received

PATIENCE_S = 10.0


class Attacker:
    """A raw connection, from an address of this machine's; over TLS where there is a ``context``."""

    def __init__(
        self,
        port: int,
        address: str = "127.0.0.1",
        *,
        window: int | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = socket.socket()
        if window is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self._socket.settimeout(PATIENCE_S)
        self._socket.bind((address, 0))
        self._socket.connect(("127.0.0.1", port))
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname="127.0.0.1")

    def send(self, raw: bytes) -> bool:
        """Send bytes; answers whether the other side took them all."""
        try:
            self._socket.sendall(raw)
        except OSError:
            return False
        return True

    def is_closed(self) -> bool:
        """Take what has come, without waiting, and tell whether the other side has closed or broken off."""
        self._socket.settimeout(0)
        try:
            return not self._socket.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def received(self, *, seconds: float = PATIENCE_S) -> bytes:
        """Return all that comes until the other side closes; raises TimeoutError where it does not."""
        came, until = bytearray(), time.monotonic() + seconds
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            while True:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                piece = self._socket.recv(1 << 16)
                if not piece:
                    break
                came += piece
        return bytes(came)

    def one(self) -> Received:
        """Return one answer, of the connection that stays open."""
        self._socket.settimeout(PATIENCE_S)
        came = b""
        while not came.endswith(b"\r\n\r\n"):
            came += self._octets(1)
        (answer,) = parsed(came, whole=False)
        body = self._octets(int(answer.headers.get("Content-Length", 0)))
        return attrs.evolve(answer, body=body)

    def _octets(self, count: int) -> bytes:
        came = b""
        while len(came) < count:
            piece = self._socket.recv(count - len(came))
            assert piece, "it was closed"
            came += piece
        return came

    def answers(self, *, seconds: float = PATIENCE_S) -> list[Received]:
        """Return the answers that come until the other side closes."""
        return parsed(self.received(seconds=seconds))

    def close(self) -> None:
        self._socket.close()


def parsed(raw: bytes, *, whole: bool = True) -> list[Received]:
    """Take apart what was received, which must be answers and nothing else, or their heads where they are not whole."""
    answers = []
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        assert end and first.startswith(("HTTP/1.0 ", "HTTP/1.1 ")), first
        headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon and name.replace("-", "").isalnum(), line
            headers.add(name, value)
        status = int(first.split()[1])
        if status != 100:
            length = int(headers.get("Content-Length", 0))
            assert len(raw) >= length or not whole
            answers.append(Received(status, headers, raw[:length]))
            raw = raw[length:]
    return answers
