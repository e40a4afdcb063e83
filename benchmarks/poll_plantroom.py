"""Plantroom's BACnet driver reads 50 points a poll, eight polls at a time, for so many seconds.

What is measured ends where the kernel takes over: at batches of readings, values only.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from core.polls import group_of
from core.testing import running

AT_ONCE, POINTS = 8, 50
DEVICE = "bacnet.5001"
CONFIGURATION = """
log: {level: error}
plugins:
  bacnet:
    networks: [{address: "127.0.0.54/8:47854", targets: ["127.0.0.51:47851"]}]
    points: [{match: "*", interval: 3600}]
"""


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running(CONFIGURATION, Path(folder)) as house:
            names = [f"{DEVICE}.analog-input.{number}" for number in range(1, POINTS + 1)]
            await house.value_of(names[-1], seconds=30)
            driver = house.kernel.polls.driver("bacnet")
            assert driver is not None
            groups = [group_of([house.kernel.registry.point(name) for name in names]) for _ in range(AT_ONCE)]
            count = 0
            began, cpu = time.perf_counter(), time.process_time()

            async def worker(group: object) -> None:
                nonlocal count
                while time.perf_counter() - began < seconds:
                    batches = await driver.read(group)
                    count += sum(len(batch.values) for batch in batches)

            await asyncio.gather(*(worker(group) for group in groups))
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"points": count, "seconds": took, "cpu_seconds": cpu}), flush=True)


asyncio.run(main(float(sys.argv[1])))
