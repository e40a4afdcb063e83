"""The contender that is Plantroom's: the service that `benchmarks.history_ours` opens, fed as the kernel feeds it.

`python benchmarks/history_plantroom.py FOLDER [KEEP [DAYS]]`: how long samples are kept, and by how many days the
clock is fast.
"""

import asyncio
import math
import sys
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.history_measures import Measures, Written
from benchmarks.history_ours import DAY_S, Ours, ours
from benchmarks.history_rows import BOOLEAN, ENUM, NUMBER, OFFLINE, TEXT, House, Read
from core.model import Kind, Reason, Source
from core.readings import Chunk, ReadingBatch

KINDS = {NUMBER: Kind.NUMBER, BOOLEAN: Kind.BOOLEAN, ENUM: Kind.ENUM, TEXT: Kind.TEXT}


class OurStore:
    """A store as `benchmarks.history_measures` measures it."""

    def __init__(self, kept: Ours) -> None:
        self._ours = kept
        self._history = kept.history
        self._chunks: dict[int, Chunk] = {}

    def prepare(self, reads: Iterable[Read], offset: int) -> list[ReadingBatch]:
        return [self._batch(read, read.first + offset) for read in reads]

    def _batch(self, read: Read, first: int) -> ReadingBatch:
        count = len(read.values)
        if first not in self._chunks:
            self._chunks[first] = Chunk(array("I", range(first, first + count)))
        reasons = bytearray(count)
        for row, value in enumerate(read.values):
            if math.isnan(value) and row not in read.texts:
                reasons[row] = OFFLINE
        time_s = read.time_ms / 1000
        return ReadingBatch(
            self._chunks[first], time_s, Source.POLL, read.values, bytes(reasons), bytes(count), read.texts
        )

    async def record(self, prepared: Sequence[ReadingBatch]) -> None:
        for batch in prepared:
            self._history.record(batch, range(len(batch.values)))

    async def flush(self) -> None:
        await self._history.flush()

    async def settle(self) -> None:
        await self._ours.settle()

    async def samples(self, point: int, start_ms: int, end_ms: int, limit: int) -> tuple[int, int]:
        found = await self._history.samples(point, start_ms, end_ms, limit=limit)
        return len(found), found.times[-1] if len(found) else end_ms

    async def sums(self, point: int, start_ms: int, end_ms: int, interval_ms: int) -> int:
        return await self._ours.sums(point, array("q", range(start_ms, end_ms + 1, interval_ms)))

    async def latest(self, points: int, before_ms: int) -> int:
        return len((await self._history.latest(range(points), before_ms)).slots)

    async def retain(self, _points: int, from_ms: int) -> None:
        await self._ours.retain(from_ms)

    async def tidy(self, weeks_later: int) -> Mapping[str, Any]:
        """Do what is done with weeks that are over, and answer what that wrote."""
        written = Written()
        began = time.perf_counter()
        await self._ours.tidy(weeks_later=weeks_later)
        return {"seconds": time.perf_counter() - began, **written.answer()}

    async def check(self, house: str, points: Sequence[int]) -> Mapping[str, Any]:
        """Compare all samples of some points with what was recorded; raises ValueError where they differ."""
        source = House(Path(house))
        compared = 0
        for point in points:
            times, values = source.column(point)
            found = await self._history.samples(point, 0, 2**52, limit=2 * len(times))
            kept = [(each.time_ms, each.value, each.reason) for each in found.rows(KINDS[source.kinds[point]])]
            wanted = [
                (time, value, Reason.OFFLINE if value is None else Reason.NONE)
                for time, value in zip(times, values, strict=True)
            ]
            if kept != wanted:
                raise ValueError(f"point {point}: {len(kept)} samples are not the {len(wanted)} that were recorded")
            compared += len(kept)
        return {"compared": compared}


async def main(folder: Path, keep: str = "60d", days: str = "0") -> None:
    async with ours(folder, keep, float(days) * DAY_S) as kept:
        store = OurStore(kept)
        await Measures(store).serve(check=store.check, tidy=store.tidy)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
