"""The files that were put aside: named by when, compressed in a thread, and in the end removed."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs
from structlog.typing import FilteringBoundLogger

from plugins.logging.config import MB, FileConfig

BLOCK = 256 * 1024
DAY_S = 86_400.0
LOOK_EVERY_S = 60.0
STOP_WITHIN_S = 0.3
NICEST = 19
"""Compressing is to be had for what the event loop leaves of its core."""
GZ, PART = ".gz", ".part"

_PUT_ASIDE = r"\.\d{8}T\d{6}Z-\d{4}(?:\.gz)?"


@attrs.frozen
class RotatedFile:
    """A file that was put aside; ``at`` are UTC seconds."""

    path: Path
    size: int
    at: float


class Rotated:
    """What was put aside of one log, oldest first by name; ``problem`` says what cannot be done with it."""

    def __init__(self, path: Path, config: FileConfig, log: FilteringBoundLogger, *, now: Callable[[], float]) -> None:
        self.problem: str | None = None
        self._path = path
        self._config = config
        self._log = log
        self._now = now
        self._named = re.compile(re.escape(path.name) + _PUT_ASIDE)
        self._half = re.compile(f"{self._named.pattern}{re.escape(PART)}")
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = False

    def put(self, path: Path, *, at: float) -> None:
        """Put the log aside under a name of its own; raises OSError."""
        when = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        while True:
            aside = path.with_name(f"{path.name}.{when}-{number:04d}")
            if not aside.exists() and not aside.with_name(aside.name + GZ).exists():
                break
            number += 1
        path.rename(aside)
        self._wake.set()

    def files(self) -> list[RotatedFile]:
        """List what is there, oldest first; raises OSError."""
        found = []
        for entry in self._entries(self._named):
            with contextlib.suppress(FileNotFoundError):
                seen = entry.stat()
                found.append(RotatedFile(Path(entry.path), seen.st_size, seen.st_mtime))
        return sorted(found, key=lambda each: each.path.name)

    def _entries(self, named: re.Pattern[str]) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._path.parent) as entries:
                return [entry for entry in entries if named.fullmatch(entry.name)]
        except FileNotFoundError:
            return []

    def start(self) -> None:
        """Begin to compress and remove."""
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name=f"log:{self._path.name}:rotated", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """End, within so many seconds; what is half compressed is begun anew at the next start."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(within_s)

    # in the thread

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICEST)
        while not self._ending:
            self._wake.wait(LOOK_EVERY_S)
            self._wake.clear()
            try:
                self.tidy()
            except OSError as error:
                if self.problem is None:
                    self._log.warning("log_files_not_tidied", error=error.strerror or str(error))
                self.problem = f"old files cannot be tidied: {error.strerror or error}"
            else:
                if self.problem is not None:
                    self.problem = None
                    self._log.info("log_files_tidied")

    def tidy(self) -> None:
        """Remove what is not to be kept, and compress the rest; raises OSError."""
        for entry in self._entries(self._half):  # a process that was killed may have left it
            Path(entry.path).unlink(missing_ok=True)
        self._remove()
        if self._config.compress:
            for file in self.files():
                if not self._ending and file.path.suffix != GZ:
                    self._compress(file)
            self._remove()

    def _remove(self) -> None:
        config, files = self._config, self.files()
        oldest = self._now() - config.keep_days * DAY_S
        size = sum(file.size for file in files)
        count = len(files)
        for file in files:
            too_many = 0 < config.keep_files < count
            too_old = config.keep_days > 0 and file.at < oldest
            too_much = 0 < config.keep_mb * MB < size
            if too_many or too_old or too_much:
                file.path.unlink(missing_ok=True)
                count, size = count - 1, size - file.size

    def _compress(self, file: RotatedFile) -> None:
        """Compress a file in the place of the plain one, of the same age; nothing is lost where that breaks off."""
        to = file.path.with_name(file.path.name + GZ)
        part = to.with_name(to.name + PART)
        try:
            with file.path.open("rb") as source, os.fdopen(_made(part), "wb") as raw:
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=int(file.at)) as packed:
                    while block := source.read(BLOCK):
                        if self._ending:
                            return
                        packed.write(block)
                        time.sleep(0)  # others have their turn
                raw.flush()
                os.fsync(raw.fileno())
            os.utime(part, (file.at, file.at))
            part.replace(to)
            file.path.unlink()
        finally:
            part.unlink(missing_ok=True)


def _made(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
