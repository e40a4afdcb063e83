"""Asks the leadership service what this process owns, so that the poller can look it up without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from core.clock import Clock
from core.services import Leadership, Lease
from core.tasks import end_tasks


class Leases:
    """The leases that this process holds now."""

    def __init__(self, leadership: Leadership, clock: Clock) -> None:
        self._leadership = leadership
        self._clock = clock
        self._held: dict[str, Lease] = {}

    def use(self, leadership: Leadership) -> None:
        """Ask another service, before names are held."""
        self._leadership = leadership

    def valid(self, name: str) -> bool:
        """Tell whether this process may poll and write under a name now."""
        lease = self._held.get(name)
        return lease is not None and lease.valid_until > self._clock.monotonic()

    @asynccontextmanager
    async def holding(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Hold names while the context is open, following every change."""
        for lease in await self._leadership.hold(names):
            self._held[lease.name] = lease
        follower = asyncio.create_task(self._follow(), name="leases")
        try:
            yield
        finally:
            await end_tasks([follower])
            self._held.clear()
            await self._leadership.release(names)

    async def _follow(self) -> None:
        try:
            async for lease in self._leadership.changes():
                self._held[lease.name] = lease
        except Exception as error:  # a plugin's code: what is held stays until it runs out
            structlog.get_logger().exception("leadership_failed", error=str(error))
