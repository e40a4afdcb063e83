"""Keeps values for a time in the memory of this process, and has concurrent misses share one fill."""

from __future__ import annotations

import asyncio
import functools
import heapq
import math
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection

import attrs

from core.clock import Clock
from core.services import Cache

CACHE_ENTRIES = 10_000
CACHE_BYTES = 64 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 400
"""What an entry takes beside its key, tags and value, about."""


@attrs.frozen(eq=False)
class _Entry:
    value: bytes
    expires: float
    tags: frozenset[str]
    size: int


@attrs.define
class CacheFigures:
    """What a cache has counted: entries that went are ``evicted`` where they had to make room."""

    hits: int = 0
    misses: int = 0
    evicted: int = 0


class MemoryCache:
    """A cache that is bounded in entries and bytes; what has expired goes first, then what was not used for longest."""

    def __init__(self, clock: Clock, *, entries: int = CACHE_ENTRIES, size: int = CACHE_BYTES) -> None:
        self._now = clock.monotonic
        self._limit, self._limit_bytes = entries, size
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._expiries: list[tuple[float, str]] = []
        self._tagged: defaultdict[str, set[str]] = defaultdict(set)
        self.size = 0
        self.figures = CacheFigures()

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or entry.expires <= self._now():
            self._drop(key)
            self.figures.misses += 1
            return None
        self._entries.move_to_end(key)
        self.figures.hits += 1
        return entry.value

    async def set(self, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        self._drop(key)
        size = len(key) + len(value) + sum(map(len, tags)) + ENTRY_OVERHEAD_BYTES
        if ttl_s <= 0 or size > self._limit_bytes:
            return
        entry = self._entries[key] = _Entry(value, self._now() + ttl_s, frozenset(tags), size)
        self.size += size
        for tag in entry.tags:
            self._tagged[tag].add(key)
        if entry.expires < math.inf:
            heapq.heappush(self._expiries, (entry.expires, key))
        self._make_room()

    async def delete(self, key: str) -> None:
        self._drop(key)

    async def forget(self, tag: str) -> None:
        for key in [*self._tagged.get(tag, ())]:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        for key in [*self._entries]:
            self._drop(key)
        self._expiries.clear()

    def _make_room(self) -> None:
        now = self._now()
        if len(self._expiries) > 2 * self._limit:  # most are of entries that were replaced
            self._expiries = [(each.expires, key) for key, each in self._entries.items() if each.expires < math.inf]
            heapq.heapify(self._expiries)
        while self._expiries and self._expiries[0][0] <= now:
            expires, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.expires == expires:
                self._drop(key)
        while len(self._entries) > self._limit or self.size > self._limit_bytes:
            self._drop(next(iter(self._entries)))
            self.figures.evicted += 1

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.size
        for tag in entry.tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]


class Fills:
    """Fills a cache: who misses what somebody fetches already waits for that."""

    def __init__(self, cache: Callable[[], Cache]) -> None:
        self._cache = cache
        self._under_way: dict[str, asyncio.Task[bytes]] = {}

    async def get(
        self, key: str, fill: Callable[[], Awaitable[bytes]], *, ttl_s: float, tags: Collection[str] = ()
    ) -> bytes:
        """Return what is kept under a key, or else fetch it once for all who ask; raises what ``fill`` raises."""
        task = self._under_way.get(key)
        if task is None:
            known = await self._cache().get(key)
            if known is not None:
                return known
            task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._filled(key, fill, ttl_s, tags), name=f"fill:{key}")
            task.add_done_callback(functools.partial(self._done, key))
        return await asyncio.shield(task)

    def _done(self, key: str, task: asyncio.Task[bytes]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # where nobody waits any more, nobody misses it

    async def _filled(
        self, key: str, fill: Callable[[], Awaitable[bytes]], ttl_s: float, tags: Collection[str]
    ) -> bytes:
        value = await fill()
        await self._cache().set(key, value, ttl_s=ttl_s, tags=tags)
        return value
