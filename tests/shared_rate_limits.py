"""What every store of the rate limiter does: one suite, for the one in memory and for those that processes share.

A class of tests inherits it, and has two fixtures: ``store``, and ``elapse``, which lets so many seconds pass for it.
The budgets are slow ones, and ``tolerance_s`` says by how much a store that goes by the real time may be off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from core.services import Allowance, RateLimitStore

Elapse = Callable[[float], Awaitable[None]]


class Subject:
    """A store under test, which may answer at once or be awaited."""

    def __init__(self, store: RateLimitStore) -> None:
        self._store = store

    async def take(self, key: str, *, rate: float = 0.01, burst: float = 10, cost: float = 1.0) -> Allowance:
        answer = self._store.take(key, rate=rate, burst=burst, cost=cost)
        return answer if isinstance(answer, Allowance) else await answer


class RateLimitSuite:
    """To be inherited."""

    tolerance_s: ClassVar[float] = 1e-3

    async def test_a_budget_is_spent_and_refills_at_its_rate(self, store: Subject, elapse: Elapse) -> None:
        taken = [await store.take("key", rate=0.02, burst=3) for _ in range(4)]
        assert [(each.allowed, each.remaining) for each in taken] == [(True, 2), (True, 1), (True, 0), (False, 0)]
        assert taken[3].retry_after_s == pytest.approx(50.0, abs=self.tolerance_s)
        assert taken[3].reset_after_s == pytest.approx(150.0, abs=self.tolerance_s)
        await elapse(50.0)
        assert (await store.take("key", rate=0.02, burst=3)).allowed
        assert not (await store.take("key", rate=0.02, burst=3)).allowed

    async def test_one_key_does_not_spend_anothers_budget(self, store: Subject) -> None:
        assert (await store.take("a", burst=1)).allowed
        assert (await store.take("b", burst=1)).allowed

    async def test_what_costs_more_takes_more_and_what_is_refused_takes_nothing(self, store: Subject) -> None:
        assert (await store.take("key", cost=8)).remaining == 2
        assert not (await store.take("key", cost=3)).allowed
        assert (await store.take("key", cost=2)).allowed

    async def test_a_cost_may_be_less_than_one(self, store: Subject) -> None:
        for _ in range(8):
            assert (await store.take("key", burst=2, cost=0.25)).allowed
        refused = await store.take("key", burst=2, cost=0.25)
        assert not refused.allowed
        assert refused.retry_after_s == pytest.approx(25.0, abs=self.tolerance_s)

    async def test_a_cost_of_nothing_only_looks(self, store: Subject) -> None:
        assert (await store.take("key", cost=0)).remaining == 10
        await store.take("key", cost=10)
        looked = await store.take("key", cost=0)
        assert (looked.allowed, looked.remaining, looked.retry_after_s) == (True, 0, 0.0)
        assert looked.reset_after_s == pytest.approx(1000.0, abs=self.tolerance_s)

    async def test_what_costs_more_than_the_burst_takes_all_of_it_when_it_is_there(
        self, store: Subject, elapse: Elapse
    ) -> None:
        await store.take("key")
        assert not (await store.take("key", cost=25)).allowed
        await elapse(100.0)
        assert (await store.take("key", cost=25)).allowed
        assert not (await store.take("key")).allowed

    async def test_of_64_at_once_exactly_the_burst_passes(self, store: Subject) -> None:
        taken = await asyncio.gather(*(store.take("key", rate=1e-6, burst=40) for _ in range(64)))
        assert sum(each.allowed for each in taken) == 40
        assert sorted(each.remaining for each in taken if each.allowed) == list(range(40))
