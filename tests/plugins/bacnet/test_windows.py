"""Windows: bounded, fair, and open where there is nothing left to protect."""

from __future__ import annotations

import asyncio

import pytest

from core.clock import ManualClock
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.windows import Network, Window, Windows, together


class Crowd:
    """Holders of a window that stay until they are let go."""

    def __init__(self, window):
        self.window = window
        self.inside = 0
        self.go = asyncio.Event()

    async def __call__(self):
        async with self.window:
            self.inside += 1
            await self.go.wait()
        self.inside -= 1


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_its_size_are_inside():
    crowd = Crowd(Window(3))
    tasks = [asyncio.create_task(crowd()) for _ in range(8)]
    await settle()
    assert crowd.inside == 3
    crowd.go.set()
    await asyncio.gather(*tasks)
    assert crowd.inside == 0


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next():
    crowd = Crowd(Window(1))
    first, second, third = (asyncio.create_task(crowd()) for _ in range(3))
    await settle()
    second.cancel()
    crowd.go.set()
    async with asyncio.timeout(1):
        await asyncio.gather(first, third)
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next():
    crowd = Crowd(Window(1))
    first, second, third = (asyncio.create_task(crowd()) for _ in range(3))
    await settle()
    crowd.go.set()
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(first, third)
        await asyncio.gather(second, return_exceptions=True)


async def test_opening_lets_everybody_in():
    window = Window(1)
    crowd = Crowd(window)
    tasks = [asyncio.create_task(crowd()) for _ in range(5)]
    await settle()
    window.wide = True
    await settle()
    assert crowd.inside == 5
    crowd.go.set()
    await asyncio.gather(*tasks)


async def test_a_network_is_silent_when_several_miss_and_nothing_answers_meanwhile():
    clock = ManualClock()
    network = Network(1, clock)
    await clock.advance(1)
    for _ in range(3):
        network.missed(clock.monotonic())
    assert not network.silent
    await clock.advance(1)
    assert network.answered() is False
    for _ in range(9):
        network.missed(clock.monotonic() - 1)
    assert not network.silent, "something answered after these were asked"
    await clock.advance(1)
    for _ in range(4):
        network.missed(clock.monotonic())
    assert network.silent
    assert network.answered() is True
    assert not network.silent


async def test_a_silent_device_passes_beside_a_full_network():
    windows = Windows(ManualClock())
    station = parse_station("2001:1@10.0.0.1", interface="here")
    crowded = asyncio.Event()

    async def hold(silent):
        async with windows.turn(station, Window(1), silent=silent):
            await crowded.wait()

    tasks = [asyncio.create_task(hold(False)) for _ in range(40)]
    await settle()
    async with asyncio.timeout(1), windows.turn(station, Window(1), silent=True) as network:
        assert network is windows.network(station)
    crowded.set()
    await asyncio.gather(*tasks)


async def test_of_several_the_first_failure_is_raised_and_the_rest_stops():
    stopped = asyncio.Event()

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        await together([forever(), fail()])
    assert stopped.is_set()
