"""The clock: the machine's own, and the one that tests turn."""

from __future__ import annotations

import asyncio
import time

from core.clock import ManualClock, SystemClock


async def test_the_system_clock_tells_the_machines_time():
    clock = SystemClock()
    assert abs(clock.utc() - time.time()) < 5
    before = clock.monotonic(), clock.boot()
    await clock.sleep(0)
    assert clock.monotonic() >= before[0]
    assert clock.boot() >= before[1]


async def test_boot_time_counts_at_least_what_monotonic_time_counts():
    clock = SystemClock()
    assert clock.boot() >= clock.monotonic() - 0.001


async def test_a_manual_clock_stands_still_until_it_is_advanced():
    clock = ManualClock(1000.0)
    assert (clock.utc(), clock.monotonic(), clock.boot()) == (1000.0, 0.0, 0.0)
    await clock.advance(2.5)
    assert (clock.utc(), clock.monotonic(), clock.boot()) == (1002.5, 2.5, 2.5)


async def test_sleepers_wake_in_the_order_of_their_times_each_at_its_own():
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3.0), ("soon", 1.0), ("between", 2.0)):
            group.create_task(sleeper(name, seconds))
        await clock.advance(10)
    assert woken == [("soon", 1.0), ("between", 2.0), ("late", 3.0)]


async def test_one_who_sleeps_again_wakes_again_within_the_same_advance():
    clock = ManualClock()
    beats: list[float] = []

    async def metronome() -> None:
        while True:
            await clock.sleep(1)
            beats.append(clock.monotonic())

    task = asyncio.create_task(metronome())
    await clock.advance(3.5)
    task.cancel()
    assert beats == [1.0, 2.0, 3.0]


async def test_a_sleeper_that_was_cancelled_does_not_wake():
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.advance(0.5)
    task.cancel()
    await clock.advance(1)
    assert task.cancelled()


async def test_to_sleep_for_no_time_only_lets_others_run():
    clock = ManualClock()
    async with asyncio.timeout(1):
        await clock.sleep(0)
        await clock.sleep(-1)
    assert clock.monotonic() == 0
