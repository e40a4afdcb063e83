"""The simulator plugin: keeps a simulated building running beside the kernel, and offers `plantroom simulate`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import voluptuous as vol

from core.plugin import CliCommand, Context, Health, HealthCheck, Metric, Plugin, Route, Weakness, hookimpl
from plugins.simulator.config import SCHEMA, SimulatorConfig
from plugins.simulator.errors import AddressTaken
from plugins.simulator.process import Supervisor
from plugins.simulator.routes import SimulatorRoutes

OPTIONS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "host": (str, "address to listen on"),
    "port": (int, "UDP port to listen on"),
    "seed": (int, "which building: the same seed gives the same one"),
    "speed": (float, "how many times as fast as a real clock the building's clock runs"),
    "controllers": (int, "how many field controllers there are beside the building"),
    "points": (int, "how many points each of them has"),
    "changing": (float, "which share of their points changes each second, 0 to 1"),
}


class SimulatorPlugin(Plugin[SimulatorConfig]):
    """A building over real BACnet/IP, in a child process; the bacnet plugin finds its devices like any others."""

    schema = SCHEMA
    config_class = SimulatorConfig
    start_timeout_s = 20.0

    def __init__(self, config: SimulatorConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.supervisor = Supervisor(config, ctx.log, clock=ctx.clock)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self._run()

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        return [HealthCheck("building", self._health)]

    @hookimpl
    def register_weaknesses(self) -> Iterable[Weakness]:
        remedy = f"remove it, or write `{self.ctx.name}: {{enabled: false}}`"
        return [Weakness("this is a simulated building", remedy)]

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        labels = {"plugin": self.ctx.name}
        return [
            Metric(
                "plantroom_simulator_up",
                "gauge",
                "Whether the simulated building runs.",
                lambda: [(labels, float(self.supervisor.problem is None))],
            ),
            Metric(
                "plantroom_simulator_restarts_total",
                "counter",
                "Attempts to start the simulated building again after it ended.",
                lambda: [(labels, float(self.supervisor.restarts))],
            ),
        ]

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        return SimulatorRoutes(self.ctx.name, self.supervisor).routes

    @hookimpl
    def register_commands(self) -> Iterable[CliCommand]:
        return [
            CliCommand("simulate", "serve the simulated building in the foreground", self._simulate, _add_arguments)
        ]

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        try:
            await self.supervisor.start()
        except AddressTaken as error:
            option = f"plugins.{self.ctx.name}.port"
            raise AddressTaken(f"{error.detail}; free it, or set `{option}` to another port") from error
        watch = asyncio.create_task(self.supervisor.watch(), name="simulator:watch")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self.supervisor.stop()

    def _health(self) -> tuple[Health, str]:
        problem = self.supervisor.problem
        if problem is None:
            return Health.OK, f"the building answers on {self.config.host}:{self.config.port}"
        return Health.DEGRADED, problem

    def _simulate(self, options: argparse.Namespace) -> int:
        from plugins.simulator.child import run_foreground  # brings in bacpypes3, which only the server needs

        named = {name: getattr(options, name) for name in OPTIONS}
        given = {name: value for name, value in named.items() if value is not None}
        try:
            vol.Schema(SCHEMA)(given)
        except vol.Invalid as error:
            print(f"plantroom simulate: --{error.path[0]}: {error.msg}", file=sys.stderr)
            return 2
        return run_foreground(attrs.evolve(self.config, **given))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, (kind, explanation) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=explanation)
