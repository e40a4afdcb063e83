"""The shared suite, for the store in memory and for one that processes share."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from shared_rate_limits import Elapse, RateLimitSuite, Subject

from core.clock import ManualClock
from core.rate_limits import MemoryRateLimitStore

from . import shared_store
from .shared_store import SqliteStore

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def elapse(clock: ManualClock) -> Elapse:
    return clock.advance


class TestMemory(RateLimitSuite):
    @pytest.fixture
    def store(self, clock: ManualClock) -> Subject:
        return Subject(MemoryRateLimitStore(clock))


class TestShared(RateLimitSuite):
    @pytest.fixture
    def store(self, clock: ManualClock, tmp_path: Path) -> Subject:
        return Subject(SqliteStore(tmp_path / "limits.sqlite", now=clock.utc))


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
