"""Requests a second and CPU time a request of Plantroom's REST API, against bare aiohttp and FastAPI, in one run.

`python benchmarks/http.py [--quick] [--json FILE]`

Plantroom runs by itself, with each of its request plugins alone, and with all that exist; FastAPI has the same.
One server at a time is asked over 32 keep-alive connections from another core. In the end Plantroom with everything is
asked at half of what it can while it polls 100,000 points over BACnet/IP.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This file has the name of a module of Python's: its folder must not be looked into first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contextlib  # noqa: E402
import http.client  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from typing import Any  # noqa: E402

import attrs  # noqa: E402

from benchmarks.bench import environment, median_and_spread, options, peers, report, versions  # noqa: E402
from benchmarks.campus import HOST  # noqa: E402
from benchmarks.campus_process import PORT as CAMPUS_PORT  # noqa: E402
from benchmarks.campus_process import CampusProcess  # noqa: E402
from benchmarks.http_client import Ask, latencies, throughput  # noqa: E402
from benchmarks.serving import CORES, Server, free_port, started  # noqa: E402

HERE = Path(__file__).resolve().parent
FASTAPI = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "slowapi==0.1.10", "structlog", "orjson")
KEY = "benchmark-key-of-forty-characters-or-so-1"
SIGNED = {"X-API-Key": KEY}

THOUSAND = """
import time
from core.plugin import Inventory, Plugin, Poller, Route, hookimpl

class Thousand(Plugin[dict]):
    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.device = ctx.device("d", name="A thousand points")
        names = [str(number) for number in range(1000)]
        self.points = [self.device.point(name, unit="degrees-celsius", symbol="\\u00b0C") for name in names]
        self.polls = 0

    @hookimpl
    def register_points(self):
        return [Inventory(self.device, self.points)]

    @hookimpl
    def register_pollers(self):
        return [Poller("all", 1.0, self.poll)]

    @hookimpl
    def register_routes(self):
        return [Route("GET", "/dynamic/{name}", self.dynamic, "Make a small body")]

    async def poll(self):
        self.polls += 1
        return {point: 20.0 + number + self.polls % 10 * (number % 10 == 0) for number, point in enumerate(self.points)}

    async def dynamic(self, request, *, name):
        return {"name": name, "value": 21.5, "text": None, "time": time.time(), "quality": "good", "reason": None,
                "flags": []}
"""
LIMITS = """
  ratelimit:
    default: {rate: 100000/s, burst: 1000}
    anonymous: {rate: 100000/s, burst: 1000}
    failed: {rate: 100000/s, burst: 1000}
    limits: [{name: slow, match: {path: /api/v1/plugins}, per: everyone, rate: 1/day, burst: 1}]
"""
PLUGINS = {
    "auth": "  auth:\n",
    "ratelimit": LIMITS,
    "security": "  security:\n",
    "cors": "  cors: {origins: [https://panel.example]}\n",
    "cache": "  cache:\n",
    "logging": "  logging:\n",
}
CAMPUS = f"""
  bacnet:
    interval: 10
    scan: {{interval: null}}
    networks: [{{address: "127.0.0.54/8:47854", targets: ["{HOST}:{CAMPUS_PORT}"]}}]
"""
DYNAMIC, VALUE, PAGE = "dynamic body", "a point's value", "1,000-point page"
OURS: Mapping[str, Ask] = {
    DYNAMIC: Ask("/api/v1/thousand/dynamic/a", headers=SIGNED),
    VALUE: Ask("/api/v1/points/thousand.d.1/value", headers=SIGNED),
}
OURS_IN_FULL: Mapping[str, Ask] = {
    **OURS,
    PAGE: Ask("/api/v1/points?limit=1000", headers=SIGNED),
    "304": Ask("/api/v1/points/thousand.d.1/value", 304, {**SIGNED, "If-None-Match": "*"}),
    "401": Ask("/api/v1/points/thousand.d.1/value", 401),
    "429": Ask("/api/v1/plugins", 429, SIGNED),
}
BARE: Mapping[str, Ask] = {DYNAMIC: Ask("/dynamic/a"), PAGE: Ask("/page")}
FASTAPIS: Mapping[str, Ask] = {
    DYNAMIC: Ask("/dynamic/a", headers=SIGNED),
    VALUE: Ask("/points/thousand.d.1/value", headers=SIGNED),
    "401": Ask("/dynamic/a", 401),
    "429": Ask("/limited", 429, SIGNED),
}


def plantroom(name: str, plugins: Sequence[str], asks: Mapping[str, Ask], folder: Path, more: str = "") -> Any:
    """Start Plantroom with a thousand points in memory and some plugins."""
    home = folder / name.replace(" ", "-")
    (home / "custom_plugins").mkdir(parents=True)
    (home / "custom_plugins" / "thousand.py").write_text(THOUSAND)
    text = "log: {format: json}\nplugins:\n  thousand:\n" + "".join(PLUGINS[each] for each in plugins) + more
    (home / "plantroom.yaml").write_text(text)
    port = free_port()
    command = [sys.executable, "-m", "core", "run", "--config", home / "plantroom.yaml", "--port", str(port)]
    environ = environment(PLANTROOM_API_KEY=KEY)
    return started(name, [*command, "--data-dir", home / "data"], port, asks, home, environ)


def body_of(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=SIGNED)
    return connection.getresponse().read()


def measure(
    servers: Sequence[Server], rounds: int, seconds: float
) -> tuple[dict[Any, list[float]], dict[Any, list[float]]]:
    """Ask each server for each of its cases, in turns; answers requests a second and CPU microseconds a request."""
    rates: dict[Any, list[float]] = {}
    cpus: dict[Any, list[float]] = {}
    for server in servers:
        for ask in server.asks.values():
            with contextlib.suppress(SystemExit):  # the first of what is limited to one is not refused
                throughput(server.port, ask, 0.1)
    for turn in range(rounds):
        for server in servers[:: -1 if turn % 2 else 1]:
            for case, ask in server.asks.items():
                before = server.cpu_s()
                count, took = throughput(server.port, ask, seconds)
                rates.setdefault((server.name, case), []).append(count / took)
                cpus.setdefault((server.name, case), []).append((server.cpu_s() - before) / count * 1e6)
    return rates, cpus


def under_load(folder: Path, seconds: float) -> dict[str, float]:
    """Poll 100,000 points every 10 s, ask for values at half of what is possible, and answer how long answers took."""
    with CampusProcess(1000, 100, niceness=10), plantroom("campus", list(PLUGINS), {}, folder, CAMPUS) as server:
        os.sched_setaffinity(0, [max(CORES)])
        scan(server.port)
        ask = Ask("/api/v1/points/bacnet.2001.analog-input.1/value", headers=SIGNED)
        points = json.loads(body_of(server.port, "/api/v1/points?plugin=bacnet&limit=1"))["items"]
        ask = attrs.evolve(ask, path=f"/api/v1/points/{points[0]['id']}/value")
        count, took = throughput(server.port, ask, 5.0)
        waits = sorted(latencies(server.port, ask, count / took / 2, seconds))
        good = json.loads(body_of(server.port, "/api/v1/points?quality=good&limit=1&count=true"))["total"]
        if good < 100_000:
            raise SystemExit(f"only {good} points are good: the polls do not keep up")
    return {
        "possible/s": count / took,
        "p50_ms": statistics.median(waits) * 1000,
        "p95_ms": waits[int(len(waits) * 0.95)] * 1000,
        "p99_ms": waits[int(len(waits) * 0.99)] * 1000,
    }


def scan(port: int) -> None:
    """Have the campus found and polled once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/api/v1/scans", b"{}", {**SIGNED, "Content-Type": "application/json"})
    connection.getresponse().read()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        total = json.loads(body_of(port, "/api/v1/points?plugin=bacnet&quality=good&limit=1&count=true"))["total"]
        if total >= 100_000:
            return
        time.sleep(1)
    raise SystemExit("the campus was not found within 300 s")


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (4, 0.3) if arguments.quick else (24, 0.5)
    os.sched_setaffinity(0, [max(CORES)])
    python = peers("http", *FASTAPI)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        enter = stack.enter_context
        alone = [enter(plantroom("plantroom", [], OURS, folder))]
        alone += [enter(plantroom(f"plantroom, {each}", [each], OURS, folder)) for each in PLUGINS]
        full = enter(plantroom("plantroom, all", list(PLUGINS), OURS_IN_FULL, folder))
        (folder / "page.json").write_bytes(body_of(full.port, OURS_IN_FULL[PAGE].path))
        port = free_port()
        bare = enter(
            started(
                "bare aiohttp",
                [sys.executable, "-P", HERE / "http_bare.py", str(port), folder / "page.json"],
                port,
                BARE,
                folder,
                environment(),
            )
        )
        port = free_port()
        fastapi = enter(
            started(
                "fastapi",
                [python, "-P", HERE / "http_fastapi.py", str(port)],
                port,
                FASTAPIS,
                folder,
                environment(KEY=KEY),
            )
        )
        rates, cpus = measure([bare, *alone, full, fastapi], rounds, seconds)
        stack.close()
        load = under_load(folder, 5.0 if arguments.quick else 60.0)
    tell(rates, cpus, load, arguments.json)


def cpu_ratios(cpus: Mapping[Any, Sequence[float]]) -> dict[str, float]:
    """Compare CPU time a request, theirs over ours, round by round."""

    def less(ours: tuple[str, str], theirs: tuple[str, str]) -> float:
        return statistics.median(yours / mine for mine, yours in zip(cpus[ours], cpus[theirs], strict=True) if mine)

    full, bare = "plantroom, all", "bare aiohttp"
    return {
        "full_dynamic_vs_bare": less((full, DYNAMIC), (bare, DYNAMIC)),
        "point_value_vs_bare": less((full, VALUE), (bare, DYNAMIC)),
        "full_vs_fastapi": less((full, DYNAMIC), ("fastapi", DYNAMIC)),
        "page_1000_vs_orjson": less((full, PAGE), (bare, PAGE)),
    }


def tell(
    rates: Mapping[Any, Sequence[float]],
    cpus: Mapping[Any, Sequence[float]],
    load: Mapping[str, float],
    file: Path | None,
) -> None:
    """Print the table, and write the JSON where it is wanted."""
    rate = {each: median_and_spread(values) for each, values in rates.items()}
    cpu = {each: median_and_spread(values)[0] for each, values in cpus.items()}
    everything, peer = "plantroom, all", "fastapi"

    def against(ours: tuple[str, str], theirs: tuple[str, str]) -> float:
        """Compare two rates round by round, since the machine is not the same machine in each; the median."""
        return statistics.median(mine / yours for mine, yours in zip(rates[ours], rates[theirs], strict=True))

    def against_bare(server: str, case: str) -> float:
        return against((server, case), ("bare aiohttp", PAGE if case == PAGE else DYNAMIC))

    report(
        "http",
        columns=("server", "request", "requests/s", "x bare aiohttp", "CPU us a request", "spread"),
        rows=[(*each, round(rate[each][0]), against_bare(*each), cpu[each], rate[each][1]) for each in rate],
        result={
            "ratios": {
                "full_dynamic_vs_bare": against_bare(everything, DYNAMIC),
                "point_value_vs_bare": against_bare(everything, VALUE),
                "full_vs_fastapi": against((everything, DYNAMIC), (peer, DYNAMIC)),
                "page_1000_vs_orjson": against_bare(everything, PAGE),
                **{f"{each}_vs_fastapi": against((everything, each), (peer, each)) for each in (VALUE, "401", "429")},
                **{f"cpu: {name}": value for name, value in cpu_ratios(cpus).items()},
            },
            "figures": {
                **{f"{server}: {case}": value[0] for (server, case), value in rate.items()},
                **{f"cpu_us: {server}: {case}": value for (server, case), value in cpu.items()},
                **{f"half load, 100,000 points polled: {name}": value for name, value in load.items()},
            },
            "spread": {f"{server}: {case}": value[1] for (server, case), value in rate.items()},
            "versions": versions("aiohttp", "orjson"),
        },
        file=file,
    )
    print("\nat half load, while 100,000 points are polled every 10 s:", end=" ")
    print(", ".join(f"{name} {value:,.3g}" for name, value in load.items()))


if __name__ == "__main__":
    main()
