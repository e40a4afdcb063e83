"""Levels that are changed while all runs: until Plantroom ends, or for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import attrs

from core.plugin import Context
from core.tasks import end_tasks


@attrs.frozen
class Change:
    """A level that was changed; ``until`` are UTC seconds, None: until Plantroom ends."""

    level: str
    until: float | None


class ChangedLevels:
    """Changes levels, and back those that were changed for a while only."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._changes: dict[str, Change] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}

    def all(self) -> Mapping[str, str]:
        """Give the levels that count now."""
        return self._ctx.log_levels.all()

    def until(self, name: str) -> float | None:
        """Tell until when a level is another one than is configured, in UTC seconds."""
        change = self._changes.get(name)
        return None if change is None else change.until

    def change(self, levels: Mapping[str, str | None], *, for_s: float | None) -> None:
        """Give loggers other levels, or for None their configured ones."""
        for name, level in levels.items():
            self._forget(name)
            self._ctx.log_levels.set(name, level)
            if level is None:
                continue
            self._changes[name] = Change(level, None if for_s is None else self._ctx.clock.utc() + for_s)
            if for_s is not None:
                task = asyncio.create_task(self._end(name, for_s), name=f"{self._ctx.name}:level:{name}")
                self._ends[name] = task

    async def close(self) -> None:
        """Take back what was for a while."""
        ends = dict(self._ends)
        await end_tasks(ends.values())
        for name in ends:
            self._take_back(name)

    async def _end(self, name: str, after_s: float) -> None:
        await self._ctx.clock.sleep(after_s)
        self._take_back(name)
        self._ctx.log.info("log_level_restored", logger=name, level=self.all().get(name))

    def _take_back(self, name: str) -> None:
        self._ends.pop(name, None)
        self._changes.pop(name, None)
        self._ctx.log_levels.set(name, None)

    def _forget(self, name: str) -> None:
        task = self._ends.pop(name, None)
        if task is not None:
            task.cancel()
        self._changes.pop(name, None)
