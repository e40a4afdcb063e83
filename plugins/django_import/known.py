"""Opens what an installation knows: to look only, touching nothing, or for itself alone to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from core.clock import Clock
from core.events import EventBus
from core.persistence import MIGRATIONS, OWNER, Persistence
from core.registry import Registry
from core.storage import FILE_NAME, Storage, open_storage


class _Unwritten(Storage):
    """A storage to look at: what is written to it is dropped."""

    async def write(self, *_statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        """Write nothing."""


@asynccontextmanager
async def looked_at(data_dir: Path, clock: Clock) -> AsyncIterator[Registry]:
    """Show what is known, also while Plantroom runs; a directory without a database knows nothing.

    Raises OSError where the database cannot be opened, and StorageError where it is none.
    """
    registry = Registry(clock, EventBus())
    path = data_dir / FILE_NAME
    if not path.exists():
        yield registry
        return
    path.open("rb").close()
    # Where no log lies beside it nobody has it open, and SQLite need not make one to read.
    how = "mode=ro" if path.with_name(f"{FILE_NAME}-wal").exists() else "mode=ro&immutable=1"
    async with aiosqlite.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True) as connection:
        await Persistence(_Unwritten(connection, [connection]), registry, clock).load()
    yield registry


@asynccontextmanager
async def opened(data_dir: Path, clock: Clock) -> AsyncIterator[tuple[Registry, Callable[[], Awaitable[None]]]]:
    """Open what is known to change it, with the function that saves all changes in one transaction.

    Raises StorageError, also where Plantroom is running.
    """
    registry = Registry(clock, EventBus())
    async with open_storage(data_dir) as storage:
        await storage.migrate(OWNER, MIGRATIONS)
        persistence = Persistence(storage, registry, clock)
        await persistence.load()
        yield registry, persistence.save
