"""Days and weeks of samples, and stores that are opened at any time of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from shared_history import record

from core.clock import ManualClock
from core.model import Kind, Value
from core.readings import Row
from plugins.history.spans import DAY_MS
from plugins.history.store import Store

MONDAY_MS = 1_789_344_000_000
"""2026-09-14, a Monday."""
HOUR_MS = 3_600_000
MakeStore = Callable[..., Store]


def at(days: float, hours: float = 0) -> int:
    """Return UTC milliseconds, so long after that Monday."""
    return MONDAY_MS + round(days * DAY_MS + hours * HOUR_MS)


@asynccontextmanager
async def opened(make_store: MakeStore, now_ms: int, **options: Any) -> AsyncIterator[Store]:
    """Open a store at a time; that it did not run before is no gap, so that values hold."""
    store = make_store(clock=ManualClock(now_ms / 1000), **options)
    async with store.running():
        store.committer.gaps = []
        yield store


async def put(store: Store, slot: int, samples: Iterable[tuple[int, Value | Row]]) -> None:
    """Record samples of a point, and have them safe."""
    for time_ms, value in samples:
        record(store, slot, time_ms, value)
    await store.flush()


def hourly(day: int, value: float, *, days: int = 1) -> list[tuple[int, Value]]:
    """Return a sample an hour of some days."""
    return [(at(day, hour + 0.5), value) for hour in range(24 * days)]


async def keep_house(store: Store) -> None:
    """Seal all, and do what is due."""
    await store.housekeeper.seal()
    await store.housekeeper.clean()


async def read(store: Store, slot: int, *, limit: int = 10_000) -> list[tuple[int, Value]]:
    """Return all samples of a point."""
    found = await store.samples(slot, 0, 2**52, limit=limit)
    return [(each.time_ms, each.value) for each in found.rows(Kind.NUMBER)]


def files(store: Store, pattern: str = "*/*") -> list[str]:
    """Return the names of files in the store's folder."""
    return sorted(path.relative_to(store.folder).as_posix() for path in store.folder.glob(pattern))
