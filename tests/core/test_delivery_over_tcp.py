"""A receiver behind a real connection that dies at random: nothing is lost, nothing is stored twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from shared_history import START_MS, record

from core.pump import Pump
from core.samples import Position
from core.sinks import Delivery, Sink

LONGEST_S = 60.0
TIMEOUT_S = 0.3
BATCHES = 80


class Storehouse:
    """A server that stores batches by their position, says where it stands, and dies as a die says.

    Like a database with transactions, it answers a new connection only when it has done with the one before.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.stored: dict[tuple[int, int], list[float]] = {}
        self.deaths: Counter[str] = Counter()
        self.repeated = 0
        self._alone = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._alone:
                if not self._dies("refuse"):
                    writer.write(json.dumps(max(self.stored, default=None)).encode() + b"\n")
                    while await self._take(reader, writer):
                        pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _dies(self, way: str) -> bool:
        dies = self.dice.random() < (0.02 if way.startswith("stall") else 0.1)
        self.deaths[way] += dies
        return dies

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._dies("cut_in_between"):
            await reader.read(10)
            return False
        line = await reader.readuntil()
        if self._dies("cut_before"):
            return False
        if self._dies("stall_before"):
            await reader.read()
            return False
        for epoch, seq, values in json.loads(line):
            self.repeated += (epoch, seq) in self.stored
            self.stored.setdefault((epoch, seq), values)
        if self._dies("cut_after"):
            return False
        if self._dies("stall_after"):
            await reader.read()
            return False
        writer.write(b"committed\n")
        return True


class Client:
    """The sink's end of the line, as a plugin writes it; it knows the position from the server's greeting."""

    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            self._greeting = json.loads(await self._reader.readuntil())
            yield self
        finally:
            self._writer.close()

    async def deliver(self, delivery: Delivery) -> None:
        batches = [
            (each.position.epoch, each.position.seq, each.rows.samples.values.tolist()) for each in delivery.batches
        ]
        self._writer.write(json.dumps(batches).encode() + b"\n")
        await self._writer.drain()
        if await self._reader.readuntil() != b"committed\n":
            raise ConnectionError("it did not commit")


class PositionedClient(Client):
    """One that passes on where the server stands."""

    async def position(self) -> Position | None:
        return Position(*self._greeting) if self._greeting else None


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("client", [Client, PositionedClient])
async def test_a_receiver_that_dies_at_random_stores_each_batch_once_and_in_order(
    house: Any, client: type[Client], seed: int
) -> None:
    storehouse, dice = Storehouse(seed), random.Random(seed)
    server = await asyncio.start_server(storehouse.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    history = house.services.history
    sink = Sink("storehouse", client(port).connect, batch_samples=3, timeout_s=TIMEOUT_S)
    (pump,) = house.deliveries.add("demo", [sink], None)
    begin = await history.register(pump.name)
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    for number in range(BATCHES):
        record(history, 1, START_MS + number, float(number))
        if dice.random() < 0.3:
            await house.clock.advance(dice.random())
            await asyncio.sleep(0)
    await delivered(house, pump)
    await house.deliveries.close()
    server.close()
    await server.wait_closed()

    assert storehouse.stored == {(begin.epoch, begin.seq + 1 + n): [float(n)] for n in range(BATCHES)}
    assert list(storehouse.stored) == sorted(storehouse.stored)
    assert storehouse.deaths.total() >= 5
    assert pump.figures.delivered_samples == BATCHES or client is PositionedClient
    if client is PositionedClient:
        assert storehouse.repeated == 0


async def delivered(house: Any, pump: Pump) -> None:
    """Let the house's time go by until the receiver has everything."""
    async with asyncio.timeout(LONGEST_S):
        while pump.position != house.services.history.newest:
            await house.clock.advance(1.0)
            await asyncio.sleep(0.001)
