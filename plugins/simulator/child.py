"""The simulated building as a process of its own: a child of the kernel, or in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence

import attrs

from plugins.simulator.building import Building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.errors import SimulatorError
from plugins.simulator.process import FAILED, READY
from plugins.simulator.server.service import serve


def main(arguments: Sequence[str]) -> int:
    """Run as a child: one line on standard output, then serve until standard input ends or SIGTERM comes."""
    parser = argparse.ArgumentParser(prog="python -m plugins.simulator")
    for name, default in attrs.asdict(SimulatorConfig()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    config = SimulatorConfig(**vars(parser.parse_args(arguments)))

    def ready(building: Building) -> None:
        print(READY, len(building.devices), building.point_count, flush=True)

    try:
        asyncio.run(_run(config, (signal.SIGTERM,), ready=ready, input_fd=sys.stdin.fileno()))
    except SimulatorError as error:
        print(FAILED, error.detail, flush=True)
        return 1
    return 0


def run_foreground(config: SimulatorConfig) -> int:
    """Run for a person at a terminal, until SIGINT or SIGTERM; return the exit code."""

    def ready(building: Building) -> None:
        print(
            f"Simulated building: {len(building.devices)} devices, {building.point_count} points on "
            f"{config.host}:{config.port}, network {config.network}, seed {config.seed}, speed {config.speed:g}",
            flush=True,
        )

    try:
        asyncio.run(_run(config, (signal.SIGINT, signal.SIGTERM), ready=ready))
    except SimulatorError as error:
        print(f"plantroom simulate: {error.detail}; choose another with --host and --port", file=sys.stderr)
        return 1
    return 0


async def _run(
    config: SimulatorConfig,
    signals: Sequence[signal.Signals],
    *,
    ready: Callable[[Building], None],
    input_fd: int | None = None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    if input_fd is not None:
        loop.add_reader(input_fd, _stop_at_end, input_fd, stop)
    try:
        await serve(config, ready=_settled(ready), stop=stop)
    finally:
        if input_fd is not None:
            loop.remove_reader(input_fd)


def _settled(ready: Callable[[Building], None]) -> Callable[[Building], None]:
    """Take the devices, which stay until the end, out of what is looked through for garbage: that takes its time."""

    def settle(building: Building) -> None:
        gc.freeze()
        ready(building)

    return settle


def _stop_at_end(input_fd: int, stop: asyncio.Event) -> None:
    if not os.read(input_fd, 1024):
        stop.set()
