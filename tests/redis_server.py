"""A real redis-server on a free port of 127.0.0.1, that a test starts, stops, holds up and lets grow old."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import redis

PROGRAM = "redis-server"
START_S = 20.0


def there_is_a_server() -> None:
    """Skip where the program is missing; where CI has installed everything, fail instead."""
    if shutil.which(PROGRAM) is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{PROGRAM} is missing: apt-get install redis-server")


class RedisServer:
    """The process; ``options`` are those of its command line, such as ``{"requirepass": "..."}``."""

    def __init__(self, folder: Path, *, tls: Mapping[str, Any] | None = None, **options: str) -> None:
        there_is_a_server()
        self.folder = folder
        with create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._options = options
        self._tls = tls or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers; it holds nothing."""
        listen = {"port": "0", "tls-port": str(self.port)} if self._tls else {"port": str(self.port)}
        fixed = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self.folder), "loglevel": "warning"}
        command = [PROGRAM]
        for name, value in {**listen, **fixed, **self._options}.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.asked = redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self._options.get("requirepass"),
            ssl=bool(self._tls),
            **self._tls,
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{PROGRAM} does not answer: {' '.join(command)}")

    def stop(self) -> None:
        """Kill it, so that whoever is connected is cut off."""
        self.asked.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hold(self) -> None:
        """Let it take connections and requests, and answer none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, with what has come in meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def held(self) -> list[str]:
        """List all keys."""
        return sorted(key.decode("utf-8", "replace") for key in self.asked.keys("*"))

    def age(self, seconds: float) -> None:
        """Bring all that it holds so much nearer to its end, as if so many seconds had passed."""
        for key in self.asked.keys("*"):
            left = self.asked.pttl(key) - seconds * 1000
            if b":limit:" in key:
                self.asked.set(key, f"{float(self.asked.get(key)) - seconds:.9f}")
            self.asked.pexpire(key, int(left))

    def _answers(self) -> bool:
        try:
            return bool(self.asked.ping())
        except redis.BusyLoadingError:
            return False
        except redis.ConnectionError:
            time.sleep(0.01)
            return False
