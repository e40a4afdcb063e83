"""Be the cache and the store of the rate limiter, on a Redis server that other processes use too."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from core.errors import PluginError
from core.plugin import Context, HealthCheck, Metric, Plugin, Weakness, hookimpl
from core.tasks import end_tasks
from plugins.redis.cache import RedisCache
from plugins.redis.config import SCHEMA, RedisConfig
from plugins.redis.link import Link
from plugins.redis.rate_limits import RedisRateLimitStore
from plugins.redis.weaknesses import weaknesses

GOODBYE_S = 1.0
"""How long, as it stops, to give back what was lent: what is left then comes back at the budget's rate."""

Samples = Iterable[tuple[Mapping[str, str], float]]


class RedisPlugin(Plugin[RedisConfig]):
    """One server, and the services that are kept there."""

    schema = SCHEMA
    config_class = RedisConfig
    api_version = 2
    start_timeout_s = 20.0  # a server is waited for, as long as the options say, before we go on without it
    stop_timeout_s = 4.0

    def __init__(self, config: RedisConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        if importlib.util.find_spec("redis") is None:
            raise PluginError("`redis` needs a library that is missing: pip install 'plantroom[redis]'")
        self.link = Link(config, ctx)
        self.cache = RedisCache(self.link, ctx.clock, config.fallback) if config.cache else None
        self.limits: RedisRateLimitStore | None = None
        if config.rate_limits:
            self.limits = RedisRateLimitStore(self.link, ctx.clock, keys=config.fallback.keys)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self._run()

    @hookimpl
    def provide_cache(self) -> RedisCache | None:
        return self.cache

    @hookimpl
    def provide_rate_limit_store(self) -> RedisRateLimitStore | None:
        return self.limits

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        return [HealthCheck("server", self.link.health)]

    @hookimpl
    def register_weaknesses(self) -> Iterable[Weakness]:
        return weaknesses(self.config)

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        return [
            Metric("plantroom_redis_up", "gauge", "Whether the Redis server does its work.", self._up),
            Metric(
                "plantroom_redis_failures_total",
                "counter",
                "What the Redis server was asked in vain, by the reason.",
                self._failures,
            ),
            Metric(
                "plantroom_redis_limits_total",
                "counter",
                "Answers of the shared limits: by the server, from what it lent, or by this process alone.",
                self._answers,
            ),
            Metric(
                "plantroom_redis_cache_total",
                "counter",
                "What the shared cache was asked: hits, misses, and all that this process did alone.",
                self._cached,
            ),
        ]

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        await self.link.connect()
        tasks = [asyncio.create_task(self.link.keep(), name=f"{self.ctx.name}:link")]
        if self.limits is not None:
            tasks.append(asyncio.create_task(self.limits.keep(), name=f"{self.ctx.name}:leases"))
        try:
            yield
        finally:
            await end_tasks(tasks)
            if self.limits is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(GOODBYE_S):
                        await self.limits.give_back(everything=True)
            await self.link.close()

    def _up(self) -> Samples:
        return [({}, float(self.link.problem is None))]

    def _failures(self) -> Samples:
        return [({"reason": reason}, count) for reason, count in sorted(self.link.failures.items())]

    def _answers(self) -> Samples:
        limits = self.limits
        if limits is None:
            return []
        return [({"from": name}, getattr(limits, attribute)) for name, attribute in _ANSWERS.items()]

    def _cached(self) -> Samples:
        cache = self.cache
        if cache is None:
            return []
        counts = {"hit": cache.figures.hits, "miss": cache.figures.misses, "alone": cache.alone}
        return [({"outcome": outcome}, count) for outcome, count in counts.items()]


_ANSWERS: Mapping[str, str] = {"server": "asked", "lease": "leased", "process": "alone"}
