"""Our registration as a foreign device: renewed in time, and asked for again when the BBMD has forgotten it (J.5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from core.plugin import Clock, DeviceRefused, DeviceTimeout
from plugins.bacnet.discovery.bbmd import BbmdRequests, named
from plugins.bacnet.wire.bvll_tables import End, ResultCode

_RENEWED_AFTER = 0.5  # of the time that it lives
_RETRY_S = 5.0


class Registration:
    """Registered with a BBMD or not: ``since`` is UTC seconds, ``reason`` why not.

    ``changed`` is called when it begins and when it ends.
    """

    def __init__(self, bbmd: End, ttl_s: int, requests: BbmdRequests, clock: Clock) -> None:
        self.bbmd = bbmd
        self.ttl_s = ttl_s
        self.registered = False
        self.since: float | None = None
        self.reason = "the BBMD has not answered yet"
        self.changed: Callable[[], None] = lambda: None
        self._requests = requests
        self._clock = clock
        self._ends_at = 0.0
        self._forgotten = asyncio.Event()
        requests.unasked = self._told

    async def keep(self) -> None:
        """Register, and renew it for ever; never returns."""
        while True:
            self._forgotten.clear()
            wait_s = await self._renew()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._forgotten.wait()

    async def _renew(self) -> float:
        """Register once, and answer how many seconds later to do so again."""
        try:
            await self._requests.register(self.bbmd, self.ttl_s)
        except DeviceRefused as error:
            self._end(str(error))
        except DeviceTimeout as error:
            if self._clock.monotonic() >= self._ends_at:
                self._end(str(error))
        else:
            self._ends_at = self._clock.monotonic() + self.ttl_s
            self._begin()
            return self.ttl_s * _RENEWED_AFTER
        return min(_RETRY_S, self.ttl_s * _RENEWED_AFTER)

    def _told(self, end: End, code: int) -> None:
        """Hear that the BBMD hands on no broadcast of ours: it was restarted, say, and has forgotten us."""
        if end == self.bbmd and code == ResultCode.DISTRIBUTE_BROADCAST_TO_NETWORK_NAK:
            self._end(f"{named(end)} has forgotten the registration")
            self._forgotten.set()

    def _begin(self) -> None:
        self.reason = ""
        if not self.registered:
            self.registered, self.since = True, self._clock.utc()
            self.changed()

    def _end(self, reason: str) -> None:
        self.reason = reason
        if self.registered:
            self.registered, self.since = False, None
            self.changed()
