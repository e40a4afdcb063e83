"""What every store of the rate limiter does: one suite, for the store in memory and for one that processes share."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from core.clock import ManualClock
from core.plugin import Allowance
from core.rate_limits import MemoryRateLimitStore
from core.services import RateLimitStore

from . import shared_store
from .shared_store import SqliteStore

ROOT = Path(__file__).parents[3]
Make: TypeAlias = Callable[[ManualClock, Path], RateLimitStore]

STORES: dict[str, Make] = {
    "memory": lambda clock, _folder: MemoryRateLimitStore(clock),
    "shared": lambda clock, folder: SqliteStore(folder / "limits.sqlite", now=clock.utc),
}


class Subject:
    """A store under test, which may answer at once or be awaited."""

    def __init__(self, store: RateLimitStore) -> None:
        self._store = store

    async def take(self, key: str, *, rate: float = 1.0, burst: float = 10, cost: float = 1.0) -> Allowance:
        answer = self._store.take(key, rate=rate, burst=burst, cost=cost)
        return answer if isinstance(answer, Allowance) else await answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Subject:
    return Subject(STORES[request.param](clock, tmp_path))


async def test_a_budget_is_spent_and_refills_at_its_rate(store: Subject, clock: ManualClock):
    taken = [await store.take("key", rate=2.0, burst=3) for _ in range(4)]
    assert [(each.allowed, each.remaining) for each in taken] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert taken[3].retry_after_s == pytest.approx(0.5, abs=1e-5)
    assert taken[3].reset_after_s == pytest.approx(1.5, abs=1e-5)
    await clock.advance(0.5)
    assert (await store.take("key", rate=2.0, burst=3)).allowed
    assert not (await store.take("key", rate=2.0, burst=3)).allowed


async def test_one_key_does_not_spend_anothers_budget(store: Subject):
    assert (await store.take("a", burst=1)).allowed
    assert (await store.take("b", burst=1)).allowed


async def test_what_costs_more_takes_more_and_what_is_refused_takes_nothing(store: Subject):
    assert (await store.take("key", cost=8)).remaining == 2
    assert not (await store.take("key", cost=3)).allowed
    assert (await store.take("key", cost=2)).allowed


async def test_a_cost_may_be_less_than_one(store: Subject):
    for _ in range(8):
        assert (await store.take("key", burst=2, cost=0.25)).allowed
    refused = await store.take("key", burst=2, cost=0.25)
    assert not refused.allowed
    assert refused.retry_after_s == pytest.approx(0.25, abs=1e-5)


async def test_a_cost_of_nothing_only_looks(store: Subject):
    assert (await store.take("key", cost=0)).remaining == 10
    await store.take("key", cost=10)
    looked = await store.take("key", cost=0)
    assert (looked.allowed, looked.remaining, looked.retry_after_s) == (True, 0, 0.0)
    assert looked.reset_after_s == pytest.approx(10.0, abs=1e-5)


async def test_what_costs_more_than_the_burst_takes_all_of_it_when_it_is_there(store: Subject, clock: ManualClock):
    await store.take("key")
    assert not (await store.take("key", cost=25)).allowed
    await clock.advance(1.0)
    assert (await store.take("key", cost=25)).allowed
    assert not (await store.take("key")).allowed


async def test_of_64_at_once_exactly_the_burst_passes(store: Subject):
    taken = await asyncio.gather(*(store.take("key", rate=1e-6, burst=40) for _ in range(64)))
    assert sum(each.allowed for each in taken) == 40
    assert sorted(each.remaining for each in taken if each.allowed) == list(range(40))


async def test_two_processes_share_one_budget_to_the_last_request(tmp_path: Path):
    path = tmp_path / "limits.sqlite"
    SqliteStore(path)
    script = str(Path(shared_store.__file__))
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            str(path),
            "60",
            "80",
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(2)
    ]
    said = [(await process.communicate())[0] for process in processes]
    allowed = [int(each) for each in said]
    assert sum(allowed) == 80
    assert all(count >= 20 for count in allowed), "each could take 60 at most"
