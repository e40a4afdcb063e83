"""Reloading the real program: by signal and by REST, with BACnet devices behind it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from e2e.program import ROOT, Program, StartProgram, free_port, get, until


def configuration(simulator: int, bacnet: int, *, interval: float, more: str = "") -> str:
    return f"""
plugins:
  simulator: {{port: {simulator}}}
  bacnet:
    interval: {interval}
    networks:
      - {{address: "127.0.0.1/8:{bacnet}", targets: ["127.0.0.1:{simulator}"]}}
{more}
"""


async def answered(client: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with client.post(path) as answer:
        return answer.status, await answer.json()


async def good_points(client: aiohttp.ClientSession) -> int:
    return int((await get(client, "/api/v1/points?plugin=bacnet&quality=good&limit=1&count=true"))["total"])


async def test_a_running_building_follows_its_file_by_signal_and_by_rest(start: StartProgram, tmp_path: Path) -> None:
    simulator, bacnet = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    file = tmp_path / "plantroom.yaml"
    file.write_text(configuration(simulator, bacnet, interval=5))
    program = await start("run", "--port", "0", cwd=tmp_path)
    async with aiohttp.ClientSession(base_url=await program.ready()) as client:
        await until(lambda: get(client, "/api/v1/jobs"), _all_done)
        await until(lambda: good_points(client), lambda count: count >= 600)
        ids = {item["id"] for item in (await get(client, "/api/v1/points?limit=1000"))["items"]}

        file.write_text(configuration(simulator, bacnet, interval=2))
        status, foreseen = await answered(client, "/api/v1/system/reload?dry_run=true")
        assert status == 200
        assert foreseen["plugins"] == [
            {"plugin": "bacnet", "action": "restart", "because": "its options changed: interval"}
        ]
        assert foreseen["points"]["changed"]["count"] >= 600
        assert "bacnet.2001@5s" in foreseen["polls"]["removed"]["first"]
        assert "bacnet.2001@2s" in foreseen["polls"]["added"]["first"]

        program.process.send_signal(signal.SIGHUP)
        await until(lambda: _logged(program, "reloaded"), bool)
        assert program.logged("reloaded")[0]["plugins"] == {"bacnet": "restart"}
        point = await get(client, "/api/v1/points/bacnet.2001.analog-input.1")
        assert point["interval"] == 2
        await until(lambda: good_points(client), lambda count: count >= 600)
        assert {item["id"] for item in (await get(client, "/api/v1/points?limit=1000"))["items"]} == ids

        await _refused(program, client, file)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("127.0.0.1", 0))
            file.write_text(configuration(simulator, holder.getsockname()[1], interval=2))
            status, problem = await answered(client, "/api/v1/system/reload")
        assert (status, problem["code"]) == (409, "reload.undone")
        assert "UDP port" in problem["detail"]
        assert "Everything runs as before" in problem["detail"]
        await until(lambda: good_points(client), lambda count: count >= 600)
    assert await program.stop() == 0


async def test_closing_the_terminal_ends_the_program_and_is_no_reload(tmp_path: Path) -> None:
    (tmp_path / "plantroom.yaml").write_text("plugins: {}")
    outside, inside = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "core", "run", "--port", "0",
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(inside, termios.TIOCSCTTY, 0),
        stdin=inside, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(inside)
    program = Program(process)
    await program.ready()
    os.close(outside)
    with suppress(ProcessLookupError):
        while process.returncode is None:  # a shell that ends says so once more
            process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
    assert await program.ended(seconds=5) == 0
    assert not program.logged("reloaded")


async def _refused(program: Program, client: aiohttp.ClientSession, file: Path) -> None:
    """A file with a mistake is refused by the line, and the house runs on."""
    _misspell(file)
    program.process.send_signal(signal.SIGHUP)
    await until(lambda: _logged(program, "reload_refused"), bool)
    [problem] = program.logged("reload_refused")[0]["problems"]
    assert "plantroom.yaml:5: plugins.bacnet.intervall" in problem
    assert (await get(client, "/api/v1"))["plugins"]["bacnet"] == "running"


def _all_done(jobs: Any) -> bool:
    return {job["state"] for job in jobs["items"]} == {"succeeded"}


def _misspell(file: Path) -> None:
    file.write_text(file.read_text().replace("interval", "intervall"))


async def _logged(program: Program, event: str) -> list[dict[str, Any]]:
    return program.logged(event)
