"""Carries every write to its device: checked, in its turn, once, and on record."""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import attrs
import structlog

from core.clock import Clock
from core.errors import (
    Conflict,
    DeviceTimeout,
    NotWritable,
    PlantroomError,
    PluginError,
    PluginNotRunning,
    PointNotFound,
    ValueNotSuitable,
)
from core.exchange import LONGEST_READ_S
from core.holders import Holder, Holders, held
from core.leases import Leases
from core.model import Command, Deed, Device, Done, Point, Priorities, Source, Value, WriteResult, Written
from core.owner import owned_by
from core.plugin import Store
from core.polls import Polls, group_of
from core.readings import Chunk, Row, batch_of
from core.records import RECORDS_KEPT, Record, Records, request_of, reused, target_of
from core.registry import PointEntry, Registry
from core.services import BatchWriter, Driver, InputOverride
from core.tasks import end_tasks
from core.values import suitable

LONGEST_WRITE_S = 20.0
LONGER_FOR_EACH_S = 1.0
"""How many more seconds a driver has for each further command that it carries out at once."""

AT_ONCE = 50

_STEP_S = 1e-6  # so that records of one moment keep their order
_GIVEN_UP = "The write was given up: Plantroom is stopping. It may have been carried out."

ResultT = TypeVar("ResultT")


@attrs.define(eq=False)
class _Order:
    """A command on its way: as it was asked for, as the point takes it, and what became of it."""

    asked: Command
    outcome: asyncio.Future[Written]
    command: Command
    entry: PointEntry | None = None

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Commands:
    """The one way to write, whoever asks; a device is written to by one at a time, in the order asked."""

    def __init__(self, registry: Registry, polls: Polls, leases: Leases, store: Store, clock: Clock) -> None:
        self._registry = registry
        self._polls = polls
        self._leases = leases
        self._clock = clock
        self._records = Records(store)
        self._holders = Holders()
        self._under_way: dict[str, tuple[Command | Deed, asyncio.Future[Any]]] = {}
        self._results: OrderedDict[str, tuple[Command | Deed, Any]] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_at = 0.0

    async def load(self) -> None:
        """Take over who holds what from before a restart."""
        self._holders.restore(await self._records.all())

    async def close(self) -> None:
        """Give up what is under way."""
        await end_tasks(self._tasks)

    def device(self, device_id: str) -> Device:
        """Return a device as it was last described; raises DeviceNotFound."""
        return self._registry.device(device_id).device

    def point(self, point_id: str) -> Point | None:
        """Return a point as it was last described, None where there is none of this id."""
        try:
            return self._registry.point(point_id).point
        except PointNotFound:
            return None

    async def write(self, command: Command) -> Written:
        """Carry a command out and read back; the same command id twice is carried out once.

        Raises NotWritable, ValueNotSuitable, PriorityNotAllowed, PluginNotRunning, DeviceError, and Conflict for an
        id that was used for another command or a command that has expired.
        """
        (outcome,) = await self.write_many([command])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def write_many(self, commands: Sequence[Command]) -> list[Written | Exception]:
        """Carry commands out, those for one device in their order, and answer for each what `write` returns or raises.

        After one that got no answer, no more of these are sent to that device.
        """
        outcomes: list[asyncio.Future[Written] | Exception] = []
        fresh: dict[str, list[_Order]] = {}
        for command in commands:
            try:
                outcome, is_new = self._claim(command)
            except Conflict as error:
                outcomes.append(error)
                continue
            outcomes.append(outcome)
            if is_new:
                fresh.setdefault(command.point.device_id, []).append(_Order(command, outcome, command))
        for device_id, orders in fresh.items():
            self._start(self._carry_out_all(device_id, orders), f"write:{device_id}")
        waiting = [outcome for outcome in outcomes if isinstance(outcome, asyncio.Future)]
        if waiting:
            await asyncio.wait(waiting)
        return [_settled(outcome) for outcome in outcomes]

    async def carry_out(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> Any:
        """Run a plugin's deed in its device's turn, and answer what its target showed afterwards (`Done.after`).

        The same id twice is carried out once. Raises what ``run`` raises, PluginNotRunning, DeviceTimeout, Conflict.
        """
        outcome, is_new = self._claim(deed)
        if is_new:
            self._start(self._do(deed, run, outcome), f"deed:{deed.device_id}")
        await asyncio.wait([outcome])
        return outcome.result()

    async def priorities(self, entry: PointEntry) -> Priorities:
        """Read a commandable point's priority array from its device; raises NotWritable where there is none."""
        if not entry.point.commandable:
            raise NotWritable(f"{entry.id} has no priority array.")
        driver = self._ready_driver(entry)
        return await _within(driver.priorities(entry.point), LONGEST_READ_S, entry.device.id)

    def holder(self, point: Point, priority: int, shown: Value) -> Holder | None:
        """Return who wrote what a slot shows, if that was through us."""
        return self._holders.get(point, priority, shown)

    # once, and in turn

    def _claim(self, asked: Command | Deed) -> tuple[asyncio.Future[Any], bool]:
        """Return where the outcome will be, and whether it is yet to be worked for; raises Conflict."""
        known = self._under_way.get(asked.id) or self._results.get(asked.id)
        if known is not None and _asked(known[0]) != _asked(asked):
            raise reused()
        if asked.id in self._under_way:
            return self._under_way[asked.id][1], False
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if asked.id in self._results:
            outcome.set_result(self._results[asked.id][1])
            return outcome, False
        self._under_way[asked.id] = asked, outcome
        outcome.add_done_callback(functools.partial(self._ended, asked.id))
        return outcome, True

    def _ended(self, asked_id: str, outcome: asyncio.Future[Any]) -> None:
        del self._under_way[asked_id]
        if not outcome.cancelled():
            outcome.exception()  # noted here, since whoever asked may have gone

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        with owned_by(None):  # it ends as it must, also where the plugin that asked for it is stopped
            task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _turn(self, device_id: str) -> asyncio.Lock:
        return self._turns.setdefault(device_id, asyncio.Lock())

    def _remember(self, asked: Command | Deed, result: Any) -> None:
        self._results[asked.id] = asked, result
        if len(self._results) > RECORDS_KEPT:
            self._results.popitem(last=False)

    def _now(self) -> float:
        self._last_at = max(self._clock.utc(), self._last_at + _STEP_S)
        return self._last_at

    # deeds

    async def _do(self, deed: Deed, run: Callable[[], Awaitable[Done]], outcome: asyncio.Future[Any]) -> None:
        try:
            async with self._turn(deed.device_id):
                known = await self._records.result_of(deed)
                if known is None:
                    known = await self._done(deed, run)
            outcome.set_result(known["after"])
        except Exception as error:  # a plugin's code: whoever asked is told
            outcome.set_exception(error)
        finally:
            if not outcome.done():
                outcome.set_exception(PluginNotRunning(_GIVEN_UP))

    async def _done(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> dict[str, Any]:
        plugin = self._registry.device(deed.device_id).device.plugin
        self._check_lease(plugin)
        log = structlog.get_logger().bind(
            command=deed.id, principal=deed.principal, origin=deed.origin, target=deed.target, request=deed.request
        )
        try:
            done = await _within(_awaited(run()), LONGEST_WRITE_S, deed.device_id)
        except PlantroomError as error:
            log.warning("deed_failed", code=error.code, error=str(error))
            raise
        log.info("deed_done", before=done.before, after=done.after)
        result = attrs.asdict(done, recurse=False)
        self._remember(deed, done.after)
        await self._records.keep([Record.of(deed, result, self._now())])
        return result

    # commands

    async def _carry_out_all(self, device_id: str, orders: Sequence[_Order]) -> None:
        try:
            fit = [order for order in orders if self._fits(order)]
            if fit:
                async with self._turn(device_id):
                    await self._in_turn(device_id, [order for order in fit if await self._is_fresh(order)])
        except Exception as error:  # a driver's code, or the store: whoever asked is told
            for order in orders:
                order.fail(error)
        finally:
            for order in orders:
                order.fail(PluginNotRunning(_GIVEN_UP))

    def _fits(self, order: _Order) -> bool:
        """See whether a command can be right, before anything is sent; its order fails where not."""
        command = order.command
        try:
            entry = order.entry = self._registry.point(command.point.id)
            driver = self._ready_driver(entry)
            if not (entry.point.writable or (isinstance(driver, InputOverride) and driver.overrides_inputs)):
                raise NotWritable(f"{entry.id} is read-only.")
            if not command.relinquish:
                if command.value is None:
                    raise ValueNotSuitable(f"{entry.id} takes no null; relinquish it instead.")
                order.command = attrs.evolve(command, value=suitable(entry.point, command.value))
        except PlantroomError as error:
            order.fail(error)
            return False
        return True

    async def _is_fresh(self, order: _Order) -> bool:
        """See whether a command was not carried out before a restart; else its order has the answer."""
        try:
            known = await self._records.result_of(order.asked)
        except PlantroomError as error:
            order.fail(error)
            return False
        if known is not None:
            reading = self._registry.reading(self._registry.point(order.command.point.id))
            order.outcome.set_result(
                Written(
                    reading, known["effective"], known["active_priority"], known.get("priority"), known.get("verified")
                )
            )
        return known is None

    async def _in_turn(self, device_id: str, orders: list[_Order]) -> None:
        while orders:
            entry = orders[0].entry
            assert entry is not None  # noqa: S101 - it fits
            driver = self._ready_driver(entry)
            count = AT_ONCE if isinstance(driver, BatchWriter) else 1
            batch, orders = [order for order in orders[:count] if self._is_in_time(order)], orders[count:]
            results = await self._send(driver, batch) if batch else []
            await self._settle(batch, results)
            if any(isinstance(result, DeviceTimeout) for result in results):
                for order in orders:
                    order.fail(DeviceTimeout(f"{device_id} did not answer the write before this one; it was not sent."))
                return

    def _is_in_time(self, order: _Order) -> bool:
        expires_at = order.command.expires_at
        if expires_at is not None and expires_at <= self._clock.utc():
            order.fail(Conflict("The write had expired before its turn came; nothing was sent."))
            return False
        return True

    def _ready_driver(self, entry: PointEntry) -> Driver:
        plugin = entry.device.device.plugin
        driver = self._polls.driver(plugin)
        if driver is None:
            raise PluginNotRunning(f"{plugin} does not run or cannot write; see GET /api/v1/plugins/{plugin}.")
        self._check_lease(plugin)
        return driver

    def _check_lease(self, plugin: str) -> None:
        if not self._leases.valid(plugin):
            raise PluginNotRunning(f"Another process owns {plugin}; write there.")

    async def _send(self, driver: Driver, batch: Sequence[_Order]) -> list[WriteResult | Exception]:
        commands = [order.command for order in batch]
        logs = [self._log(order) for order in batch]
        work = _many(driver, commands) if isinstance(driver, BatchWriter) and len(batch) > 1 else _one(driver, commands)
        longest_s = LONGEST_WRITE_S + (len(batch) - 1) * LONGER_FOR_EACH_S
        try:
            results = await _within(work, longest_s, commands[0].point.device_id)
        except Exception as error:  # a driver's code: whoever asked is told
            results = [error] * len(batch)
        for log, result in zip(logs, results, strict=True):
            if isinstance(result, WriteResult):
                written = {"effective": result.effective, "active": result.active_priority, "verified": result.verified}
                tell = log.warning if result.verified is False else log.info
                tell("point_written", after=result.value, slot=result.priority, **written)
            elif isinstance(result, PlantroomError):
                log.warning("write_failed", code=result.code, error=str(result))
        return results

    def _log(self, order: _Order) -> Any:
        command, entry = order.command, order.entry
        before = self._registry.reading(entry) if entry is not None else None
        return structlog.get_logger().bind(
            command=command.id, principal=command.principal, origin=command.origin, point=command.point.id,
            before=before.value if before else None, priority=command.priority,
            value=None if command.relinquish else command.value, relinquish=command.relinquish,
        )  # fmt: skip

    async def _settle(self, batch: Sequence[_Order], results: Sequence[WriteResult | Exception]) -> None:
        """Take over what was read back, and put it on record before it is answered."""
        records, answers = [], []
        for order, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                order.fail(result)
                continue
            written = self._take(order, result)
            self._remember(order.asked, written)
            now = self._now()
            self._holders.note(order.command, result, now)
            records.append(Record.of(order.asked, _on_record(order.command, result, written), now))
            answers.append((order, written))
        if records:
            await self._records.keep(records)
        for order, written in answers:
            order.outcome.set_result(written)

    def _take(self, order: _Order, result: WriteResult) -> Written:
        entry = self._registry.point(order.command.point.id)
        chunk = Chunk(group_of([entry]).slots)
        row = Row(result.value, result.flags)
        self._polls.apply(batch_of(chunk, [row], time=self._clock.utc(), source=Source.WRITE))
        self._polls.answered(entry.device)
        reading = self._registry.reading(entry)
        return Written(reading, result.effective, result.active_priority, result.priority, result.verified)


async def _one(driver: Driver, commands: Sequence[Command]) -> list[WriteResult | Exception]:
    return [await driver.write(commands[0])]


async def _many(driver: BatchWriter, commands: Sequence[Command]) -> list[WriteResult | Exception]:
    results: list[WriteResult | Exception] = [*await driver.write_many(commands)]
    if len(results) != len(commands):
        raise PluginError(f"The driver answered {len(results)} of {len(commands)} writes.")
    return results


async def _within(work: Coroutine[Any, Any, ResultT], seconds: float, device_id: str) -> ResultT:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise DeviceTimeout(
            f"{device_id} did not answer within {seconds:g} s. What was to be written may have been."
        ) from None


async def _awaited(work: Awaitable[ResultT]) -> ResultT:
    return await work


def _settled(outcome: asyncio.Future[Written] | Exception) -> Written | Exception:
    try:
        return outcome if isinstance(outcome, Exception) else outcome.result()
    except Exception as error:  # it is whoever asked that raises it
        return error


def _asked(asked: Command | Deed) -> tuple[object, ...]:
    """What is asked for, whoever describes the point how, and however long it may take."""
    return asked.principal, asked.origin, target_of(asked), request_of(asked)


def _on_record(command: Command, result: WriteResult, written: Written) -> dict[str, Any]:
    return {
        "value": written.reading.value if written.reading else None,
        "effective": written.effective,
        "active_priority": written.active_priority,
        "priority": written.priority,
        "verified": written.verified,
        "held": held(command, result),
    }
