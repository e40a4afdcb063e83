"""Plantroom polls the campus on its own schedule while devices are well, dead, and slow."""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.campus import HOST
from benchmarks.campus_process import PORT, CampusProcess
from benchmarks.sweep_plantroom import listed
from core.testing import Running, running

DEVICES, POINTS = 300, 20
TENTH = DEVICES // 10
LATE_S = 0.5
SETTLE_S = 5.0  # until the dead are known to be dead
CONFIGURATION = f"""
log: {{level: error}}
plugins:
  bacnet:
    interval: 0.25
    scan: {{interval: null}}
    networks: [{{address: "127.0.0.54/8:47854", targets: ["{HOST}:{PORT}"]}}]
"""


async def main(seconds: float) -> None:
    with CampusProcess(DEVICES, POINTS) as campus, tempfile.TemporaryDirectory() as folder:
        async with running(CONFIGURATION, Path(folder)) as house:
            await listed(house, DEVICES, POINTS, quiet=False)
            await asyncio.sleep(SETTLE_S)
            rates = {"all well": await healthy_rate(house, seconds)}
            campus.tell(f"dead {TENTH}")
            await asyncio.sleep(SETTLE_S)
            rates["10 % dead"] = await healthy_rate(house, seconds)
            campus.tell(f"slow {TENTH} {LATE_S}")
            await asyncio.sleep(SETTLE_S)
            rates["10 % dead, 10 % slow"] = await healthy_rate(house, seconds)
    print(json.dumps(rates), flush=True)


async def healthy_rate(house: Running, seconds: float) -> float:
    """Return how often a second a device was polled that is well in all conditions: polls that brought readings."""
    polls = sorted((item for item in house.kernel.poller.all if item.owner == "bacnet"), key=lambda item: item.name)
    healthy = polls[2 * TENTH :]
    assert len(polls) == DEVICES
    before = sum(item.runs for item in healthy)
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    if any(item.failures for item in healthy):
        sys.exit(f"healthy devices failed: {[item.last_error for item in healthy if item.failures][:3]}")
    return (sum(item.runs for item in healthy) - before) / took / len(healthy)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
