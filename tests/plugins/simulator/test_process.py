"""The building in its own process: started, watched, and stopped by the plugin; or in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from structlog.testing import capture_logs

from core.plugin import Context, Health
from plugins.simulator import SimulatorPlugin
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.errors import AddressTaken, SimulatorError
from plugins.simulator.process import BuildingProcess

from .conftest import LONGEST_S, bacnet_client, is_free, until
from .wire import wire_to

ROOT = Path(__file__).parents[3]

PARENT = """
import asyncio, sys
from core.plugin import logger
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.process import BuildingProcess

async def main():
    child = BuildingProcess(SimulatorConfig(port=int(sys.argv[1])), logger("simulator"))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

FOREGROUND = """
import argparse, asyncio, sys
from pathlib import Path
from core.clock import SystemClock
from core.defaults import in_memory_services
from core.events import EventBus
from core.plugin import Context, logger
from plugins.simulator import SimulatorPlugin
from plugins.simulator.config import SimulatorConfig

context = Context("simulator", logger("simulator"), SystemClock(), in_memory_services(SystemClock()), EventBus(),
                  None, None, Path("."), lambda polled: None, lambda device: None)
[command] = SimulatorPlugin(SimulatorConfig(speed=30.0), context).register_commands()
parser = argparse.ArgumentParser()
command.arguments(parser)
sys.exit(command.run(parser.parse_args(sys.argv[1:])))
"""


def alive(pid: int) -> bool:
    """Whether a process still runs; one that is dead but not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@asynccontextmanager
async def program(source: str, *arguments: str) -> AsyncIterator[Process]:
    """Run a piece of Python in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", source, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(LONGEST_S):
        return (await process.stdout.readline()).decode().strip()


async def test_the_plugin_runs_the_building_from_any_directory_while_it_is_open(
    context: Context, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("raise RuntimeError('not the one')")
    monkeypatch.chdir(tmp_path)
    plugin = SimulatorPlugin(SimulatorConfig(port=port), context)
    [check] = plugin.register_health_checks()
    up, restarts = plugin.register_metrics()
    assert check.check() == (Health.DEGRADED, "not started")
    async with plugin.lifespan():
        assert check.check()[0] is Health.OK
        assert list(up.collect()) == [({"plugin": "simulator"}, 1.0)]
        async with bacnet_client(port) as client:
            assert len(await client.who_is_there()) == 29
            assert await client.read(2001, "analog-value,1") == 15.0
    assert check.check()[0] is Health.DEGRADED
    assert list(up.collect()) == [({"plugin": "simulator"}, 0.0)]
    assert list(restarts.collect()) == [({"plugin": "simulator"}, 0.0)]
    assert is_free(port)


async def test_a_taken_port_fails_the_plugin_and_names_port_and_option(context: Context, port: int) -> None:
    plugin = SimulatorPlugin(SimulatorConfig(port=port), attrs.evolve(context, name="campus"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(AddressTaken, match=f"UDP port {port} .*`plugins.campus.port`"):
            async with plugin.lifespan():
                pass


async def test_a_child_that_dies_is_started_again_and_told_of_once(context: Context, port: int) -> None:
    with capture_logs() as logs:
        plugin = SimulatorPlugin(SimulatorConfig(port=port), context)
        async with plugin.lifespan():
            first = plugin.supervisor.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)

            async def is_down() -> bool:
                return plugin.supervisor.problem is not None

            async def is_up() -> bool:
                return plugin.supervisor.restarts == 1 and plugin.supervisor.problem is None

            await until(is_down)
            [check] = plugin.register_health_checks()
            assert check.check() == (Health.DEGRADED, "the simulated building ended by itself with code -9")
            await until(is_up)
            assert plugin.supervisor.pid != first
            async with bacnet_client(port) as client:
                assert len(await client.who_is_there()) == 29
    events = [entry["event"] for entry in logs]
    assert [events.count(event) for event in ("simulator_ended", "simulator_recovered")] == [1, 1]


async def test_while_the_port_is_taken_it_keeps_trying(context: Context, port: int) -> None:
    plugin = SimulatorPlugin(SimulatorConfig(port=port), context)
    async with plugin.lifespan():
        assert plugin.supervisor.pid is not None
        os.kill(plugin.supervisor.pid, signal.SIGKILL)

        async def port_is_free() -> bool:
            return is_free(port)

        await until(port_is_free)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", port))

            async def has_tried() -> bool:
                return "is taken" in (plugin.supervisor.problem or "")

            await until(has_tried)

        async def is_up() -> bool:
            return plugin.supervisor.problem is None

        await until(is_up)


async def test_the_child_ignores_ctrl_c_and_ends_on_sigterm(context: Context, port: int) -> None:
    child = BuildingProcess(SimulatorConfig(port=port), context.log)
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGINT)
    async with bacnet_client(port) as client:
        assert len(await client.who_is_there()) == 29
    os.kill(child.pid, signal.SIGTERM)
    async with asyncio.timeout(LONGEST_S):
        assert await child.ended() == 0
    await child.stop()


async def test_a_child_that_hangs_is_killed(context: Context, port: int) -> None:
    child = BuildingProcess(SimulatorConfig(port=port), context.log)
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    async with asyncio.timeout(LONGEST_S):
        await child.stop()
        assert await child.ended() == -signal.SIGKILL


async def test_a_child_that_cannot_even_begin_is_an_error_with_its_words_in_the_log(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; print('no building today', file=sys.stderr); sys.exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with capture_logs() as logs:
        child = BuildingProcess(SimulatorConfig(port=port), context.log)
        with pytest.raises(SimulatorError, match="ended before it was ready"):
            await child.start()
    assert "no building today" in [entry.get("line") for entry in logs]


async def test_a_child_that_was_never_started_can_be_stopped(context: Context) -> None:
    child = BuildingProcess(SimulatorConfig(), context.log)
    await child.stop()
    assert child.pid is None


async def test_the_child_ends_when_its_parent_is_killed(port: int) -> None:
    async with program(PARENT, str(port)) as parent:
        words = [await line_of(parent)]
        while words[-1] and not words[-1].isdigit():
            words.append(await line_of(parent))
        pid = int(words[-1])
        assert alive(pid)
        parent.kill()

        async def is_gone() -> bool:
            return not alive(pid)

        await until(is_gone)
    assert is_free(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_in_the_foreground_it_says_what_it_serves_and_ends_at_once(port: int, number: signal.Signals) -> None:
    async with program(FOREGROUND, f"--port={port}", "--seed=5") as process:
        line = await line_of(process)
        assert line == (
            f"Simulated building: 29 devices, 707 points on 127.0.0.1:{port}, network 2001, seed 5, speed 30"
        )
        process.send_signal(number)
        async with asyncio.timeout(1.5):
            output, errors = await process.communicate()
    assert (process.returncode, output, errors) == (0, b"", b"")


async def test_in_the_foreground_field_controllers_can_be_asked_for(port: int) -> None:
    options = (f"--port={port}", "--controllers=3", "--points=20", "--changing=1")
    async with program(FOREGROUND, *options) as process:
        assert "32 devices, 767 points" in await line_of(process)
        async with bacnet_client(port) as client:
            assert {10_001, 10_002, 10_003} < await client.who_is_there(expected=32)

            async def has_changed() -> bool:
                return bool(await client.read(10_003, "analog-input,1") != 21.0)

            await until(has_changed)
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def test_in_the_foreground_it_has_the_faults_and_trunks_of_the_configuration(port: int) -> None:
    options = 'trunks=(TrunkOptions(network=3001, controllers=2),), faults=(read_fault({"kind": "no_cov"}),)'
    imports = "from plugins.simulator.faults import read_fault\nfrom plugins.simulator.trunks import TrunkOptions\n"
    async with program(imports + FOREGROUND.replace("speed=30.0", options), f"--port={port}") as process:
        assert "31 devices, 747 points" in await line_of(process)
        async with wire_to(f"127.0.0.1:{port}") as wire:
            assert (await wire.subscribe(2001, "analog-input.1")).apdu[::2].hex() == "6009"
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def test_in_the_foreground_a_taken_port_is_one_clear_line(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        async with program(FOREGROUND, f"--port={port}") as process, asyncio.timeout(LONGEST_S):
            output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert errors.decode() == (
        f"plantroom simulate: UDP port {port} of 127.0.0.1 is taken by another program; "
        "choose another with --host and --port\n"
    )


def test_in_the_foreground_senseless_options_are_refused(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    [command] = SimulatorPlugin(SimulatorConfig(), context).register_commands()
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    assert command.run(parser.parse_args(["--port", "0"])) == 2
    assert "--port" in capsys.readouterr().err
