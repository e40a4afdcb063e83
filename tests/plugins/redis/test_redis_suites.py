"""The suites that all caches and all stores of limits pass, on a real server."""

from __future__ import annotations

from typing import ClassVar

import pytest
from redis_server import RedisServer
from shared_cache import CacheSuite, Elapse
from shared_rate_limits import RateLimitSuite, Subject

from core.clock import ManualClock
from plugins.redis.cache import RedisCache
from plugins.redis.config import FallbackOptions
from plugins.redis.rate_limits import RedisRateLimitStore

from .conftest import Connect


@pytest.fixture
def elapse(server: RedisServer, clock: ManualClock) -> Elapse:
    async def age(seconds: float) -> None:
        server.age(seconds)
        await clock.advance(seconds)

    return age


class TestCache(CacheSuite):
    @pytest.fixture
    async def cache(self, server: RedisServer, clock: ManualClock, connect: Connect) -> RedisCache:
        return RedisCache(await connect(server), clock, FallbackOptions())


class TestRateLimits(RateLimitSuite):
    tolerance_s: ClassVar[float] = 5.0

    @pytest.fixture
    async def store(self, server: RedisServer, clock: ManualClock, connect: Connect) -> Subject:
        return Subject(RedisRateLimitStore(await connect(server), clock, keys=100))
