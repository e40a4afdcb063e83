"""What is recorded and what is left out, by the rules for points."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model import Flag, Reason, Source, Value
from core.readings import Chunk, ReadingBatch, Row, batch_of
from plugins.history.config import HistoryConfig, Rule
from plugins.history.filtering import Filter
from plugins.history.rules import Rules

from .house import House


class Recorder:
    """A filter with these rules, and what it lets through: slots, seconds and values."""

    def __init__(self, house: House, *rules: Rule) -> None:
        self.recorded: list[tuple[int, float, Value]] = []
        self.filter = Filter(Rules(HistoryConfig(points=rules), house), self._take)

    def _take(self, batch: ReadingBatch, rows: list[int]) -> None:
        self.recorded += [(batch.chunk.slots[row], batch.time, batch.texts.get(row, batch.values[row])) for row in rows]

    def put(self, at: float, readings: dict[int, Value | Row]) -> list[tuple[int, float, Value]]:
        """Read points at a time, all that are named, and return what was recorded of it."""
        before = len(self.recorded)
        rows = [value if isinstance(value, Row) else Row(value) for value in readings.values()]
        batch = batch_of(Chunk(array("I", readings)), rows, time=at, source=Source.POLL)
        self.filter.put(batch, range(len(rows)))
        return self.recorded[before:]

    def values(self, slot: int, *readings: Value | Row) -> list[Value]:
        """Read a point once a second, and return the values that were recorded."""
        for second, value in enumerate(readings):
            self.put(float(second), {slot: value})
        return [value for _slot, _at, value in self.recorded]


@pytest.fixture
def house() -> House:
    found = House()
    found.add("a.1.temp", tags=("hvac",), unit="degrees-celsius")
    found.add("a.1.power", tags=("energy", "hvac"), unit="kilowatts")
    found.add("b.1.temp", unit="degrees-celsius")
    return found


EVERY = {1: 1.0, 2: 2.0, 3: 3.0}


@pytest.mark.parametrize(
    ("rules", "slots"),
    [
        ([], [1, 2, 3]),
        ([Rule(match="a.*", record=False)], [3]),
        ([Rule(match="*.temp", record=False)], [2]),
        ([Rule(tag="hvac", record=False)], [3]),
        ([Rule(tag="energy", record=False)], [1, 3]),
        ([Rule(plugin="b", record=False)], [1, 2]),
        ([Rule(unit="kilowatts", record=False)], [1, 3]),
        ([Rule(plugin="a", unit="degrees-celsius", record=False)], [2, 3]),
        ([Rule(record=False), Rule(tag="energy", record=True)], [2]),
        ([Rule(tag="energy", record=True), Rule(record=False)], []),
        ([Rule(match="A.*", record=False)], [1, 2, 3]),
        ([Rule(record=False), Rule(dead_band=0.1), Rule(match="b.*", record=True)], [3]),
    ],
    ids=[
        "no rule", "by id", "by the end of the id", "by a tag", "by another tag", "by plugin", "by unit", "by both",
        "all but one", "the last counts", "ids have case", "a rule that says nothing of it changes nothing",
    ],
)  # fmt: skip
def test_points_are_recorded_or_not_as_the_last_rule_that_means_them_says(house, rules, slots):
    recorder = Recorder(house, *rules)
    assert recorder.put(0.0, EVERY) == [(slot, 0.0, EVERY[slot]) for slot in slots]
    assert recorder.filter.skipped == (3 - len(slots) if rules else 0)


def test_a_change_within_the_dead_band_of_what_was_recorded_last_is_left_out(house):
    recorder = Recorder(house, Rule(dead_band=0.5))
    assert recorder.values(1, 20.0, 20.3, 20.49, 19.6, 20.5, 20.2, 20.9, 21.1, 21.0) == [20.0, 20.5, 21.1]
    assert recorder.filter.skipped == 6


def test_a_value_that_creeps_is_recorded_each_time_it_has_gone_the_dead_band(house):
    recorder = Recorder(house, Rule(dead_band=1.0))
    assert recorder.values(1, *[step / 4 for step in range(13)]) == [0.0, 1.0, 2.0, 3.0]


def test_with_a_shortest_interval_the_last_change_in_it_is_recorded_when_it_is_over(house):
    recorder = Recorder(house, Rule(min_interval=60.0))
    assert recorder.put(0.0, {1: 1.0}) == [(1, 0.0, 1.0)]
    assert recorder.put(10.0, {1: 2.0}) == []
    assert recorder.put(20.0, {1: 3.0}) == []
    recorder.filter.let_go(59_999)
    assert len(recorder.recorded) == 1
    recorder.filter.let_go(60_000)
    assert recorder.recorded[1:] == [(1, 20.0, 3.0)]
    recorder.filter.let_go(600_000)
    assert len(recorder.recorded) == 2


def test_a_change_after_the_shortest_interval_takes_the_place_of_one_that_waits(house):
    recorder = Recorder(house, Rule(min_interval=60.0))
    recorder.values(1, 1.0, 2.0)
    assert recorder.put(61.0, {1: 3.0}) == [(1, 61.0, 3.0)]
    recorder.filter.let_go(600_000)
    assert len(recorder.recorded) == 2


def test_a_value_that_comes_back_within_the_dead_band_leaves_nothing_waiting(house):
    recorder = Recorder(house, Rule(dead_band=0.5, min_interval=60.0))
    recorder.values(1, 20.0, 25.0, 20.1)
    recorder.filter.let_go(600_000)
    assert [value for _slot, _at, value in recorder.recorded] == [20.0]


def test_a_change_of_quality_or_flags_is_recorded_at_once_whatever_the_rules(house):
    recorder = Recorder(house, Rule(dead_band=100.0, min_interval=3600.0))
    offline, alarm = Row(reason=Reason.OFFLINE), Row(20.1, Flag.IN_ALARM)
    assert len(recorder.values(1, 20.0, 20.1, offline, 20.0, 20.1, alarm, alarm)) == 4
    assert [at for _slot, at, _value in recorder.recorded] == [0.0, 2.0, 3.0, 5.0]


def test_text_changes_whatever_the_dead_band(house):
    recorder = Recorder(house, Rule(dead_band=5.0))
    assert recorder.values(1, "auto", "manual", "auto") == ["auto", "manual", "auto"]


def test_a_clock_that_was_set_back_holds_nothing_up(house):
    recorder = Recorder(house, Rule(min_interval=60.0))
    recorder.put(1000.0, {1: 1.0})
    assert recorder.put(10.0, {1: 2.0}) == [(1, 10.0, 2.0)]


def test_a_point_that_gets_another_tag_is_recorded_as_its_rules_say_from_then_on(house):
    recorder = Recorder(house, Rule(tag="secret", record=False))
    assert recorder.put(0.0, {1: 1.0}) == [(1, 0.0, 1.0)]
    house.tag(1, "secret")
    assert recorder.put(1.0, {1: 2.0}) == []
    house.tag(1)
    assert recorder.put(2.0, {1: 3.0}) == [(1, 2.0, 3.0)]


def test_what_waited_of_a_point_that_is_not_to_be_recorded_any_more_is_left_out(house):
    recorder = Recorder(house, Rule(min_interval=60.0), Rule(tag="secret", record=False))
    recorder.values(1, 1.0, 2.0)
    house.tag(1, "secret")
    recorder.filter.let_go(600_000)
    assert [value for _slot, _at, value in recorder.recorded] == [1.0]


def test_points_without_rules_pass_beside_those_with_some(house):
    recorder = Recorder(house, Rule(plugin="a", dead_band=1.0))
    recorder.put(0.0, EVERY)
    assert recorder.put(1.0, {1: 1.5, 2: 9.0, 3: 3.1}) == [(2, 1.0, 9.0), (3, 1.0, 3.1)]


def test_a_point_that_nobody_knows_is_recorded(house):
    assert Recorder(house, Rule(record=False)).put(0.0, {99: 1.0}) == [(99, 0.0, 1.0)]


@settings(max_examples=60, deadline=None)
@given(
    readings=st.lists(st.tuples(st.integers(1, 40), st.integers(-8, 8)), min_size=1, max_size=40),
    dead_band=st.sampled_from([0.0, 1.0, 2.5]), min_interval=st.sampled_from([0.0, 1.0, 30.0]),
)  # fmt: skip
def test_what_is_recorded_is_never_further_off_than_the_rules_allow(readings, dead_band, min_interval):
    house = House()
    house.add("x.1.a")
    recorder = Recorder(house, Rule(dead_band=dead_band, min_interval=min_interval))
    now = 0.0
    for wait, value in readings:
        recorder.filter.let_go(round(now * 1000))
        now += wait
        recorder.put(now, {1: float(value)})
    recorder.filter.let_go(round((now + min_interval) * 1000))
    last = recorder.recorded[-1][2]
    assert abs(last - readings[-1][1]) < dead_band or last == readings[-1][1]
    times = [at for _slot, at, _value in recorder.recorded]
    assert times == sorted(times)
    values = [value for _slot, _at, value in recorder.recorded]
    if dead_band:
        assert all(abs(one - other) >= dead_band for one, other in pairwise(values))
