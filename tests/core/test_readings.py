"""Readings in columns."""

from __future__ import annotations

import math
from array import array

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DeviceRefused, DeviceTimeout
from core.model import Flag, Reason, Source, Value
from core.readings import EXACT_INTEGER, Chunk, ReadingBatch, Row, batch_of


def batch(*rows: Row, time: float = 1.0) -> ReadingBatch:
    return batch_of(Chunk(array("I", range(1, len(rows) + 1))), rows, time=time, source=Source.POLL)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
rows = st.builds(Row, value=values, flags=st.sampled_from([Flag(0), Flag.FAULT, Flag.OUT_OF_SERVICE, Flag.IN_ALARM]))


def value_in(columns: ReadingBatch, row: int) -> Value:
    """What the columns say of a row, as their docstring tells to read them."""
    if row in columns.texts:
        return columns.texts[row]
    number = columns.values[row]
    return None if math.isnan(number) else columns.integers.get(row, number)


@given(st.lists(rows, max_size=8))
def test_every_value_is_in_the_columns_as_exactly_as_it_came(given_rows: list[Row]):
    columns = batch(*given_rows)
    assert len(columns.values) == len(columns.reasons) == len(columns.flags) == len(given_rows)
    for index, row in enumerate(given_rows):
        finite = row.value
        if isinstance(finite, int | float) and not abs(finite) < 2**1024 - 2**970:
            assert value_in(columns, index) is None
            assert columns.reasons[index] == Reason.FAULT
        else:
            assert value_in(columns, index) == finite
            assert columns.reasons[index] == row.flags.reason
        assert columns.flags[index] == row.flags


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_what_is_no_finite_number_is_a_fault_without_a_value(value: float):
    columns = batch(Row(value))
    assert math.isnan(columns.values[0])
    assert columns.reasons[0] == Reason.FAULT


def test_integers_beyond_a_doubles_exactness_have_a_column_of_their_own():
    exact, beyond = EXACT_INTEGER, EXACT_INTEGER + 1
    columns = batch(Row(exact), Row(beyond), Row(-beyond), Row(float(2**60)))
    assert columns.integers == {1: beyond, 2: -beyond}
    assert list(columns.values) == [2.0**53, 2.0**53, -(2.0**53), 2.0**60]


def test_a_row_with_an_error_keeps_it_and_has_no_value():
    refusal, silence = DeviceRefused("no such object"), DeviceTimeout("silence")
    columns = batch(Row(3.0), Row(error=refusal), Row(error=silence, reason=Reason.TIMEOUT))
    assert columns.errors == {1: refusal, 2: silence}
    assert list(columns.reasons) == [Reason.NONE, Reason.ERROR, Reason.TIMEOUT]
    assert all(math.isnan(columns.values[row]) for row in (1, 2))


def test_a_reason_that_is_given_goes_before_that_of_the_flags():
    assert batch(Row(1.0, flags=Flag.FAULT, reason=Reason.OUT_OF_SERVICE)).reasons[0] == Reason.OUT_OF_SERVICE


def test_as_many_rows_as_slots_or_none_at_all():
    with pytest.raises(ValueError, match="1 rows for 2 slots"):
        batch_of(Chunk(array("I", [1, 2])), [Row(1.0)], time=0.0, source=Source.POLL)


def test_two_answers_are_the_same_when_all_columns_are_whatever_the_time():
    first = batch(Row(math.nan), Row("text"), Row(2**60), Row(1.5, flags=Flag.IN_ALARM))
    again = attrs.evolve(first, time=99.0, source=Source.READ, values=array("d", first.values))
    assert first.same_as(again)


@pytest.mark.parametrize(
    "other", [Row(2.0), Row("x"), Row(1.0, flags=Flag.IN_ALARM), Row(1.0, reason=Reason.FAULT), Row(2**60), Row(-1.0)]
)
def test_two_answers_differ_when_any_column_does(other: Row):
    chunk = Chunk(array("I", [1]))
    first = batch_of(chunk, [Row(1.0)], time=1.0, source=Source.POLL)
    assert not first.same_as(batch_of(chunk, [other], time=1.0, source=Source.POLL))


def test_answers_of_two_chunks_are_never_the_same():
    assert not batch(Row(1.0)).same_as(batch(Row(1.0)))


def test_an_answer_without_rows_is_the_same_as_another():
    chunk = Chunk(array("I"))
    first, second = (batch_of(chunk, [], time=time, source=Source.POLL) for time in (1.0, 2.0))
    assert first.same_as(second)


numbers = st.lists(st.one_of(st.floats(), st.just(math.nan), st.sampled_from([0.0, -0.0, 1.0])), min_size=5, max_size=5)
codes = st.binary(min_size=5, max_size=5)
sides = st.dictionaries(st.integers(0, 4), st.sampled_from(["a", "b"]))


@given(st.tuples(numbers, codes, codes, sides), st.tuples(numbers, codes, codes, sides))
def test_the_rows_that_differ_are_those_in_which_any_column_does(one, other):
    chunk = Chunk(array("I", range(5)))
    first, second = (
        ReadingBatch(
            chunk, 0.0, Source.POLL, array("d", values), reasons, flags, texts, integers=dict.fromkeys(texts, 1)
        )
        for values, reasons, flags, texts in (one, other)
    )

    def row(columns, number):
        values, reasons, flags, texts = columns
        value = values[number]
        return None if math.isnan(value) else value, reasons[number], flags[number], texts.get(number)

    assert second.differing(first) == [number for number in range(5) if row(one, number) != row(other, number)]
    assert first.differing(first) == []
