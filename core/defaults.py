"""The in-memory services that serve until a plugin provides better ones."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Sequence

from core.clock import Clock
from core.model import Flag, Reading, Reason, Source, Value
from core.rate_limits import MemoryRateLimitStore
from core.readings import ReadingBatch
from core.services import Lease, Services

CACHE_ENTRIES = 10_000
HISTORY_BATCHES = 5_000


class MemoryCache:
    """A bounded cache; the entry that was not used for longest goes first."""

    def __init__(self, clock: Clock, *, entries: int = CACHE_ENTRIES) -> None:
        self._clock = clock
        self._limit = entries
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        value, expires = self._entries.get(key, (b"", -math.inf))
        if expires <= self._clock.monotonic():
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        self._entries[key] = (value, self._clock.monotonic() + ttl_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)


class MemoryHistory:
    """The last batches of the whole house, until a plugin keeps them for good."""

    def __init__(self, *, batches: int = HISTORY_BATCHES) -> None:
        self._batches: deque[ReadingBatch] = deque(maxlen=batches)

    async def append(self, batches: Sequence[ReadingBatch]) -> None:
        self._batches.extend(batches)

    async def between(self, slot: int, start: float, end: float) -> AsyncIterator[Reading]:
        for batch in sorted(self._batches, key=lambda item: item.time):
            if start <= batch.time < end and slot in batch.chunk.slots:
                yield _reading(batch, batch.chunk.slots.index(slot))


def _reading(batch: ReadingBatch, row: int) -> Reading:
    number = batch.values[row]
    value: Value = None if math.isnan(number) else batch.integers.get(row, number)
    value = batch.texts.get(row, value)
    reason, flags = Reason(batch.reasons[row]), Flag(batch.flags[row])
    return Reading(value, None, batch.time, batch.time, reason, flags, Source(batch.source))


class SoleLeadership:
    """A process that is alone owns everything, with fence 1, for ever."""

    async def hold(self, names: Iterable[str]) -> Sequence[Lease]:
        return [Lease(name, fence=1, valid_until=math.inf) for name in names]

    async def release(self, names: Iterable[str]) -> None:
        """Nobody waits for the names."""

    async def changes(self) -> AsyncIterator[Lease]:
        await asyncio.Event().wait()
        yield Lease("", 0, 0.0)  # pragma: no cover - makes this an iterator; nothing ever changes


def in_memory_services(clock: Clock) -> Services:
    """Make one of each."""
    return Services(MemoryCache(clock), MemoryRateLimitStore(clock), MemoryHistory(), SoleLeadership())
