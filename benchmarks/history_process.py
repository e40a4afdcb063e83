"""A contender in a process of its own, which is asked one thing after the other: lines of JSON, with Python alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ANSWERED_WITHIN_S = 900.0
ENDED_WITHIN_S = 120.0


class Contender:
    """A process that answers questions, and what it is called."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._unread = b""

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        """Have one thing done, and return what it answers; exits where it fails or takes too long."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"what": what, **given}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._line(what))
        return answer

    def _line(self, what: str) -> bytes:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                sys.exit(f"{self.name} took longer than {ANSWERED_WITHIN_S:g} s to {what}")
            octets = os.read(output, 1 << 16)
            if not octets:
                sys.exit(f"{self.name} ended when asked to {what}:\n{self._log.read_text()[-3000:]}")
            self._unread += octets
        line, _newline, self._unread = self._unread.partition(b"\n")
        return line

    def end(self) -> None:
        """Let it close what it has open, and end."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait(ENDED_WITHIN_S):
            sys.exit(f"{self.name} failed at its end:\n{self._log.read_text()[-3000:]}")


@contextlib.contextmanager
def contender(
    name: str, command: Sequence[str | Path], folder: Path, environ: Mapping[str, str]
) -> Iterator[Contender]:
    """Run a contender; what it writes to standard error is kept in a file in this folder."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as file:
        words = [str(word) for word in command]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, bufsize=0, env=dict(environ)
        )
        with process:
            try:
                made = Contender(name, process, log)
                yield made
                made.end()
            finally:
                process.kill()


async def serve(answers: Mapping[str, Callable[..., Awaitable[Mapping[str, Any]]]]) -> None:
    """Answer what is asked on standard input, until that ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        given = json.loads(line)
        answer = await answers[given.pop("what")](**given)
        print(json.dumps(answer), flush=True)
