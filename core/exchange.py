"""Reads points on demand, shared between those who ask."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from core.clock import Clock
from core.errors import DeviceOffline, DeviceTimeout, PlantroomError, PluginError, PluginNotRunning
from core.model import DeviceStatus
from core.polls import Polls, group_of
from core.registry import PointEntry, Registry
from core.request_ids import Sharers
from core.tasks import end_tasks

LONGEST_READ_S = 15.0

Spend: TypeAlias = Callable[[int], Awaitable[None]]


class Exchange:
    """The one way to values on demand, by their age; writes go through `core.commands`."""

    def __init__(self, registry: Registry, polls: Polls, clock: Clock) -> None:
        self._registry = registry
        self._polls = polls
        self._clock = clock
        self._reads: dict[int, asyncio.Task[dict[int, PlantroomError]]] = {}
        self._sharers: dict[asyncio.Task[dict[int, PlantroomError]], Sharers] = {}

    async def close(self) -> None:
        """Cancel what is under way."""
        await end_tasks([*self._reads.values()])

    async def refresh(
        self, entries: Sequence[PointEntry], *, max_age: float | None, spend: Spend | None = None
    ) -> dict[str, PlantroomError]:
        """See that readings are no older than ``max_age`` seconds; None takes them as they are.

        Older ones are read from their devices, each device once for all who ask at this time; ``spend`` is told
        before how many points nobody is reading yet, and may raise. Answers the errors of the points that could not
        be read, by point id.
        """
        if max_age is None:
            return {}
        now = self._clock.utc()
        old = {entry.slot: entry for entry in entries if self._age(entry, now) > max_age}
        if spend is not None and old:
            await spend(sum(slot not in self._reads for slot in old))
        starting: dict[str, list[PointEntry]] = {}
        for slot, entry in old.items():
            if slot not in self._reads:
                starting.setdefault(entry.device.id, []).append(entry)
        for points in starting.values():
            self._begin_read(points)
        waiting = {slot: self._reads[slot] for slot in old if slot in self._reads}
        if waiting:
            for task in {*waiting.values()}:
                self._sharers[task].join()
            await asyncio.wait(set(waiting.values()))
        errors: dict[str, PlantroomError] = {}
        for slot, task in waiting.items():
            error = _outcome(task, slot)
            if error is not None:
                errors[old[slot].id] = error
        return errors

    def _age(self, entry: PointEntry, now: float) -> float:
        if self._registry.current.reason(entry.slot).keeps_value or entry.device.status is DeviceStatus.OFFLINE:
            return math.inf
        return now - self._registry.current.time(entry.slot)

    def _begin_read(self, points: list[PointEntry]) -> None:
        sharers = Sharers()
        with sharers.working():
            task = asyncio.create_task(self._read(points), name=f"read:{points[0].device.id}")
        self._sharers[task] = sharers
        for point in points:
            self._reads[point.slot] = task

        def done(task: asyncio.Task[dict[int, PlantroomError]]) -> None:
            del self._sharers[task]
            for point in points:
                self._reads.pop(point.slot, None)

        task.add_done_callback(done)

    async def _read(self, points: list[PointEntry]) -> dict[int, PlantroomError]:
        """Read points of one device; answers the error of each that failed, by slot."""
        device = points[0].device
        driver = self._polls.driver(device.device.plugin)
        if not self._polls.runs(device.device.plugin):
            stopped = PluginNotRunning(f"{device.device.plugin} does not run; see GET /api/v1/plugins.")
            return dict.fromkeys((point.slot for point in points), stopped)
        try:
            if driver is None:
                return await self._run_pollers(points)
            if device.status is DeviceStatus.OFFLINE:
                offline = DeviceOffline(f"{device.id} has been offline since its last poll: {device.last_error}")
                return dict.fromkeys((point.slot for point in points), offline)
            async with asyncio.timeout(LONGEST_READ_S):
                batches = await self._polls.read(driver, device, group_of(points))
        except TimeoutError:
            late = DeviceTimeout(f"{device.id} did not answer within {LONGEST_READ_S:g} s.")
            return {point.slot: late for point in points}
        except PlantroomError as error:
            return {point.slot: error for point in points}
        except Exception as error:  # a plugin's code: its failure stays with the points of this device
            structlog.get_logger().exception(
                "read_failed", plugin=device.device.plugin, device=device.id, error=str(error)
            )
            failure = PluginError(f"{device.device.plugin} failed to read {device.id}: {type(error).__name__}.")
            return {point.slot: failure for point in points}
        structlog.get_logger().debug("device_read", plugin=device.device.plugin, device=device.id, points=len(points))
        return {batch.chunk.slots[row]: error for batch in batches for row, error in batch.errors.items()}

    async def _run_pollers(self, points: list[PointEntry]) -> dict[int, PlantroomError]:
        """Run the plugin's own pollers that bring these points, each once; others arrive by themselves and stay."""
        bringers = {point.slot: self._polls.bringer(point.slot) for point in points}
        runs = {item: self._polls.now(item) for item in bringers.values() if item is not None}
        under_way = {run for run in runs.values() if run is not None}
        late: set[asyncio.Task[None]] = set()
        if under_way:
            _done, late = await asyncio.wait(under_way, timeout=LONGEST_READ_S)
        errors: dict[int, PlantroomError] = {}
        for slot, item in bringers.items():
            if item is None:
                continue
            if item.removed:
                errors[slot] = PluginNotRunning(f"{item.owner} does not run; see GET /api/v1/plugins/{item.owner}.")
            elif runs[item] in late:
                errors[slot] = DeviceTimeout(f"{item.name} did not answer within {LONGEST_READ_S:g} s.")
            elif item.last_error is not None:
                errors[slot] = DeviceTimeout(f"{item.name} failed: {item.last_error}")
        return errors


def _outcome(task: asyncio.Task[dict[int, PlantroomError]], slot: int) -> PlantroomError | None:
    if task.cancelled():
        return PluginNotRunning("The read was given up: Plantroom or the plugin is stopping.")
    return task.result().get(slot)
