"""Opens the history's SQLite files, sees whether they are sound, and saves what can be read of those that are not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from plugins.history.errors import DamagedHistory, HistoryError

BUSY_TIMEOUT_S = 15.0
LOG_BYTES = 4 << 20
"""How large a log grows before what is in it goes to the file."""
FOLDER_MODE = 0o700
DAMAGED, UNFINISHED = ".damaged", ".unfinished"
BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite may have beside a file, by what it adds to its name."""
LONGEST_HOLE = 10_000
"""After how many numbers in a row that cannot be read a damaged table is taken to be at its end."""

_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ)
_WORDS = (
    "malformed",
    "not a database",
    "unsupported file format",
    "no such table",
    "no such column",
    "decode to UTF-8",
)
_HEADER_BYTES = 100
_WRITE_VERSION, _NEWEST_VERSION = 18, 2
"""Where the header of a file says what writes it, and the highest that SQLite writes (its file format, 1.3.3)."""


def opened(path: Path, *, schema: str, log: bool = False) -> sqlite3.Connection:
    """Open a file for writing, and make it where there is none; each commit is on the disk when it returns.

    With a ``log`` beside it who reads never waits for who writes, and a commit costs less; but then it takes room on
    the disk to be read, and is not whole by itself. Raises HistoryError, and DamagedHistory.
    """
    with translated(path):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not path.exists():
            with whole(path, schema=schema):
                pass  # whenever the power is cut, a file is not there without its tables
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            if log:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // _page_size(connection)}")
            else:
                connection.execute("PRAGMA cache_spill = OFF")  # readers wait for the commit, not for what is before it
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(schema)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def opened_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that is there for reading; raises HistoryError, and DamagedHistory."""
    with translated(path):
        return _to_read(path)


@contextmanager
def whole(path: Path, *, schema: str) -> Iterator[sqlite3.Connection]:
    """Make a file; it has its name when it is filled and on the disk, and takes nothing over from one of that name."""
    fresh = path.with_name(path.name + UNFINISHED)
    removed(fresh)
    with translated(path):
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(schema)
            with transaction(connection):
                yield connection
        except BaseException:
            connection.close()
            fresh.unlink(missing_ok=True)
            raise
        connection.close()
        _sync(fresh)
        for suffix in BESIDE[1:]:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        fresh.rename(path)
        _sync(path.parent)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what SQLite and the system say of a file as the history's errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _is_damage(error, path):
            raise DamagedHistory(f"{path} is damaged: {error}.") from error
        raise HistoryError(f"{path}: {error}.") from error
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror}.") from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """Do all of it, or nothing; what only reads is ``DEFERRED``."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def unsound(path: Path) -> str | None:
    """Tell what is wrong with a file that is there; None: nothing."""
    try:
        if not path.stat().st_size:
            return "it is empty"
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return None if found == "ok" else str(found)
    except sqlite3.DatabaseError as error:
        return str(error) if _is_damage(error, path) else None
    except OSError:
        return None


def cut_off(path: Path) -> str | None:
    """Tell how long a file is that is shorter than its header says; None: it is not, or is gone.

    That costs hardly anything, and holds only for a file that is not written at the moment and has no log beside it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    page = int.from_bytes(header[16:18], "big")
    due = int.from_bytes(header[28:32], "big") * (65_536 if page == 1 else page)
    return f"it has only {size} bytes" if size < max(due, _HEADER_BYTES) else None


def salvaged(path: Path, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Give what can still be read of a table of a damaged file: its rows, by the first column, which is the key.

    Where that is a number, what comes behind a hole is found as well.
    """
    key = columns.split(",", 1)[0]
    sql = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"  # noqa: S608  # names of ours
    try:
        with suppress(HistoryError):
            rolled_back(path)
        connection = _to_read(path)
    except sqlite3.DatabaseError:
        return
    with closing(connection):
        try:
            connection.execute("PRAGMA writable_schema = ON")  # reads also a file that is shorter than its header says
            connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608  # names of ours
        except sqlite3.DatabaseError:
            return
        last, hole = -1, 0
        while hole < LONGEST_HOLE:
            try:
                for row in connection.execute(sql, (last,)):
                    last = max(last, row[0]) if isinstance(row[0], int) else row[0]
                    hole = 0
                    yield row
            except sqlite3.DatabaseError:
                if not isinstance(last, int):
                    return
                last, hole = last + 1, hole + 1
            else:
                return


def set_aside(path: Path) -> Path:
    """Give a damaged file another name, with what belongs to it, and return it; raises HistoryError."""
    number = 1
    while (aside := path.with_name(f"{path.name}{DAMAGED}-{number}")).exists():
        number += 1
    moved(path, aside)
    return aside


def moved(path: Path, to: Path) -> None:
    """Give a file another name, with what belongs to it; raises HistoryError."""
    with translated(path):
        path.rename(to)
        for suffix in BESIDE[1:]:
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(to.with_name(to.name + suffix))


def rolled_back(path: Path) -> None:
    """Undo what a cut of power has left half done in a file, so that it can be read; raises HistoryError."""
    if path.with_name(path.name + "-journal").exists():
        with translated(path), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def removed(path: Path) -> None:
    """Delete a file and what belongs to it."""
    for suffix in BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _to_read(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _page_size(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(size)


def _is_damage(error: sqlite3.DatabaseError, path: Path) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        return _of_the_future(path)
    return code in _CODES or code & 0xFF in _CODES or any(word in str(error) for word in _WORDS)


def _of_the_future(path: Path) -> bool:
    """Tell whether a file's header has SQLite take it for one of a newer version, which it only reads."""
    try:
        with path.open("rb") as file:
            header = file.read(_WRITE_VERSION + 1)
    except OSError:
        return False
    return len(header) > _WRITE_VERSION and header[_WRITE_VERSION] > _NEWEST_VERSION


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
