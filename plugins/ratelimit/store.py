"""The store of the moment, with the memory of this process in its place while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from core.plugin import Allowance, Context
from core.rate_limits import MemoryRateLimitStore
from core.tasks import end_tasks
from plugins.ratelimit.plans import Bucket

TIMEOUT_S = 1.0
RETRY_AFTER_S = 5.0
PENDING_MOST = 100
"""How many answers may be under way that nobody waits for."""


class Store:
    """Takes from budgets, and never raises: what fails, or takes longer than ``timeout_s``, is counted here instead.

    ``problem`` says why that is so now; ``pending`` are the answers that nobody waits for.
    """

    def __init__(self, ctx: Context, *, timeout_s: float = TIMEOUT_S) -> None:
        self._services = ctx.services
        self._log = ctx.log
        self._now = ctx.clock.monotonic
        self.timeout_s = timeout_s
        self._here = MemoryRateLimitStore(ctx.clock)
        self.pending: set[asyncio.Task[Allowance]] = set()
        self._failed_at = 0.0
        self.problem: str | None = None

    def take(self, bucket: Bucket, cost: float) -> Allowance | Awaitable[Allowance]:
        """Take from a budget; a cost of 0 only looks."""
        answer = self._ask(bucket, cost)
        if isinstance(answer, Allowance):
            return answer
        return self._counted_here(bucket, cost) if answer is None else self._awaited(answer, bucket, cost)

    def at_once(self, bucket: Bucket, cost: float) -> Allowance:
        """Take from a budget where nothing can be awaited.

        A store that is not in memory hears of it all the same, but the answer is what this process knows.
        """
        answer = self._ask(bucket, cost) if len(self.pending) < PENDING_MOST else None
        if isinstance(answer, Allowance):
            return answer
        if answer is not None:
            task = asyncio.ensure_future(self._awaited(answer, bucket, 0.0))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)
        return self._counted_here(bucket, cost)

    async def close(self) -> None:
        """Wait for nothing more."""
        await end_tasks(self.pending)

    def _ask(self, bucket: Bucket, cost: float) -> Allowance | Awaitable[Allowance] | None:
        """Ask the store of the moment; None where it fails, or failed a moment ago."""
        if self.problem is not None and self._now() - self._failed_at < RETRY_AFTER_S:
            return None
        limit = bucket.limit
        try:
            answer = self._services.rate_limit_store.take(bucket.key, rate=limit.rate, burst=limit.burst, cost=cost)
        except Exception as error:  # another plugin's code: requests do not fail with it
            self._failed(error)
            return None
        if self.problem is not None and isinstance(answer, Allowance):
            self._recovered()
        return answer

    async def _awaited(self, answer: Awaitable[Allowance], bucket: Bucket, cost: float) -> Allowance:
        try:
            async with asyncio.timeout(self.timeout_s):
                found = await answer
        except Exception as error:  # as above
            self._failed(error)
            return self._counted_here(bucket, cost)
        if self.problem is not None:
            self._recovered()
        return found

    def _counted_here(self, bucket: Bucket, cost: float) -> Allowance:
        limit = bucket.limit
        return self._here.take(bucket.key, rate=limit.rate, burst=limit.burst, cost=cost)

    def _failed(self, error: Exception) -> None:
        self._failed_at = self._now()
        if self.problem is None:
            late = f"it did not answer within {self.timeout_s:g} s"
            self.problem = late if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            self._log.warning("rate_limit_store_failed", error=self.problem)

    def _recovered(self) -> None:
        self.problem = None
        self._log.info("rate_limit_store_recovered")
