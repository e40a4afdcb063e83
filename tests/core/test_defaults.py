"""The in-memory services."""

from __future__ import annotations

import asyncio
import math
from array import array

from core.clock import ManualClock
from core.defaults import (
    MemoryCache,
    MemoryHistory,
    SoleLeadership,
    in_memory_services,
)
from core.errors import DeviceRefused
from core.model import Flag, Reading, Reason, Source, Value
from core.readings import Chunk, ReadingBatch, Row, batch_of


async def test_the_cache_gives_back_what_it_was_given_until_its_time_is_over(clock: ManualClock):
    cache = MemoryCache(clock)
    await cache.set("key", b"value", ttl_s=10)
    await clock.advance(9.9)
    assert await cache.get("key") == b"value"
    await clock.advance(0.1)
    assert await cache.get("key") is None


async def test_the_cache_replaces_and_deletes_and_does_not_mind_unknown_keys(clock: ManualClock):
    cache = MemoryCache(clock)
    await cache.set("key", b"old", ttl_s=10)
    await cache.set("key", b"new", ttl_s=10)
    assert await cache.get("key") == b"new"
    await cache.delete("key")
    await cache.delete("key")
    assert await cache.get("key") is None


async def test_a_full_cache_drops_what_was_not_used_for_longest(clock: ManualClock):
    cache = MemoryCache(clock, entries=2)
    await cache.set("a", b"a", ttl_s=10)
    await cache.set("b", b"b", ttl_s=10)
    await cache.get("a")
    await cache.set("c", b"c", ttl_s=10)
    assert [await cache.get(key) for key in "abc"] == [b"a", None, b"c"]


def batch(chunk: Chunk, *values: Value | Row, time: float) -> ReadingBatch:
    rows = [value if isinstance(value, Row) else Row(value) for value in values]
    return batch_of(chunk, rows, time=time, source=Source.COV)


async def between(history: MemoryHistory, slot: int, start: float, end: float) -> list[Reading]:
    return [reading async for reading in history.between(slot, start, end)]


async def test_the_history_gives_a_points_readings_between_two_times_oldest_first():
    history, chunk = MemoryHistory(), Chunk(array("I", [1, 2]))
    await history.append([batch(chunk, float(time), "x", time=time) for time in (10, 20, 30)])
    assert [(each.time, each.value) for each in await between(history, 1, 10, 30)] == [(10, 10.0), (20, 20.0)]
    assert [each.value for each in await between(history, 2, 0, 99)] == ["x"] * 3
    assert await between(history, 3, 0, 99) == []


async def test_a_batch_that_came_late_takes_its_place_by_its_time():
    history, chunk = MemoryHistory(), Chunk(array("I", [1]))
    await history.append([batch(chunk, 2.0, time=20), batch(chunk, 1.0, time=10)])
    assert [each.time for each in await between(history, 1, 0, 99)] == [10, 20]


async def test_the_history_keeps_quality_flags_source_and_large_integers():
    history, chunk = MemoryHistory(), Chunk(array("I", [1, 2, 3]))
    rows = 2**60 + 1, Row(math.nan, Flag.FAULT), Row(error=DeviceRefused("no"))
    await history.append([batch(chunk, *rows, time=10.0)])
    readings = [(await between(history, slot, 0, 99))[0] for slot in (1, 2, 3)]
    assert [(each.value, each.reason, each.flags) for each in readings] == [
        (2**60 + 1, Reason.NONE, Flag(0)), (None, Reason.FAULT, Flag.FAULT), (None, Reason.ERROR, Flag(0)),
    ]  # fmt: skip
    assert {each.source for each in readings} == {Source.COV}


async def test_the_history_keeps_the_last_batches_only():
    history, chunk = MemoryHistory(batches=2), Chunk(array("I", [1]))
    await history.append([batch(chunk, float(time), time=time) for time in (10, 20, 30)])
    assert [each.time for each in await between(history, 1, 0, 99)] == [20, 30]


async def test_a_process_that_is_alone_owns_everything_for_ever():
    leadership = SoleLeadership()
    leases = await leadership.hold(["a", "b"])
    assert [(lease.name, lease.fence, lease.valid_until) for lease in leases] == [
        ("a", 1, math.inf),
        ("b", 1, math.inf),
    ]
    await leadership.release(["a"])
    nothing = asyncio.ensure_future(anext(leadership.changes()))
    await asyncio.sleep(0)
    assert not nothing.done()
    nothing.cancel()


async def test_there_is_one_of_each_service(clock: ManualClock):
    services = in_memory_services(clock)
    await services.cache.set("key", b"value", ttl_s=1)
    assert await services.cache.get("key") == b"value"
    assert services.rate_limit_store.take("key", rate=1, burst=1).allowed
    assert [lease.name for lease in await services.leadership.hold(["a"])] == ["a"]
    await services.history.append([batch(Chunk(array("I", [1])), 1.0, time=1.0)])
    assert [reading.value async for reading in services.history.between(1, 0, 9)] == [1.0]
