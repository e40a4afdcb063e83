"""A Plantroom as a process that is attacked over raw sockets, and what must hold of it during and after each attack."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from authority import Authority
from e2e.attacker import PATIENCE_S, Attacker, parsed
from e2e.bystander import Bystander
from e2e.door import CHEAP
from e2e.program import LONGEST_S, ROOT
from wire import Received

from core.process import API_KEY_VARIABLE

KEY = "a-key-that-only-the-tests-of-attacks-know"
AS_ADMIN = f"X-API-Key: {KEY}"
GROWTH_MOST = 96 * 1024
"""How many KiB the process may have more after an attack than before the first."""

NO_LIMITS = "{default: {rate: 100000/s}, anonymous: {rate: 100000/s}, failed: {rate: 100000/s}}"
PLUGINS = f"auth: {CHEAP}, security: , cache: , logging: , ratelimit: {NO_LIMITS}, mill: "
GUARDED = f"plugins: {{{PLUGINS}}}\n"

MILL = '''
"""A device to rename, and marks that are left by whoever gets in."""

from core.plugin import Inventory, Plugin, Role, Route, hookimpl


class Mill(Plugin[dict]):
    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.device = ctx.device("stone", name="Stone")
        self.marks = []

    @hookimpl
    def register_points(self):
        return [Inventory(self.device, [self.device.point("speed")])]

    @hookimpl
    def register_routes(self):
        return [
            Route("GET", "/marks", self.read, "Marks", role=Role.ADMIN),
            Route("POST", "/marks/{mark}", self.leave, "Leave a mark", role=Role.ADMIN),
        ]

    async def read(self, _request):
        self.ctx.log.info("marks_read")  # which has the lines of all requests before this one written
        return self.marks

    async def leave(self, _request, mark):
        self.marks.append(mark)
        return mark
'''


@attrs.define
class House:
    """A guarded Plantroom in a process of its own, whose log is a file."""

    process: subprocess.Popen[str]
    port: int
    log_file: Path
    context: ssl.SSLContext | None = None
    _marked: int = 0
    _read: int = 0
    _resident: int = 0

    def attacker(self, address: str = "127.0.0.1", *, window: int | None = None, encrypted: bool = True) -> Attacker:
        """Connect, over TLS where the house speaks it, unless it is not to be ``encrypted``."""
        return Attacker(self.port, address, window=window, context=self.context if encrypted else None)

    def attack(self, *pieces: bytes, address: str = "127.0.0.1") -> list[Received]:
        """Send pieces over a new connection, and return what is answered until it is closed."""
        with contextlib.closing(self.attacker(address)) as attacker:
            for piece in pieces:
                attacker.send(piece)
            return attacker.answers()

    def status_of(self, raw: bytes) -> int:
        """Send a request whose answer may have no body, whatever it says of it, and return its status."""
        with contextlib.closing(self.attacker()) as attacker:
            attacker.send(raw)
            (answer,) = parsed(attacker.received(), whole=False)
            return answer.status

    def make_key(self, role: str) -> str:
        """Have the admin make a key of a role."""
        answer = self.ask("POST", "/api/v1/auth/api-keys", {"name": role, "role": role})
        assert answer.status == 201, answer.body
        return str(answer.json["key"])

    def ask(self, method: str, path: str, body: Any = None) -> Received:
        """Ask as the admin, in good order."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{AS_ADMIN}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        (answer,) = self.attack(head.encode() + content)
        return answer

    def marks(self) -> list[str]:
        """Return the marks that were left by this attack; all earlier requests are in the log by then."""
        answer = self.ask("GET", "/api/v1/mill/marks")
        assert answer.status == 200, answer.body
        marks: list[str] = answer.json[self._marked :]
        return marks

    def new_lines(self) -> list[dict[str, Any]]:
        """Return what was logged since this was asked last: each line is JSON, whatever an attacker sent."""
        with self.log_file.open("rb") as file:
            file.seek(self._read)
            text = file.read()
            self._read = file.tell()
        assert text.endswith(b"\n") or not text
        return [json.loads(line) for line in text.decode().split("\n")[:-1]]

    def kept_log(self) -> list[str]:
        """Return the lines of the log that the plugin keeps in a file."""
        text = (self.log_file.parent / "data" / "logs" / "plantroom.log").read_text(encoding="utf-8")
        return text.split("\n")[:-1]

    def sockets(self) -> list[Path]:
        """Return what the process has open of sockets."""
        found = []
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if str(each.readlink()).startswith("socket:"):
                    found.append(each)
        return found

    def memory(self, name: str = "VmRSS") -> int:
        """Return how many KiB the process has, or with VmHWM has had at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """See that what is done within harms nobody: no failure inside, others are served, and no memory is lost."""
        self._marked += len(self.marks())
        self.new_lines()
        self._resident = self._resident or self.memory()
        with Bystander(self.port, KEY, self.context) as bystander:
            yield
        marks, lines = self.marks(), self.new_lines()
        got_in = [line for line in lines if "smuggled" in line.get("path", "")]
        failures = [line for line in lines if is_failure(line)]
        assert "smuggled" not in marks and got_in == [], got_in
        assert failures == [], failures
        assert bystander.faults == [] and bystander.answered, bystander.faults
        assert self.memory() - self._resident < GROWTH_MOST
        assert self.process.poll() is None


def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE_S) -> bool:
    """Wait for what has no event; answers whether it came."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        select.select([], [], [], 0.02)
    return True


def is_failure(line: dict[str, Any]) -> bool:
    """Tell whether a line of the log says that something went wrong inside."""
    return line["level"] in ("error", "critical") or "exception" in line or line.get("status", 0) >= 500


@contextlib.contextmanager
def attacked(folder: Path, configuration: str = GUARDED, authority: Authority | None = None) -> Iterator[House]:
    """Start the process, with a certificate beside its configuration where an authority signs one, and stop it."""
    if authority is not None:
        authority.pair().into(folder)
    (folder / "custom_plugins").mkdir()
    (folder / "custom_plugins" / "mill.py").write_text(MILL, encoding="utf-8")
    (folder / "plantroom.yaml").write_text(configuration, encoding="utf-8")
    log_file = folder / "log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "core", "run", "--port", "0"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), API_KEY_VARIABLE: KEY},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        killer = threading.Timer(LONGEST_S, process.kill)
        killer.start()
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "is ready on" in line), None)
            killer.cancel()
            assert ready is not None, log_file.read_text(encoding="utf-8")
            url = ready.split("is ready on ")[1].split()[0]
            context = None if authority is None else authority.client()
            yield House(process, int(url.rpartition(":")[2]), log_file, context)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, log_file.read_text(encoding="utf-8")[-4000:]
        finally:
            killer.cancel()
            process.kill()
