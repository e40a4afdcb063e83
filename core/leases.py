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
        self._asked: dict[str, None] = {}

    def use(self, leadership: Leadership) -> None:
        """Ask another service, before names are held."""
        self._leadership = leadership

    def valid(self, name: str) -> bool:
        """Tell whether this process may poll and write under a name now."""
        lease = self._held.get(name)
        return lease is not None and lease.valid_until > self._clock.monotonic()

    async def hold(self, names: Sequence[str]) -> None:
        """Ask for further names."""
        self._asked |= dict.fromkeys(names)
        for lease in await self._leadership.hold(names):
            self._held[lease.name] = lease

    async def release(self, names: Sequence[str]) -> None:
        """Give names back."""
        for name in names:
            self._held.pop(name, None)
            self._asked.pop(name, None)
        await self._leadership.release(names)

    @asynccontextmanager
    async def holding(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Hold names, and whatever is asked for meanwhile, while the context is open, following every change."""
        await self.hold(names)
        follower = asyncio.create_task(self._follow(), name="leases")
        try:
            yield
        finally:
            await end_tasks([follower])
            await self.release([*self._asked])

    async def _follow(self) -> None:
        try:
            async for lease in self._leadership.changes():
                self._held[lease.name] = lease
        except Exception as error:  # a plugin's code: what is held stays until it runs out
            structlog.get_logger().exception("leadership_failed", error=str(error))
