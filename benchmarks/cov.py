"""Change of value on a network that misbehaves: 1,000 points on 50 devices, for ten minutes.

`python benchmarks/cov.py [--quick] [--json FILE]`

A real `plantroom run` subscribes to all points. Of the devices five have room for 10 subscriptions, and one offers
none; one datagram of fifty is lost, each way; every quarter of a minute one device restarts and forgets its
subscribers. Each second one of fifty points takes another value. Every few seconds all readings are compared with what
the devices hold: a point that says `good` and differs from its device for longer than between two verifying polls is a
failure, and so is growth of tasks, subscriptions or memory. Exits with 1 then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its http.py is not Python's
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
import attrs

from benchmarks.bench import ROOT, environment, options, report, versions
from plugins.simulator.controllers import FIRST_CONTROLLER, Changing
from plugins.simulator.testing import Simulation, simulation

DEVICES, POINTS = 50, 20
INTERVAL_S, VERIFY_S = 10.0, 60.0
MINUTES, QUICK_S = 10, 40.0
LOST = 0.02
SHARE = 0.02
LOOK_S, REBOOT_S, AWAY_S = 5.0, 15.0, 4.0
SETTLED_AFTER_S = 120.0
MOST_GROWTH_MB = 8.0
MOST_MORE_TASKS = 20
ANALOG = 0.5  # how far a measured value moves before its device tells, plus rounding
LATE_S = 2 * LOOK_S  # what a look itself can be late by
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "loss", "probability": LOST},
    {"kind": "cov_slots", "devices": ["10001-10005"], "count": 10},
    {"kind": "no_cov", "devices": [10006]},
)
CONFIGURATION = """
log: {{level: warning}}
http: {{host: 127.0.0.1, port: {port}}}
data_dir: {folder}
plugins:
  bacnet:
    interval: {interval}
    scan: {{interval: null}}
    networks: [{{address: "127.0.0.57/8:47857", targets: ["{target}"]}}]
    points: [{{match: "*", cov: true}}]
    cov: {{lifetime: 300, verify: {verify}}}
"""


@attrs.frozen
class Look:
    """What was seen at one time; seconds since the beginning."""

    at_s: float
    live: int
    polled: int
    bad: int
    oldest_s: float
    tasks: int
    rss_mb: float
    subscriptions: int
    held: int


@attrs.define
class Truth:
    """Since when each point's reading has differed from what its device holds."""

    simulation: Simulation
    agreed_at: dict[str, float] = attrs.field(factory=dict)

    def compare(self, points: list[Mapping[str, Any]]) -> float:
        """Return for how long the worst of the good readings has been wrong, in seconds."""
        now, worst = time.monotonic(), 0.0
        held = {
            f"bacnet.{number}.{data.type}.{data.instance}": data.value
            for number, device in self.simulation.devices.items()
            for data in device.objects
        }
        for point in points:
            reading = point["reading"]
            good = reading is not None and reading["quality"] == "good"
            if not good or _agree(reading["value"], held[point["id"]]):
                self.agreed_at[point["id"]] = now
            worst = max(worst, now - self.agreed_at.setdefault(point["id"], now))
        return worst


def main() -> None:
    arguments = options(__doc__ or "")
    seconds = QUICK_S if arguments.quick else MINUTES * 60.0
    looks = asyncio.run(watched(seconds))
    failures = judged(looks, settled_after_s=min(SETTLED_AFTER_S, seconds / 2))
    minutes = [look for look, later in zip(looks, [*looks[1:], None], strict=True)
               if later is None or int(look.at_s / 60) != int(later.at_s / 60)]  # fmt: skip
    last = looks[-1]
    report(
        "cov",
        columns=("after s", "live", "polled", "bad", "wrong for at most s", "tasks", "memory MB", "on the devices"),
        rows=[(round(each.at_s), each.live, each.polled, each.bad, each.oldest_s, each.tasks, each.rss_mb, each.held)
              for each in minutes],
        result={
            "ratios": {},
            "figures": {
                "longest_wrong_s": max(look.oldest_s for look in looks), "live": last.live, "polled": last.polled,
                "tasks": last.tasks, "rss_mb": last.rss_mb, "failures": len(failures),
            },
            "spread": {},
            "versions": versions(),
        },
        file=arguments.json,
    )  # fmt: skip
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


def judged(looks: list[Look], *, settled_after_s: float) -> list[str]:
    """Say what went wrong."""
    failures = [
        f"after {look.at_s:.0f} s a good reading had been wrong for {look.oldest_s:.0f} s"
        for look in looks
        if look.oldest_s > VERIFY_S + LATE_S
    ]
    settled = [look for look in looks if look.at_s >= settled_after_s]
    first, last = settled[0], settled[-1]
    if last.rss_mb - first.rss_mb > MOST_GROWTH_MB:
        failures.append(f"memory grew from {first.rss_mb:.1f} to {last.rss_mb:.1f} MB")
    if max(look.tasks for look in settled) - min(look.tasks for look in settled) > MOST_MORE_TASKS:
        failures.append(f"tasks varied between {min(x.tasks for x in settled)} and {max(x.tasks for x in settled)}")
    wanted = DEVICES * POINTS
    if any(look.subscriptions != wanted for look in settled):
        failures.append(f"the plugin has kept {[look.subscriptions for look in settled]} subscriptions, not {wanted}")
    if any(look.held > wanted for look in looks):
        failures.append("the devices hold more subscriptions than there are points")
    if not any(look.live >= 0.8 * wanted for look in settled):
        failures.append("no more than four fifths of the points were ever live")
    return failures


async def watched(seconds: float) -> list[Look]:
    """Run it all, and look at it every few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            simulation(controllers=DEVICES, points=POINTS, faults=FAULTS) as served,
            contextlib.AsyncExitStack() as stack,
        ):
            changing = Changing(list(served.devices.values()), share=SHARE, seed=1)
            for work in (keep_changing(served, changing), keep_rebooting(served)):
                stack.callback(asyncio.create_task(work).cancel)
            port = free_port()
            process = await plantroom(Path(folder), served.address, port)
            stack.push_async_callback(ended, process)
            client = await stack.enter_async_context(
                aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(total=10))
            )
            await listed(client)
            truth, looks, began = Truth(served), [], time.monotonic()
            while (passed := time.monotonic() - began) < seconds:
                looks.append(await look(client, served, truth, passed))
                await asyncio.sleep(LOOK_S)
            return looks


async def look(client: aiohttp.ClientSession, served: Simulation, truth: Truth, at_s: float) -> Look:
    points = (await get(client, "/api/v1/points", limit="1000"))["items"]
    oldest_s = truth.compare(points)
    subscriptions = await get(client, "/api/v1/bacnet/subscriptions", limit="1", count="true")
    async with client.get("/metrics") as answer:
        figures = dict(line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[:1] != "#")
    qualities = Counter(point["reading"]["quality"] if point["reading"] else "bad" for point in points)
    deliveries = Counter(point["delivery"] for point in points)
    return Look(
        at_s, deliveries["live"], deliveries["polled"], qualities["bad"], oldest_s,
        int(float(figures["plantroom_tasks"])), float(figures["process_resident_memory_bytes"]) / 2**20,
        subscriptions["total"], sum(served.subscriptions(number) for number in served.devices),
    )  # fmt: skip


async def keep_changing(served: Simulation, changing: Changing) -> None:
    while True:
        await asyncio.sleep(0.1)
        changing.step(0.1)
        served.tell()


async def keep_rebooting(served: Simulation) -> None:
    chance = random.Random(1)
    while True:
        await asyncio.sleep(REBOOT_S)
        served.reboot(chance.randrange(FIRST_CONTROLLER, FIRST_CONTROLLER + DEVICES), seconds=AWAY_S)


async def plantroom(folder: Path, target: str, port: int) -> asyncio.subprocess.Process:
    file = folder / "plantroom.yaml"
    file.write_text(
        CONFIGURATION.format(port=port, folder=folder, target=target, interval=INTERVAL_S, verify=VERIFY_S),
        encoding="utf-8",
    )
    command = (sys.executable, "-c", "import sys; from core.cli import main; sys.exit(main())")
    return await asyncio.create_subprocess_exec(
        *command, "run", "--config", file, cwd=folder, env=environment(), stdin=asyncio.subprocess.DEVNULL
    )


async def listed(client: aiohttp.ClientSession) -> None:
    """Scan until all points are known: a datagram that was lost may have been a device's answer."""
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                known = await get(client, "/api/v1/points", limit="1", count="true")
                if known["total"] == DEVICES * POINTS:
                    return
                async with client.post("/api/v1/scans", json={}):
                    pass
            await asyncio.sleep(2)


async def get(client: aiohttp.ClientSession, path: str, **params: str) -> Any:
    async with client.get(path, params=params) as answer:
        answer.raise_for_status()
        return await answer.json()


async def ended(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _agree(shown: Any, held: Any) -> bool:
    if isinstance(held, float):
        return isinstance(shown, int | float) and abs(shown - held) <= ANALOG + 0.001
    return bool(shown == held)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
