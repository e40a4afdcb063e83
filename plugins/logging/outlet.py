"""Takes lines without ever making anybody wait, and writes them in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Protocol

from structlog.typing import FilteringBoundLogger

CHUNK = 64 * 1024
"""How many bytes are written at once."""
GATHER_S = 0.05
"""How long lines wait for more to be written with them, so that the thread is not woken for each few."""
LOOK_EVERY_S = 0.5
RETRY_EVERY_S = 1.0
FLUSH_WITHIN_S = 0.7
TOLD_AGAIN_AFTER_S = 10.0


class Target(Protocol):
    """Where lines are written to; all is called in one thread, and raises OSError where it cannot be done."""

    name: str

    def write(self, data: bytes) -> None:
        """Write whole lines, or raise having written none of them."""
        ...

    def close(self) -> None:
        """Let go of what is open; the next `write` opens it again."""
        ...


class Outlet:
    """A bounded queue before a target: what finds it full is dropped and counted.

    Where the target fails, what waits is tried again each ``retry_s`` seconds; ``problem`` says why for as long.
    ``written`` and ``dropped`` count lines.
    """

    def __init__(
        self, target: Target, log: FilteringBoundLogger, *, queue_bytes: float, retry_s: float = RETRY_EVERY_S
    ) -> None:
        self.target = target
        self.problem: str | None = None
        self.written = 0
        self.dropped = 0
        self._log = log
        self._most = queue_bytes
        self._enough = min(CHUNK, queue_bytes / 2)
        self._retry_s = retry_s
        self._waiting: deque[str] = deque()
        self._queued = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._much = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = self._ended = False
        self._broken = False
        self._dropped_told = 0
        self._told_at = -TOLD_AGAIN_AFTER_S

    def take(self, text: str) -> None:
        """Queue lines, or drop them where too much waits already; from any thread."""
        with self._lock:
            if not self._ended and self._queued + len(text) <= self._most:
                self._waiting.append(text)
                self._queued += len(text)
                if len(self._waiting) == 1:
                    self._wake.set()
                elif self._queued >= self._enough and not self._much.is_set():
                    self._much.set()
                return
            if not self._ended or self.problem is not None:
                self.dropped += text.count("\n")
                return
        self._append(text)

    def start(self) -> None:
        """Begin to write what waits, and what comes."""
        self._thread = threading.Thread(target=self._run, name=f"log:{self.target.name}", daemon=True)
        self._thread.start()

    async def stop(self, within_s: float = FLUSH_WITHIN_S) -> None:
        """Write what waits within so many seconds; the rest is dropped. What comes later is appended as it comes."""
        self._ending = True
        self._wake.set()
        self._much.set()
        thread = self._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, within_s)
            if thread.is_alive():
                self.problem = self.problem or f"{self.target.name} takes no lines"
        with self._lock:
            self._ended = True
            left, self._queued = "".join(self._waiting), 0
            self._waiting.clear()
        self._append(left)

    def _append(self, text: str) -> None:
        """Write what is said after the end: little, in a house that is stopping."""
        lines = text.count("\n")
        with self._lock:
            try:
                if lines and self.problem is None:
                    self.target.write(text.encode())
                    self.target.close()
                    self.written += lines
                    return
            except OSError as error:
                self.problem = f"{self.target.name} cannot be written: {error.strerror or error}"
            self.dropped += lines

    # in the thread

    def _run(self) -> None:
        while True:
            self._wake.wait(LOOK_EVERY_S)
            self._wake.clear()
            if self._waiting and not self._ending:
                self._much.wait(GATHER_S)
                self._much.clear()
            while self._waiting and self._write(self._next()):
                pass
            self._tell_dropped()
            if self._ending and (not self._waiting or self.problem is not None):
                self.target.close()
                return
            if self.problem is not None and not self._ending:
                self._pause()

    def _next(self) -> tuple[str, int]:
        """Return what is written next, and of how many pieces it was made; they stay queued until it is written."""
        pieces, size = [], 0
        with self._lock:
            for text in self._waiting:
                pieces.append(text)
                size += len(text)
                if size >= CHUNK:
                    break
        return "".join(pieces), len(pieces)

    def _write(self, chunk: tuple[str, int]) -> bool:
        """Write what is next; answers whether what comes then may be tried too."""
        text, pieces = chunk
        lines, dropped = text.count("\n"), 0
        try:
            self.target.write(text.encode())
        except OSError as error:
            self._failed(error)
            return False
        except Exception as error:  # a library's code, such as Sentry's: what it cannot take is left out
            self._broke(error)
            lines, dropped = 0, lines
        with self._lock:
            if self._ended:  # it took so long that these were counted as dropped
                return False
            for _ in range(pieces):
                self._waiting.popleft()
            self._queued -= len(text)
            self.written += lines
            self.dropped += dropped
        if self.problem is not None:
            self.problem = None
            self._log.info("log_recovered", target=self.target.name)
        return True

    def _broke(self, error: Exception) -> None:
        if not self._broken:
            self._broken = True
            self._log.error("log_target_broke", target=self.target.name, exc_info=error)

    def _failed(self, error: OSError) -> None:
        is_new, why = self.problem is None, error.strerror or str(error)
        self.problem = f"{self.target.name} cannot be written: {why}"
        if is_new:
            self._log.warning("log_failed", target=self.target.name, error=why)

    def _tell_dropped(self) -> None:
        """Say how many lines were dropped, once there is room again."""
        dropped, now = self.dropped, time.monotonic()
        is_due = now - self._told_at >= TOLD_AGAIN_AFTER_S or self._ending
        if dropped > self._dropped_told and is_due and self.problem is None and not self._waiting:
            self._log.warning("log_lines_dropped", target=self.target.name, lines=dropped - self._dropped_told)
            self._told_at, self._dropped_told = now, dropped

    def _pause(self) -> None:
        ends = time.monotonic() + self._retry_s
        while not self._ending and (left := ends - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
