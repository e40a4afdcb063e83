"""Delivers what is committed to one sink: connects, hands over, moves the cursor, and tries again when that fails."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import attrs
import structlog

from core.clock import Clock
from core.errors import PlantroomError
from core.outbox import Outbox, Place, Sender, batches_between, batches_of
from core.owner import Owner, owned_by
from core.registry import Registry
from core.request_ids import working_for
from core.routes import Health
from core.samples import Lost, Position
from core.security import redact
from core.services import Services
from core.sinks import Delivery, Positioned, Receiver, Sink
from core.tasks import end_tasks

LOOK_EVERY_S = 1.0
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
FINISH_S = 0.3
"""How long a delivery under way has to end when the pump is stopped."""
LEAVE_S = 0.4


class SinkState(enum.StrEnum):
    """How delivery to a sink goes."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILING = "failing"


@attrs.define
class Figures:
    """What was delivered to a sink since the process began, however often its plugin was started anew.

    ``unnamed_samples`` were delivered without a point, which had been deleted.
    """

    delivered_samples: int = 0
    unnamed_samples: int = 0
    lost_batches: int = 0
    failures: int = 0


@attrs.frozen
class Surroundings:
    """What all pumps work with."""

    services: Services
    registry: Registry
    sender: Sender
    clock: Clock
    random: random.Random = attrs.field(factory=random.Random)


class Pump:
    """One sink's deliveries; at least once each, since the cursor moves only when the receiver has committed.

    A failure is logged once, and so is the recovery: when something was delivered, or there was nothing to deliver.
    ``error`` says why it fails, since the UTC seconds ``failing_since``.
    """

    def __init__(
        self, name: str, sink: Sink, owner: Owner | None, surroundings: Surroundings, figures: Figures
    ) -> None:
        self.name = name
        self.figures = figures
        self.error: str | None = None
        self.failing_since: float | None = None
        self.delivered_at: float | None = None
        self._sink = sink
        self._owner = owner
        self._with = surroundings
        self._clock = surroundings.clock
        self._task: asyncio.Task[None] | None = None
        self._handing_over = self._connected = False
        self._leaving = False
        self._in_a_row = 0
        self._place: Place | None = None
        self._told_of: Position | None = None

    @property
    def state(self) -> SinkState:
        """How it does; it waits while the history is exchanged, or none runs."""
        if self._task is None:
            return SinkState.WAITING
        if self.error is not None:
            return SinkState.FAILING
        return SinkState.CONNECTED if self._connected else SinkState.CONNECTING

    @property
    def position(self) -> Position | None:
        """The position of the last batch that the receiver has committed; None before it is known."""
        return None if self._place is None else self._place.position

    @property
    def behind(self) -> int:
        """How many batches are committed and not delivered."""
        position = self.position
        return 0 if position is None else batches_between(position, self._with.services.history.newest)

    def health(self) -> tuple[Health, str]:
        """Say how it does."""
        if self.error is not None:
            return Health.DEGRADED, f"{self.error}; {self.behind} batches wait"
        if self.state is SinkState.WAITING:
            return Health.DEGRADED, "waits for the history to run"
        return Health.OK, f"{self.state}, {self.behind} batches behind"

    def start(self) -> None:
        """Begin to deliver, where it does not yet."""
        if self._task is None:
            self._leaving = False
            with owned_by(None), working_for(None):  # it outlives the request that may have started it
                self._task = asyncio.create_task(self._run(), name=f"sink:{self.name}")

    async def stop(self) -> None:
        """End within bounded time; a delivery under way may finish, else it is made again."""
        task = self._task
        if task is None:
            return
        self._leaving = True
        if self._handing_over:
            await asyncio.wait({task}, timeout=FINISH_S)
        await end_tasks([task], within_s=LEAVE_S)
        if self._task is task:
            self._task = None

    @property
    def _is_wanted(self) -> bool:
        """Whether the task that asks is to go on; one that was left behind, since it did not end, is not."""
        return not self._leaving and self._task is asyncio.current_task()

    async def _run(self) -> None:
        while self._is_wanted:
            try:
                await self._deliver_all()
            except Exception as error:  # a plugin's code, or what is behind it: tried again, and again
                self._note_failure(error)
                await self._clock.sleep(self._delay_s())

    async def _deliver_all(self) -> None:
        """Connect, and hand over whatever is committed, until something fails."""
        history = self._with.services.history
        if self._place is None or self._place.history is not history:
            self._place = Place(self.name, history, self._clock)
        place = self._place
        await place.find()
        async with self._connection() as receiver:
            await self._resume(receiver, place)
            outbox = Outbox(history, self._with.registry, self._with.sender, most=self._sink.batch_samples)
            try:
                while self._is_wanted:
                    newest = history.newest
                    await self._deliver_next(receiver, outbox, place)
                    await place.note()
                    if place.position >= newest:
                        await self._clock.sleep(LOOK_EVERY_S)
            finally:
                with suppress(Exception):  # what is not noted is delivered again
                    async with asyncio.timeout(FINISH_S):
                        await place.note(at_once=True)

    async def _deliver_next(self, receiver: Receiver, outbox: Outbox, place: Place) -> None:
        delivery = await outbox.after(place.position)
        if delivery is not None:
            self._tell_lost(delivery.lost)
            await self._hand_over(receiver, delivery)
            place.position = delivery.position
            self._note_delivery(delivery)
        self._note_success()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Receiver]:
        connection = AsyncExitStack()
        async with self._bounded("connecting"):
            receiver = await connection.enter_async_context(self._sink.connect())
        self._connected = True
        try:
            yield receiver
        finally:
            self._connected = False
            with suppress(Exception):  # it is given up, whatever its end has to say
                async with self._bounded("disconnecting"):
                    await connection.aclose()

    async def _resume(self, receiver: Receiver, place: Place) -> None:
        """Ask a receiver that knows it where it stands."""
        if not isinstance(receiver, Positioned):
            return
        async with self._bounded("asking for the position"):
            known = await receiver.position()
        if not place.resume(known) and known is not None:
            self._log().info("sink_position_foreign", known=attrs.asdict(known), place=attrs.asdict(place.position))

    async def _hand_over(self, receiver: Receiver, delivery: Delivery) -> None:
        self._handing_over = True
        try:
            async with self._bounded("a delivery"):
                await receiver.deliver(delivery)
        finally:
            self._handing_over = False

    @asynccontextmanager
    async def _bounded(self, what: str) -> AsyncIterator[None]:
        """Run the sink's code on its plugin's behalf, for so long at most."""
        limit = asyncio.timeout(self._sink.timeout_s)
        try:
            async with limit:
                with owned_by(self._owner):
                    yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"{what} took longer than {self._sink.timeout_s:g} s: see why the receiver is slow"
            ) from None

    def _tell_lost(self, lost: Lost | None) -> None:
        """Say once that the history could not wait."""
        if lost is not None and lost.first != self._told_of:
            self._told_of = lost.first
            self._log().warning(
                "sink_lost_batches",
                batches=batches_of(lost), first=attrs.asdict(lost.first), last=attrs.asdict(lost.last),
            )  # fmt: skip

    def _note_delivery(self, delivery: Delivery) -> None:
        figures = self.figures
        self.delivered_at = self._clock.utc()
        figures.delivered_samples += len(delivery)
        figures.lost_batches += 0 if delivery.lost is None else batches_of(delivery.lost)
        for batch in delivery.batches:
            if not delivery.points.keys() >= set(batch.rows.slots):
                figures.unnamed_samples += sum(slot not in delivery.points for slot in batch.rows.slots)

    def _note_success(self) -> None:
        if self.error is not None:
            self._log().info("sink_recovered", failures=self._in_a_row)
        self.error, self.failing_since, self._in_a_row = None, None, 0

    def _note_failure(self, error: Exception) -> None:
        self.figures.failures += 1
        self._in_a_row += 1
        sentence = redact(str(error) or type(error).__name__)
        if self.error is None:
            self.failing_since = self._clock.utc()
            expected = isinstance(error, PlantroomError | OSError | TimeoutError)  # its sentence says enough
            self._log().warning("sink_failed", error=sentence, exc_info=None if expected else error)
        self.error = sentence

    def _delay_s(self) -> float:
        """Return how long to wait: any time up to a bound that doubles with each failure."""
        longest = min(FIRST_DELAY_S * 2.0 ** min(self._in_a_row - 1, 10), LONGEST_DELAY_S)
        return self._with.random.uniform(0, longest)

    def _log(self) -> Any:
        return structlog.get_logger().bind(plugin=self.name.partition(".")[0], sink=self.name)
