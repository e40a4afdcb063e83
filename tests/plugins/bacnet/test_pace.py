"""Pace: how long to wait, and how much at once, learned from how answers come."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.pace import FAST_S, SHORTEST_WAIT_S, Adaptive, Latency


def bus(pace, latency, *, serial, answer_s, rounds, begin=0.0):
    """Play a network that always has more to ask than may be under way; return the time at the end."""
    now = begin
    for _ in range(rounds):
        at_once = pace.limit
        rtt_s = answer_s * at_once if serial else answer_s
        latency.note(rtt_s, alone=at_once == 1)
        asked_at, now = now, now + rtt_s
        pace.note(asked_at, now, slow=latency.is_slow(rtt_s), full=True)
    return now


def test_a_serial_bus_is_found_out_and_asked_one_thing_at_a_time():
    pace, latency = Adaptive(1, 16), Latency()
    bus(pace, latency, serial=True, answer_s=0.03, rounds=40)
    assert pace.limit == 1
    assert pace.is_serial


def test_it_is_tried_again_after_pauses_that_grow():
    pace, latency = Adaptive(1, 16), Latency()
    steps, now = [], 0.0
    for _ in range(40_000):
        before = pace.limit
        now = bus(pace, latency, serial=True, answer_s=0.03, rounds=1, begin=now)
        if pace.limit > before == 1:
            steps.append(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(steps)]
    assert gaps[0] >= 30
    assert gaps == sorted(gaps)
    assert len(steps) < 8


@pytest.mark.parametrize("answer_s", [0.0005, 0.08])
def test_a_network_that_is_not_slowed_down_takes_as_much_as_may_be(answer_s):
    pace, latency = Adaptive(1, 16), Latency()
    bus(pace, latency, serial=False, answer_s=answer_s, rounds=400)
    assert pace.limit == 16
    assert not pace.is_serial


def test_a_fast_bus_may_be_serial():
    pace, latency = Adaptive(1, 8), Latency()
    bus(pace, latency, serial=True, answer_s=FAST_S / 10, rounds=400)
    assert pace.limit == 8


def test_answers_that_were_held_up_together_count_as_one():
    pace = Adaptive(8, 8)
    for _ in range(50):
        pace.note(1.0, 2.0, slow=True, full=True)
    assert pace.limit == 8
    for asked_at in (2.0, 3.0):
        pace.note(asked_at, asked_at + 1, slow=True, full=True)
    assert pace.limit == 7


def test_without_more_to_ask_nothing_grows():
    pace = Adaptive(1, 8)
    for number in range(100):
        pace.note(number, number + 0.001, slow=False, full=False)
    assert pace.limit == 1


def test_an_answer_that_never_came_halves_what_is_asked_at_once():
    pace = Adaptive(8, 8)
    pace.missed(1.0)
    assert pace.limit == 4
    for _ in range(5):
        pace.missed(1.0)
    assert pace.limit == 1


def test_how_slow_an_answer_is_cannot_be_told_before_one_was_alone():
    latency = Latency()
    latency.note(0.5, alone=False)
    assert latency.is_slow(0.5) is None
    assert latency.is_slow(FAST_S) is False
    latency.note(0.1, alone=True)
    assert latency.is_slow(0.5) is True
    assert latency.is_slow(0.12) is False


@given(st.lists(st.floats(0.0001, 10), min_size=1), st.floats(0.3, 60))
def test_the_wait_is_above_the_average_and_within_bounds(answers, longest_s):
    latency = Latency()
    assert latency.wait_s(longest_s) == longest_s, "nothing is known yet"
    for answer_s in answers:
        latency.note(answer_s, alone=True)
    assert min(longest_s, max(SHORTEST_WAIT_S, latency.average_s)) <= latency.wait_s(longest_s) <= longest_s
    assert math.isfinite(latency.best_s)
