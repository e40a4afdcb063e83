"""Requests a second of Plantroom's REST API against a bare aiohttp handler, in one run.

`python benchmarks/http.py [--quick] [--json FILE]`
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import AsyncIterator  # noqa: E402

from benchmarks.bench import ROOT, median_and_spread, options, report, versions  # noqa: E402

CONNECTIONS = 16
POINTS = 1000

BARE = """
import json, sys, time
from aiohttp import web
async def handler(request):
    body = {"value": 21.5, "text": None, "time": time.time(), "quality": "good", "reason": None, "flags": []}
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")
app = web.Application()
app.router.add_get("/{tail:.*}", handler)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""

PLUGIN = f"""
from core.plugin import Inventory, Plugin, Poller, hookimpl

class Thousand(Plugin[dict]):
    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.device = ctx.device("d", name="A thousand points")
        names = [str(number) for number in range({POINTS})]
        self.points = [self.device.point(name, unit="degrees-celsius", symbol="\\u00b0C") for name in names]

    @hookimpl
    def register_points(self):
        return [Inventory(self.device, self.points)]

    @hookimpl
    def register_pollers(self):
        return [Poller("all", 1.0, self.poll)]

    async def poll(self):
        return {{point: 20.0 + number for number, point in enumerate(self.points)}}
"""

CASES = {
    "a point's value": "/api/v1/points/thousand.d.1/value",
    "a point": "/api/v1/points/thousand.d.1",
    "a page of 100 points": "/api/v1/points?limit=100",
}


async def measure(port: int, path: str, seconds: float) -> float:
    """Return requests a second over keep-alive connections that each wait for their answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    end = time.perf_counter() + seconds

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.perf_counter() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:20]:
                sys.exit(f"{path} answered {head!r}")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            count += 1
        writer.close()
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return sum(counts) / (time.perf_counter() - began)


@contextlib.asynccontextmanager
async def serving(*command: str, port: int, cwd: str) -> AsyncIterator[None]:
    """Run a server until it is no longer needed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not await answers(port):
                await asyncio.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(f"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    head = await reader.read(20)
    writer.close()
    return b" 200 " in head


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (3, 1.0) if arguments.quick else (9, 4.0)
    bare, ours = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        plugins = Path(folder) / "custom_plugins"
        plugins.mkdir()
        (plugins / "thousand.py").write_text(PLUGIN)
        (Path(folder) / "plantroom.yaml").write_text("plugins: {thousand: }\n")
        async with (
            serving("-c", BARE, str(bare), port=bare, cwd=folder),
            serving("-m", "core", "run", "--port", str(ours), port=ours, cwd=folder),
        ):
            figures: dict[str, list[float]] = {"bare aiohttp": [], **{case: [] for case in CASES}}
            for _ in range(rounds):
                figures["bare aiohttp"].append(await measure(bare, "/", seconds))
                for case, path in CASES.items():
                    figures[case].append(await measure(ours, path, seconds))
    medians = {name: median_and_spread(values) for name, values in figures.items()}
    base = medians["bare aiohttp"][0]
    ratios = {case: medians[case][0] / base for case in CASES}
    report(
        "http",
        columns=("request", "requests/s", "x bare aiohttp", "spread"),
        rows=[(name, round(middle), middle / base, spread) for name, (middle, spread) in medians.items()],
        result={
            "ratios": ratios,
            "figures": {name: middle for name, (middle, _) in medians.items()},
            "spread": {name: spread for name, (_, spread) in medians.items()},
            "versions": versions("aiohttp"),
        },
        file=arguments.json,
    )


if __name__ == "__main__":
    asyncio.run(main())
