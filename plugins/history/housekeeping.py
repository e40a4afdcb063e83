"""Keeps the history small: seals the head, writes partitions anew when their time is over, and deletes the outdated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import attrs
from structlog.typing import FilteringBoundLogger

from core.clock import Clock
from core.samples import Position, milliseconds
from plugins.history.committing import Committer
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.head import Head, merged
from plugins.history.repairing import Repairer
from plugins.history.retention import Retention
from plugins.history.rolling import Roller
from plugins.history.sealing import Sealer

LOOK_EVERY_S = 1.0
CLEAN_EVERY_S = 60.0
MOST = 1.25
"""So many times what is sealed at once may be unsealed; where there is more, who flushes waits for the sealing."""

ResultT = TypeVar("ResultT")


@attrs.frozen
class Pace:
    """When the head is sealed: when it has so many rows, or after so many seconds."""

    rows: int = 1_000_000
    seconds: float = 3600.0


@attrs.frozen
class Chores:
    """What is done to the partitions."""

    sealer: Sealer
    roller: Roller
    retention: Retention
    repairer: Repairer


@attrs.define
class HousekeepingFigures:
    """What has been counted since the start; ``error`` is what stands in the way at the moment."""

    sealed_rows: int = 0
    rewritten: int = 0
    rolled: int = 0
    deleted: int = 0
    error: str | None = None


class Housekeeper:
    """Does in a thread of its own what can wait; one thing after the other."""

    def __init__(
        self, head: Head, committer: Committer, chores: Chores, *, clock: Clock, log: FilteringBoundLogger, pace: Pace
    ) -> None:
        self.figures = HousekeepingFigures()
        self._head = head
        self._committer = committer
        self._chores = chores
        self._clock = clock
        self._log = log
        self._pace = pace
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history-seal")
        self._sealed_at = clock.monotonic()
        self._cleaned_at = float("-inf")
        self._repaired_at = float("-inf")
        self._checked = False
        self.on_removal: list[Callable[[], Awaitable[None]]] = []
        self._working = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._looked = asyncio.Condition()
        self._closed = False

    async def run(self) -> None:
        """Look after the history until cancelled."""
        while True:
            await self._next()
            try:
                await self.look()
            except Exception as error:  # a mistake of ours must not end it: unsealed rows fill the memory
                if self.figures.error is None:
                    unknown = None if isinstance(error, HistoryError) else error
                    self._log.error("history_housekeeping_failed", error=str(error), exc_info=unknown)
                self.figures.error = str(error) or repr(error)
            else:
                if self.figures.error is not None:
                    self._log.info("history_housekeeping_recovered")
                self.figures.error = None
            await self._let_go_on()

    async def _next(self) -> None:
        """Return when it is time to look again, or somebody waits for room."""
        sleep = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY_S))
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait([sleep, hurry], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            hurry.cancel()
        self._hurry.clear()

    async def room(self) -> None:
        """Return when so little is unsealed that more may come; at once, unless much comes faster than it is sealed."""
        while self._head.rows >= MOST * self._pace.rows and self.figures.error is None and not self._closed:
            self._hurry.set()
            async with self._looked:
                await self._looked.wait()

    async def _let_go_on(self) -> None:
        """Have those who wait for room look whether there is some."""
        async with self._looked:
            self._looked.notify_all()

    async def look(self) -> None:
        """Do what is due; what fails keeps nothing else from being done: what is outdated makes room on a full disk."""
        async with self._working:
            failures: list[HistoryError] = []
            for work in (self._merge, self._repair, self._seal_if_due, self._clean_if_due):
                await self._try(work, failures)
            if failures:
                raise failures[0]

    async def seal(self) -> None:
        """Seal all that is safe now."""
        async with self._working:
            await self._seal()

    async def clean(self) -> None:
        """Write anew and delete what is due now."""
        async with self._working:
            await self._clean()

    async def _seal_if_due(self) -> None:
        since = self._clock.monotonic() - self._sealed_at
        if self._head.rows >= self._pace.rows or since >= self._pace.seconds:
            await self._seal()

    async def _clean_if_due(self) -> None:
        if self._clock.monotonic() - self._cleaned_at >= CLEAN_EVERY_S:
            await self._clean()

    async def close(self) -> None:
        """Wait for what is under way to come to its end, some seconds at most."""
        self._closed = True
        await self._let_go_on()
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        self._chores.roller.close()

    async def _merge(self) -> None:
        runs = self._head.to_merge()
        if runs:
            self._head.merged(runs, await self._in_thread(lambda: merged(runs)))

    async def _seal(self) -> None:
        runs = self._head.to_seal()
        self._sealed_at = self._clock.monotonic()
        if not runs:
            return
        through = Position(self._committer.newest.epoch, max(run.seq or 0 for run in runs))
        rows = (await self._in_thread(lambda: merged(runs))).columns
        try:
            await self._in_thread(lambda: self._chores.sealer.seal(rows))
        except DamagedHistory:
            await self._in_thread(self._chores.repairer.repair)
            # What was sealed before stands in its file twice then, which is nothing to those who read.
            await self._in_thread(lambda: self._chores.sealer.seal(rows))
        self._head.drop(runs)
        await self._let_go_on()
        self.figures.sealed_rows += len(rows)
        await self._committer.sealed(through)

    async def _repair(self) -> None:
        """Look through what was open when it last ended, once; and look after suspects."""
        if not self._checked:
            self._checked = True
            now = milliseconds(self._clock.utc())
            await self._in_thread(lambda: self._chores.repairer.check(now))
            await self._in_thread(self._chores.repairer.check_lengths)
        since = self._clock.monotonic() - self._repaired_at
        if self._chores.repairer.is_needed and since >= CLEAN_EVERY_S:
            self._repaired_at = self._clock.monotonic()
            await self._in_thread(self._chores.repairer.repair)
            self._repaired_at = float("-inf")

    async def _clean(self) -> None:
        self._cleaned_at = self._clock.monotonic()
        now = milliseconds(self._clock.utc())
        chores, done, failures = self._chores, self.figures, list[HistoryError]()
        before = done.rewritten + done.deleted
        await self._in_thread(chores.repairer.check_lengths)
        for key in chores.sealer.due(now):
            done.rewritten += await self._try(partial(self._in_thread, partial(chores.sealer.rewrite, key)), failures)
            await self._try(self._seal_if_due, failures)
        for key in chores.roller.due():
            roll = partial(chores.roller.roll, key, now_ms=now)
            done.rolled += await self._try(partial(self._in_thread, roll), failures)
            await self._try(self._seal_if_due, failures)
        await self._try(partial(self._delete, now), failures)
        if done.rewritten + done.deleted > before:
            await self._in_thread(chores.roller.release)
            for listener in self.on_removal:
                await listener()
        if failures:
            raise failures[0]

    async def _delete(self, now_ms: int) -> None:
        self.figures.deleted += await self._in_thread(lambda: self._chores.retention.enforce(now_ms))

    async def _try(self, work: Callable[[], Awaitable[object]], failures: list[HistoryError]) -> bool:
        """Do something and tell whether it was done; what is damaged will be looked after."""
        try:
            await work()
        except DamagedHistory:
            return False
        except HistoryError as error:
            failures.append(error)
            return False
        return True

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
