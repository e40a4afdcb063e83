"""The threads that read: each has its own files open, and tries again where these were others by the time it looked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs

from plugins.history.catalog import Catalog
from plugins.history.errors import HistoryError
from plugins.history.journal import JournalReader
from plugins.history.partitions import Moved, PartitionReader

READERS = 2
TRIES = 5

ResultT = TypeVar("ResultT")


@attrs.frozen
class _Files:
    """What one thread has open; the lock is held by whoever reads partitions, or lets go of them."""

    partitions: PartitionReader
    journal: JournalReader
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def release(self) -> None:
        with self.lock:
            self.partitions.release()


class Threads:
    """A few threads for all that reads."""

    def __init__(self, catalog: Catalog, journal: Path) -> None:
        self._catalog = catalog
        self._journal = journal
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="history-read")
        self._own = threading.local()
        self._all: list[_Files] = []

    async def read(self, work: Callable[[PartitionReader], ResultT]) -> ResultT:
        """Run what reads partitions; raises HistoryError. It looks at the catalog itself, each time it is run."""

        def tried() -> ResultT:
            for _ in range(TRIES):
                files = self._mine()
                try:
                    with files.lock:
                        return work(files.partitions)
                except Moved:
                    continue
            raise HistoryError("The files of the history change too fast to be read; try again.")

        return await self._run(tried)

    async def read_journal(self, work: Callable[[JournalReader], ResultT]) -> ResultT:
        """Run what reads the journal; raises HistoryError."""
        return await self._run(lambda: work(self._mine().journal))

    async def release(self) -> None:
        """Have files closed that are no more, so that their room on the disk is free."""
        for files in list(self._all):
            await self._run(files.release)

    async def close(self) -> None:
        """Wait for what is read at the moment, and let go of the files."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        for files in self._all:
            files.partitions.close()
            files.journal.close()

    def _mine(self) -> _Files:
        if not hasattr(self._own, "files"):
            self._own.files = _Files(PartitionReader(self._catalog), JournalReader(self._journal))
            self._all.append(self._own.files)
        files: _Files = self._own.files
        return files

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
