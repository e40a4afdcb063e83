"""Points a second read from one BACnet/IP device: Plantroom's driver, bacpypes3 and BAC0, in one run.

`python benchmarks/poll.py [--quick] [--json FILE]`

The device is rusty-bacnet (Rust), so that it is nobody's bottleneck and no contender's own code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import ROOT, median_and_spread, options, peers, report, run, versions

HERE = Path(__file__).resolve().parent
PEERS = ("BAC0==2026.7.25", "bacpypes3==0.0.110", "rusty-bacnet==0.14.0")
CONTENDERS = ("plantroom", "bacpypes3", "bac0")


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (2, 2.0) if arguments.quick else (7, 6.0)
    theirs = peers("poll", *PEERS)
    device = subprocess.Popen(
        [theirs, "-P", HERE / "poll_device.py"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert device.stdout is not None
        if not device.stdout.readline().startswith("READY"):
            sys.exit("the device did not start")
        rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        costs: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds):
            for name in CONTENDERS:
                python = sys.executable if name == "plantroom" else theirs
                figures = run(python, HERE / f"poll_{name}.py", str(seconds))
                rates[name].append(figures["points"] / figures["seconds"])
                costs[name].append(figures["cpu_seconds"] / figures["points"] * 1e6)
    finally:
        device.kill()
        device.wait()
    rate = {name: median_and_spread(values) for name, values in rates.items()}
    cost = {name: median_and_spread(values)[0] for name, values in costs.items()}
    ours = rate["plantroom"][0]
    report(
        "poll",
        columns=("client", "points/s", "Plantroom is x times as fast", "CPU us a point", "spread"),
        rows=[(name, round(rate[name][0]), ours / rate[name][0], cost[name], rate[name][1]) for name in CONTENDERS],
        result={
            "ratios": {name: ours / rate[name][0] for name in CONTENDERS if name != "plantroom"},
            "figures": {
                **{f"{name} points/s": rate[name][0] for name in CONTENDERS},
                **{f"{name} CPU us a point": cost[name] for name in CONTENDERS},
            },
            "spread": {name: rate[name][1] for name in CONTENDERS},
            "versions": {**versions("bacpypes3"), **dict(package.split("==") for package in PEERS)},
        },
        file=arguments.json,
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
