"""Plantroom reads k points a poll into its registry, for so many seconds.

Each read is what the poller does when a group's turn has come, and each worker has a group of its own, since a point is
in one group. A read ends when its readings stand in the registry.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.poll_contender import AT_ONCE, INSTANCE, THERE, arguments, contend, numbers
from core.model import Quality
from core.polls import group_of
from core.readings import ReadingBatch
from core.testing import Running, running

CONFIGURATION = f"""
log: {{level: error}}
plugins:
  bacnet:
    timeout: 0.5  # that of a scan, too: the sooner it begins
    retries: 3
    networks: [{{address: "127.0.0.54/8:47854", targets: ["{THERE}"]}}]
    points: [{{match: "*", interval: 3600}}]
"""


async def main(k: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running(CONFIGURATION, Path(folder)) as house:
            await contend_in(house, k=k, seconds=seconds)


async def contend_in(house: Running, *, k: int, seconds: float) -> None:
    names = [[f"bacnet.{INSTANCE}.analog-input.{number}" for number in numbers(k, worker)] for worker in range(AT_ONCE)]
    await house.value_of(names[-1][-1], seconds=30)
    polls, points = house.kernel.polls, [[house.point(name) for name in each] for each in names]
    device, driver = points[0][0].device, polls.driver("bacnet")
    assert driver is not None
    groups = [group_of(each, interval=3600.0) for each in points]

    def arrived(batches: Sequence[ReadingBatch]) -> list[object]:
        """Return the registry's values, if they are those of the read that just ended."""
        readings = [house.reading(name) for name in names[0]]
        times = {batch.time for batch in batches}
        return [item and item.quality is Quality.GOOD and item.time in times and item.value for item in readings]

    await contend(
        lambda worker: polls.read(driver, device, groups[worker]),
        arrived,
        k=k,
        seconds=seconds,
        size=lambda batches: sum(len(batch.values) for batch in batches),
    )


asyncio.run(main(*arguments()))
