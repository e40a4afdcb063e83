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

from core.serialize import loads
from plugins.simulator.building import Building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.control import Commands
from plugins.simulator.errors import SimulatorError
from plugins.simulator.process import FAILED, READY
from plugins.simulator.server.actions import actions_on
from plugins.simulator.server.service import Service, serve
from plugins.simulator.trunks import TrunkOptions


def main(arguments: Sequence[str]) -> int:
    """Run as a child: one line on standard output, then serve until standard input ends or SIGTERM comes.

    Lines on standard input are commands (`plugins.simulator.control`), answered on standard output.
    """
    config = _config_of(arguments)

    def ready(building: Building) -> None:
        print(READY, len(building.devices), building.point_count, flush=True)

    try:
        asyncio.run(_run(config, (signal.SIGTERM,), ready=ready, input_fd=sys.stdin.fileno()))
    except SimulatorError as error:
        print(FAILED, error.detail, flush=True)
        return 1
    return 0


def _config_of(arguments: Sequence[str]) -> SimulatorConfig:
    parser = argparse.ArgumentParser(prog="python -m plugins.simulator")
    for name, default in attrs.asdict(SimulatorConfig()).items():
        parser.add_argument(f"--{name}", type=_trunks if name == "trunks" else type(default), default=default)
    return SimulatorConfig(**vars(parser.parse_args(arguments)))


def _trunks(text: str) -> tuple[TrunkOptions, ...]:
    return tuple(TrunkOptions(**each) for each in loads(text.encode()))


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

    def listen(service: Service) -> None:
        if input_fd is not None:
            loop.add_reader(input_fd, _obey, input_fd, Commands(actions_on(service)), stop)

    try:
        await serve(config, ready=_settled(ready), stop=stop, opened=listen)
    finally:
        if input_fd is not None:
            loop.remove_reader(input_fd)


def _settled(ready: Callable[[Building], None]) -> Callable[[Building], None]:
    """Take the devices, which stay until the end, out of what is looked through for garbage: that takes its time."""

    def settle(building: Building) -> None:
        gc.freeze()
        ready(building)

    return settle


def _obey(input_fd: int, commands: Commands, stop: asyncio.Event) -> None:
    """Carry out what stands on standard input, and stop at its end."""
    octets = os.read(input_fd, 1 << 16)
    if not octets:
        stop.set()
    for answer in commands.take(octets):
        sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
