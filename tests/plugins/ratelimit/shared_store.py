"""A store that several processes share, as a third party's plugin brings one: a SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from core.plugin import Allowance, Plugin, hookimpl


class SqliteStore:
    """Keeps the level of each bucket and when it had it; each take is a transaction, in a thread."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._turn = threading.Lock()
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS bucket (key TEXT PRIMARY KEY, level REAL, at REAL)")

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance:
        return await asyncio.to_thread(self.take_now, key, rate, burst, cost)

    def take_now(self, key: str, rate: float, burst: float, cost: float) -> Allowance:
        with self._turn, self._connected() as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            now, wanted = self._now(), min(cost, burst)
            row = connection.execute("SELECT level, at FROM bucket WHERE key = ?", (key,)).fetchone()
            level, at = row or (burst, now)
            level = min(burst, level + max(0.0, now - at) * rate)
            allowed = wanted <= level + 1e-6
            if allowed:
                level = max(0.0, level - wanted)
            connection.execute("REPLACE INTO bucket VALUES (?, ?, ?)", (key, level, now))
            connection.commit()
        wait = 0.0 if allowed else (wanted - level) / rate
        return Allowance(allowed, int(level + 1e-6), wait, (burst - level) / rate)

    def _connected(self) -> sqlite3.Connection:
        return _Closing(self._path, timeout=10.0, isolation_level=None)


class _Closing(sqlite3.Connection):
    """A connection that is closed at the end of its block."""

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class SharedLimits(Plugin[dict]):
    """Provides the store."""

    schema: ClassVar = {"path": str}

    @hookimpl
    def provide_rate_limit_store(self) -> SqliteStore:
        return SqliteStore(Path(self.config["path"]))


class FailingLimits(Plugin[dict]):
    """Provides a store that does as it is told."""

    api_version = 2

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.failure: Exception | None = None
        self.hangs = False
        self.taken: list[tuple[str, float]] = []

    @hookimpl
    def provide_rate_limit_store(self):
        return self

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance:
        if self.failure is not None:
            raise self.failure
        if self.hangs:
            await asyncio.Event().wait()
        self.taken.append((key, cost))
        return Allowance(True, 7, 0.0, 1.0)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield


def main() -> None:
    """Take as often as told from one bucket, and print how often that was allowed."""
    path, times, burst = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    store = SqliteStore(path)
    print(sum(store.take_now("key", 1e-6, burst, 1.0).allowed for _ in range(times)))  # noqa: T201


if __name__ == "__main__":
    main()
