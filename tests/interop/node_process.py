"""Scripts under node, on stacks from the npm registry: installed once, started, asked by JSON lines, ended."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "node"
CACHE = Path(__file__).parents[2] / ".interop-node"
MANIFESTS = ("package.json", "package-lock.json", ".npmrc")
INSTALLED = "installed"
LONGEST_S = 10.0
INSTALL_S = 180.0


class NotInstalled(Exception):
    """The stacks cannot be had here, for the reason given."""


class NodeError(Exception):
    """What a script answers where its stack raised."""


def install() -> Path:
    """Install what the lock file names, unless it is there; raises NotInstalled.

    Two that run at once take turns. No script of a package is run.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotInstalled("node and npm are not installed")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (SCRIPTS / "package-lock.json").read_text()
        mark = CACHE / INSTALLED
        if not mark.exists() or mark.read_text() != wanted:
            for name in MANIFESTS:
                shutil.copy(SCRIPTS / name, CACHE / name)
            _run_npm(npm)
            mark.write_text(wanted)
    return CACHE / "node_modules"


def _run_npm(npm: str) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=CACHE, timeout=INSTALL_S, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"npm ci took longer than {INSTALL_S:g} s") from error
    if done.returncode:
        raise NotInstalled(f"npm ci failed: {done.stderr.strip()[-500:]}")


class NodeProcess:
    """A script that runs; it ends when its stdin does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._listening = asyncio.create_task(self._listen(), name="node")

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the script's stack; raises NodeError, and TimeoutError where no answer comes."""
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "call": name, "arguments": arguments})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(LONGEST_S):
            await self._process.stdin.drain()
            return await answer

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of a name; raises TimeoutError."""
        async with asyncio.timeout(LONGEST_S):
            return await self._events[name].get()

    def waiting(self, name: str) -> list[dict[str, Any]]:
        """Take the events of a name that came until now."""
        queue = self._events[name]
        return [queue.get_nowait() for _ in range(queue.qsize())]

    async def stop(self) -> None:
        """Close its stdin, and see to it that it ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "event" in message:
                self._events[message["event"]].put_nowait(message)
                continue
            answer = self._answers[message["id"]]
            if answer.done():
                continue
            if "error" in message:
                answer.set_exception(NodeError(message["error"]))
            else:
                answer.set_result(message["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NodeError("the script has ended"))


@contextlib.asynccontextmanager
async def started(modules: Path, script: str, *arguments: str) -> AsyncIterator[NodeProcess]:
    """Start a script, and wait until it listens; it is ended at the end."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPTS / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    running = NodeProcess(process)
    try:
        await running.event("ready")
        yield running
    finally:
        await running.stop()
