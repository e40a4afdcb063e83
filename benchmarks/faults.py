"""How fast healthy devices are polled while others are dead or slow, relative to none being so.

`python benchmarks/faults.py [--quick] [--json FILE]`

300 devices with 20 points each are due four times a second. First all are well, then 10 % are dead, then 10 % are dead
and 10 % answer half a second late. The reference line polls one device after the other, as VOLTTRON's driver does over
its BACnet proxy, with the same wait for an answer. It has 100 devices: its share does not depend on how many.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import ROOT, median_and_spread, options, report, run, versions

HERE = Path(__file__).resolve().parent
OURS, SERIAL = "plantroom", "one after the other"
CONTENDERS = {OURS: "faults_plantroom.py", SERIAL: "faults_serial.py"}
CONDITIONS = ("all well", "10 % dead", "10 % dead, 10 % slow")
LONGEST_S = 300.0


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds, in_line = (1, 3.0, 40) if arguments.quick else (3, 20.0, 100)
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, script in CONTENDERS.items():
            if name == SERIAL and number:
                continue  # once round its dead devices takes half a minute
            answer = run((sys.executable, "-P", HERE / script, str(seconds), str(in_line)), seconds=LONGEST_S)
            for condition in CONDITIONS:
                rates.setdefault((name, condition), []).append(answer[condition])
    rate = {key: median_and_spread(values) for key, values in rates.items()}
    kept = {key: rate[key][0] / rate[key[0], CONDITIONS[0]][0] for key in rate}
    report(
        "faults",
        columns=("poller", "devices", "polls/s of a healthy device", "share of the rate when all are well", "spread"),
        rows=[(*key, rate[key][0], kept[key], rate[key][1]) for key in rate],
        result={
            "ratios": {f"{SERIAL}, 10 % dead": kept[OURS, CONDITIONS[1]] / kept[SERIAL, CONDITIONS[1]]},
            "figures": {
                "healthy_rate_10pct_dead": kept[OURS, CONDITIONS[1]],
                "healthy_rate_10pct_dead_10pct_slow": kept[OURS, CONDITIONS[2]],
                "serial_healthy_rate_10pct_dead": kept[SERIAL, CONDITIONS[1]],
                "serial_healthy_rate_10pct_dead_10pct_slow": kept[SERIAL, CONDITIONS[2]],
                **{f"{name}, {condition}: polls/s": rate[name, condition][0] for name, condition in rate},
            },
            "spread": {f"{name}, {condition}": rate[name, condition][1] for name, condition in rate},
            "versions": versions(),
        },
        file=arguments.json,
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
