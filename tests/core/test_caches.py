from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings, strategies
from shared_cache import CacheSuite, Elapse

from core.caches import ENTRY_OVERHEAD_BYTES, Fills, MemoryCache
from core.clock import ManualClock
from core.plugin import Plugin
from core.testing import StartPlantroom


class TestMemory(CacheSuite):
    @pytest.fixture
    def cache(self, clock: ManualClock) -> MemoryCache:
        return MemoryCache(clock)

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        return clock.advance


async def test_a_full_cache_drops_what_was_not_used_for_longest(clock: ManualClock) -> None:
    cache = MemoryCache(clock, entries=2)
    await cache.set("a", b"a", ttl_s=10)
    await cache.set("b", b"b", ttl_s=10)
    await cache.get("a")
    await cache.set("c", b"c", ttl_s=10)
    assert [await cache.get(key) for key in "abc"] == [b"a", None, b"c"]
    assert (cache.figures.hits, cache.figures.misses, cache.figures.evicted) == (3, 1, 1)


async def test_what_has_expired_makes_room_first(clock: ManualClock) -> None:
    cache = MemoryCache(clock, entries=2)
    await cache.set("lasting", b"", ttl_s=100)
    await cache.set("short", b"", ttl_s=1)
    await clock.advance(2)
    await cache.set("new", b"", ttl_s=100)
    assert await cache.get("lasting") == b""
    assert cache.figures.evicted == 0


async def test_a_cache_is_bounded_in_bytes_and_keeps_nothing_that_is_larger(clock: ManualClock) -> None:
    cache = MemoryCache(clock, size=10_000)
    for number in range(100):
        await cache.set(str(number), b"x" * 1000, ttl_s=10, tags=["t"])
    assert 5 <= len(cache) <= 10_000 // (1000 + ENTRY_OVERHEAD_BYTES)
    assert cache.size <= 10_000
    await cache.set("99", b"x" * 20_000, ttl_s=10)
    assert await cache.get("99") is None, "the old value is not what was set last"
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


async def test_a_key_that_is_set_over_and_over_takes_no_more_memory(clock: ManualClock) -> None:
    cache = MemoryCache(clock, entries=100)

    async def churn(times: int) -> None:
        for number in range(times):
            await cache.set("key", b"value", ttl_s=1000, tags=[f"tag-{number}"])

    await churn(1000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await churn(20_000)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


STEPS = strategies.lists(
    strategies.one_of(
        strategies.tuples(
            strategies.just("set"),
            strategies.sampled_from("abcdef"),
            strategies.sampled_from([1.0, 5.0, 50.0]),
            strategies.sets(strategies.sampled_from("xyz")),
        ),
        strategies.tuples(strategies.sampled_from(["get", "delete"]), strategies.sampled_from("abcdef")),
        strategies.tuples(strategies.just("forget"), strategies.sampled_from("xyz")),
        strategies.tuples(strategies.just("wait"), strategies.sampled_from([0.5, 3.0])),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_is_done_a_cache_never_gives_what_it_must_not(steps: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        cache = MemoryCache(clock, entries=4)
        model: dict[str, tuple[bytes, float, set[str]]] = {}
        for number, step in enumerate(steps):
            match step:
                case "set", key, ttl_s, tags:
                    model[key] = str(number).encode(), clock.monotonic() + ttl_s, tags
                    await cache.set(key, model[key][0], ttl_s=ttl_s, tags=tags)
                case "get", key:
                    known = model.get(key)
                    right = known[0] if known is not None and known[1] > clock.monotonic() else None
                    assert await cache.get(key) in ({None, right} if len(model) > 4 else {right})
                case "delete", key:
                    model.pop(key, None)
                    await cache.delete(key)
                case "forget", tag:
                    model = {key: each for key, each in model.items() if tag not in each[2]}
                    await cache.forget(tag)
                case "wait", seconds:
                    await clock.advance(seconds)
            assert len(cache) <= 4
        cache.clear()
        assert cache.size == 0

    asyncio.run(run())


class Source:
    """Fetches slowly, as often as it is counted."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls = 0
        self.error: Exception | None = None

    async def fetch(self) -> bytes:
        self.calls += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return f"value {self.calls}".encode()


@pytest.fixture
def source() -> Source:
    return Source()


async def test_concurrent_misses_share_one_fill(clock: ManualClock, source: Source) -> None:
    cache = MemoryCache(clock)
    fills = Fills(lambda: cache)
    asked = [asyncio.create_task(fills.get("key", source.fetch, ttl_s=10)) for _ in range(50)]
    while not source.calls:
        await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*asked) == [b"value 1"] * 50
    assert await fills.get("key", source.fetch, ttl_s=10) == b"value 1"
    await clock.advance(11)
    assert await fills.get("key", source.fetch, ttl_s=10) == b"value 2"


async def test_a_fill_that_fails_fails_all_who_wait_and_is_not_kept(clock: ManualClock, source: Source) -> None:
    cache = MemoryCache(clock)
    fills = Fills(lambda: cache)
    source.error = OSError("the service is down")
    source.gate.set()
    results = await asyncio.gather(
        *(fills.get("key", source.fetch, ttl_s=10) for _ in range(5)), return_exceptions=True
    )
    assert [str(each) for each in results] == ["the service is down"] * 5
    source.error = None
    assert await fills.get("key", source.fetch, ttl_s=10) == b"value 2"


async def test_who_gives_up_waiting_does_not_end_the_fill_of_others(clock: ManualClock, source: Source) -> None:
    cache = MemoryCache(clock)
    fills = Fills(lambda: cache)
    first = asyncio.create_task(fills.get("key", source.fetch, ttl_s=10))
    while not source.calls:
        await asyncio.sleep(0)
    second = asyncio.create_task(fills.get("key", source.fetch, ttl_s=10))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == b"value 1"


async def test_a_plugin_keeps_what_it_fetches_under_names_of_its_own(plantroom: StartPlantroom) -> None:
    running = await plantroom("plugins: {one: {use: rooms}, other: {use: rooms}}", plugins={"rooms": Plugin})
    one, other = (running.kernel.manager.plugins[name].instance.ctx for name in ("one", "other"))

    async def fetch() -> bytes:
        return b"fetched"

    async def never() -> bytes:
        raise AssertionError("it is kept already")

    assert await one.cached("list", fetch, ttl_s=60, tags=["all"]) == b"fetched"
    assert await one.cached("list", never, ttl_s=60) == b"fetched"
    await other.cached("list", fetch, ttl_s=60, tags=["all"])
    await other.forget("all")
    assert await one.cached("list", never, ttl_s=60) == b"fetched"
    with pytest.raises(AssertionError, match="kept"):
        await other.cached("list", never, ttl_s=60)
