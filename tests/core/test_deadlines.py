"""Deadlines: what takes too long is ended, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from core import deadlines as module
from core.deadlines import Deadlines


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.01)


async def test_what_takes_too_long_is_a_timeout():
    deadlines = Deadlines(0.02)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError), deadlines.one():
            await asyncio.Event().wait()
    assert not deadlines.running
    assert asyncio.current_task().cancelling() == 0


async def test_what_ends_in_time_goes_on_undisturbed():
    deadlines = Deadlines(5.0)
    for _ in range(3):
        with deadlines.one():
            await asyncio.sleep(0)
    assert not deadlines.running
    with pytest.raises(ValueError, match="its own"), deadlines.one():
        raise ValueError("its own")


async def test_who_is_cancelled_from_outside_stays_cancelled():
    deadlines = Deadlines(5.0)

    async def work():
        with deadlines.one():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_deadline_is_not_swallowed():
    deadlines = Deadlines(0.02)

    async def work():
        with deadlines.one() as _:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    (deadline,) = deadlines.running
    deadline.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_timer_ends_with_the_last_and_begins_anew():
    deadlines = Deadlines(5.0)
    async with asyncio.timeout(5):
        for _ in range(2):
            with deadlines.one():
                await asyncio.sleep(0)
            while deadlines._timer is not None:
                await asyncio.sleep(0.005)
