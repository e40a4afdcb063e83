"""Keeps the garbage collector away from what stays for good: a house of 100,000 points is walked through once."""

from __future__ import annotations

import asyncio
import gc

from core.events import DevicesChanged, EventBus, EventHandler, Subscription

SETTLED_AFTER_S = 30.0
_THRESHOLDS = (20_000, 20, 20)


class SettledMemory:
    """Takes devices and points out of the collector's rounds, some time after the last of them has come or changed.

    A full round over everything would hold the event loop up for the better part of a second.
    """

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._timer: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._thresholds = gc.get_threshold()

    def begin(self) -> None:
        """Go by the events from now on."""
        gc.set_threshold(*_THRESHOLDS)
        self._subscription = self._events.subscribe(EventHandler(DevicesChanged, self._changed), owner="core")
        self._wait()

    async def end(self) -> None:
        """Leave everything to the collector again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            await self._events.unsubscribe(self._subscription)
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)

    async def _changed(self, _event: DevicesChanged) -> None:
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(SETTLED_AFTER_S, settle)


def settle() -> None:
    """Take all that there is out of the collector's rounds; what is let go of is freed all the same."""
    gc.collect(1)
    gc.freeze()
