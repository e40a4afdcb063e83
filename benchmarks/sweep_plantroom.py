"""Plantroom finds so many devices and sweeps over them so many times for each share of changed points."""

import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.campus import HOST
from benchmarks.campus_process import PORT, CampusProcess
from core.events import EventHandler, ReadingsChanged
from core.memory import settle
from core.poller import Repeated
from core.testing import Running, running

CONFIGURATION = f"""
log: {{level: error}}
plugins:
  bacnet:
    interval: 3600
    scan: {{interval: null}}
    networks: [{{address: "127.0.0.54/8:47854", targets: ["{HOST}:{PORT}"]}}]
"""
LISTED_WITHIN_S = 300.0


async def main(devices: int, points: int, rounds: int, shares: list[float]) -> None:
    with CampusProcess(devices, points) as campus, tempfile.TemporaryDirectory() as folder:
        async with running(CONFIGURATION, Path(folder)) as house:
            scan_s = await listed(house, devices, points)
            walls: dict[str, list[float]] = {}
            cpus: dict[str, list[float]] = {}
            lags: dict[str, list[float]] = {}
            settle()
            await sweep(house, devices)
            for _ in range(rounds):
                for share in shares:
                    changed = int(campus.tell(f"change {share}").split()[1])
                    heard = count_changes(house)
                    async with lag() as worst:
                        wall, cpu = await sweep(house, devices)
                    check(house, devices * points, changed=changed, heard=await heard)
                    for figures, figure in ((walls, wall), (cpus, cpu), (lags, worst[0] * 1000)):
                        figures.setdefault(f"{share}", []).append(figure)
            rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"walls": walls, "cpus": cpus, "lags_ms": lags, "scan_s": scan_s, "rss_mb": rss_mb}), flush=True)


async def listed(house: Running, devices: int, points: int, *, quiet: bool = True) -> float:
    """Scan, and wait until all points are listed and, if ``quiet``, no poll runs any more; return the seconds."""
    began = time.perf_counter()
    house.kernel.scans.start("bacnet")
    async with asyncio.timeout(LISTED_WITHIN_S):
        while len(house.kernel.registry.point_ids()) < devices * points or (quiet and polls_running(house)):
            await asyncio.sleep(0.1)
    return time.perf_counter() - began


def polls_running(house: Running) -> list[asyncio.Task[None]]:
    return [item.running for item in items(house) if item.running is not None]


def items(house: Running) -> list[Repeated]:
    return [item for item in house.kernel.poller.all if item.owner == "bacnet"]


async def sweep(house: Running, devices: int) -> tuple[float, float]:
    """Poll everything at once; return the seconds until all has arrived, by the clock and of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    for item in items(house):
        house.kernel.poller.soon(item)
    tasks = polls_running(house)
    if len(tasks) != devices:
        sys.exit(f"{len(tasks)} polls instead of {devices}")
    await asyncio.wait(tasks)
    return time.perf_counter() - began, time.process_time() - cpu


def count_changes(house: Running) -> "asyncio.Task[int]":
    """Listen to the kernel's events, and count the rows that are said to have changed, until nothing comes any more."""
    rows = 0
    arrived = asyncio.Event()

    async def handle(event: ReadingsChanged) -> None:
        nonlocal rows
        rows += len(event.rows)
        arrived.set()

    async def until_quiet() -> int:
        subscription = house.kernel.events.subscribe(
            EventHandler(ReadingsChanged, handle, queue=100_000), owner="benchmark"
        )
        with contextlib.suppress(TimeoutError):
            while True:
                arrived.clear()
                async with asyncio.timeout(1.0):
                    await arrived.wait()
        await house.kernel.events.unsubscribe(subscription)
        return rows

    return asyncio.create_task(until_quiet())


def check(house: Running, points: int, *, changed: int, heard: int) -> None:
    """Exit where not every point is good, or the events told of another number of changes than there were."""
    registry = house.kernel.registry
    now = time.time()
    for name in registry.point_ids():
        reading = registry.reading(registry.point(name))
        if reading is None or reading.quality or now - reading.time > LISTED_WITHIN_S:
            sys.exit(f"{name} has no good reading: {reading}")
    if heard != changed:
        sys.exit(f"{changed} of {points} points changed, and the events told of {heard}")


@contextlib.asynccontextmanager
async def lag():
    """Measure the longest time for which the event loop did not come round, in seconds."""
    worst = [0.0]

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            worst[0] = max(worst[0], time.perf_counter() - began)

    task = asyncio.create_task(watch())
    try:
        yield worst
    finally:
        task.cancel()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(main(int(given[0]), int(given[1]), int(given[2]), [float(share) for share in given[3:]]))
