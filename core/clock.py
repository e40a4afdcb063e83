"""Tells the time, three ways, so that tests can turn the hands."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The time as the kernel sees it; all readings are seconds."""

    def utc(self) -> float:
        """Return seconds since the Unix epoch; may step when the system clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow while the machine is awake: for durations."""
        ...

    def boot(self) -> float:
        """Return seconds that also run on while the machine is suspended."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    utc = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    def boot() -> float:
        clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock_id)


class ManualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, start_utc: float = 1_700_000_000.0) -> None:
        self._start_utc = start_utc
        self._now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def utc(self) -> float:
        return self._start_utc + self._now

    def monotonic(self) -> float:
        return self._now

    boot = monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its own time, and let the woken run."""
        end = self._now + seconds
        await _settle()
        while True:
            self._sleepers = [item for item in self._sleepers if not item[1].done()]
            due = min(self._sleepers, key=lambda item: item[0], default=None)
            if due is None or due[0] > end:
                break
            self._now = max(self._now, due[0])
            due[1].set_result(None)
            await _settle()
        self._now = end
        await _settle()


async def _settle() -> None:
    """Give every task that is ready a few turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)
