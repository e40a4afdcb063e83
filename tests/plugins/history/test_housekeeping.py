"""What arrives faster than it is sealed: who waits for it to be safe waits for that too, and memory stays bounded."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from pathlib import Path

from shared_history import START_MS

from core.model import Source
from core.readings import Chunk, Row, batch_of
from plugins.history.config import SealConfig
from plugins.history.store import FOLDER, Store

SECONDS = 20
POINTS = Chunk(array("I", range(1, 501)))


def record(store: Store, minute: int) -> None:
    """Record 500 points."""
    rows = [Row(float(minute))] * len(POINTS.slots)
    store.record(batch_of(POINTS, rows, time=START_MS / 1000 + minute, source=Source.POLL), range(len(rows)))


async def test_who_flushes_waits_for_the_sealing_while_much_is_unsealed(make_store: Callable[..., Store]) -> None:
    store = make_store(seal=SealConfig(samples=1000))
    async with store.running(), asyncio.timeout(SECONDS):
        for minute in range(10):
            record(store, minute)
            await store.flush()
            assert store.head.rows < 1250
        assert len(await store.samples(500, 0, 2**52, limit=100)) == 10


async def test_who_flushes_does_not_wait_for_a_sealing_that_fails(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store = make_store(seal=SealConfig(samples=1000))
    async with store.running(), asyncio.timeout(SECONDS):
        (tmp_path / FOLDER / "60d").write_text("no folder")
        for minute in range(10):
            record(store, minute)
            await store.flush()
        assert store.housekeeper.figures.error is not None
        assert store.head.rows == 5000


async def test_who_waits_for_the_sealing_is_let_go_when_the_history_is_closed(make_store: Callable[..., Store]) -> None:
    store = make_store(seal=SealConfig(samples=1000))
    async with asyncio.timeout(SECONDS):
        async with store.running():
            for minute in range(10):
                record(store, minute)
            flushing = asyncio.create_task(store.flush())
            await store.committer.flush()
        await flushing
