"""The one way in which tables are changed: one change at a time, with what other processes changed taken in first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from core.plugin import Store
from plugins.auth.tables import REVISION, Statement

Write: TypeAlias = Callable[..., Awaitable[None]]


class Ledger:
    """Keeps what is in memory as the tables are; ``load`` reads one part of them anew."""

    def __init__(self, store: Store, load: Sequence[Callable[[Store], Awaitable[None]]]) -> None:
        self._store = store
        self._load = load
        self._changing = asyncio.Lock()
        self._revision: int | None = None

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Write]:
        """Hold off other changes while one is made: tables by what this gives, then memory, without awaiting between.

        A change that breaks off may be in the tables and not in memory: then these are read anew before the next.
        """
        async with self._changing:
            await self._catch_up()
            try:
                yield self._store.write
            except BaseException:
                self._revision = None
                raise

    async def catch_up(self) -> None:
        """Take in what another process changed, if it did."""
        async with self._changing:
            await self._catch_up()

    async def note(self, *statements: Statement) -> None:
        """Write down what only this process knows of, such as when a key was used."""
        async with self._changing:
            await self._store.write(*statements)

    async def _catch_up(self) -> None:
        ((revision,),) = await self._store.read(REVISION)
        if revision == self._revision:
            return
        for load in self._load:
            await load(self._store)
        self._revision = revision
