"""The installation's SQLite file: one writer, a few readers, migrations."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import aiosqlite

from core.errors import PlantroomError, any_of
from core.plugin import Migration

FILE_NAME = "plantroom.sqlite3"
LOCK_NAME = "plantroom.lock"
READERS = 2
BUSY_TIMEOUT_MS = 5000

Row: TypeAlias = tuple[Any, ...]


class StorageError(PlantroomError):
    """The data directory or its database cannot be used, for the reason that the detail gives."""

    code = "storage.failed"
    title = "Storage failed"
    causes = any_of(
        "The disk is full, or has been mounted read-only after an error.",
        "The data directory or a file in it belongs to another user.",
        "Another Plantroom uses the same data directory.",
        "The database was made by a newer version, or is damaged; the detail has SQLite's own words.",
    )
    remedy = "Check the data directory's free space, its permissions, and what else uses it."


class Storage:
    """Runs queries on readers and transactions on the one writer; nothing awaits once per row."""

    def __init__(self, writer: aiosqlite.Connection, readers: Sequence[aiosqlite.Connection]) -> None:
        self._writer = writer
        self._writing = asyncio.Lock()
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._readers.put_nowait(reader)

    async def read(self, sql: str, parameters: Row = ()) -> list[Row]:
        """Run one query on a read-only connection."""
        reader = await self._readers.get()
        try:
            return [tuple(row) for row in await reader.execute_fetchall(sql, parameters)]
        except sqlite3.Error as error:
            raise StorageError(f"A query failed: {error}.") from error
        finally:
            self._readers.put_nowait(reader)

    async def write(self, *statements: tuple[str, list[Row]]) -> None:
        """Run statements, each for all of its rows, in one transaction: all of them, or none."""
        async with self._writing:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                for sql, rows in statements:
                    await self._writer.executemany(sql, rows)
                await self._writer.execute("COMMIT")
            except BaseException as error:  # also when cancelled: a statement may still wait for the writer's thread
                await self._writer.rollback()
                if isinstance(error, sqlite3.Error):
                    raise StorageError(f"A change could not be written: {error}.") from error
                raise

    async def migrate(self, owner: str, migrations: Iterable[Migration]) -> None:
        """Run an owner's migrations that have not run yet, each in one transaction."""
        done = {row[0] for row in await self.read("SELECT version FROM migrations WHERE owner = ?", (owner,))}
        for migration in sorted(migrations, key=lambda item: item.version):
            if migration.version in done:
                continue
            script = (
                f"BEGIN IMMEDIATE;\n{migration.sql}\n;\n"
                f"INSERT INTO migrations (owner, version) VALUES ('{owner}', {int(migration.version)});\nCOMMIT;"
            )
            async with self._writing:
                try:
                    await self._writer.executescript(script)
                except sqlite3.Error as error:
                    await self._writer.rollback()
                    raise StorageError(f"Migration {migration.version} of {owner} failed: {error}.") from error


@asynccontextmanager
async def open_storage(data_dir: Path) -> AsyncIterator[Storage]:
    """Open (or make) the database of a data directory, for this process alone.

    Raises StorageError where it cannot be opened, and where another Plantroom has it.
    """
    path = data_dir / FILE_NAME
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(await asyncio.to_thread(_claimed, data_dir))
            writer = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
            await writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            await writer.execute("PRAGMA journal_mode = WAL")
            await writer.execute("PRAGMA synchronous = NORMAL")
            await writer.execute("PRAGMA foreign_keys = ON")
            await writer.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (owner TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, version)) WITHOUT ROWID"
            )
            readers = []
            for _ in range(READERS):
                reader = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
                await reader.execute("PRAGMA query_only = ON")
                readers.append(reader)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be opened: {error}. Name another with --data-dir.") from error
        yield Storage(writer, readers)


def _claimed(data_dir: Path) -> IO[str]:
    """Make the data directory and lock it; the lock ends with the file, or with the process."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / LOCK_NAME).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StorageError(
            f"{data_dir} is in use by another Plantroom; stop that one, or name another directory with --data-dir."
        ) from error
    return lock
