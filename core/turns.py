"""Gives each device one who writes to it at a time, and owns what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from core.errors import DeviceTimeout
from core.owner import owned_by
from core.tasks import end_tasks

LONGEST_WRITE_S = 20.0
GIVEN_UP = "The write was given up: Plantroom is stopping. It may have been carried out."

ResultT = TypeVar("ResultT")


class Turns:
    """The turns of all devices, and the work that waits for them or has them."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, device_id: str) -> asyncio.Lock:
        """Return what is held by whoever writes to a device; those who wait get it in the order they came."""
        return self._turns.setdefault(device_id, asyncio.Lock())

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do work that ends as it must, also where whoever or whatever plugin asked for it is gone."""
        with owned_by(None):
            task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        await end_tasks(self._tasks)


async def within(work: Coroutine[Any, Any, ResultT], seconds: float, device_id: str) -> ResultT:
    """Await work of a plugin's; raises DeviceTimeout where it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise late(device_id, seconds) from None


def late(device_id: str, seconds: float) -> DeviceTimeout:
    """Say that a device took too long over what it was asked to do."""
    return DeviceTimeout(f"{device_id} did not answer within {seconds:g} s. What was to be written may have been.")
