"""Starts the campus in a process of its own, on another core than ours where there are two."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

from benchmarks.bench import ROOT, environment

PORT = 47865


class CampusProcess:
    """Runs for a block; `tell` gives it a command and returns its answer. It ends with us, when its input does.

    With ``niceness`` it gives way to what shares its core, such as who measures how long answers take.
    """

    def __init__(self, devices: int, points: int, *, niceness: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", ROOT / "benchmarks" / "campus.py", str(PORT), str(devices), str(points)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        own, *others = sorted(os.sched_getaffinity(0))
        if others:
            os.sched_setaffinity(self._process.pid, others)
            os.sched_setaffinity(0, [own])

    def __enter__(self) -> Self:
        if self._line() != "READY":
            sys.exit("the campus did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def tell(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
