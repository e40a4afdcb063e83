"""What is measured of a store of samples, whichever it is, from inside its process; with Python alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from benchmarks.history_process import serve
from benchmarks.history_rows import House, Read

TOGETHER = 10
"""So many reads arrive before others have their turn in the event loop."""
PAGE = 10_000
LOOK_EVERY_S = 0.002
Span = tuple[int, int, int]
"""A point, and from when until when in milliseconds."""


class Store(Protocol):
    """What a contender keeps samples in; what `prepare` makes of reads is its own business, and not timed."""

    def prepare(self, reads: Iterable[Read], offset: int) -> list[Any]:
        """Make of reads what this store takes; ``offset`` is added to the numbers of points."""
        ...

    async def record(self, prepared: Sequence[Any]) -> None:
        """Take what arrived."""
        ...

    async def flush(self) -> None:
        """Return when all of it is safe."""
        ...

    async def settle(self) -> None:
        """Return when nothing is left to be done with what was recorded."""
        ...

    async def samples(self, point: int, start_ms: int, end_ms: int, limit: int) -> tuple[int, int]:
        """Read samples in order; answer how many, and the time of the last."""
        ...

    async def sums(self, point: int, start_ms: int, end_ms: int, interval_ms: int) -> int:
        """Work out mean, least, greatest and count of each interval; answer the sum of the counts."""
        ...

    async def latest(self, points: int, before_ms: int) -> int:
        """Read the last sample of each of the first points; answer how many have one."""
        ...

    async def retain(self, points: int, from_ms: int) -> None:
        """Remove what is older, for good."""
        ...


class Measures:
    """The questions that a contender answers, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._houses: dict[str, House] = {}

    async def serve(self, **more: Callable[..., Awaitable[Mapping[str, Any]]]) -> None:
        """Answer these questions, and more, until no more come."""
        own = (self.load, self.arrive, self.ranges, self.sums, self.latest, self.page, self.waits, self.retain)
        await serve({**{each.__name__: each for each in own}, **more})

    def house(self, folder: str) -> House:
        return self._houses.setdefault(folder, House(Path(folder)))

    async def load(self, house: str, end_minute: int, flush_reads: int) -> Mapping[str, Any]:
        """Take all up to a minute, safe after every so many reads; answer what that wrote, and the event loop's lag."""
        reads = self.house(house).reads(0, end_minute)
        written = Written()
        rows = since = 0
        began = time.perf_counter()
        together = min(TOGETHER, flush_reads)
        async with lag() as lags:
            while prepared := self._store.prepare(islice(reads, together), 0):
                await self._store.record(prepared)
                rows += len(prepared)
                since += together
                if since >= flush_reads:
                    await self._store.flush()
                    since = 0
                await asyncio.sleep(0)
            await self._store.flush()
            took = time.perf_counter() - began
            await self._store.settle()
        return {"seconds": took, "lag_p99_s": percentile(lags, 0.99), "lag_max_s": max(lags), **written.answer()}

    async def arrive(self, house: str, first_minute: int, end_minute: int, offset: int = 0) -> Mapping[str, Any]:
        """Take some minutes as fast as they can be taken, until they are safe."""
        prepared = self._store.prepare(self.house(house).reads(first_minute, end_minute), offset)
        parts = [prepared[at : at + TOGETHER] for at in range(0, len(prepared), TOGETHER)]
        written = Written()
        began, cpu = time.perf_counter(), time.process_time()
        for part in parts:
            await self._store.record(part)
            await asyncio.sleep(0)
        await self._store.flush()
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        await self._store.settle()
        return {"seconds": took, "cpu_s": cpu, **written.answer()}

    async def ranges(self, spans: Sequence[Span], limit: int) -> Mapping[str, Any]:
        """Read samples of points between times."""
        began, found = time.perf_counter(), 0
        for point, start_ms, end_ms in spans:
            found += (await self._store.samples(point, start_ms, end_ms, limit))[0]
        return {"seconds": time.perf_counter() - began, "found": found}

    async def sums(self, spans: Sequence[Span], interval_ms: int) -> Mapping[str, Any]:
        """Sum points up by intervals between times."""
        began, found = time.perf_counter(), 0
        for point, start_ms, end_ms in spans:
            found += await self._store.sums(point, start_ms, end_ms, interval_ms)
        return {"seconds": time.perf_counter() - began, "found": found}

    async def latest(self, points: int, before_ms: int) -> Mapping[str, Any]:
        """Read the last sample of all points."""
        began = time.perf_counter()
        found = await self._store.latest(points, before_ms)
        return {"seconds": time.perf_counter() - began, "found": found}

    async def page(self, spans: Sequence[Span], rows: int) -> Mapping[str, Any]:
        """Read so many rows page by page, point after point."""
        began, found = time.perf_counter(), 0
        for point, start_ms, end_ms in spans:
            count, last_ms = PAGE, start_ms - 1
            while count == PAGE and found < rows:
                count, last_ms = await self._store.samples(point, last_ms + 1, end_ms, PAGE)
                found += count
        return {"seconds": time.perf_counter() - began, "found": found}

    async def waits(
        self,
        spans: Sequence[Span],
        seconds: float,
        house: str | None = None,
        minute: int = 0,
        reads_a_second: float = 0,
    ) -> Mapping[str, Any]:
        """Read samples again and again, if told so while a house is recorded; answer how long each took."""
        took: list[float] = []
        writing = None
        if house is not None:
            writing = asyncio.create_task(self._record_paced(self.house(house), minute, reads_a_second, seconds))
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            point, start_ms, end_ms = spans[len(took) % len(spans)]
            await self._store.samples(point, start_ms, end_ms, PAGE)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0)
        recorded = 0 if writing is None else await writing
        await self._store.settle()
        return {"p50_s": percentile(took, 0.5), "p99_s": percentile(took, 0.99), "reads": len(took),
                "recorded": recorded}  # fmt: skip

    async def _record_paced(self, house: House, minute: int, reads_a_second: float, seconds: float) -> int:
        """Record a house at its pace from a minute on, each read by itself; answer how many samples that were.

        Its points stand behind those that are read.
        """
        offset = 1000
        reads = house.reads(minute, house.minutes)
        began, done, samples = time.perf_counter(), 0, 0
        while (now := time.perf_counter() - began) < seconds:
            due = list(islice(reads, int(now * reads_a_second) - done))
            done += len(due)
            samples += sum(len(read.values) for read in due)
            for each in self._store.prepare(due, offset):
                await self._store.record([each])
            await asyncio.sleep(LOOK_EVERY_S)
        await self._store.flush()
        return samples

    async def retain(self, points: int, from_ms: int) -> Mapping[str, Any]:
        """Remove what is older."""
        began = time.perf_counter()
        await self._store.retain(points, from_ms)
        return {"seconds": time.perf_counter() - began}


class Written:
    """What this process has written since.

    ``bytes_written`` are all that were handed to the system, of whatever file; ``bytes_dirtied`` what the system has to
    bring to the disk for it, where a page of a file that is written again before that counts once.
    """

    def __init__(self) -> None:
        self._began = self._now()

    def answer(self) -> Mapping[str, int]:
        now = self._now()
        return {name: now[key] - self._began[key] for name, key in _COUNTERS.items()}

    @staticmethod
    def _now() -> dict[str, int]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return {name: int(number) for name, _colon, number in (line.partition(":") for line in lines)}


_COUNTERS = {"bytes_written": "wchar", "bytes_dirtied": "write_bytes"}


@asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """Collect by how many seconds the event loop comes late to what is due every few milliseconds."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = time.perf_counter() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            late.append(max(0.0, time.perf_counter() - due))

    task = asyncio.create_task(watch())
    await asyncio.sleep(LOOK_EVERY_S)
    try:
        yield late
    finally:
        task.cancel()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that such a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
