"""The rate limiter: refuses who asks too often, and counts who was refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from core.plugin import Context, Health, HealthCheck, Metric, Plugin, Policy, hookimpl
from core.tasks import end_tasks
from plugins.ratelimit.config import SCHEMA, RatelimitConfig
from plugins.ratelimit.limiter import Limiter
from plugins.ratelimit.plans import Limits
from plugins.ratelimit.policies import Policies
from plugins.ratelimit.refusals import Refusals
from plugins.ratelimit.store import Store


class RatelimitPlugin(Plugin[RatelimitConfig]):
    """Budgets for keys, users and addresses, counted in the store of the house."""

    schema = SCHEMA
    config_class = RatelimitConfig
    api_version = 2

    def __init__(self, config: RatelimitConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.limits = Limits(config, owner=ctx.name)
        self.store = Store(ctx)
        self.refusals = Refusals(ctx, self.limits.names)
        self.limiter = Limiter(self.store, self.refusals, config.cost)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self._run()

    @hookimpl
    def register_middlewares(self) -> Iterable[Policy]:
        return Policies(self.limits, self.limiter).all

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        return [HealthCheck("store", self._store_health), HealthCheck("limits", self._limits_health)]

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        help_text = "Requests that were refused, by the limit that they were more than."
        return [Metric("plantroom_rate_limited_total", "counter", help_text, self.refusals.samples)]

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        watch = asyncio.create_task(self.refusals.watch(), name=f"{self.ctx.name}:refusals")
        try:
            yield
        finally:
            await end_tasks([watch])
            await self.store.close()
            self.refusals.end()

    def _store_health(self) -> tuple[Health, str]:
        if self.store.problem is None:
            return Health.OK, "it counts"
        return Health.DEGRADED, f"each process counts for itself while the store fails: {self.store.problem}"

    def _limits_health(self) -> tuple[Health, str]:
        unmatched = self.limits.unmatched
        if not unmatched:
            return Health.OK, "each of them is about some route"
        return Health.DEGRADED, f"no route matches {', '.join(unmatched)}: see `match` in the configuration"
