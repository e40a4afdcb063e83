"""The history that is measured, and what is asked of it beside the service: only this module knows which it is."""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import structlog

from core.clock import SystemClock
from core.plugin import NoPoints, logger
from core.process import SWITCH_INTERVAL_S
from core.services import History
from plugins.history.config import HistoryConfig, duration_s
from plugins.history.store import FOLDER, Store

PACKAGES = ("numpy", "pcodec", "zstandard")
"""What it is made with, for the report."""
CONFIGURATION = "  history:\n"
"""Its section below ``plugins:`` in a configuration."""
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


class MovableClock(SystemClock):
    """The machine's clock, which can be told to go some seconds fast or slow."""

    fast_s = 0.0

    def utc(self) -> float:  # type: ignore[override]
        return super().utc() + self.fast_s


@attrs.frozen
class Ours:
    """The history, open; its samples are kept for ``kept_s``."""

    store: Store
    clock: MovableClock
    kept_s: float

    @property
    def history(self) -> History:
        return self.store

    async def settle(self) -> None:
        """Return when all that was recorded is sealed."""
        await self.store.flush()
        await self.store.housekeeper.seal()

    async def tidy(self, *, weeks_later: int = 0) -> None:
        """Do what is done with a week when it is over: samples written anew, and roll-ups; as if so much later."""
        self.clock.fast_s += weeks_later * WEEK_S
        await self.store.housekeeper.clean()
        self.clock.fast_s -= weeks_later * WEEK_S

    async def sums(self, slot: int, edges: array[int]) -> int:
        """Work out the aggregates between edges; answer the sum of their counts."""
        buckets = await self.store.aggregate(slot, edges, now_ms=edges[-1], states=False)
        return sum(buckets.counts)

    async def retain(self, from_ms: int) -> None:
        """Remove what is older, as when that time has come."""
        now_ms = round(from_ms + self.kept_s * 1000) + 1
        deleted = await asyncio.to_thread(self.store.retention.enforce, now_ms)
        if not deleted:
            raise ValueError("nothing was removed")


@asynccontextmanager
async def ours(folder: Path, keep: str = "60d", fast_s: float = 0.0) -> AsyncIterator[Ours]:
    """Open the history in a folder, as in a process of Plantroom's; ``fast_s`` is by how much its clock is fast."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock = MovableClock()
    clock.fast_s = fast_s
    store = Store(folder, HistoryConfig(keep=keep), points=NoPoints(), clock=clock, log=logger("history"))
    async with store.running():
        yield Ours(store, clock, duration_s(keep) or 0.0)


def kept(folder: Path) -> Mapping[str, int]:
    """Return the octets on the disk of a closed history: of `samples`, of `roll-ups`, and of its `journal`."""
    found = {"samples": 0, "roll-ups": 0, "journal": 0}
    for path in (folder / FOLDER).rglob("*"):
        if path.is_file():
            part = "journal" if path.parent.name == FOLDER else "samples"
            part = "roll-ups" if path.parent.name.startswith("rollup-") else part
            found[part] += path.stat().st_size
    return found
