"""The in-memory services that serve until a plugin provides better ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence

from core.caches import MemoryCache
from core.clock import Clock
from core.memory_history import MemoryHistory
from core.rate_limits import MemoryRateLimitStore
from core.samples import milliseconds
from core.services import Lease, Services


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
    history = MemoryHistory(epoch=milliseconds(clock.utc()))
    return Services(MemoryCache(clock), MemoryRateLimitStore(clock), history, SoleLeadership())
