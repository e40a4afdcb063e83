"""Points a second read from one BACnet/IP device: Plantroom's public API and other people's clients, in one run.

`python benchmarks/poll.py [--quick] [--json FILE]`

Each client reads 1, 10 and 50 points a ReadPropertyMultiple, eight requests at a time, from the process poll_device.py.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from benchmarks.bench import ROOT, environment, median_and_spread, node_peers, options, peers, report, run, versions
from benchmarks.poll_contender import ADDRESS, AT_ONCE, LONGEST_S, PORT, WARM_UP_S

HERE = Path(__file__).resolve().parent
PEERS = ("BAC0==2026.7.25", "bacpypes3==0.0.110", "rusty-bacnet==0.14.0")
MANIFEST = HERE / "node" / "package.json"
SIZES = (1, 10, 50)
TOLD = 50  # the size that the ratios are of


@attrs.frozen
class Contender:
    """A client: its ``script`` beside this one, who runs it (ours, peers, node), and what it ``reads`` of a point."""

    name: str
    script: str
    runtime: str
    reads: str = "present-value"


CONTENDERS = (
    Contender("plantroom", "poll_plantroom.py", "ours", "present-value, status-flags"),
    Contender("engine alone", "poll_engine.py", "ours"),
    Contender("bacpypes3", "poll_bacpypes3.py", "peers"),
    Contender("BAC0", "poll_bac0.py", "peers"),
    Contender("rusty-bacnet", "poll_rusty.py", "peers"),
    Contender("bacstack", "node/poll_bacstack.js", "node"),
    Contender("@bacnet-js/client", "node/poll_bacnet_js.js", "node"),
)


@attrs.define
class Figures:
    """What one contender did at one size, round by round: points a second, microseconds of CPU a point, cores busy."""

    rates: list[float] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)
    cores: list[float] = attrs.field(factory=list)

    def add(self, answer: Mapping[str, float]) -> None:
        self.rates.append(answer["points"] / answer["seconds"])
        self.costs.append(answer["cpu_seconds"] / answer["points"] * 1e6)
        self.cores.append(answer["cpu_seconds"] / answer["seconds"])

    @property
    def rate(self) -> float:
        return median_and_spread(self.rates)[0]

    @property
    def cost(self) -> float:
        return median_and_spread(self.costs)[0]

    @property
    def busy(self) -> float:
        return median_and_spread(self.cores)[0]

    @property
    def spread(self) -> float:
        return median_and_spread(self.rates)[1]

    @property
    def cost_spread(self) -> float:
        return median_and_spread(self.costs)[1]


Results = dict[tuple[str, int], Figures]


def main() -> None:
    arguments = options(__doc__ or "")
    rounds, seconds = (2, 0.25) if arguments.quick else (5, 2.0)
    theirs, modules = peers("poll", *PEERS), node_peers("poll", MANIFEST)
    runtimes: dict[str, Sequence[str | Path]] = {"ours": (sys.executable, "-P"), "peers": (theirs, "-P")}
    if modules is not None:
        runtimes["node"] = ("node",)
    present = [contender for contender in CONTENDERS if contender.runtime in runtimes]
    results: Results = {(contender.name, k): Figures() for k in SIZES for contender in present}
    shared = (ADDRESS, str(PORT), str(AT_ONCE), str(WARM_UP_S))
    with device():
        for number, k, contender in itertools.product(range(rounds), SIZES, present):
            if arguments.quick and number > 0 and k != TOLD:
                continue
            command = (*runtimes[contender.runtime], HERE / contender.script, str(k), str(seconds), *shared)
            answer = run(command, seconds=seconds + 2 * LONGEST_S, NODE_PATH=str(modules or ""))
            results[contender.name, k].add(answer)
    report(
        "poll",
        columns=(
            "client", "points a request", "reads of each", "points/s", "Plantroom is x times as fast",
            "CPU us a point", "x less CPU", "cores busy", "spread",
        ),
        rows=rows(results, present),
        result={
            "ratios": ratios(results, present),
            "figures": {
                **{f"{name} k={k} points/s": figures.rate for (name, k), figures in results.items()},
                **{f"{name} k={k} CPU us a point": figures.cost for (name, k), figures in results.items()},
                **{f"{name} k={k} cores busy": figures.busy for (name, k), figures in results.items()},
            },
            "spread": {
                **{f"{name} k={k}": figures.spread for (name, k), figures in results.items()},
                **{f"cpu:{name} k={k}": figures.cost_spread for (name, k), figures in results.items()},
            },
            "versions": {
                **versions(), **dict(package.split("==") for package in PEERS), **(node_versions() if modules else {}),
            },
        },
        file=arguments.json,
    )  # fmt: skip


@contextlib.contextmanager
def device() -> Iterator[None]:
    """Run the device that is read; it ends with us at the latest, when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-P", HERE / "poll_device.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    patience = threading.Timer(LONGEST_S, process.kill)
    patience.start()
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("READY"):
            sys.exit("the device did not start")
        patience.cancel()
        yield
    finally:
        patience.cancel()
        process.kill()
        process.wait()


def rows(results: Results, present: Sequence[Contender]) -> Iterator[tuple[object, ...]]:
    """Lay the table out: the clients at each size, and those that are left out."""
    for k, contender in itertools.product(SIZES, present):
        ours, figures = results["plantroom", k], results[contender.name, k]
        yield (
            contender.name, k, contender.reads, round(figures.rate), ours.rate / figures.rate,
            figures.cost, figures.cost / ours.cost, figures.busy, figures.spread,
        )  # fmt: skip
    for contender in CONTENDERS:
        if contender not in present:
            yield (contender.name, "-", f"left out: no {contender.runtime} and npm here", *["-"] * 6)


def ratios(results: Results, present: Sequence[Contender]) -> dict[str, float]:
    """Compare with each of the others: points/s ours over theirs, and as `cpu:` CPU time a point theirs over ours."""
    ours = results["plantroom", TOLD]
    others = {contender.name: results[contender.name, TOLD] for contender in present if contender.runtime != "ours"}
    scripts = [results[contender.name, TOLD] for contender in present if contender.runtime == "node"]
    if scripts:
        others["fastest-js"] = max(scripts, key=lambda figures: figures.rate)
    return {
        **{name: ours.rate / figures.rate for name, figures in others.items()},
        **{f"cpu:{name}": figures.cost / ours.cost for name, figures in others.items()},
    }


def node_versions() -> dict[str, str]:
    """Return the versions of node and of the packages from npm."""
    said = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True, timeout=LONGEST_S).stdout
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {"node": said.strip().removeprefix("v"), **manifest["dependencies"]}


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
