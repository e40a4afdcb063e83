"""Reads points on demand, shared between those who ask, and carries every write to its device."""

from __future__ import annotations

import asyncio
import functools
import math
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import attrs
import orjson
import structlog

from core.clock import Clock
from core.errors import (
    Conflict,
    DeviceOffline,
    DeviceTimeout,
    NotWritable,
    PlantroomError,
    PluginError,
    PluginNotRunning,
    ValueNotSuitable,
)
from core.leases import Leases
from core.model import Command, DeviceStatus, Priorities, Reading, Source, WriteResult
from core.plugin import Store
from core.polls import Polls, group_of
from core.readings import Chunk, Row, batch_of
from core.registry import PointEntry, Registry
from core.services import Driver
from core.tasks import end_tasks
from core.values import suitable

LONGEST_READ_S = 15.0
LONGEST_WRITE_S = 20.0
RESULTS_KEPT = 10_000

ResultT = TypeVar("ResultT")


@attrs.frozen
class Written:
    """What a write came to: the reading afterwards, whether the value is in effect, and who holds the point."""

    reading: Reading | None
    effective: bool
    active_priority: int | None


@attrs.frozen
class Holder:
    """Who last wrote into a slot of a priority array, as far as we know; ``since`` is UTC seconds."""

    principal: str
    since: float


class Exchange:
    """The one way to values on demand: ages and sharing for reads; checks, order and records for writes."""

    def __init__(self, registry: Registry, polls: Polls, leases: Leases, store: Store, clock: Clock) -> None:
        self._registry = registry
        self._polls = polls
        self._leases = leases
        self._store = store
        self._clock = clock
        self._reads: dict[int, asyncio.Task[dict[int, PlantroomError]]] = {}
        self._writes: dict[str, tuple[Command, asyncio.Task[Written]]] = {}
        self._results: OrderedDict[str, tuple[Command, Written]] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._holders: OrderedDict[tuple[str, int], Holder] = OrderedDict()

    async def close(self) -> None:
        """Cancel what is under way."""
        await end_tasks([*self._reads.values(), *(task for _command, task in self._writes.values())])

    # reads

    async def refresh(self, entries: Sequence[PointEntry], *, max_age: float | None) -> dict[str, PlantroomError]:
        """See that readings are no older than ``max_age`` seconds; None takes them as they are.

        Older ones are read from their devices, each device once for all who ask at this time. Answers the errors of
        the points that could not be read, by point id.
        """
        if max_age is None:
            return {}
        now = self._clock.utc()
        old = {entry.slot: entry for entry in entries if self._age(entry, now) > max_age}
        starting: dict[str, list[PointEntry]] = {}
        for slot, entry in old.items():
            if slot not in self._reads:
                starting.setdefault(entry.device.id, []).append(entry)
        for points in starting.values():
            self._begin_read(points)
        waiting = {slot: self._reads[slot] for slot in old if slot in self._reads}
        if waiting:
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
        task = asyncio.create_task(self._read(points), name=f"read:{points[0].device.id}")
        for point in points:
            self._reads[point.slot] = task

        def done(_task: object) -> None:
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

    # writes

    async def write(self, command: Command) -> Written:
        """Carry a command out and read back; the same command id twice is carried out once.

        Raises NotWritable, ValueNotSuitable, PriorityNotAllowed, PluginNotRunning, DeviceError, and Conflict for an
        id that was used for another command or a command that has expired.
        """
        earlier = self._writes.get(command.id) or self._results.get(command.id)
        if earlier is not None and _asked(earlier[0]) != _asked(command):
            raise Conflict("This Idempotency-Key was used for another write; take a new one.")
        if command.id not in self._writes:
            if command.id in self._results:
                return self._results[command.id][1]
            task = asyncio.create_task(self._carry_out(command), name=f"write:{command.point.id}")
            self._writes[command.id] = command, task
            task.add_done_callback(functools.partial(self._written, command.id))
        task = self._writes[command.id][1]
        await asyncio.wait({task})
        if task.cancelled():
            raise PluginNotRunning("The write was given up: Plantroom is stopping. It may have been carried out.")
        return task.result()

    def _written(self, command_id: str, task: asyncio.Task[Written]) -> None:
        del self._writes[command_id]
        if not task.cancelled():
            task.exception()  # noted here, since whoever asked may have gone

    async def _carry_out(self, command: Command) -> Written:
        asked = command
        entry = self._registry.point(command.point.id)
        self._ready_driver(entry)
        if not entry.point.writable:
            raise NotWritable(f"{entry.id} is read-only.")
        if not command.relinquish:
            if command.value is None:
                raise ValueNotSuitable(f"{entry.id} takes no null; relinquish it instead.")
            command = attrs.evolve(command, value=suitable(entry.point, command.value))
        async with self._turns.setdefault(entry.device.id, asyncio.Lock()):
            before = await self._done_before(asked)
            if before is not None:
                return before
            if command.expires_at is not None and command.expires_at <= self._clock.utc():
                raise Conflict("The write had expired before its turn came; nothing was sent.")
            result = await self._send(self._ready_driver(entry), entry, command)
        written = self._take(entry, result)
        self._note_holder(command, result)
        self._results[asked.id] = asked, written
        if len(self._results) > RESULTS_KEPT:
            self._results.popitem(last=False)
        await self._record(asked, written)
        return written

    async def _done_before(self, command: Command) -> Written | None:
        """Look a command up among those that were carried out before a restart; raises Conflict for another one."""
        rows = await self._store.read(
            "SELECT principal, origin, point_id, request, result FROM commands WHERE id = ?", (command.id,)
        )
        if not rows:
            return None
        principal, origin, point_id, request, result = rows[0]
        if (principal, origin, point_id, request) != (*_asked(command)[:3], _request(command)):
            raise Conflict("This Idempotency-Key was used for another write; take a new one.")
        known = orjson.loads(result)
        reading = self._registry.reading(self._registry.point(command.point.id))
        return Written(reading, known["effective"], known["active_priority"])

    def _ready_driver(self, entry: PointEntry) -> Driver:
        plugin = entry.device.device.plugin
        driver = self._polls.driver(plugin)
        if driver is None:
            raise PluginNotRunning(f"{plugin} does not run or cannot write; see GET /api/v1/plugins/{plugin}.")
        if not self._leases.valid(plugin):
            raise PluginNotRunning(f"Another process owns {plugin}; write there.")
        return driver

    async def _send(self, driver: Driver, entry: PointEntry, command: Command) -> WriteResult:
        before = self._registry.reading(entry)
        log = structlog.get_logger().bind(
            command=command.id, principal=command.principal, origin=command.origin, point=entry.id,
            before=before.value if before else None, priority=command.priority,
            value=None if command.relinquish else command.value, relinquish=command.relinquish,
        )  # fmt: skip
        try:
            result = await _within(driver.write(command), LONGEST_WRITE_S, entry.device.id)
        except PlantroomError as error:
            log.warning("write_failed", code=error.code, error=str(error))
            raise
        log.info("point_written", after=result.value, effective=result.effective, active=result.active_priority)
        return result

    def _take(self, entry: PointEntry, result: WriteResult) -> Written:
        chunk = Chunk(group_of([entry]).slots)
        row = Row(result.value, result.flags)
        self._polls.apply(batch_of(chunk, [row], time=self._clock.utc(), source=Source.WRITE))
        self._polls.answered(entry.device)
        return Written(self._registry.reading(entry), result.effective, result.active_priority)

    def _note_holder(self, command: Command, result: WriteResult) -> None:
        if command.relinquish and command.priority is not None:
            self._holders.pop((command.point.id, command.priority), None)
        elif result.effective and result.active_priority is not None:
            key = command.point.id, result.active_priority
            self._holders[key] = Holder(command.principal, self._clock.utc())
            self._holders.move_to_end(key)
            if len(self._holders) > RESULTS_KEPT:
                self._holders.popitem(last=False)

    def holder(self, point_id: str, priority: int) -> Holder | None:
        """Return who last wrote at a priority, if that was through us since the start."""
        return self._holders.get((point_id, priority))

    async def _record(self, command: Command, written: Written) -> None:
        """Store what was done before it is answered; keep the newest records only."""
        result = {
            "value": written.reading.value if written.reading else None,
            "effective": written.effective,
            "active_priority": written.active_priority,
        }
        row = (
            command.id, command.principal, command.origin, command.point.id,
            _request(command), orjson.dumps(result).decode(), self._clock.utc(),
        )  # fmt: skip
        await self._store.write(
            ("INSERT OR REPLACE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)", [row]),
            (
                "DELETE FROM commands WHERE at < (SELECT at FROM commands ORDER BY at DESC LIMIT 1 OFFSET ?)",
                [(RESULTS_KEPT,)],
            ),
        )

    async def priorities(self, entry: PointEntry) -> Priorities:
        """Read a commandable point's priority array from its device; raises NotWritable where there is none."""
        if not entry.point.commandable:
            raise NotWritable(f"{entry.id} has no priority array.")
        driver = self._ready_driver(entry)
        return await _within(driver.priorities(entry.point), LONGEST_READ_S, entry.device.id)


async def _within(work: Coroutine[Any, Any, ResultT], seconds: float, device_id: str) -> ResultT:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise DeviceTimeout(f"{device_id} did not answer within {seconds:g} s.") from None


def _outcome(task: asyncio.Task[dict[int, PlantroomError]], slot: int) -> PlantroomError | None:
    if task.cancelled():
        return PluginNotRunning("The read was given up: Plantroom or the plugin is stopping.")
    return task.result().get(slot)


def _request(command: Command) -> str:
    request = {"value": command.value, "relinquish": command.relinquish, "priority": command.priority}
    return orjson.dumps(request).decode()


def _asked(command: Command) -> tuple[object, ...]:
    """What a command asks for, whoever describes the point how, and however long it may take."""
    return (
        command.principal, command.origin, command.point.id, command.value, command.relinquish, command.priority,
    )  # fmt: skip
