"""The file that lines are appended to: put aside when it is full or its day is over, found again when it was moved."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from plugins.logging.config import MB, FileConfig
from plugins.logging.rotated import Rotated

MODE = 0o600
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class LogFile:
    """A target of lines (`plugins.logging.outlet.Target`); ``aside`` takes the files that are put aside.

    ``now`` tells UTC seconds. Where the folder is gone it is made again, but not what it stands in, which may be a disk
    that is missing. ``problem`` says why a file could not be put aside: lines go on into it.
    """

    def __init__(self, path: Path, config: FileConfig, aside: Rotated, *, now: Callable[[], float]) -> None:
        self.name = path.name
        self.path = path
        self.problem: str | None = None
        self._config = config
        self._most = config.rotate_mb * MB
        self._lasts = config.rotate_every.seconds
        self._aside = aside
        self._now = now
        self._file: int | None = None
        self._is_regular = False
        self._size = 0
        self._period = 0

    def write(self, data: bytes) -> None:
        """Append whole lines, or raise OSError with the file as it was."""
        file = self._opened()
        if self._size and self._is_over(len(data)):
            file = self._rotated()
        written = 0
        try:
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            if written and self._is_regular:
                os.ftruncate(file, self._size)
            self.close()  # by the next time there may be another one
            raise
        self._size += written

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        """Return the file that is at the path now, made or opened again where it is another one or none."""
        if self._file is not None and self._is_regular:
            try:
                there, ours = self.path.stat(), os.fstat(self._file)
            except FileNotFoundError:
                self.close()
            else:
                self._size = ours.st_size
                if not os.path.samestat(there, ours):
                    self.close()
        return self._open() if self._file is None else self._file

    def _open(self) -> int:
        if not self.path.parent.exists():
            self.path.parent.mkdir(mode=0o700)
        file = self._file = os.open(self.path, FLAGS, MODE)
        found = os.fstat(file)
        self._is_regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size if self._is_regular else 0
        if self._is_regular and stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
            os.fchmod(file, MODE)
        self._period = self._period_of(found.st_mtime if self._size else self._now())
        return file

    def _period_of(self, at: float) -> int:
        return 0 if self._lasts is None else int(at // self._lasts)

    def _is_over(self, more: int) -> bool:
        if not self._is_regular:
            return False
        is_full = 0 < self._most < self._size + more
        return is_full or self._period_of(self._now()) > self._period

    def _rotated(self) -> int:
        """Put the file aside and begin another; where that cannot be done, go on in the same."""
        try:
            self._aside.put(self.path, at=self._now())
        except OSError as error:
            self.problem = f"{self.name} cannot be put aside: {error.strerror or error}"
            return self._opened()
        self.problem = None
        self.close()
        return self._open()


class Stdout:
    """The standard output as a target of lines."""

    name = "stdout"

    def __init__(self) -> None:
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Write to what is the standard output now; where it takes a part only, the rest comes first next time."""
        data, self._rest = self._rest + data, b""
        file, written = sys.stdout.fileno(), 0
        while written < len(data):
            try:
                written += os.write(file, data[written:])
            except OSError:
                if not written:
                    raise
                self._rest = data[written:]
                return

    def close(self) -> None:
        """It stays open."""
