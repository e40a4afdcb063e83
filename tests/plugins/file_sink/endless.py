"""Delivers an endless history to files until it is killed; a process of its own for `test_killed.py`.

The history is made up as it is read, sample after sample, and its cursor is kept in a file, but seldom: as if the
process had died before that was safe.
"""

from __future__ import annotations

import asyncio
import random
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

from core.clock import SystemClock
from core.delivery import Deliveries
from core.events import EventBus
from core.memory_history import MemoryHistory
from core.outbox import Sender
from core.pump import Surroundings
from core.registry import Registry
from core.samples import Committed, Lost, PointSamples, Position, Samples
from core.services import Services
from core.subcommands import unstarted_context
from plugins.file_sink.config import FileSinkConfig
from plugins.file_sink.plugin import FileSinkPlugin

ROWS = 5
END = 10**9


class EndlessHistory(MemoryHistory):
    """Batch n has the samples from n * ROWS on."""

    def __init__(self, cursor: Path) -> None:
        super().__init__()
        self._file = cursor
        self._dice = random.Random()

    @property
    def newest(self) -> Position:
        return Position(1, END)

    async def read_after(self, position: Position, limit: int) -> Sequence[Committed | Lost]:
        return [_batch(seq) for seq in range(position.seq + 1, position.seq + 1 + limit)]

    async def register(self, name: str) -> Position:
        return Position(1, int(self._file.read_text(encoding="ascii")) if self._file.exists() else 0)

    async def advance(self, name: str, position: Position) -> None:
        if self._dice.random() < 0.2:
            part = self._file.with_suffix(".part")
            part.write_text(str(position.seq), encoding="ascii")
            part.rename(self._file)


def _batch(seq: int) -> Committed:
    first = (seq - 1) * ROWS
    numbers, nothing = range(first, first + ROWS), bytes(ROWS)
    samples = Samples(array("q", numbers), array("d", numbers), nothing, nothing, nothing)
    return Committed(Position(1, seq), PointSamples(array("I", [1] * ROWS), samples))


async def main(folder: Path) -> None:
    clock = SystemClock()
    history = EndlessHistory(folder / "cursor")
    services = Services(None, None, history, None)  # type: ignore[arg-type] - one is enough here
    registry = Registry(clock, EventBus())
    surroundings = Surroundings(services, registry, Sender("", "local"), clock)

    async def read_names() -> set[str]:
        return set()

    async def keep_names(names: object) -> None:
        pass

    deliveries = Deliveries(surroundings, read_names=read_names, keep_names=keep_names)
    config = FileSinkConfig(rotate_mib=0.05, keep_files=100_000)
    plugin = FileSinkPlugin(config, unstarted_context("file_sink", folder))
    deliveries.add("file_sink", plugin.register_sinks(), None)
    await deliveries.resume(configured=["file_sink"], running=["file_sink"])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
