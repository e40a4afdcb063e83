"""Servers in processes of their own on the first core, for benchmarks that ask them from another."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.http_client import Ask

STARTED_WITHIN_S = 60.0
CORES = sorted(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")


@attrs.define
class Server:
    """A server in a process of its own, and what it is asked."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    asks: Mapping[str, Ask]

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@contextlib.contextmanager
def started(
    name: str,
    command: Sequence[str | Path],
    port: int,
    asks: Mapping[str, Ask],
    folder: Path,
    environ: Mapping[str, str],
) -> Iterator[Server]:
    """Run a server until it is no longer needed, on the first core."""
    with (folder / f"{name.replace(' ', '-')}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=log, stderr=log,
            env=dict(environ),
        )  # fmt: skip
        os.sched_setaffinity(process.pid, [min(CORES)])
        try:
            wait_until_ready(process, port, name)
            yield Server(name, port, process, asks)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{name} did not start; it ended with {process.poll()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
