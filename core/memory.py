"""Keeps the garbage collector away from what stays for good: a house of 100,000 points is walked through once."""

from __future__ import annotations

import asyncio
import gc

from core.events import DevicesChanged, EventBus, EventHandler, PluginStateChanged, Subscription

SETTLED_AFTER_S = 30.0
YOUNG, ALL = 1, 2
_THRESHOLDS = (20_000, 20, 20)


class SettledMemory:
    """Takes devices and points out of the collector's rounds, some time after the last of them has come or changed.

    A full round over everything would hold the event loop up for the better part of a second.
    """

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._timer: asyncio.TimerHandle | None = None
        self._subscriptions: list[Subscription] = []
        self._generation = YOUNG
        self._thresholds = gc.get_threshold()

    def begin(self) -> None:
        """Go by the events from now on."""
        gc.set_threshold(*_THRESHOLDS)
        handlers = EventHandler(DevicesChanged, self._changed), EventHandler(PluginStateChanged, self._left)
        self._subscriptions = [self._events.subscribe(handler, owner="core") for handler in handlers]
        self._wait()

    async def end(self) -> None:
        """Leave everything to the collector again."""
        if self._timer is not None:
            self._timer.cancel()
        for subscription in self._subscriptions:
            await self._events.unsubscribe(subscription)
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)

    async def _changed(self, _event: DevicesChanged) -> None:
        self._wait()

    async def _left(self, _event: PluginStateChanged) -> None:
        """Have what a plugin leaves behind collected, too: it refers to itself in circles."""
        self._generation = ALL
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(SETTLED_AFTER_S, self._settle)

    def _settle(self) -> None:
        settle(self._generation)
        self._generation = YOUNG


def settle(generation: int = YOUNG) -> None:
    """Take all that there is out of the collector's rounds, after one over the objects of a generation."""
    gc.unfreeze()
    gc.collect(generation)
    gc.freeze()
