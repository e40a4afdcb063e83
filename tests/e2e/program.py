"""The real program as a process, with what it prints, and ways to wait for it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 45.0


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A running `plantroom` with what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            asyncio.create_task(self._collect(process.stdout, self.out)),
            asyncio.create_task(self._collect(process.stderr, self.err)),
        ]

    @staticmethod
    async def _collect(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        while line := await stream.readline():
            lines.append(line.decode(errors="replace").rstrip("\n"))

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        found = []
        for line in self.err:
            if line.startswith("{"):
                record = json.loads(line)
                if record.get("event") == event:
                    found.append(record)
        return found

    async def wait_for(self, text: str, *, seconds: float = LONGEST_S) -> str:
        """Wait until a line of standard output contains a text, and return it."""
        async with asyncio.timeout(seconds):
            while True:
                for line in self.out:
                    if text in line:
                        return line
                if self.process.returncode is not None:
                    pytest.fail(f"ended with {self.process.returncode}: {self.out} {self.err[-20:]}")
                await asyncio.sleep(0.02)

    async def ready(self) -> str:
        """Wait until it is ready, and return where its API is."""
        return (await self.wait_for("Plantroom is ready on ")).split("ready on ")[1].split()[0]

    async def ended(self, *, seconds: float = LONGEST_S) -> int:
        """Wait for the end and for the last line, and return the exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def stop(self, *, number: signal.Signals = signal.SIGINT, seconds: float = 5.0) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended(seconds=seconds)


def key_in(folder: Path) -> str:
    """Return the first admin's key, as the program that was started in a folder wrote it down."""
    return (folder / "data" / "admin-key").read_text(encoding="utf-8").strip()


def signed_in(url: str, folder: Path) -> aiohttp.ClientSession:
    """Make a client that sends the first admin's key."""
    return aiohttp.ClientSession(base_url=url, headers={"X-API-Key": key_in(folder)})


StartProgram = Callable[..., Awaitable[Program]]


async def until(
    ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], *, seconds: float = 30.0, every: float = 0.25
) -> Any:
    """Ask again and again until the answer is good; fails with the last answer when that takes too long."""
    answer = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = await ask()
                if good(answer):
                    return answer
                await asyncio.sleep(every)
    except TimeoutError:
        pytest.fail(f"not so within {seconds:g} s: {str(answer)[:2000]}")


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        return await answer.json(content_type=None)
