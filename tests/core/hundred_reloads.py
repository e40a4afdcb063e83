"""Reloads a kernel a hundred times, and prints as JSON what it held before and afterwards.

A program of its own: what measures the tests' coverage keeps something of all code that was ever run.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from pathlib import Path

from core.memory_history import MemoryHistory
from core.testing import Running, running

WARM_UP, RELOADS = 15, 100


def house(number: int) -> str:
    return f"plugins: {{tank: {{level: {number % 7 + 2}.0}}, needy: , other: {{use: tank}}}}"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def held(running: Running) -> dict[str, object]:
    """Count tasks by what they run, open files, and blocks of memory, when no poll is under way."""
    await running.until(lambda: not any(item.running for item in running.kernel.poller.all))
    await asyncio.sleep(0)
    running.log.clear()
    gc.collect()
    tasks = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    tasks.pop("sleep", None)  # the poller's, between two turns
    return {
        "tasks": dict(sorted(tasks.items())),
        "files": open_files(),
        "blocks": sys.getallocatedblocks(),
    }


async def main(folder: Path) -> None:
    async with running(house(0), folder) as kernel:
        # one that is full by the time that is counted: what it keeps would hide what is kept by mistake
        kernel.kernel.defaults.history = MemoryHistory(samples=WARM_UP, batches=WARM_UP)
        for number in range(WARM_UP):
            await kernel.reload(house(number))
        before = await held(kernel)
        for number in range(RELOADS):
            await kernel.reload(house(number))
        json.dump({"before": before, "after": await held(kernel)}, sys.stdout)


asyncio.run(main(Path(sys.argv[1])))
