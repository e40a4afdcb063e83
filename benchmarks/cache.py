"""What the cache is worth: hot lists, 304s, and many who miss at once, with the plugin `cache` and without, in one run.

`python benchmarks/cache.py [--quick] [--json FILE]`

A house of 2,000 devices with 10 points each, whose readings change once a second, is asked over 32 connections from
another core. A route that takes 20 ms of waiting and 1 ms of work stands for what others fetch from elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `http.py` beside this file has the name of a module of Python's: its folder must not be looked into first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contextlib  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Mapping, Sequence  # noqa: E402

from benchmarks.bench import environment, median_and_spread, options, report, versions  # noqa: E402
from benchmarks.http_client import Ask, throughput  # noqa: E402
from benchmarks.serving import CORES, Server, free_port, started  # noqa: E402

HOUSE = """
import asyncio
import time
from core.plugin import Cached, Inventory, Plugin, Poller, Route, hookimpl

class House(Plugin[dict]):
    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.devices = [ctx.device(f"{number:04}", name=f"Device {number}") for number in range(2000)]
        self.points = {device: [device.point(str(at)) for at in range(10)] for device in self.devices}
        self.polls = self.fetches = 0

    @hookimpl
    def register_points(self):
        return [Inventory(device, points) for device, points in self.points.items()]

    @hookimpl
    def register_pollers(self):
        return [Poller("some", 1.0, self.poll)]

    @hookimpl
    def register_routes(self):
        return [Route("GET", "/slow", self.slow, "Fetch what takes long", cached=Cached(0.2))]

    async def poll(self):
        self.polls += 1
        return {self.points[device][0]: 20.0 + self.polls % 10 for device in self.devices[:100]}

    async def slow(self, request):
        self.fetches += 1
        await asyncio.sleep(0.02)
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        return {"fetches": self.fetches}
"""
CASES: Mapping[str, Ask] = {
    "100 devices of 2,000": Ask("/api/v1/devices?limit=100"),
    "100 points of 20,000 by name": Ask("/api/v1/points?sort=name&limit=100"),
    "bad points of 20,000": Ask("/api/v1/points?quality=bad&limit=100"),
    "304 for 100 devices": Ask("/api/v1/devices?limit=100", 304, {"If-None-Match": "*"}),
    "an unknown device": Ask("/api/v1/devices/house.unknown", 404),
    "32 who miss at once": Ask("/api/v1/house/slow"),
}
WITH, WITHOUT = "with cache", "without"


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (3, 0.3) if arguments.quick else (15, 1.0)
    os.sched_setaffinity(0, [max(CORES)])
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(house(each, plugin, Path(name)))
            for each, plugin in ((WITH, "  cache:\n"), (WITHOUT, ""))
        ]
        rates = measure(servers, rounds, seconds)
    tell(rates, arguments.json)


@contextlib.contextmanager
def house(name: str, plugin: str, folder: Path) -> Iterator[Server]:
    """Start the house, with the cache or without."""
    home = folder / name.replace(" ", "-")
    (home / "custom_plugins").mkdir(parents=True)
    (home / "custom_plugins" / "house.py").write_text(HOUSE)
    (home / "plantroom.yaml").write_text(f"log: {{format: json}}\nplugins:\n  house:\n{plugin}")
    port = free_port()
    command = [sys.executable, "-m", "core", "run", "--config", home / "plantroom.yaml", "--port", str(port)]
    with started(name, [*command, "--data-dir", home / "data"], port, CASES, home, environment()) as server:
        yield server


def measure(servers: Sequence[Server], rounds: int, seconds: float) -> dict[tuple[str, str], list[float]]:
    """Ask each server for each of its cases, in turns; answers requests a second."""
    rates: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for server in servers[:: -1 if turn % 2 else 1]:
            for case, ask in server.asks.items():
                count, took = throughput(server.port, ask, seconds if turn else 0.1)
                if turn:  # the first round warms up
                    rates.setdefault((server.name, case), []).append(count / took)
    return rates


def tell(rates: Mapping[tuple[str, str], Sequence[float]], file: Path | None) -> None:
    """Print the table, and write the JSON where it is wanted."""
    rate = {each: median_and_spread(values) for each, values in rates.items()}
    ratios = {case: rate[WITH, case][0] / rate[WITHOUT, case][0] for case in CASES}
    report(
        "cache",
        columns=("request", "requests/s with cache", "without", "ratio", "spread with", "spread without"),
        rows=[
            (case, round(rate[WITH, case][0]), round(rate[WITHOUT, case][0]), ratios[case],
             rate[WITH, case][1], rate[WITHOUT, case][1])
            for case in CASES
        ],
        result={
            "ratios": {f"{case}: with cache": ratio for case, ratio in ratios.items()},
            "figures": {f"{server}: {case}": value[0] for (server, case), value in rate.items()},
            "spread": {f"{server}: {case}": value[1] for (server, case), value in rate.items()},
            "versions": versions("aiohttp", "orjson"),
        },
        file=file,
    )  # fmt: skip


if __name__ == "__main__":
    main()
