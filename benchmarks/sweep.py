"""One sweep over 1,000 devices with 100 points each, through the whole kernel, and what it costs.

`python benchmarks/sweep.py [--quick] [--json FILE]`

All devices are polled at once: poller, plans, requests, answers, registry, events. Between two sweeps a share of the
points takes another value: 0, 10 and 100 %. The kernel has one core, the devices another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import ROOT, median_and_spread, options, report, run, versions

HERE = Path(__file__).resolve().parent
DEVICES, POINTS = 1000, 100
SHARES = (0.0, 0.1, 1.0)
TOLD = 0.1
LONGEST_S = 600.0


def main() -> None:
    arguments = options(__doc__ or "")
    rounds = 3 if arguments.quick else 15
    command = (sys.executable, "-P", HERE / "sweep_plantroom.py", str(DEVICES), str(POINTS), str(rounds))
    answer = run((*command, *map(str, SHARES)), seconds=LONGEST_S)
    simulator = run((sys.executable, "-P", HERE / "sweep_simulator.py", "1.0" if arguments.quick else "5.0"))
    walls = {share: median_and_spread(answer["walls"][f"{share}"]) for share in SHARES}
    cpus = {share: median_and_spread(answer["cpus"][f"{share}"])[0] for share in SHARES}
    report(
        "sweep",
        columns=("points changed", "wall s", "CPU s", "CPU us a point", "longest hold of the event loop, ms", "spread"),
        rows=[
            (
                f"{share:.0%}", walls[share][0], cpus[share], cpus[share] / (DEVICES * POINTS) * 1e6,
                _longest(answer["lags_ms"][f"{share}"]), walls[share][1],
            )
            for share in SHARES
        ],
        result={
            "ratios": {},
            "figures": {
                "sweep_100k_s": walls[TOLD][0],
                "sweep_100k_cpu_s": cpus[TOLD],
                **{f"sweep_100k_s at {share:.0%}": walls[share][0] for share in SHARES},
                **{f"sweep_100k_cpu_s at {share:.0%}": cpus[share] for share in SHARES},
                **{f"loop_lag_ms at {share:.0%}": _longest(answer["lags_ms"][f"{share}"]) for share in SHARES},
                "rss_mb": answer["rss_mb"],
                "scan_s": answer["scan_s"],
                "simulator_points_s": simulator["points"] / simulator["seconds"],
                "simulator_points_s at 100%": simulator["changing"],
            },
            "spread": {f"sweep_100k_s at {share:.0%}": walls[share][1] for share in SHARES},
            "versions": versions(),
        },
        file=arguments.json,
    )  # fmt: skip
    print(f"\nmemory {answer['rss_mb']:.0f} MB; first scan, until all are listed and polled: {answer['scan_s']:.1f} s")
    print(f"the simulator by itself: {simulator['points'] / simulator['seconds']:,.0f} points/s from one process;")
    print(f"with all values changed before each answer: {simulator['changing']:,.0f} points/s")


def _longest(lags_ms: Sequence[float]) -> float:
    return median_and_spread(lags_ms)[0]


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
