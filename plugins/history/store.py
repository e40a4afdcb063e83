"""The history service: takes readings, has them committed and sealed, and finds them again."""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from structlog.typing import FilteringBoundLogger

from core.aggregation import Buckets
from core.clock import Clock
from core.plugin import Kind, Points, ReadingBatch
from core.samples import Committed, Gap, Lost, PointSamples, Position, Samples
from core.tasks import end_tasks
from plugins.history import reading
from plugins.history.aggregating import Wanted, aggregate
from plugins.history.catalog import Catalog, Key
from plugins.history.classes import Classes
from plugins.history.columns import columns_of
from plugins.history.committing import MIB, Bounds, Committer
from plugins.history.config import HistoryConfig, duration_s
from plugins.history.errors import DamagedHistory
from plugins.history.filtering import Filter
from plugins.history.head import Head, Run
from plugins.history.heartbeats import Heartbeats
from plugins.history.housekeeping import Chores, Housekeeper, Pace
from plugins.history.importing import in_gaps, new_rows
from plugins.history.partitions import PartitionReader
from plugins.history.repairing import Repairer
from plugins.history.retention import GIB, Retention
from plugins.history.rolling import Roller
from plugins.history.rollups import LEVELS
from plugins.history.rules import Rules
from plugins.history.sealing import Sealer
from plugins.history.threads import Threads

FOLDER = "history"
BEAT_EVERY_S = 1.0
DAMAGE_EVERY_S = 10

ResultT = TypeVar("ResultT")


class Store:
    """Past readings in a folder of SQLite files; it records only within `running`."""

    def __init__(
        self, data_dir: Path, config: HistoryConfig, *, points: Points, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self.folder = data_dir / FOLDER
        self._points = points
        self._clock = clock
        self.catalog = Catalog(self.folder)
        self.rules = Rules(config, points)
        self._classes = Classes(self.rules.kept, self.rules.class_number, lambda: self.rules.version)
        self.head = Head()
        cap = None if config.size_cap_gib is None else round(config.size_cap_gib * GIB)
        unsealed = config.waiting + 2 * config.seal.samples
        outbox = min(config.outbox_mib * MIB, (cap or sys.maxsize) // 4)  # a receiver that lags is not worth all of it
        bounds = Bounds(config.waiting, unsealed, config.free_mib * MIB, outbox)
        self.committer = Committer(self.folder, self.head, clock=clock, log=log, bounds=bounds)
        self.filter = Filter(self.rules, self.committer.record)
        self.heartbeats = Heartbeats(self.rules, points, self.committer.record)
        self.committer.on_commit.append(self.heartbeats.note)
        self.sealer = Sealer(self.catalog, self._classes)
        kept = {kept.name: kept.seconds for kept in self.rules.kept}
        rollups = config.rollups.five_minutes, config.rollups.hour, config.rollups.day
        kept |= {level.name: duration_s(given) for level, given in zip(LEVELS, rollups, strict=True)}
        self.retention = Retention(
            self.catalog, kept_s=kept,
            default_s=duration_s(config.keep), cap_bytes=cap, log=log,
        )  # fmt: skip
        self.roller = Roller(self.catalog, self._classes, gaps=lambda: self.committer.gaps, has_states=self._has_states)
        self.housekeeper = Housekeeper(
            self.head, self.committer,
            Chores(self.sealer, self.roller, self.retention, Repairer(self.catalog, log)), clock=clock, log=log,
            pace=Pace(config.seal.samples, config.seal.after),
        )  # fmt: skip
        self.threads = Threads(self.catalog, self.committer.path)
        self.housekeeper.on_removal.append(self.threads.release)
        self.damaged: tuple[str, ...] = ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the files, record and keep house, and leave everything safe; raises HistoryError."""
        await asyncio.to_thread(self.catalog.refresh)
        await self.committer.open()
        self.damaged = tuple(await asyncio.to_thread(self.catalog.damaged))
        committing = asyncio.create_task(self.committer.run(), name="history:commit")
        others = [
            asyncio.create_task(self.housekeeper.run(), name="history:housekeeping"),
            asyncio.create_task(self._beat(), name="history:heartbeats"),
        ]
        try:
            yield
        finally:
            await end_tasks(others)
            self.committer.end()
            await asyncio.wait([committing], timeout=5)
            await self.housekeeper.close()
            await self.threads.close()
            await self.committer.close()

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_EVERY_S)
            now = self.committer.now_ms
            self.filter.let_go(now)
            self.heartbeats.beat(now)
            if (now // 1000) % DAMAGE_EVERY_S == 0:
                self.damaged = tuple(await asyncio.to_thread(self.catalog.damaged))

    # what is recorded

    @property
    def newest(self) -> Position:
        return self.committer.newest

    def record(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        self.filter.put(batch, rows)

    async def flush(self) -> None:
        await self.committer.flush()
        await self.housekeeper.room()

    async def add(self, slot: int, samples: Samples, *, only_gaps: bool = False) -> int:
        given = columns_of(slot, samples).ordered()
        if only_gaps:
            given = in_gaps(given, self.committer.gaps)
        if not len(given):
            return 0
        start, end = int(given.times[0]), int(given.times[-1]) + 1
        known = await self._read(lambda reader, keys, runs: reading.samples(
            reader, keys, runs, slot, start_ms=start, end_ms=end
        ))  # fmt: skip
        new = new_rows(given, known)
        self.head.add(new)
        await self.flush()
        return len(new)

    # what is found

    async def samples(self, slot: int, start_ms: int, end_ms: int, *, limit: int) -> Samples:
        found = await self._read(lambda reader, keys, runs: reading.samples(
            reader, keys, runs, slot, start_ms=start_ms, end_ms=end_ms, limit=limit
        ))  # fmt: skip
        return found.samples()

    async def latest(self, slots: Sequence[int], before_ms: int) -> PointSamples:
        found = await self._read(lambda reader, keys, runs: reading.latest(reader, keys, runs, slots, before_ms))
        return found.point_samples()

    async def aggregate(self, slot: int, edges: array[int], *, now_ms: int, states: bool) -> Buckets:
        """Sum up a point's samples from each edge to the next (`core.services.Aggregating`)."""
        others = self._classes.others(self.rules.treatment(slot).keep)
        wanted = Wanted(slot, others, np.array(edges, np.int64), self.committer.gaps, now_ms, states)
        runs = self.head.runs()
        sums = await self.threads.read(lambda reader: aggregate(reader, self.catalog, runs, wanted))
        return sums.buckets()

    async def gaps(self, start_ms: int, end_ms: int) -> Sequence[Gap]:
        return [
            Gap(max(gap.start_ms, start_ms), min(gap.end_ms, end_ms), gap.reason)
            for gap in self.committer.gaps
            if gap.start_ms < end_ms and start_ms < gap.end_ms
        ]

    async def _read(self, work: Callable[[PartitionReader, Sequence[Key], Sequence[Run]], ResultT]) -> ResultT:
        """Run something on what there is now: first what is in memory, so that nothing is between it and the files."""
        runs = self.head.runs()
        return await self.threads.read(lambda reader: work(reader, self.catalog.samples(), runs))

    def _has_states(self, slot: int) -> bool:
        point = self._points.point(slot)
        return point is not None and point.kind in (Kind.BOOLEAN, Kind.ENUM)

    # for others

    async def read_after(self, position: Position, limit: int) -> Sequence[Committed | Lost]:
        newest = self.newest
        try:
            return await self.threads.read_journal(lambda journal: journal.read_after(position, newest, limit))
        except DamagedHistory as error:
            self.committer.doubt(error, newest.epoch)
            raise

    async def register(self, name: str) -> Position:
        if not self.committer.is_open:
            await self.flush()
        known = self.committer.cursors.get(name)
        if known is None:
            known = self.newest
            await self.committer.move(name, known)
        return known

    async def advance(self, name: str, position: Position) -> None:
        known = self.committer.cursors.get(name)
        if known is not None and position > known:
            await self.committer.move(name, position)

    async def forget(self, name: str) -> None:
        if name in self.committer.cursors:
            await self.committer.move(name, None)
