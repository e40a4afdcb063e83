"""The cache that several processes share, with the memory of this one in its place while the server is away."""

from __future__ import annotations

import os
from collections.abc import Collection

from core.caches import CacheFigures, MemoryCache
from core.plugin import Clock
from plugins.redis.client import Away
from plugins.redis.config import FallbackOptions
from plugins.redis.link import Link
from plugins.redis.scripts import DROP, GET, SET

LARGEST_VALUE = 8 * 1024 * 1024
LONGEST_TTL_S = 7 * 86_400.0
ALONE_TTL_S = 30.0
"""How long a value is kept at most while we are alone, and do not hear what others forget."""
ALL = "all"
"""A tag that every value has."""


class RedisCache:
    """Values on the server, each with the marks of its tags; see `plugins.redis.scripts`.

    What is set or forgotten while the server is away would be news to it: then all is forgotten as it comes back.
    ``alone`` counts what was asked of this process instead.
    """

    def __init__(self, link: Link, clock: Clock, bounds: FallbackOptions) -> None:
        self._link = link
        self._here = MemoryCache(clock, entries=bounds.entries, size=bounds.bytes)
        self._outage = link.outages
        self._changed = False
        self.figures = CacheFigures()
        self.alone = 0
        link.settle = self._settle

    async def get(self, key: str) -> bytes | None:
        try:
            value: bytes | None = await self._link.ask(GET, [f"value:{key}"])
        except Away:
            value = await self._instead().get(key)
        if value is None:
            self.figures.misses += 1
        else:
            self.figures.hits += 1
        return value

    async def set(self, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        if ttl_s <= 0 or len(value) > LARGEST_VALUE:
            await self.delete(key)
            return
        keys = [f"value:{key}", ALL, *(f"tag:{tag}" for tag in tags)]
        milliseconds = max(1, int(min(ttl_s, LONGEST_TTL_S) * 1000))
        try:
            await self._link.ask(SET, keys, [value, milliseconds, os.urandom(12)])
        except Away:
            self._changed = True
            await self._instead().set(key, value, ttl_s=min(ttl_s, ALONE_TTL_S), tags=tags)

    async def delete(self, key: str) -> None:
        try:
            await self._link.ask(DROP, [f"value:{key}"])
        except Away:
            self._changed = True
            await self._instead().delete(key)

    async def forget(self, tag: str) -> None:
        try:
            await self._link.ask(DROP, [f"tag:{tag}"])
        except Away:
            self._changed = True
            await self._instead().forget(tag)

    def _instead(self) -> MemoryCache:
        """Return the cache of this process, which begins each outage empty."""
        self.alone += 1
        if self._outage != self._link.outages:
            self._outage = self._link.outages
            self._here.clear()
        return self._here

    async def _settle(self) -> None:
        """Have the server forget what it holds where that may be out of date; raises Away."""
        while self._changed:
            self._changed = False
            try:
                await self._link.ask_anyway(DROP, [ALL])
            except Away:
                self._changed = True
                raise
        self._here.clear()
