"""The limiter's store in memory: exact to one request, and bounded."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import ManualClock
from core.rate_limits import GRAIN, LOOKS, MemoryRateLimitStore
from core.services import Allowance


class Hands:
    """A clock whose hands a test turns, backwards too."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Bucket:
    """A token bucket as it is written on paper: with fractions, nothing kept but the level and its time."""

    def __init__(self, rate: Fraction, burst: Fraction) -> None:
        self.rate, self.burst = rate, burst
        self.level, self.at = burst, Fraction(0)

    def take(self, now: Fraction, cost: Fraction) -> tuple[bool, int, Fraction, Fraction]:
        self.level, self.at = min(self.burst, self.level + (now - self.at) * self.rate), now
        cost = min(cost, self.burst)
        allowed = cost <= self.level
        if allowed:
            self.level -= cost
        wait = Fraction(0) if allowed else (cost - self.level) / self.rate
        return allowed, int(self.level), wait, (self.burst - self.level) / self.rate


EIGHTHS = st.integers(0, 200).map(lambda count: Fraction(count, 8))


@settings(max_examples=300, deadline=None)
@given(
    rate=st.sampled_from([Fraction(1, 4), *map(Fraction, (1, 2, 8, 64))]),
    burst=st.integers(1, 20).map(Fraction),
    steps=st.lists(st.tuples(st.integers(0, 200).map(lambda count: Fraction(count, 64)), EIGHTHS), max_size=40),
)
def test_it_answers_as_the_bucket_on_paper_does(
    rate: Fraction, burst: Fraction, steps: list[tuple[Fraction, Fraction]]
):
    clock, paper, now = Hands(), Bucket(rate, burst), Fraction(0)
    store = MemoryRateLimitStore(clock)
    for pause, cost in steps:
        now += pause
        clock.now = float(now)
        answer = store.take("key", rate=float(rate), burst=float(burst), cost=float(cost))
        allowed, remaining, wait, full = paper.take(now, cost)
        assert (answer.allowed, answer.remaining) == (allowed, remaining)
        assert (answer.retry_after_s, answer.reset_after_s) == pytest.approx((float(wait), float(full)))


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([0.0, 3.7, 1e5 + 0.1, 1e7 + 0.3]),
    rate=st.floats(0.001, 10_000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 60)), max_size=30),
)
def test_in_no_span_of_time_does_more_pass_than_burst_plus_rate_times_time_and_no_less_where_asked_in_time(
    start: float, rate: float, burst: int, steps: list[tuple[float, float]]
):
    clock = Hands()
    clock.now = start
    store = MemoryRateLimitStore(clock)
    passed: list[tuple[float, float]] = []

    def take(cost: float) -> Allowance:
        answer = store.take("key", rate=rate, burst=burst, cost=cost)
        assert 0 <= answer.remaining <= burst
        assert answer.reset_after_s >= 0
        assert (answer.retry_after_s > 0) == (not answer.allowed)
        if answer.allowed:
            passed.append((clock.now, min(cost, burst)))
        return answer

    for pause, cost in steps:
        clock.now += pause
        answer = take(cost)
        if not answer.allowed:
            clock.now += answer.retry_after_s
            assert take(cost).allowed, "as it was told"
    for index, (begin, _cost) in enumerate(passed):
        used = 0.0
        for end, cost in passed[index:]:
            used += cost
            assert used <= burst + rate * (end - begin) + 2 * GRAIN


def test_a_look_takes_nothing_and_makes_nothing_to_remember():
    store = MemoryRateLimitStore(ManualClock())
    for _ in range(3):
        assert store.take("key", rate=1.0, burst=5, cost=0) == Allowance(True, 5, 0.0, 0.0)
    assert len(store) == 0
    store.take("key", rate=1.0, burst=5, cost=2)
    assert store.take("key", rate=1.0, burst=5, cost=0).remaining == 3


def test_what_costs_more_than_the_burst_passes_when_all_of_it_is_there_and_takes_all_of_it():
    clock = Hands()
    store = MemoryRateLimitStore(clock)
    store.take("key", rate=1.0, burst=10)
    refused = store.take("key", rate=1.0, burst=10, cost=25)
    assert (refused.allowed, refused.retry_after_s) == (False, pytest.approx(1.0))
    clock.now = 1.0
    assert store.take("key", rate=1.0, burst=10, cost=25) == Allowance(True, 0, 0.0, 10.0)


@pytest.mark.parametrize("step", [-1.0, -1e6])
def test_a_clock_that_is_set_back_costs_a_client_one_burst_at_most(step: float):
    clock = Hands()
    clock.now = 2e6
    store = MemoryRateLimitStore(clock)
    store.take("key", rate=2.0, burst=10)
    clock.now += step
    answer = store.take("key", rate=2.0, burst=10, cost=0)
    assert answer.reset_after_s <= 5.0
    clock.now += 5.0
    assert store.take("key", rate=2.0, burst=10, cost=10).allowed


def test_a_limit_that_was_raised_holds_at_once():
    store = MemoryRateLimitStore(clock := Hands())
    for _ in range(20):
        assert store.take("key", rate=20 / 60, burst=20).allowed
    assert store.take("key", rate=100.0, burst=200, cost=0) == Allowance(True, 0, 0.0, 2.0)
    clock.now = 0.01
    assert store.take("key", rate=100.0, burst=200).allowed, "what is owed of a minute at the old rate is forgiven"


def test_keys_that_have_their_burst_again_are_forgotten():
    store = MemoryRateLimitStore(clock := Hands())
    for index in range(50_000):
        clock.now += 0.01
        assert store.take(f"@{index}", rate=1.0, burst=5).remaining == 4
        assert len(store) < 200, "100 of them owe something at a time"


def test_while_the_table_is_full_new_keys_share_one_burst_and_known_ones_keep_theirs():
    store = MemoryRateLimitStore(clock := Hands(), keys=100)
    for index in range(100):
        assert store.take(f"@{index}", rate=1.0, burst=60, cost=30).remaining == 30
    passed = [store.take(f"late {index}", rate=1.0, burst=60).allowed for index in range(1000)]
    assert sum(passed) == 60
    assert len(store) == 100
    assert [store.take(f"@{index}", rate=1.0, burst=60).remaining for index in range(100)] == [29] * 100
    assert store.take("late", rate=2.0, burst=60).remaining == 59, "another limit has another one"

    clock.now = 31.0
    assert store.take("late 1", rate=1.0, burst=60).remaining == 30, "who was counted with others owes what they do"
    clock.now = 200.0
    assert store.take("late 2", rate=1.0, burst=60).remaining == 59
    assert len(store) <= 100


def test_a_refused_newcomer_still_owes_what_newcomers_owe():
    store = MemoryRateLimitStore(clock := Hands(), keys=1)
    store.take("first", rate=1.0, burst=10)
    assert store.take("second", rate=1.0, burst=10, cost=10).allowed
    clock.now = 1.0  # the first is forgotten, and there is room
    assert not store.take("third", rate=1.0, burst=10, cost=5).allowed
    assert not store.take("third", rate=1.0, burst=10, cost=5).allowed


@settings(max_examples=100, deadline=None)
@given(
    keys=st.integers(1, 8),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 20), st.sampled_from([0.5, 4.0])), max_size=100),
)
def test_it_never_remembers_more_than_its_bound_whoever_asks(keys: int, steps: list[tuple[float, int, float]]):
    store = MemoryRateLimitStore(clock := Hands(), keys=keys)
    for pause, index, rate in steps:
        clock.now += pause
        store.take(f"@{index}", rate=rate, burst=4)
        assert len(store) <= keys
        assert len(store._shared) <= 2
        assert sorted(store._round) == sorted(store._arrivals)
    clock.now += 100.0
    for index in range(keys):
        store.take(f"new {index}", rate=1.0, burst=4)
    assert len(store) <= max(LOOKS, keys)


def test_it_goes_by_the_clock_that_it_is_given(clock: ManualClock):
    store = MemoryRateLimitStore(clock)
    store.take("key", rate=1.0, burst=1)
    asyncio.run(clock.advance(0.9))
    assert not store.take("key", rate=1.0, burst=1).allowed
    asyncio.run(clock.advance(0.1))
    assert store.take("key", rate=1.0, burst=1).allowed
