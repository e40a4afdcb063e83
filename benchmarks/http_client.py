"""Asks an HTTP/1.1 server over keep-alive connections, and counts answers: as fast as they come, or at a given pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import attrs

CONNECTIONS = 32
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@attrs.frozen
class Ask:
    """What is asked, and the status that every answer must have."""

    path: str
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def bytes(self, port: int) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n{lines}\r\n".encode()


class Client(asyncio.Protocol):
    """One connection, which asks again as soon as it has its answer, until it is told to stop."""

    def __init__(self, ask: bytes, status: int) -> None:
        self._ask = ask
        self._status = f" {status} ".encode()
        self._data = b""
        self._asked_at = 0.0
        self._pace = False
        self.answers = 0
        self.wrong: bytes | None = None
        self.latencies: list[float] = []
        self.idle = asyncio.Event()
        self._stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self) -> None:
        self.idle.clear()
        self._transport.write(self._ask)

    def ask_once(self) -> None:
        """Ask once, and note how long the answer takes."""
        self._pace = True
        self._asked_at = time.perf_counter()
        self.begin()

    def stop(self) -> None:
        self._stopping = True

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.idle.is_set() and self.wrong is None:
            self.wrong = b"the connection was closed"
        self.idle.set()

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        end = data.find(HEAD_END)
        if end >= 0:
            head = data[:end].lower()
            at = head.find(LENGTH)
            length = 0
            if at >= 0:
                line = head.find(b"\r", at)
                length = int(head[at + len(LENGTH) : line if line >= 0 else end])
            if len(data) >= end + 4 + length:
                self._data = b""
                self._answered(head)
                return
        self._data = data

    def _answered(self, head: bytes) -> None:
        if self._status not in head[:16]:
            self.wrong = head
            self.idle.set()
            return
        self.answers += 1
        if self._pace:
            self.latencies.append(time.perf_counter() - self._asked_at)
            self.idle.set()
        elif self._stopping:
            self.idle.set()
        else:
            self._transport.write(self._ask)

    def close(self) -> None:
        self._transport.close()


async def connected(port: int, ask: Ask, connections: int = CONNECTIONS) -> list[Client]:
    """Open connections that are going to ask this."""
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _transport, client = await loop.create_connection(
            lambda: Client(ask.bytes(port), ask.status), "127.0.0.1", port
        )
        clients.append(client)
    return clients


async def throughput(port: int, ask: Ask, seconds: float) -> tuple[int, float]:
    """Ask without a pause; answers how many answers came in how many seconds. Exits at a wrong answer."""
    clients = await connected(port, ask)
    began = time.perf_counter()
    for client in clients:
        client.begin()
    await asyncio.sleep(seconds)
    for client in clients:
        client.stop()
    await asyncio.wait_for(asyncio.gather(*(client.idle.wait() for client in clients)), 30)
    took = time.perf_counter() - began
    done(clients, ask)
    return sum(client.answers for client in clients), took


async def latencies(port: int, ask: Ask, rate: float, seconds: float) -> Sequence[float]:
    """Ask so often a second, evenly; answers the seconds that each answer took, from when it was due."""
    clients = await connected(port, ask)
    free = asyncio.Queue[Client]()
    for client in clients:
        free.put_nowait(client)
    waits: list[float] = []
    tasks = set()

    async def one(due: float) -> None:
        client = await free.get()
        client.ask_once()
        await client.idle.wait()
        waits.append(time.perf_counter() - due)
        free.put_nowait(client)

    began = time.perf_counter()
    for count in range(int(rate * seconds)):
        due = began + count / rate
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    done(clients, ask)
    return waits


def done(clients: Sequence[Client], ask: Ask) -> None:
    """Close the connections; exits where one of them was answered otherwise than it should."""
    for client in clients:
        client.close()
        if client.wrong is not None:
            raise SystemExit(f"{ask.path} was answered {client.wrong[:300]!r} instead of {ask.status}")
