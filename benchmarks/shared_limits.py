"""Takes of a rate limiter that several processes share on Redis, against those of one in memory.

`python benchmarks/shared_limits.py [--quick] [--json FILE]`

The same takes by the same sixteen tasks: from the store in memory, from the one on Redis with what that lends, and from
the one on Redis that is asked each time. The budgets are never used up. It needs the program redis-server.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

sys.path.pop(0)  # this folder, whose http.py would hide Python's
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import median_and_spread, options, report, versions
from core.clock import SystemClock
from core.defaults import in_memory_services
from core.events import EventBus
from core.plugin import Allowance, Context, logger
from core.rate_limits import LIMITER_KEYS, MemoryRateLimitStore
from core.services import RateLimitStore
from plugins.redis.config import RedisConfig
from plugins.redis.link import Link
from plugins.redis.rate_limits import RedisRateLimitStore

TASKS = 16
RATE, BURST = 100_000.0, 100_000_000
LOADS = {"one key": 1, "200 keys in turn": 200}
LOOK = 50
"""After so many takes a task looks at the time, and lets others have their turn."""
START_S = 20.0


@attrs.frozen
class Taken:
    """What a contender did in a round."""

    takes: int
    wall_s: float
    cpu_s: float


@asynccontextmanager
async def link_to_a_server() -> AsyncIterator[Link]:
    """Start a server, and connect to it."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server is missing: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        clock = SystemClock()
        nothing = (None, None, Path(folder), lambda _polled: None, lambda _device: None)
        context = Context("redis", logger("redis"), clock, in_memory_services(clock), EventBus(), *nothing)
        link = Link(RedisConfig(port=port, timeout_s=5.0), context)
        try:
            async with asyncio.timeout(START_S):
                while link.problem is not None:
                    await link.connect()
                    await asyncio.sleep(0.05)
            yield link
        finally:
            await link.close()
            server.kill()
            await server.wait()


async def taken(store: RateLimitStore, keys: int, seconds: float) -> Taken:
    """Take for so long, and count."""
    names = [f"key:{number}" for number in range(keys)]
    began, cpu, counts = time.perf_counter(), time.process_time(), []

    async def one(number: int) -> None:
        count = number
        while time.perf_counter() - began < seconds:
            for _ in range(LOOK):
                count += 1
                answer = store.take(names[count % keys], rate=RATE, burst=BURST)
                if not isinstance(answer, Allowance):
                    answer = await answer
                assert answer.allowed, "a budget was used up: what was measured are refusals"
            await asyncio.sleep(0)
        counts.append(count - number)

    await asyncio.gather(*(one(number) for number in range(TASKS)))
    return Taken(sum(counts), time.perf_counter() - began, time.process_time() - cpu)


async def measured(rounds: int, seconds: float) -> dict[tuple[str, str], list[Taken]]:
    """Run all contenders with all loads, in rounds."""
    clock = SystemClock()
    found: dict[tuple[str, str], list[Taken]] = {}
    async with link_to_a_server() as link:
        makers: dict[str, Callable[[], RateLimitStore]] = {
            "memory": lambda: MemoryRateLimitStore(clock),
            "Redis, leases": lambda: RedisRateLimitStore(link, clock, keys=LIMITER_KEYS),
            "Redis, each time": lambda: RedisRateLimitStore(link, clock, keys=LIMITER_KEYS, largest_lease=0),
        }
        for _ in range(rounds):
            for load, keys in LOADS.items():
                for contender, make in makers.items():
                    each = await taken(make(), keys, seconds)
                    found.setdefault((contender, load), []).append(each)
                    if link.problem is not None:
                        sys.exit(f"Redis: {link.problem}")
    return found


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (3, 0.5) if arguments.quick else (9, 2.0)
    found = asyncio.run(measured(rounds, seconds))
    rates = {each: median_and_spread([one.takes / one.wall_s for one in took]) for each, took in found.items()}
    cpus = {each: median_and_spread([one.cpu_s / one.takes * 1e6 for one in took])[0] for each, took in found.items()}
    ratios = {
        (contender, load): rate / rates["memory", load][0] for (contender, load), (rate, _spread) in rates.items()
    }
    report(
        "shared_limits",
        columns=("store", "load", "takes/s", "x memory", "CPU us a take", "spread"),
        rows=[
            (contender, load, round(rate), ratios[contender, load], cpus[contender, load], spread)
            for (contender, load), (rate, spread) in sorted(rates.items(), key=lambda item: item[0][1])
        ],
        result={
            "ratios": {f"{contender}: {load}": ratio for (contender, load), ratio in ratios.items()},
            "figures": {
                **{f"takes_s {contender}: {load}": rate for (contender, load), (rate, _spread) in rates.items()},
                **{f"cpu_us {contender}: {load}": cpu for (contender, load), cpu in cpus.items()},
            },
            "spread": {f"{contender}: {load}": spread for (contender, load), (_rate, spread) in rates.items()},
            "versions": versions("redis"),
        },
        file=arguments.json,
    )


if __name__ == "__main__":
    main()
