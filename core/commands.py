"""Carries every write to its device: checked, in its turn, once, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import attrs
import structlog

from core.clock import Clock
from core.deeds import Deeds
from core.errors import (
    Conflict,
    Invalid,
    NotSent,
    NotWritable,
    PlantroomError,
    PluginError,
    PluginNotRunning,
    PointNotFound,
    ValueNotSuitable,
)
from core.exchange import LONGEST_READ_S
from core.holders import Holder, Holders
from core.leases import Leases
from core.model import (
    Command,
    Deed,
    Device,
    Done,
    Point,
    Priorities,
    Reading,
    Source,
    Taken,
    Value,
    WriteResult,
    Written,
)
from core.once import Once
from core.outcomes import Outcome, error_in, result_of, silence_in
from core.plugin import Store
from core.polls import Polls, group_of
from core.readings import Chunk, Row, batch_of
from core.records import Records
from core.registry import PointEntry, Registry
from core.services import BatchWriter, Driver, InputOverride
from core.turns import GIVEN_UP, LONGEST_WRITE_S, Turns, late, within
from core.values import suitable

LONGER_FOR_EACH_S = 1.0
"""How many more seconds a driver has for each further command that it carries out at once."""

AT_ONCE = 50


@attrs.define(eq=False)
class _Order:
    """A command on its way: as it was asked for, as the point takes it, and what became of it."""

    asked: Command
    outcome: asyncio.Future[Written]
    command: Command
    entry: PointEntry | None = None

    def settle(self, answer: Written | Exception) -> None:
        if self.outcome.done():
            return
        if isinstance(answer, Exception):
            self.outcome.set_exception(answer)
        else:
            self.outcome.set_result(answer)


class Commands:
    """The one way to write, whoever asks; a device is written to by one at a time, in the order asked."""

    def __init__(self, registry: Registry, polls: Polls, leases: Leases, store: Store, clock: Clock) -> None:
        self._registry = registry
        self._polls = polls
        self._leases = leases
        self._clock = clock
        self._records = Records(store, clock)
        self._holders = Holders()
        self._once = Once()
        self._turns = Turns()
        self._deeds = Deeds(self._turns, self._once, self._records, self._check_device)

    async def load(self) -> None:
        """Take over who holds what from before a restart."""
        self._holders.restore(await self._records.all())

    async def close(self) -> None:
        """Give up what is under way."""
        await self._turns.close()

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

        Raises NotWritable, ValueNotSuitable, PriorityNotAllowed, PluginNotRunning, DeviceError, Conflict for a command
        that has expired, and Invalid for an id that was used for another. One that was taken, but could not be read
        back, is not sent again under its id: the same DeviceError is raised. One that got no answer is on record as
        perhaps carried out, and is sent again: the same value at the same priority twice leaves what it leaves once.
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
                outcome, is_new = self._once.claim(command)
            except Invalid as error:
                outcomes.append(error)
                continue
            outcomes.append(outcome)
            if is_new:
                fresh.setdefault(command.point.device_id, []).append(_Order(command, outcome, command))
        for device_id, orders in fresh.items():
            self._turns.start(self._carry_out_all(device_id, orders), f"write:{device_id}")
        waiting = [outcome for outcome in outcomes if isinstance(outcome, asyncio.Future)]
        if waiting:
            await asyncio.wait(waiting)
        return [_settled(outcome) for outcome in outcomes]

    async def carry_out(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> Any:
        """Run a plugin's deed in its device's turn, and answer what its target showed afterwards (`Done.after`).

        The same id twice is carried out once. Raises what ``run`` raises, PluginNotRunning, DeviceTimeout, Invalid.
        """
        return await self._deeds.carry_out(deed, run)

    async def priorities(self, entry: PointEntry) -> Priorities:
        """Read a commandable point's priority array from its device; raises NotWritable where there is none."""
        if not entry.point.commandable:
            raise NotWritable(f"{entry.id} has no priority array.")
        driver = self._ready_driver(entry)
        return await within(driver.priorities(entry.point), LONGEST_READ_S, entry.device.id)

    def holder(self, point: Point, priority: int, shown: Value) -> Holder | None:
        """Return who wrote what a slot shows, if that was through us."""
        return self._holders.get(point, priority, shown)

    # in turn

    async def _carry_out_all(self, device_id: str, orders: Sequence[_Order]) -> None:
        try:
            fit = [order for order in orders if self._fits(order)]
            if fit:
                async with self._turns.of(device_id):
                    await self._in_turn([order for order in fit if await self._is_fresh(order)])
        except Exception as error:  # a driver's code, or the store: whoever asked is told
            for order in orders:
                order.settle(error)
        finally:
            for order in orders:
                order.settle(PluginNotRunning(GIVEN_UP))

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
            order.settle(error)
            return False
        return True

    async def _is_fresh(self, order: _Order) -> bool:
        """See whether a command was not carried out before a restart; else its order has the answer."""
        try:
            known = await self._records.result_of(order.asked)
        except PlantroomError as error:
            order.settle(error)
            return False
        if known is None:
            return True
        reading = self._reading(order.command.point.id)
        order.settle(
            error_in(known)
            or Written(
                reading, known["effective"], known["active_priority"], known.get("priority"), known.get("verified")
            )
        )
        return False

    async def _in_turn(self, orders: list[_Order]) -> None:
        while orders:
            entry = orders[0].entry
            assert entry is not None  # noqa: S101 - it fits
            driver = self._ready_driver(entry)
            count = AT_ONCE if isinstance(driver, BatchWriter) else 1
            batch, orders = [order for order in orders[:count] if self._is_in_time(order)], orders[count:]
            silence: Exception | None = None
            took_s, since = 0.0, self._clock.monotonic()
            async with aclosing(self._sent(driver, batch)) as told:
                async for outcomes in told:
                    took_s += self._clock.monotonic() - since
                    silence = silence or silence_in(outcomes.values())
                    await self._settle(outcomes)
                    since = self._clock.monotonic()
            if batch:
                self._polls.asked(entry.device, "write", len(batch), took_s, silence)
            if silence is not None:
                for order in orders:
                    order.settle(NotSent())
                return

    def _is_in_time(self, order: _Order) -> bool:
        expires_at = order.command.expires_at
        if expires_at is not None and expires_at <= self._clock.utc():
            order.settle(Conflict("The write had expired before its turn came; nothing was sent."))
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

    def _check_device(self, device_id: str) -> None:
        self._check_lease(self._registry.device(device_id).device.plugin)

    async def _sent(self, driver: Driver, batch: Sequence[_Order]) -> AsyncGenerator[Mapping[_Order, Outcome], None]:
        """Hand commands to their driver, and tell what became of them as it does; of those it does not tell, why."""
        left = dict(enumerate(batch))
        logs = {order: self._log(order) for order in batch}
        commands = [order.command for order in batch]
        is_batch = len(batch) > 1  # one alone is written as ever
        told = driver.write_many(commands) if is_batch and isinstance(driver, BatchWriter) else _one(driver, commands)
        longest_s = LONGEST_WRITE_S + (len(batch) - 1) * LONGER_FOR_EACH_S
        ends_at = asyncio.get_running_loop().time() + longest_s
        while left:
            outcomes: dict[_Order, Outcome]
            try:
                async with asyncio.timeout_at(ends_at):
                    found = await anext(told)
                outcomes = {left.pop(index): outcome for index, outcome in found.items()}
            except StopAsyncIteration:
                outcomes = _all_of(left, PluginError(f"The driver did not tell of {len(left)} of {len(batch)} writes."))
            except TimeoutError:
                outcomes = _all_of(left, late(commands[0].point.device_id, longest_s))
            except Exception as error:  # a driver's code: whoever asked is told
                outcomes = _all_of(left, error)
            for order, outcome in outcomes.items():
                _tell(logs[order], outcome)
            yield outcomes

    def _log(self, order: _Order) -> Any:
        command, entry = order.command, order.entry
        before = self._registry.reading(entry) if entry is not None else None
        return structlog.get_logger().bind(
            command=command.id, principal=command.principal, origin=command.origin, point=command.point.id,
            before=before.value if before else None, priority=command.priority,
            value=None if command.relinquish else command.value, relinquish=command.relinquish,
        )  # fmt: skip

    async def _settle(self, outcomes: Mapping[_Order, Outcome]) -> None:
        """Put what was done, or perhaps was, on record, take over what was read back, and answer."""
        done = {order: outcome for order, outcome in outcomes.items() if not isinstance(outcome, Exception)}
        records = []
        for order, outcome in outcomes.items():
            result = result_of(order.command, outcome)
            if result is not None:
                record = self._records.of(order.asked, result)
                records.append(record)
                if order in done:
                    self._holders.note(order.command, done[order], record.at)
        try:
            if records:
                await self._records.keep(records)
        finally:
            answers = {order: self._take(order, outcome) for order, outcome in done.items()}
            for order, answer in answers.items():
                self._once.remember(order.asked, answer)
        for order, outcome in outcomes.items():
            order.settle(outcome if isinstance(outcome, Exception) else answers[order])

    def _take(self, order: _Order, outcome: WriteResult | Taken) -> Written | Exception:
        """Show what was read back as the point's reading, where the point is still there, and return what to answer."""
        if isinstance(outcome, Taken):
            return outcome.error
        point_id = order.command.point.id
        if self.point(point_id) is not None:
            entry = self._registry.point(point_id)
            chunk = Chunk(group_of([entry]).slots)
            row = Row(outcome.value, outcome.flags)
            self._polls.apply(batch_of(chunk, [row], time=self._clock.utc(), source=Source.WRITE))
            self._polls.answered(entry.device)
        reading = self._reading(point_id)
        return Written(reading, outcome.effective, outcome.active_priority, outcome.priority, outcome.verified)

    def _reading(self, point_id: str) -> Reading | None:
        try:
            return self._registry.reading(self._registry.point(point_id))
        except PointNotFound:  # deleted meanwhile, with its device
            return None


async def _one(driver: Driver, commands: Sequence[Command]) -> AsyncIterator[Mapping[int, Outcome]]:
    yield {0: await driver.write(commands[0])}


def _all_of(left: dict[int, _Order], error: Exception) -> dict[_Order, Outcome]:
    orders = [*left.values()]
    left.clear()
    return dict.fromkeys(orders, error)


def _tell(log: Any, outcome: Outcome) -> None:
    if isinstance(outcome, WriteResult):
        written = {"effective": outcome.effective, "active": outcome.active_priority, "verified": outcome.verified}
        tell = log.warning if outcome.verified is False else log.info
        tell("point_written", after=outcome.value, slot=outcome.priority, **written)
    elif isinstance(outcome, Taken):
        log.warning("point_written", slot=outcome.priority, verified=None, error=str(outcome.error))
    elif isinstance(outcome, PlantroomError):
        log.warning("write_failed", code=outcome.code, error=str(outcome))


def _settled(outcome: asyncio.Future[Written] | Exception) -> Written | Exception:
    try:
        return outcome if isinstance(outcome, Exception) else outcome.result()
    except Exception as error:  # it is whoever asked that raises it
        return error
