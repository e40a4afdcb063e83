"""The event bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.events import EventBus, EventHandler


@attrs.frozen
class Rang:
    """Somebody rang."""

    number: int


@attrs.frozen
class Knocked:
    """Somebody knocked."""

    number: int


@pytest.fixture
async def bus() -> AsyncIterator[EventBus]:
    bus = EventBus()
    yield bus
    await bus.close()


class Listener:
    """Keeps what it hears; ``until`` waits for so many."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self._more = asyncio.Condition()

    async def handle(self, event: Rang | Knocked) -> None:
        async with self._more:
            self.heard.append(event.number)
            self._more.notify_all()

    async def until(self, count: int) -> list[int]:
        async with asyncio.timeout(2), self._more:
            await self._more.wait_for(lambda: len(self.heard) >= count)
        return self.heard


async def test_each_listener_hears_the_events_of_its_class_in_order(bus: EventBus):
    first, second, other = Listener(), Listener(), Listener()
    bus.subscribe(EventHandler(Rang, first.handle), owner="a")
    bus.subscribe(EventHandler(Rang, second.handle), owner="b")
    bus.subscribe(EventHandler(Knocked, other.handle), owner="c")
    for number in range(5):
        bus.publish(Rang(number))
    bus.publish(Knocked(9))
    assert await first.until(5) == await second.until(5) == [0, 1, 2, 3, 4]
    assert await other.until(1) == [9]


async def test_an_event_that_nobody_wants_costs_nothing_and_raises_nothing(bus: EventBus):
    assert not bus.wanted(Rang)
    bus.publish(Rang(1))
    subscription = bus.subscribe(EventHandler(Rang, Listener().handle), owner="a")
    assert bus.wanted(Rang)
    assert not bus.wanted(Knocked)
    await bus.unsubscribe(subscription)
    assert not bus.wanted(Rang)


async def test_a_listener_that_never_returns_holds_up_nobody_and_loses_the_oldest(bus: EventBus):
    async def never(_event: Rang) -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        slow = bus.subscribe(EventHandler(Rang, never, queue=3), owner="slow")
        quick = Listener()
        bus.subscribe(EventHandler(Rang, quick.handle), owner="quick")
        bus.publish(Rang(0))
        await quick.until(1)
        for number in range(1, 11):
            bus.publish(Rang(number))
        assert await quick.until(11) == list(range(11))
    assert slow.dropped == 7, "one is being handled, three wait"
    dropped = [line for line in logs if line["event"] == "events_dropped"]
    assert [(line["plugin"], line["event_type"], line["queue"]) for line in dropped] == [("slow", "Rang", 3)]


async def test_what_is_kept_of_a_full_queue_is_the_newest(bus: EventBus):
    listener = Listener()
    subscription = bus.subscribe(EventHandler(Rang, listener.handle, queue=3), owner="a")
    for number in range(10):
        bus.publish(Rang(number))
    assert await listener.until(3) == [7, 8, 9]
    assert subscription.dropped == 7


async def test_a_listener_that_raises_loses_that_event_only_and_is_logged_once_with_its_recovery(bus: EventBus):
    listener = Listener()

    async def handle(event: Rang) -> None:
        if event.number < 3:
            raise RuntimeError("not yet")
        await listener.handle(event)

    with capture_logs() as logs:
        bus.subscribe(EventHandler(Rang, handle), owner="fragile")
        for number in range(5):
            bus.publish(Rang(number))
        assert await listener.until(2) == [3, 4]
    assert [(line["event"], line["plugin"]) for line in logs] == [
        ("event_handler_failed", "fragile"), ("event_handler_recovered", "fragile"),
    ]  # fmt: skip


async def test_a_listener_may_publish_what_it_listens_to(bus: EventBus):
    listener = Listener()

    async def handle(event: Rang) -> None:
        await listener.handle(event)
        if event.number < 4:
            bus.publish(Rang(event.number + 1))

    bus.subscribe(EventHandler(Rang, handle), owner="a")
    bus.publish(Rang(0))
    assert await listener.until(5) == [0, 1, 2, 3, 4]


async def test_one_who_has_left_hears_nothing_more_and_leaves_no_task(bus: EventBus):
    entered, listener = asyncio.Event(), Listener()

    async def never(_event: Rang) -> None:
        entered.set()
        await asyncio.Event().wait()

    subscription = bus.subscribe(EventHandler(Rang, never), owner="leaving")
    bus.subscribe(EventHandler(Rang, listener.handle), owner="staying")
    bus.publish(Rang(0))
    await asyncio.wait_for(entered.wait(), 2)
    await bus.unsubscribe(subscription)
    bus.publish(Rang(1))
    assert await listener.until(2) == [0, 1]
    await bus.close()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("events:")] == []


@settings(max_examples=50, deadline=None)
@given(queue=st.integers(1, 5), bursts=st.lists(st.integers(0, 12), max_size=8))
def test_no_listener_ever_has_more_waiting_than_its_bound_and_every_loss_is_counted(queue: int, bursts: list[int]):
    async def play() -> None:
        bus, listener = EventBus(), Listener()
        subscription = bus.subscribe(EventHandler(Rang, listener.handle, queue=queue), owner="a")
        sent = 0
        for burst in bursts:
            before = len(listener.heard)
            for _ in range(burst):
                bus.publish(Rang(sent))
                sent += 1
            await listener.until(before + min(burst, queue))
            assert len(listener.heard) - before <= queue
        assert sent == len(listener.heard) + subscription.dropped
        assert listener.heard == sorted(listener.heard)
        await bus.close()

    with capture_logs():
        asyncio.run(play())
