"""Asks an HTTP/1.1 server over keep-alive connections, and counts answers: as fast as they come, or at a given pace.

It is written close to the sockets, so that it is the server that is busy, and not who asks.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import attrs

CONNECTIONS = 32
PATIENCE_S = 30.0
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@attrs.frozen
class Ask:
    """What is asked, and the status that every answer must have."""

    path: str
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def bytes(self, port: int) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n{lines}\r\n".encode()


class Client:
    """One connection with a server, on which one thing is asked over and over; ``due`` is when it should have been."""

    def __init__(self, port: int, ask: Ask) -> None:
        self._ask = ask
        self._bytes = ask.bytes(port)
        self._status = f" {ask.status} ".encode()
        self._parts: list[bytes] = []
        self._missing = 0
        self.due = 0.0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        self.socket.send(self._bytes)

    def has_answer(self) -> bool:
        """Take what has arrived; tells whether the answer is complete. Exits at a wrong one."""
        data = self.socket.recv(1 << 16)
        if not data:
            self._refuse(b"the end of the connection")
        if self._missing:
            self._missing -= len(data)
            return self._missing == 0
        if self._parts:
            data = b"".join([*self._parts, data])
        end = data.find(HEAD_END)
        if end < 0:
            self._parts = [data]
            return False
        self._parts = []
        if self._status not in data[:16]:
            self._refuse(data)
        length = LENGTH.search(data, 0, end)
        self._missing = end + len(HEAD_END) + (int(length[1]) if length is not None else 0) - len(data)
        return self._missing == 0

    def _refuse(self, data: bytes) -> None:
        raise SystemExit(f"{self._ask.path} was answered {data[:300]!r} instead of {self._ask.status}")


@contextlib.contextmanager
def connected(port: int, ask: Ask, connections: int = CONNECTIONS) -> Iterator[tuple[select.epoll, dict[int, Client]]]:
    """Have connections that ask this, until they are no longer needed."""
    clients = [Client(port, ask) for _ in range(connections)]
    with select.epoll() as ready:
        for client in clients:
            ready.register(client.socket, select.EPOLLIN)
        try:
            yield ready, {client.socket.fileno(): client for client in clients}
        finally:
            for client in clients:
                client.socket.close()


def throughput(port: int, ask: Ask, seconds: float) -> tuple[int, float]:
    """Ask without a pause; answers how many answers came in how many seconds. Exits at a wrong answer."""
    with connected(port, ask) as (ready, clients):
        began = time.perf_counter()
        end = began + seconds
        for client in clients.values():
            client.ask()
        count, open_ones = 0, len(clients)
        while open_ones:
            events = ready.poll(PATIENCE_S)
            if not events:
                raise SystemExit(f"{ask.path} was not answered within {PATIENCE_S:g} s")
            goes_on = time.perf_counter() < end
            for number, _event in events:
                client = clients[number]
                if client.has_answer():
                    count += 1
                    if goes_on:
                        client.ask()
                    else:
                        open_ones -= 1
        return count, time.perf_counter() - began


def latencies(port: int, ask: Ask, rate: float, seconds: float) -> Sequence[float]:
    """Ask so often a second, evenly; answers the seconds that each answer took, from when it should have been asked."""
    waits: list[float] = []
    with connected(port, ask) as (ready, clients):
        free = deque(clients.values())
        total = int(rate * seconds)
        began = time.perf_counter()
        asked = 0
        while len(waits) < total:
            now = time.perf_counter()
            while free and asked < total and began + asked / rate <= now:
                client = free.popleft()
                client.due = began + asked / rate
                asked += 1
                client.ask()
            pause = began + asked / rate - time.perf_counter() if free and asked < total else PATIENCE_S
            events = _waited(ready, pause)
            if not events and pause == PATIENCE_S:
                raise SystemExit(f"{ask.path} was not answered within {PATIENCE_S:g} s")
            for number, _event in events:
                client = clients[number]
                if client.has_answer():
                    waits.append(time.perf_counter() - client.due)
                    free.append(client)
    return waits


def _waited(ready: select.epoll, seconds: float) -> Sequence[tuple[int, int]]:
    """Wait as exactly as select does: epoll's own waits are of whole milliseconds."""
    events = ready.poll(0)
    if not events and seconds > 0.0:
        select.select([ready], [], [], seconds)
        events = ready.poll(0)
    return events
