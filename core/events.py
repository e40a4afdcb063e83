"""Typed events between kernel and plugins: one bounded queue for each listener, and what overflows is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

import attrs
import structlog

from core.model import Device, DeviceStatus
from core.owner import owner_name
from core.readings import ReadingBatch
from core.request_ids import working_for
from core.tasks import end_tasks

TURN = 100
"""How many events a listener handles at most before everybody else has a turn of the loop."""

EventT = TypeVar("EventT")


@attrs.frozen
class DeviceStatusChanged:
    """A device came online or went offline; ``at`` is UTC seconds."""

    device_id: str
    status: DeviceStatus
    at: float
    error: str | None = None


@attrs.frozen
class DevicesChanged:
    """Devices or their points were added, changed, or have vanished."""

    devices: tuple[Device, ...]


@attrs.frozen
class ReadingsChanged:
    """A batch in which at least one value, quality or flag changed; ``rows`` are their indexes in the batch."""

    batch: ReadingBatch
    rows: tuple[int, ...]


@attrs.frozen
class DeviceAsked:
    """A device was asked to have so many points read or written, and had answered, or not, after ``seconds``.

    ``request_ids`` are those of the requests that it was for; ``error`` is why it did not answer.
    """

    device_id: str
    plugin: str
    what: Literal["read", "write"]
    points: int
    seconds: float
    request_ids: tuple[str, ...] = ()
    error: str | None = None


@attrs.frozen
class PluginStateChanged:
    """A plugin started, failed, or stopped."""

    name: str
    state: str
    error: str | None = None


@attrs.frozen
class JobChanged:
    """A job started, got on, or ended; ``progress`` is 0 to 1, ``found`` counts what it has found so far.

    ``counts`` say how many of which sort; ``time_left_s`` is None while nobody can tell.
    """

    id: str
    kind: str
    state: str
    phase: str
    progress: float
    done: int
    total: int | None
    found: int
    counts: Mapping[str, int] = attrs.field(factory=dict)
    time_left_s: float | None = None


@attrs.frozen
class ClockStepped:
    """The system clock was set: UTC moved by ``seconds`` more than the monotonic clock did."""

    seconds: float


@attrs.frozen
class EventHandler(Generic[EventT]):
    """Which events a listener wants, how many may wait for it, and what to do with each.

    When ``queue`` are waiting, the oldest is dropped and counted: a slow listener never holds up the house.
    """

    event: type[EventT]
    handle: Callable[[EventT], Awaitable[None]]
    queue: int = 1000


class Subscription:
    """One listener's queue and the task that empties it."""

    def __init__(self, handler: EventHandler[Any], owner: str) -> None:
        self.handler = handler
        self.owner = owner
        self.dropped = 0
        self._waiting: deque[Any] = deque(maxlen=handler.queue)
        self._arrived = asyncio.Event()
        self._publishers: set[str] = set()
        self._log = structlog.get_logger(plugin=owner, event_type=handler.event.__name__)

    def offer(self, event: object) -> None:
        """Queue an event without waiting; drop the oldest where the queue is full, naming each publisher once."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
            publisher = owner_name()
            if publisher not in self._publishers:
                self._publishers.add(publisher)
                self._log.warning("events_dropped", publisher=publisher, queue=self.handler.queue)
        self._waiting.append(event)
        self._arrived.set()

    async def run(self) -> None:
        """Handle events until cancelled; a handler that raises loses that one event only."""
        failing = False
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                for event in self._next():
                    failing = await self._handle(event, failing=failing)
                await asyncio.sleep(0)

    def _next(self) -> Iterator[object]:
        """Take the next few events that wait."""
        for _ in range(min(len(self._waiting), TURN)):
            yield self._waiting.popleft()

    async def _handle(self, event: object, *, failing: bool) -> bool:
        """Handle one event; answer whether that failed."""
        try:
            await self.handler.handle(event)
        except Exception as error:  # a plugin's code: its failure stays with it
            if not failing:
                self._log.exception("event_handler_failed", error=str(error))
            return True
        if failing:
            self._log.info("event_handler_recovered")
        return False


class EventBus:
    """Hands each event to every listener of its class."""

    def __init__(self) -> None:
        self._subscriptions: dict[type, list[Subscription]] = {}
        self._tasks: dict[Subscription, asyncio.Task[None]] = {}

    @property
    def all(self) -> tuple[Subscription, ...]:
        """Every listener."""
        return tuple(self._tasks)

    def publish(self, event: object) -> None:
        """Queue an event for its listeners; never blocks, never raises."""
        for subscription in self._subscriptions.get(type(event), ()):
            subscription.offer(event)

    def wanted(self, event_type: type) -> bool:
        """Tell whether anyone listens, so that costly events need not be made."""
        return bool(self._subscriptions.get(event_type))

    def subscribe(self, handler: EventHandler[Any], *, owner: str) -> Subscription:
        """Start to handle events in a task of its own, until `unsubscribe`."""
        subscription = Subscription(handler, owner)
        self._subscriptions.setdefault(handler.event, []).append(subscription)
        with working_for(None):  # whatever request it was that started the plugin
            self._tasks[subscription] = asyncio.create_task(subscription.run(), name=f"events:{owner}")
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Stop a listener; what still waits for it is dropped."""
        self._subscriptions[subscription.handler.event].remove(subscription)
        await end_tasks([self._tasks.pop(subscription)])

    async def close(self) -> None:
        """Stop all listeners."""
        for subscription in list(self._tasks):
            await self.unsubscribe(subscription)
