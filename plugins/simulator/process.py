"""The parent's side of the simulated building: starts the child process, watches it, starts it again, stops it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
from structlog.typing import FilteringBoundLogger

from core.plugin import Clock
from core.serialize import dumps
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.control import LONGEST_LINE, Control
from plugins.simulator.errors import AddressTaken, BuildingAway, SimulatorError
from plugins.simulator.faults import Fault
from plugins.simulator.injected import InjectedFaults

StreamT = TypeVar("StreamT")

READY = "READY"
FAILED = "FAILED"

START_TIMEOUT_S = 15.0
STOP_GRACE_S = 0.8
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0


def arguments_of(config: SimulatorConfig) -> list[str]:
    """Write a configuration as the child's arguments; faults are told once it runs."""
    plain = attrs.asdict(config) | {"trunks": dumps(config.trunks).decode()}
    return [f"--{name}={value}" for name, value in plain.items() if name != "faults"]


class BuildingProcess:
    """One run of the child; it ends by itself when this process does, because its standard input ends then."""

    def __init__(self, config: SimulatorConfig, log: FilteringBoundLogger) -> None:
        self._config = config
        self._log = log
        self._process: Process | None = None
        self._relay: asyncio.Task[None] | None = None
        self._control: Control | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, once started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child and wait until it serves; raises AddressTaken or SimulatorError."""
        # The child inherits the mask, so that a Ctrl-C before it can ignore SIGINT does not reach it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "plugins.simulator", *arguments_of(self._config)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                limit=LONGEST_LINE,
                env=_environment(),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        errors = _piped(self._process.stderr)
        self._relay = asyncio.create_task(self._relay_errors(errors), name="simulator:stderr")
        try:
            await self._await_ready(self._process)
        except BaseException:
            await self.stop()
            raise
        self._control = Control(_piped(self._process.stdin), _piped(self._process.stdout))

    async def ask(self, what: str, **parameters: Any) -> Any:
        """Let the child do something (`Control.ask`); raises BuildingAway where it does not serve."""
        if self._control is None:
            raise BuildingAway("the simulated building is being started")
        return await self._control.ask(what, **parameters)

    async def ended(self) -> int:
        """Wait until the child ends; return its exit code, negative for a signal."""
        if self._process is None:
            raise SimulatorError("the simulated building was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End the child: by closing its standard input, after a grace period by force."""
        process, relay = self._process, self._relay
        if process is None or relay is None:
            return
        _piped(process.stdin).close()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()
        except TimeoutError:
            self._log.warning("simulator_killed", grace_s=STOP_GRACE_S)
        finally:
            if process.returncode is None:
                process.kill()
        await process.wait()
        await relay

    def kill(self) -> None:
        """End the child at once, such as one that does not answer any more."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _await_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = (await _piped(process.stdout).readline()).decode().strip()
        except TimeoutError as error:
            raise SimulatorError(f"the simulated building did not start within {START_TIMEOUT_S:g} s") from error
        word, _, rest = line.partition(" ")
        if word == FAILED:
            raise AddressTaken(rest)
        if word != READY:
            raise SimulatorError("the simulated building ended before it was ready; its own words are in the log")
        devices, points = rest.split()
        self._log.info("simulator_ready", pid=process.pid, devices=int(devices), points=int(points))

    async def _relay_errors(self, errors: asyncio.StreamReader) -> None:
        while chunk := await errors.read(8192):
            for line in chunk.decode(errors="replace").splitlines():
                self._log.warning("simulator_stderr", line=line)


class Supervisor:
    """Keeps one child running, and its faults in it.

    ``problem`` says why it does not run, and is None while it does; ``restarts`` counts the attempts to start it again.
    """

    def __init__(self, config: SimulatorConfig, log: FilteringBoundLogger, *, clock: Clock) -> None:
        self.problem: str | None = "not started"
        self.restarts = 0
        self._config = config
        self._log = log
        self._clock = clock
        self._child = BuildingProcess(config, log)
        self._faults = InjectedFaults(config.faults)
        self._told = False
        self._change = asyncio.Lock()

    @property
    def faults(self) -> InjectedFaults:
        """The faults that there are; `inject`, `take_back` and `reset` change them."""
        return self._faults

    @property
    def pid(self) -> int | None:
        """The present child's process id."""
        return self._child.pid

    async def start(self) -> None:
        """Start the first child; raises AddressTaken or SimulatorError."""
        await self._child.start()
        try:
            await self._tell(self._child)
        except BaseException:
            await self._child.stop()
            raise
        self.problem = None

    async def ask(self, what: str, **parameters: Any) -> Any:
        """Let the child do something (`Control.ask`); raises BuildingAway where it does not run."""
        if self.problem is not None:
            raise BuildingAway(self.problem)
        return await self._child.ask(what, **parameters)

    async def inject(self, fault: Fault) -> str:
        """Add a fault and return its id; raises Conflict, and BuildingAway where nothing was changed."""
        async with self._changing():
            return self._faults.add(fault)

    async def take_back(self, fault_id: str) -> None:
        """Let a fault be no more; raises FaultNotFound, and BuildingAway where nothing was changed."""
        async with self._changing():
            self._faults.remove(fault_id)

    async def reset(self) -> None:
        """Let there be no faults, not even those of the configuration; raises BuildingAway, and nothing is changed."""
        async with self._changing():
            self._faults.replace({})

    async def watch(self) -> None:
        """Start the child again whenever it ends, with capped exponential back-off and full jitter; never returns."""
        failures = 0
        while True:
            started = self._clock.monotonic()
            code = await self._child.ended()
            await self._child.stop()
            self.problem = f"the simulated building ended by itself with code {code}"
            self._log.error("simulator_ended", code=code)
            if self._clock.monotonic() - started > STEADY_AFTER_S:
                failures = 0
            failures = await self._start_again(failures)
            self._log.info("simulator_recovered", restarts=self.restarts)

    async def stop(self) -> None:
        """End the child."""
        await self._child.stop()
        self.problem = "stopped"

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Tell the child of a change that is made to the faults inside; undo it where that cannot be done."""
        async with self._change:
            before = dict(self._faults.all)
            if self.problem is not None:
                raise BuildingAway(self.problem)
            yield
            try:
                await self._tell(self._child)
            except BaseException as error:
                self._faults.replace(before)
                if isinstance(error, BuildingAway):
                    self._child.kill()  # or it might do later what we say was not done; `watch` starts it again
                raise

    async def _tell(self, child: BuildingProcess) -> None:
        if self._faults.all or self._told:
            await child.ask("afflict", faults=self._faults.plain)
            self._told = True

    async def _start_again(self, failures: int) -> int:
        while self.problem is not None:
            await self._clock.sleep(random.uniform(0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**failures)))
            failures = min(failures + 1, 16)
            self.restarts += 1
            self._child = BuildingProcess(self._config, self._log)
            try:
                await self._child.start()
                await self._tell(self._child)
            except (SimulatorError, BuildingAway) as error:
                await self._child.stop()
                self.problem = error.detail
            else:
                self.problem = None
        return failures


def _environment() -> dict[str, str]:
    """Make the child find the same packages as this process, from whatever directory it is started."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _piped(stream: StreamT | None) -> StreamT:
    if stream is None:
        raise SimulatorError("the simulated building has no pipe to this process")
    return stream
