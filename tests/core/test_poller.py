"""The poller: work repeated at intervals."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import DeviceTimeout, PluginError
from core.poller import BREAK_AFTER, LONGEST_DELAY_S, Poller, Repeated


@pytest.fixture
async def poller(clock: ManualClock) -> AsyncIterator[Poller]:
    poller = Poller(clock, seed=1)
    poller.start()
    yield poller
    await poller.stop()


class Work:
    """Work that takes a while, and may fail; ``begun`` are the times at which it was begun."""

    def __init__(self, clock: ManualClock, *, takes: float = 0.0) -> None:
        self.begun: list[float] = []
        self.ended = 0
        self.takes = takes
        self.fails: Exception | None = None
        self._clock = clock

    async def __call__(self) -> None:
        self.begun.append(self._clock.monotonic())
        if self.takes:
            await self._clock.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        self.ended += 1


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


async def test_work_is_repeated_at_its_interval(poller: Poller, clock: ManualClock):
    work = Work(clock)
    item = poller.add(Repeated("a", "demo", 10.0, work))
    await clock.advance(100)
    assert item.runs == len(work.begun) == 10
    assert 0 <= work.begun[0] < 10
    assert gaps(work.begun) == pytest.approx([10.0] * 9)
    assert (item.overruns, item.failures, item.last_error) == (0, 0, None)


async def test_first_runs_are_spread_over_the_interval_by_name_and_always_the_same(clock: ManualClock):
    async def phases() -> list[float]:
        poller, works = Poller(clock), [Work(clock) for _ in range(100)]
        start = clock.monotonic()
        poller.start()
        for number, work in enumerate(works):
            poller.add(Repeated(f"device-{number}", "demo", 10.0, work))
        await clock.advance(10)
        await poller.stop()
        return [work.begun[0] - start for work in works]

    first, second = await phases(), await phases()
    assert first == pytest.approx(second)
    for tenth in range(10):
        assert 3 <= sum(tenth <= phase < tenth + 1 for phase in first) <= 20


async def test_what_is_new_runs_at_once_and_only_its_repeats_are_spread(poller: Poller, clock: ManualClock):
    spread, at_once = Work(clock), Work(clock)
    poller.add(Repeated("a", "demo", 10.0, spread))
    poller.add(Repeated("a", "demo", 10.0, at_once), at_once=True)
    await clock.advance(40)
    assert at_once.begun == pytest.approx([0.0, *spread.begun])


async def test_what_is_added_while_the_poller_sleeps_long_is_not_late(poller: Poller, clock: ManualClock):
    slow, quick = Work(clock), Work(clock)
    poller.add(Repeated("slow", "demo", 3000.0, slow))
    await clock.advance(1)
    poller.add(Repeated("quick", "demo", 1.0, quick))
    await clock.advance(10)
    assert len(quick.begun) == 10


async def test_work_that_is_slower_than_its_interval_skips_turns_counts_them_and_keeps_its_rhythm(
    poller: Poller, clock: ManualClock
):
    work = Work(clock, takes=25.0)
    item = poller.add(Repeated("a", "demo", 10.0, work))
    await clock.advance(120)
    assert gaps(work.begun) == pytest.approx([30.0] * 3)
    assert item.overruns == 8


async def test_one_that_never_returns_delays_no_other(poller: Poller, clock: ManualClock):
    hung, well = Work(clock, takes=1e9), Work(clock)
    stuck = poller.add(Repeated("hung", "demo", 1.0, hung))
    poller.add(Repeated("well", "demo", 1.0, well))
    await clock.advance(20)
    assert len(well.begun) == 20
    assert (len(hung.begun), stuck.overruns) == (1, 19)


class LateClock(ManualClock):
    """A clock whose sleepers may wake late, as after the machine was busy or suspended."""

    async def oversleep(self, seconds: float) -> None:
        self._now += seconds
        await self.advance(0)


async def test_turns_that_the_house_was_too_late_for_are_counted_and_not_made_up(clock: ManualClock):
    late = LateClock()
    poller, work = Poller(late), Work(late)
    poller.start()
    item = poller.add(Repeated("a", "demo", 10.0, work))
    await late.advance(10)
    await late.oversleep(1000)
    await late.advance(20)
    assert len(work.begun) == 4
    assert item.overruns == 99
    assert (work.begun[3] - work.begun[0]) % 10 == pytest.approx(0, abs=1e-6)
    await poller.stop()


async def test_a_failure_is_logged_once_with_its_poller_and_so_is_the_recovery(poller: Poller, clock: ManualClock):
    work = Work(clock)
    work.fails = RuntimeError("the bus is down")
    with capture_logs() as logs:
        item = poller.add(Repeated("demo.meter", "demo", 10.0, work), at_once=True)
        await clock.advance(20)
        assert (item.last_error, item.failures) == ("the bus is down", len(work.begun))
        failures, work.fails = item.failures, None
        await clock.advance(60)
    assert [(line["event"], line["plugin"], line["poller"]) for line in logs] == [
        ("poll_failed", "demo", "demo.meter"), ("poll_recovered", "demo", "demo.meter"),
    ]  # fmt: skip
    assert logs[1]["failures"] >= failures
    assert (item.failures, item.last_error) == (0, None)


async def test_failures_that_are_told_of_elsewhere_are_not_logged_but_others_are(poller: Poller, clock: ManualClock):
    work = Work(clock)
    work.fails = DeviceTimeout("silence")
    with capture_logs() as logs:
        poller.add(Repeated("a", "demo", 10.0, work, quiet=(DeviceTimeout,)), at_once=True)
        await clock.advance(15)
        assert logs == []
        work.fails = ValueError("odd")
        await clock.advance(200)
        work.fails = None
        await clock.advance(300)
    assert [line["event"] for line in logs] == ["poll_failed", "poll_recovered"]


async def test_an_error_without_words_is_named_by_its_class(poller: Poller, clock: ManualClock):
    work = Work(clock)
    work.fails = KeyError()
    item = poller.add(Repeated("a", "demo", 10.0, work), at_once=True)
    await clock.advance(0)
    assert item.last_error == "KeyError"


async def test_what_keeps_failing_is_tried_ever_more_rarely_at_random_times_within_its_bound(
    poller: Poller, clock: ManualClock
):
    work = Work(clock)
    work.fails = DeviceTimeout("silence")
    poller.add(Repeated("a", "demo", 10.0, work))
    await clock.advance(5000)
    waits = gaps(work.begun)
    assert waits[: BREAK_AFTER - 1] == pytest.approx([10.0] * (BREAK_AFTER - 1))
    for number, wait in enumerate(waits[BREAK_AFTER - 1 :], 1):
        longest = min(10 * 2.0**number, LONGEST_DELAY_S)
        assert longest / 4 <= wait <= longest + 1e-6
    assert len({round(wait, 3) for wait in waits[-5:]}) == 5, "full jitter"
    work.fails = None
    await clock.advance(LONGEST_DELAY_S)
    last = len(work.begun)
    await clock.advance(100)
    assert gaps(work.begun[last:]) == pytest.approx([10.0] * (len(work.begun) - last - 1)), "back to its interval"


@pytest.mark.parametrize("interval", [1.0, 15.0, 20.0, 60.0, 3600.0])
async def test_what_fails_is_tried_again_no_later_than_its_longest_delay(
    poller: Poller, clock: ManualClock, interval: float
):
    work = Work(clock, takes=3.0)
    work.fails = DeviceTimeout("silence")
    poller.add(Repeated("a", "demo", interval, work, longest_delay=20.0), at_once=True)
    await clock.advance(600)
    assert max(gaps(work.begun)) <= 23.0 + 1e-6
    assert len(work.begun) >= 25


async def test_soon_runs_now_and_leaves_the_rhythm_as_it_is(poller: Poller, clock: ManualClock):
    work = Work(clock)
    item = poller.add(Repeated("a", "demo", 10.0, work))
    await clock.advance(20)
    regular = list(work.begun)
    poller.soon(item)
    await clock.advance(20)
    assert len(work.begun) == 5
    assert gaps([*regular, *work.begun[3:]]) == pytest.approx([10.0] * 3)


async def test_soon_does_not_run_what_runs_already(poller: Poller, clock: ManualClock):
    work = Work(clock, takes=5.0)
    item = poller.add(Repeated("a", "demo", 1000.0, work), at_once=True)
    await clock.advance(1)
    poller.soon(item)
    await clock.advance(1)
    assert len(work.begun) == 1


async def test_what_is_removed_is_cancelled_and_never_runs_again(poller: Poller, clock: ManualClock):
    work, other = Work(clock, takes=5.0), Work(clock)
    item = poller.add(Repeated("a", "demo", 10.0, work), at_once=True)
    poller.add(Repeated("b", "demo", 10.0, other))
    await clock.advance(1)
    poller.remove(item)
    poller.soon(item)
    await clock.advance(100)
    assert (len(work.begun), work.ended) == (1, 0)
    assert [each.name for each in poller.all] == ["b"]
    assert len(other.begun) == 10


async def test_what_is_removed_before_its_first_step_never_takes_it(poller: Poller, clock: ManualClock):
    work = Work(clock)
    poller.remove(poller.add(Repeated("a", "demo", 10.0, work), at_once=True))
    await clock.advance(100)
    assert work.begun == []


async def test_stopping_cancels_what_runs_and_leaves_no_task(clock: ManualClock):
    poller = Poller(clock)
    await poller.stop()
    poller.start()
    work = Work(clock, takes=5.0)
    poller.add(Repeated("a", "demo", 10.0, work), at_once=True)
    await clock.advance(1)
    await poller.stop()
    assert (len(work.begun), work.ended) == (1, 0)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("poll")] == []


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf")])
async def test_an_interval_that_is_no_length_of_time_is_refused_and_hurts_nobody(
    poller: Poller, clock: ManualClock, interval: float
):
    work = Work(clock)
    poller.add(Repeated("well", "demo", 1.0, work))
    with pytest.raises(PluginError, match="odd has an interval of"):
        poller.add(Repeated("odd", "demo", interval, work))
    await clock.advance(10)
    assert len(work.begun) == 10
    assert len(poller.all) == 1


durations = st.lists(st.integers(0, 35), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(items=st.lists(st.tuples(st.integers(1, 12), durations), min_size=1, max_size=4))
def test_every_turn_is_run_or_counted_as_an_overrun_and_every_run_begins_on_the_beat(
    items: list[tuple[int, list[int]]],
):
    def taking(clock: ManualClock, times: list[int], begun: list[float]) -> Callable[[], Awaitable[None]]:
        turns = itertools.cycle(times)

        async def work() -> None:
            begun.append(clock.monotonic())
            await clock.sleep(next(turns) + 0.5)

        return work

    async def play() -> None:
        clock = ManualClock()
        poller = Poller(clock)
        poller.start()
        entered = []
        for number, (interval, times) in enumerate(items):
            begun: list[float] = []
            item = Repeated(f"item-{number}", "demo", float(interval), taking(clock, times, begun))
            entered.append((poller.add(item), item.due, begun))
        await clock.advance(60)
        for item, phase, begun in entered:
            turns = int((60 - phase) // item.interval) + 1
            assert len(begun) + item.overruns == turns
            for time in begun:
                beats = (time - phase) / item.interval
                assert beats == pytest.approx(round(beats), abs=1e-6)
        await poller.stop()

    asyncio.run(play())


async def test_runs_that_take_longer_than_their_interval_are_logged_once_until_they_no_longer_do(poller, clock):
    gate: list[asyncio.Event] = []

    async def work() -> None:
        if gate:
            await gate[-1].wait()

    slow = asyncio.Event()
    gate.append(slow)
    with capture_logs() as logs:
        item = poller.add(Repeated("slow", "demo", 5.0, work), at_once=True)
        await clock.advance(20)
        assert item.skipped >= 2
        slow.set()
        gate.clear()
        await clock.advance(20)
    assert [line["event"] for line in logs] == ["poll_overrun", "poll_on_time"]
    assert item.skipped == 0


async def test_a_turn_that_meets_a_run_asked_for_a_moment_ago_is_no_overrun(poller, clock):
    gate = asyncio.Event()
    item = poller.add(Repeated("met", "demo", 5.0, gate.wait), at_once=True)
    await clock.advance(item.due - clock.monotonic() - 0.01)
    gate.set()
    await clock.advance(0)
    gate.clear()
    poller.soon(item)
    with capture_logs() as logs:
        await clock.advance(1)
    assert item.skipped == 0
    assert logs == []
