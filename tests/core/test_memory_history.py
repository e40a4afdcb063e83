"""The history in memory, by the suite that all histories pass."""

from __future__ import annotations

import pytest
from shared_history import START_MS, HistorySuite, record, values

from core.memory_history import MemoryHistory
from core.samples import Lost, Position


@pytest.fixture
def history() -> MemoryHistory:
    return MemoryHistory()


class TestMemoryHistory(HistorySuite):
    """The shared suite."""


async def test_only_the_last_samples_and_batches_are_kept_and_it_says_what_is_lost():
    history = MemoryHistory(samples=2, batches=3)
    for second in range(5):
        record(history, 1, START_MS + second, float(second))
    assert await values(history, 1) == [(3, 3.0), (4, 4.0)]
    lost, *found = await history.read_after(Position(1, 0), 10)
    assert lost == Lost(Position(1, 1), Position(1, 2))
    assert [each.position.seq for each in found] == [3, 4, 5]
