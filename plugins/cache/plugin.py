"""The plugin: is the cache service, and keeps answers."""

from __future__ import annotations

from collections.abc import Iterable

from core.caches import MemoryCache
from core.plugin import Context, Metric, Plugin, Policy, Route, hookimpl
from core.services import Cache
from plugins.cache.answers import Answers
from plugins.cache.config import SCHEMA, CacheConfig
from plugins.cache.routes import Routes


class CachePlugin(Plugin[CacheConfig]):
    """A cache in memory, for the REST API's answers and for what plugins fetch."""

    schema = SCHEMA
    config_class = CacheConfig
    api_version = 3

    def __init__(self, config: CacheConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.answers = Answers(config.answers, ctx.clock)
        self.service = MemoryCache(ctx.clock, entries=config.service.entries, size=config.service.size)

    @hookimpl
    def provide_cache(self) -> Cache | None:
        return self.service if self.config.service.enabled else None

    @hookimpl
    def register_middlewares(self) -> Iterable[Policy]:
        return [self.answers.policy] if self.config.answers.enabled else []

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        return Routes(self.answers, self.service).all

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        answers, service = self.answers, self.service
        return [
            Metric(
                "plantroom_cache_answers_total", "counter", "Requests for answers that may be kept.",
                lambda: [({"result": result}, count) for result, count in answers.results.items()],
            ),
            Metric("plantroom_cache_answers", "gauge", "Answers that are kept.", lambda: [({}, answers.entries)]),
            Metric("plantroom_cache_answers_bytes", "gauge", "Memory of these.", lambda: [({}, answers.size)]),
            Metric(
                "plantroom_cache_lookups_total", "counter", "Look-ups in the cache service, by what came of it.",
                lambda: [({"result": "hit"}, service.figures.hits), ({"result": "miss"}, service.figures.misses)],
            ),
            Metric(
                "plantroom_cache_evicted_total", "counter", "Values that had to make room before their time.",
                lambda: [({}, service.figures.evicted)],
            ),
            Metric("plantroom_cache_values", "gauge", "Values that plugins keep.", lambda: [({}, len(service))]),
            Metric("plantroom_cache_values_bytes", "gauge", "Memory of these.", lambda: [({}, service.size)]),
        ]  # fmt: skip
