"""Delivery to sinks: in order, at least once, whatever the receiver does, and what is told of it."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_history import START_MS, record
from structlog.testing import capture_logs

from core.errors import PluginError
from core.memory_history import MemoryHistory
from core.model import Kind, Source
from core.outbox import (
    JOINED_AT_MOST,
    NOTE_EVERY_S,
    RESOLVED_AT_ONCE,
    Outbox,
    Sender,
    batches_between,
    batches_of,
    resumed_at,
)
from core.pump import LONGEST_DELAY_S, LOOK_EVERY_S, Pump, SinkState
from core.readings import Chunk, Row, batch_of
from core.routes import Health
from core.samples import Lost, Position
from core.sinks import Delivery, Sink

LONGEST_S = 30.0
SWALLOWED = 3


class Shelf:
    """A receiver, as a third party writes one, that keeps deliveries; ``fails`` is what it raises instead."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.connected = 0
        self.fails: Exception | None = None
        self.fails_to_connect: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Shelf]:
        if self.fails_to_connect is not None:
            raise self.fails_to_connect
        self.connected += 1
        yield self

    async def deliver(self, delivery: Delivery) -> None:
        self.asked.set()
        if self.fails is not None:
            raise self.fails
        if self.gate is not None:
            await self.gate.wait()
        self.deliveries.append(delivery)

    @property
    def values(self) -> list[Any]:
        return [sample.value for delivery in self.deliveries for _slot, _point, sample in delivery.rows()]

    @property
    def seqs(self) -> list[list[int]]:
        return [[batch.position.seq for batch in delivery.batches] for delivery in self.deliveries]


class Ledger(Shelf):
    """One that also knows where it stands; ``forgets_to_say`` has it commit a delivery and fail all the same."""

    def __init__(self, known: Position | None = None) -> None:
        super().__init__()
        self.known = known
        self.forgets_to_say = False

    async def position(self) -> Position | None:
        return self.known

    async def deliver(self, delivery: Delivery) -> None:
        await super().deliver(delivery)
        self.known = delivery.position
        if self.forgets_to_say:
            self.forgets_to_say = False
            raise ConnectionResetError("cut")


async def begin(house: Any, shelf: Shelf, **options: Any) -> Pump:
    """Deliver to a shelf from now on."""
    (pump,) = house.deliveries.add("demo", [Sink("shelf", shelf.connect, **options)], None)
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    await house.clock.advance(0)
    return pump


def write(house: Any, *values: float, slot: int = 1) -> None:
    """Commit a batch for each value."""
    for value in values:
        record(house.services.history, slot, START_MS + int(value), value)


async def test_what_is_committed_from_now_on_is_delivered_in_order_with_its_points(house):
    device = house.device("demo.a", "t", unit="percent")
    slot = house.registry.point("demo.a.t").slot
    write(house, 1.0, slot=slot)
    shelf = Shelf()
    pump = await begin(house, shelf)
    write(house, 2.0, 3.0, slot=slot)
    await house.clock.advance(LOOK_EVERY_S)
    (delivery,) = shelf.deliveries
    assert shelf.values == [2.0, 3.0]
    assert (delivery.installation_id, delivery.site, len(delivery)) == ("0000-id", "local", 2)
    assert delivery.position == house.services.history.newest == pump.position
    assert {point.id: (point.kind, point.unit) for point in delivery.points.values()} == {
        f"{device.id}.t": (Kind.NUMBER, "percent")
    }
    assert (pump.state, pump.health()[0], pump.behind) == (SinkState.CONNECTED, Health.OK, 0)
    await house.clock.advance(10 * LOOK_EVERY_S)
    assert len(shelf.deliveries) == 1


async def test_batches_are_joined_up_to_a_bound_and_one_that_is_larger_is_delivered_alone(house):
    shelf = Shelf()
    shelf.gate = asyncio.Event()
    await begin(house, shelf, batch_samples=3)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    history, large = house.services.history, Chunk(array("I", range(1, 6)))
    write(house, 2.0, 3.0)
    history.record(batch_of(large, [Row(4.0)] * 5, time=START_MS / 1000, source=Source.POLL), range(5))
    write(house, 5.0, 6.0, 7.0, 8.0)
    shelf.gate.set()
    await house.clock.advance(LOOK_EVERY_S)
    assert [len(delivery) for delivery in shelf.deliveries] == [1, 2, 5, 3, 1]
    assert shelf.values == [1.0, 2.0, 3.0, *[4.0] * 5, 5.0, 6.0, 7.0, 8.0]


async def test_however_small_they_are_only_so_many_batches_are_joined(house):
    shelf = Shelf()
    await begin(house, shelf)
    write(house, *map(float, range(2 * JOINED_AT_MOST + 1)))
    await house.clock.advance(LOOK_EVERY_S)
    assert [len(delivery.batches) for delivery in shelf.deliveries] == [JOINED_AT_MOST, JOINED_AT_MOST, 1]


async def test_what_is_not_confirmed_is_delivered_again_and_the_failure_is_told_once(house):
    shelf = Shelf()
    shelf.fails = ConnectionResetError("the receiver is gone, postgresql://u:geheim@db")
    with capture_logs() as log:
        pump = await begin(house, shelf)
        write(house, 1.0)
        await house.clock.advance(LOOK_EVERY_S)
        write(house, 2.0)
        await house.clock.advance(20 * LONGEST_DELAY_S)
        assert pump.state is SinkState.FAILING
        assert pump.failing_since is not None
        assert pump.health() == (
            Health.DEGRADED, "the receiver is gone, postgresql://***@db; 2 batches wait",
        )  # fmt: skip
        assert shelf.connected == pump.figures.failures >= 15
        shelf.fails = None
        await house.clock.advance(LONGEST_DELAY_S)
    assert shelf.values == [1.0, 2.0]
    assert pump.state is SinkState.CONNECTED
    assert (pump.error, pump.failing_since) == (None, None)
    told = [(line["event"], line.get("failures")) for line in log if line["event"].startswith("sink_")]
    assert told == [("sink_failed", None), ("sink_recovered", pump.figures.failures)]


async def test_one_that_cannot_be_reached_is_tried_ever_later_and_is_well_again_as_soon_as_it_can(house):
    shelf = Shelf()
    shelf.fails_to_connect = OSError("refused")
    pump = await begin(house, shelf)
    await house.clock.advance(10)
    soon = pump.figures.failures
    await house.clock.advance(10 * LONGEST_DELAY_S)
    later = pump.figures.failures - soon
    assert soon >= 3
    assert 10 <= later <= 60
    shelf.fails_to_connect = None
    await house.clock.advance(LONGEST_DELAY_S)
    assert (pump.state, pump.error) == (SinkState.CONNECTED, None)


async def test_a_plugins_own_mistake_is_logged_with_its_traceback_and_tried_again(house):
    shelf = Shelf()
    shelf.fails = KeyError("slip")
    with capture_logs() as log:
        await begin(house, shelf)
        write(house, 1.0)
        await house.clock.advance(LOOK_EVERY_S)
    (line,) = [line for line in log if line["event"] == "sink_failed"]
    assert isinstance(line["exc_info"], KeyError)
    shelf.fails = None
    await house.clock.advance(LONGEST_DELAY_S)
    assert shelf.values == [1.0]


class CountingHistory(MemoryHistory):
    """One that counts how often a cursor is moved, which is a commit to others; ``busy`` has each bring a batch."""

    def __init__(self, *, busy: bool = False) -> None:
        super().__init__()
        self.moves = 0
        self.busy = busy

    async def advance(self, name: str, position: Position) -> None:
        self.moves += 1
        await super().advance(name, position)
        if self.busy:
            record(self, 1, START_MS + self.moves, 1.0)


async def test_the_place_is_noted_in_the_history_now_and_then_and_when_delivery_ends(house):
    history = house.services.history = CountingHistory()
    shelf = Shelf()
    pump = await begin(house, shelf)
    for second in range(20):
        write(house, float(second))
        await house.clock.advance(1)
    assert len(shelf.deliveries) == 20
    assert history.moves <= 20 / NOTE_EVERY_S
    await pump.stop()
    assert await history.register(pump.name) == history.newest


async def test_a_history_that_cannot_note_the_place_does_not_have_everything_delivered_again(house):
    class Full(MemoryHistory):
        async def advance(self, name: str, position: Position) -> None:
            raise OSError("the disk is full")

    history = house.services.history = Full()
    shelf = Shelf()
    pump = await begin(house, shelf)
    for second in range(20):
        write(house, float(second))
        await house.clock.advance(NOTE_EVERY_S)
    await house.clock.advance(LONGEST_DELAY_S)
    assert shelf.values == [float(second) for second in range(20)]
    assert pump.figures.failures >= 1
    assert await history.register(pump.name) == Position(1, 0)


async def test_what_comes_while_something_is_delivered_waits_for_the_next_look(house):
    """Else a history that commits as a cursor moves, and the sink that it feeds, would chase each other."""
    history = house.services.history = CountingHistory(busy=True)
    shelf = Shelf()
    await begin(house, shelf)
    write(house, 1.0)
    await house.clock.advance(10 * NOTE_EVERY_S)
    assert 5 <= len(shelf.deliveries) <= history.moves + 1 <= 12


async def test_a_receiver_that_says_where_it_stands_gets_nothing_twice(house):
    ledger = Ledger()
    pump = await begin(house, ledger)
    ledger.forgets_to_say = True
    write(house, 1.0, 2.0)
    await house.clock.advance(LOOK_EVERY_S)
    write(house, 3.0)
    await house.clock.advance(LONGEST_DELAY_S)
    assert ledger.values == [1.0, 2.0, 3.0]
    assert ledger.connected == 2
    assert await house.services.history.register(pump.name) == ledger.known


async def test_a_receiver_that_was_set_back_gets_again_what_the_history_still_has(house):
    ledger = Ledger()
    pump = await begin(house, ledger)
    write(house, 1.0, 2.0, 3.0)
    await house.clock.advance(LOOK_EVERY_S)
    assert ledger.known is not None
    ledger.known = Position(ledger.known.epoch, ledger.known.seq - 2)
    await pump.stop()
    pump.start()
    await house.clock.advance(LOOK_EVERY_S)
    assert ledger.values == [1.0, 2.0, 3.0, 2.0, 3.0]


async def test_a_position_of_another_history_is_not_taken_for_one_of_this(house):
    ledger = Ledger(Position(house.services.history.newest.epoch + 1, 5))
    with capture_logs() as log:
        await begin(house, ledger)
        write(house, 1.0)
        await house.clock.advance(LOOK_EVERY_S)
    assert ledger.values == [1.0]
    assert [line["event"] for line in log] == ["sink_position_foreign"]


positions = st.builds(Position, st.integers(1, 3), st.integers(0, 5))


@settings(max_examples=200, deadline=None)
@given(cursor=positions, known=st.none() | positions, newest=positions)
def test_nothing_behind_the_cursor_is_left_out_for_a_position_of_an_epoch_that_is_not_known(
    cursor: Position, known: Position | None, newest: Position
):
    place = resumed_at(cursor, known, newest)
    assert place in (cursor, known)
    if place > cursor:
        assert place.epoch in (cursor.epoch, newest.epoch)
        assert place <= newest
    if known is not None and known.epoch == cursor.epoch and known <= newest:
        assert place == known


@pytest.mark.parametrize(
    ("after", "until", "count"),
    [
        (Position(1, 2), Position(1, 5), 3),
        (Position(1, 5), Position(1, 2), 0),
        (Position(1, 5), Position(2, 2), 2),
        (Position(2, 5), Position(1, 2), 0),
    ],
    ids=["one epoch", "ahead", "two epochs", "ahead by an epoch"],
)
def test_batches_are_counted_from_position_to_position(after: Position, until: Position, count: int):
    assert batches_between(after, until) == count


async def test_what_was_removed_before_it_could_be_delivered_is_told_and_counted_once(house):
    history = house.services.history = MemoryHistory(batches=4)
    shelf = Shelf()
    shelf.fails = OSError("away")
    with capture_logs() as log:
        pump = await begin(house, shelf)
        write(house, *map(float, range(10)))
        await house.clock.advance(LONGEST_DELAY_S)
        assert pump.figures.lost_batches == 0
        write(house, 10.0)
        shelf.fails = None
        await house.clock.advance(LONGEST_DELAY_S)
    (delivery,) = shelf.deliveries
    assert delivery.lost == Lost(Position(1, 1), Position(1, 7))
    assert shelf.values == [7.0, 8.0, 9.0, 10.0]
    assert pump.figures.lost_batches == batches_of(delivery.lost) == 7
    assert [line["batches"] for line in log if line["event"] == "sink_lost_batches"] == [6]
    assert pump.position == history.newest


async def test_a_delivery_may_tell_of_a_loss_and_nothing_else():
    lost = Lost(Position(1, 1), Position(1, 3))
    assert Delivery("id", "local", (), {}, lost).position == Position(1, 3)
    with pytest.raises(ValueError, match="batches"):
        _ = Delivery("id", "local", (), {}).position


async def test_a_point_that_was_deleted_is_delivered_without_its_name_and_counted(house):
    house.device("demo.a", "t")
    slot = house.registry.point("demo.a.t").slot
    shelf = Shelf()
    pump = await begin(house, shelf)
    write(house, 1.0, slot=slot)
    house.registry.mark_vanished(["demo.a"])
    house.registry.delete_device("demo.a")
    await house.clock.advance(LOOK_EVERY_S)
    (delivery,) = shelf.deliveries
    assert [(number, point, sample.value) for number, point, sample in delivery.rows()] == [(slot, None, 1.0)]
    assert pump.figures.unnamed_samples == 1


async def test_the_points_of_a_large_batch_are_looked_up_in_pieces(house):
    """Others get their turn between them."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    slots = array("I", range(1, 5 * RESOLVED_AT_ONCE))
    history = house.services.history
    begin = history.newest
    history.record(batch_of(Chunk(slots), [Row(1.0)] * len(slots), time=1.0, source=Source.POLL), range(len(slots)))
    counting = asyncio.create_task(count())
    outbox = Outbox(history, house.registry, Sender("id", "local"), most=10)
    assert len(await outbox.after(begin) or ()) == len(slots)
    counting.cancel()
    assert turns >= 4


async def test_a_receiver_that_never_answers_is_given_up_after_its_time(house, leap):
    shelf = Shelf()
    shelf.gate = asyncio.Event()
    pump = await begin(house, shelf, timeout_s=1000.0)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    await leap(1001)
    async with asyncio.timeout(LONGEST_S):
        while pump.error is None:
            await asyncio.sleep(0.01)
    assert pump.error == "a delivery took longer than 1000 s: see why the receiver is slow"
    shelf.gate = None
    await house.clock.advance(LONGEST_DELAY_S)
    assert shelf.values == [1.0]


async def test_a_delivery_under_way_may_end_before_delivery_stops(house):
    shelf = Shelf()
    shelf.gate = asyncio.Event()
    pump = await begin(house, shelf)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    stopping = asyncio.create_task(house.deliveries.close())
    await asyncio.sleep(0)
    shelf.gate.set()
    await stopping
    assert await house.services.history.register(pump.name) == shelf.deliveries[0].position
    assert pump.state is SinkState.WAITING
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    assert pump.state is SinkState.WAITING


@pytest.mark.parametrize("how", ["failing", "hanging"])
async def test_delivery_stops_within_bounded_time_also_while_it_fails(house, how: str):
    shelf = Shelf()
    shelf.gate = asyncio.Event() if how == "hanging" else None
    shelf.fails = OSError("away") if how == "failing" else None
    pump = await begin(house, shelf)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    async with asyncio.timeout(LONGEST_S):
        await house.deliveries.pause()
    assert pump.state is SinkState.WAITING
    assert pump.health()[0] is Health.DEGRADED
    shelf.fails = shelf.gate = None
    pump.start()
    await house.clock.advance(LOOK_EVERY_S)
    assert shelf.values == [1.0]


async def test_a_receiver_that_swallows_being_stopped_is_named_and_delivers_nothing_more(house):
    class Stubborn(Shelf):
        async def deliver(self, delivery: Delivery) -> None:
            for _ in range(SWALLOWED):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.asked.set()
            self.deliveries.append(delivery)

    stubborn = Stubborn()
    pump = await begin(house, stubborn)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "sink:demo.shelf"]
    with capture_logs() as log:
        await pump.stop()
    assert [line["event"] for line in log] == ["task_does_not_end"]
    write(house, 2.0)
    for _ in range(SWALLOWED):
        task.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(LONGEST_S):
        await asyncio.wait({task})
    assert stubborn.values == [1.0]


async def test_another_history_is_read_from_where_it_is_now_and_the_first_one_from_where_it_was(house):
    shelf = Shelf()
    pump = await begin(house, shelf)
    first, second = house.services.history, MemoryHistory(epoch=7)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    await house.deliveries.pause()
    write(house, 2.0)
    house.services.history = second
    write(house, 3.0)
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    await house.clock.advance(0)
    write(house, 4.0)
    await house.clock.advance(LOOK_EVERY_S)
    assert pump.position == Position(7, 2)
    await house.deliveries.pause()
    house.services.history = first
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    await house.clock.advance(LOOK_EVERY_S)
    assert shelf.values == [1.0, 4.0, 2.0]


async def test_a_cursor_is_forgotten_once_its_plugin_is_gone_or_runs_without_the_sink(house):
    class Noting(MemoryHistory):
        def __init__(self) -> None:
            super().__init__()
            self.forgotten: list[str] = []

        async def forget(self, name: str) -> None:
            self.forgotten.append(name)
            await super().forget(name)

    history = house.services.history = Noting()
    house.sink_names = {"gone.a", "demo.old", "idle.b"}
    house.deliveries.add("demo", [Sink("shelf", Shelf().connect)], None)
    await house.deliveries.resume(configured=["demo", "idle"], running=["demo"])
    assert history.forgotten == ["demo.old", "gone.a"]
    assert house.sink_names == {"demo.shelf", "idle.b"}
    await house.deliveries.remove("demo")
    await house.deliveries.resume(configured=["demo"], running=[])
    assert history.forgotten == ["demo.old", "gone.a", "idle.b"]
    assert house.sink_names == {"demo.shelf"}


async def test_names_that_cannot_be_read_hold_up_no_delivery(house):
    async def fail() -> set[str]:
        raise OSError("disk")

    house.deliveries._read_names = fail
    shelf = Shelf()
    with capture_logs() as log:
        await begin(house, shelf)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    assert shelf.values == [1.0]
    assert [line["event"] for line in log] == ["sink_names_not_settled"]


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        ([Sink("A b", Shelf().connect)], "needs a name"),
        ([Sink("a", Shelf().connect), Sink("a", Shelf().connect)], "two sinks are named 'a'"),
        ([Sink("a", Shelf().connect, batch_samples=0)], "batch_samples"),
        ([Sink("a", Shelf().connect, timeout_s=0)], "seconds"),
    ],
    ids=["name", "twice", "samples", "time"],
)
def test_a_sink_that_makes_no_sense_is_its_plugins_mistake(house, sinks: list[Sink], said: str):
    with pytest.raises(PluginError, match=said):
        house.deliveries.add("demo", sinks, None)


async def test_removing_a_plugin_ends_its_deliveries_alone(house):
    mine, theirs = Shelf(), Shelf()
    house.deliveries.add("other", [Sink("shelf", theirs.connect)], None)
    await begin(house, mine)
    await house.deliveries.remove("other")
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    assert (mine.values, theirs.values) == ([1.0], [])
    assert list(house.deliveries.all) == ["demo.shelf"]


async def test_figures_are_told_and_outlive_a_restart_of_the_plugin(house):
    def figures() -> dict[str, float]:
        return {metric.name: value for metric in house.deliveries.metrics() for _labels, value in metric.collect()}

    shelf = Shelf()
    await begin(house, shelf)
    write(house, 1.0, 2.0)
    await house.clock.advance(LOOK_EVERY_S)
    await house.deliveries.remove("demo")
    shelf.fails = OSError("away")
    await begin(house, shelf)
    write(house, 3.0)
    await house.clock.advance(LOOK_EVERY_S)
    found = figures()
    assert found["plantroom_sink_delivered_samples_total"] == 2
    assert found["plantroom_sink_behind_batches"] == 1
    assert found["plantroom_sink_connected"] == 0
    assert found["plantroom_sink_failures_total"] >= 1
    labels = [labels for metric in house.deliveries.metrics() for labels, _value in metric.collect()]
    assert labels == [{"plugin": "demo", "sink": "demo.shelf"}] * 6


async def test_code_of_a_plugin_that_would_end_the_process_is_a_failure_of_its_sink(house):
    from core.belongings import Belongings
    from core.owner import owner_name

    owners: list[str] = []

    class Quitter(Shelf):
        @asynccontextmanager
        async def connect(self) -> AsyncIterator[Shelf]:
            owners.append(owner_name())
            yield self

        async def deliver(self, delivery: Delivery) -> None:
            owners.append(owner_name())
            raise SystemExit(3)

    call: Callable[[], Any] = Quitter().connect
    (pump,) = house.deliveries.add("demo", [Sink("quitter", call)], Belongings("demo"))
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    await house.clock.advance(0)
    write(house, 1.0)
    await house.clock.advance(LOOK_EVERY_S)
    assert pump.error == "it called sys.exit()"
    assert set(owners) == {"demo"}
