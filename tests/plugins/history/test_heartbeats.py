"""A value that does not change is recorded again now and then, as far as it is confirmed."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence

import pytest
from shared_history import record

from core.clock import ManualClock
from core.model import Kind, Source, Value
from core.readings import Chunk, Row, batch_of
from plugins.history.config import Rule
from plugins.history.heartbeats import AT_ONCE
from plugins.history.store import Store

from .house import House

MakeStore = Callable[..., Store]


@pytest.fixture
def house() -> House:
    found = House()
    found.add("x.1.a")
    return found


async def test_a_value_that_is_confirmed_and_does_not_change_is_recorded_once_each_heartbeat(
    make_store: MakeStore, clock: ManualClock, house: House
):
    store, start = make_store(house=house, heartbeat=10.0), clock.utc()
    async with store.running():
        record(store, 1, round(start * 1000), 5.0)
        for _ in range(25):
            await tick(store, clock)
            house.confirm(1, 5.0, clock.utc())
        assert await recorded(store, start) == [(0, 5.0), (9, 5.0), (19, 5.0)]  # when it was confirmed last


async def test_a_value_that_nobody_has_confirmed_since_is_not_recorded_again(
    make_store: MakeStore, clock: ManualClock, house: House
):
    store, start = make_store(house=house, heartbeat=10.0), clock.utc()
    async with store.running():
        record(store, 1, round(start * 1000), 5.0)
        house.confirm(1, 5.0, start)
        await tick(store, clock, 35)
        assert await recorded(store, start) == [(0, 5.0)]
        house.confirm(1, 5.0, clock.utc())
        await tick(store, clock, 11)
        assert await recorded(store, start) == [(0, 5.0), (35, 5.0)]


async def test_a_change_puts_the_next_heartbeat_off(make_store: MakeStore, clock: ManualClock, house: House):
    store, start = make_store(house=house, heartbeat=10.0), clock.utc()
    async with store.running():
        record(store, 1, round(start * 1000), 5.0)
        for second in range(1, 19):
            await tick(store, clock)
            house.confirm(1, 6.0, clock.utc())
            if second == 8:
                record(store, 1, round(clock.utc() * 1000), 6.0)
        assert await recorded(store, start) == [(0, 5.0), (8, 6.0), (17, 6.0)]


async def test_a_point_has_the_heartbeat_of_its_rule_and_one_that_is_not_recorded_has_none(
    make_store: MakeStore, clock: ManualClock, house: House
):
    house.add("x.1.often")
    house.add("x.1.never", tags=("for now",))
    rules = Rule(match="*.often", heartbeat=5.0), Rule(match="*.never", record=False), Rule(tag="for now", record=True)
    store, start = make_store(house=house, heartbeat=20.0, points=rules), clock.utc()
    async with store.running():
        for slot in (1, 2, 3):
            record(store, slot, round(start * 1000), 1.0)
        house.tag(3)
        for _ in range(12):
            await tick(store, clock)
            for slot in (1, 2, 3):
                house.confirm(slot, 1.0, clock.utc())
        assert [len(await recorded(store, start, slot)) for slot in (1, 2, 3)] == [1, 3, 1]


async def test_when_very_many_points_are_due_some_thousand_are_recorded_at_a_time(
    make_store: MakeStore, clock: ManualClock, house: House
):
    store, start, slots = make_store(house=house, heartbeat=10.0), clock.utc(), range(1, AT_ONCE + 4)
    async with store.running():
        record_all(store, slots, start)
        await store.flush()
        for slot in slots:
            house.confirm(slot, 1.0, start + 9)
        known = len(store.head.runs()[0].columns)
        store.heartbeats.beat(round((start + 10) * 1000))
        assert store.head.rows - known == AT_ONCE
        store.heartbeats.beat(round((start + 10) * 1000))
        assert store.head.rows - known == AT_ONCE + 3
        store.heartbeats.beat(round((start + 10) * 1000))
        assert store.head.rows - known == AT_ONCE + 3


async def test_text_is_recorded_again_as_text(make_store: MakeStore, clock: ManualClock, house: House):
    store, start = make_store(house=house, heartbeat=10.0), clock.utc()
    async with store.running():
        record(store, 1, round(start * 1000), "auto")
        await tick(store, clock, 5)
        house.confirm(1, None, clock.utc(), text="auto")
        await tick(store, clock, 6)
        assert await recorded(store, start) == [(0, "auto"), (5, "auto")]


LOOPS = 3
"""A store has three that wait for the clock: they commit, keep house, and beat."""


async def tick(store: Store, clock: ManualClock, seconds: int = 1) -> None:
    """Let seconds pass, in each of which everything is done and what was recorded becomes safe."""
    for _ in range(seconds):
        await store.flush()
        async with asyncio.timeout(30):
            while sum(not sleeper.done() for _due, sleeper in clock._sleepers) < LOOPS:
                await asyncio.sleep(0.001)
        await clock.advance(1.0)
    await store.flush()


def record_all(store: Store, slots: Sequence[int], at: float) -> None:
    rows = [Row(1.0)] * len(slots)
    store.record(batch_of(Chunk(array("I", slots)), rows, time=at, source=Source.POLL), range(len(slots)))


async def recorded(store: Store, start: float, slot: int = 1) -> list[tuple[int, Value]]:
    """Return what is recorded of a point, with seconds since the start."""
    found = await store.samples(slot, 0, 2**52, limit=100)
    return [(round(each.time_ms / 1000 - start), each.value) for each in found.rows(Kind.NUMBER)]
