"""The files of a directory: the last one is appended to, and mended where a delivery was cut off."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs
from structlog.typing import FilteringBoundLogger

from core.plugin import Position
from plugins.file_sink.errors import DirectoryInUse, FilesFailed, failure
from plugins.file_sink.lines import COMMIT, Commit, read_commit

MODE, DIRECTORY_MODE = 0o600, 0o700
FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
LOCK = ".lock"
DAMAGED = ".damaged"

_NAME = re.compile(rf"samples-(\d{{8}})\.ndjson({re.escape(DAMAGED)})?")


@attrs.frozen
class Good:
    """How far a file is good: up to ``size``, where ``commit`` ends; it is ``damaged`` where more is wrong than that.

    A delivery that was cut off, by a crash or a full disk, is behind the last commit, or its own commit's checksum is
    wrong. That is one delivery at most, since each is safe before the next is begun.
    """

    size: int = 0
    commit: Commit | None = None
    damaged: bool = False


class SampleFiles:
    """What a directory has, for one process alone; it is opened anew after each failure.

    ``rotate`` is the size in bytes from which a file is finished, ``keep`` how many finished ones are kept. All is
    called in one thread. Raises FilesFailed.
    """

    def __init__(self, directory: Path, *, rotate: float, keep: int, log: FilteringBoundLogger) -> None:
        self._directory = directory
        self._rotate = rotate
        self._keep = keep
        self._log = log
        self._last: Commit | None = None
        self._number = 0
        self._size = 0
        self._file: int | None = None
        self._lock: int | None = None

    def open(self) -> None:
        """Take the directory, which is made if what it stands in is there, and cut off what was not committed."""
        try:
            if not self._directory.exists():
                self._directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)  # another instance may just have made it
                _keep_names(self._directory.parent)
            self._lock = os.open(self._directory / LOCK, FLAGS, MODE)
            self._claim(self._lock)
            self._go_on()
            _keep_names(self._directory)
        except OSError as error:
            self.close()
            raise failure(self._directory, error) from error
        except FilesFailed:
            self.close()
            raise

    def close(self) -> None:
        """Let go of everything."""
        for each in (self._file, self._lock):
            if each is not None:
                os.close(each)
        self._file = self._lock = None

    def position(self, installation_id: str) -> Position | None:
        """Return the position of the last delivery, if it was this installation's."""
        last = self._last
        return last.position if last is not None and last.installation_id == installation_id else None

    def append(self, pieces: Iterable[bytes]) -> None:
        """Write a delivery, whose last piece is its commit's line, and return when it is safe; all of it or nothing."""
        path = self._path(self._number)
        try:
            if self._file is None or self._size >= self._rotate:
                path = self._path(self._number + 1)
                self._begin()
            self._is_there(path)
            self._write(pieces)
        except OSError as error:
            raise failure(path, error) from error

    def _claim(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DirectoryInUse(
                f"{self._directory} is written to by another instance of this plugin; name another `directory`."
            ) from error

    def _go_on(self) -> None:
        """Go on behind the last commit of the newest file; one that is damaged is set aside."""
        numbers = self._numbers()
        self._number = max([*numbers, *self._numbers(damaged=True)], default=0)
        if not numbers:
            return
        *before, number = numbers
        path = self._path(number)
        if number < self._number:  # behind it was one that was set aside
            self._last = _last_of(path)
            return
        self._file = os.open(path, FLAGS)
        size = os.fstat(self._file).st_size
        good = good_part(self._file, size)
        if good.damaged:
            os.close(self._file)
            self._file = None
            path.rename(path.with_name(path.name + DAMAGED))
            self._log.error("file_sink_damaged", file=path.name, set_aside=path.name + DAMAGED)
        elif good.size < size:
            os.ftruncate(self._file, good.size)
            os.fsync(self._file)
            self._log.warning("file_sink_cut", file=path.name, bytes=size - good.size)
        self._size, self._last = good.size, good.commit
        if good.commit is None and before:  # it was only begun, or is set aside
            self._last = _last_of(self._path(before[-1]))

    def _begin(self) -> None:
        """Begin a file, with the last commit as its first line, so that it alone tells where we are."""
        file = os.open(self._path(self._number + 1), FLAGS | os.O_EXCL, MODE)
        if self._file is not None:
            os.close(self._file)
        self._file, self._size, self._number = file, 0, self._number + 1
        if self._last is not None:
            self._size = _written(file, Commit(self._last.installation_id, self._last.position).line(), 0)
        _keep_names(self._directory)
        for number in self._numbers()[: -self._keep - 1]:
            self._path(number).unlink(missing_ok=True)

    def _is_there(self, path: Path) -> None:
        """See that nobody has moved the file away that is about to be written to; raises OSError."""
        if self._file is not None and not os.path.samestat(path.stat(), os.fstat(self._file)):
            raise FileNotFoundError(0, "another file has taken its place", str(path))

    def _write(self, pieces: Iterable[bytes]) -> None:
        file, size, line = self._file, self._size, b""
        assert file is not None  # noqa: S101 - `append` has begun one
        try:
            for piece in pieces:
                size, line = size + _written(file, piece, size), piece
            os.fsync(file)
        except BaseException:
            with suppress(OSError):  # it is cut off at the next `open`, too
                os.ftruncate(file, self._size)
            raise
        self._size, self._last = size, read_commit(line)

    def _numbers(self, *, damaged: bool = False) -> list[int]:
        with os.scandir(self._directory) as entries:
            names = [_NAME.fullmatch(entry.name) for entry in entries]
        return sorted(int(name[1]) for name in names if name and bool(name[2]) is damaged)

    def _path(self, number: int) -> Path:
        return self._directory / f"samples-{number:08d}.ndjson"


def _keep_names(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _last_of(path: Path) -> Commit | None:
    """Return the last commit of a finished file."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return good_part(file, os.fstat(file).st_size).commit
    finally:
        os.close(file)


def good_part(file: int, size: int) -> Good:
    """Find how far a file of a size is good."""
    if not size:
        return Good()
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as content:
        end, wrong = size, 0
        while (start := _line_before(content, end)) is not None:
            newline = content.find(b"\n", start)
            commit = None if newline < 0 else read_commit(content[start : newline + 1])
            if commit is not None and _is_whole(content, start, commit):
                return Good(newline + 1, commit)
            if commit is not None:
                wrong += 1
                if wrong > 1:
                    return Good(damaged=True)
            end = start
    return Good(damaged=wrong > 0)


def _line_before(content: mmap.mmap, end: int) -> int | None:
    """Return where the last line of a commit begins that begins before ``end``."""
    found = content.rfind(b"\n" + COMMIT, 0, end)
    if found >= 0:
        return found + 1
    return 0 if end and content[: len(COMMIT)] == COMMIT else None


def _is_whole(content: mmap.mmap, start: int, commit: Commit) -> bool:
    begin = start - commit.size
    return begin >= 0 and zlib.crc32(memoryview(content)[begin:start]) == commit.crc32


def _written(file: int, data: bytes, at: int) -> int:
    """Write all of it, and return its length."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], at + written)
    return written
