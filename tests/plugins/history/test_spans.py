"""How time is divided into files."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.history.spans import DAY_MS, Span, SpanKind, span_labelled, span_of, spans_between

LATEST_MS = int(dt.datetime(9997, 1, 1, tzinfo=dt.UTC).timestamp() * 1000)
TIMES = st.integers(0, LATEST_MS)
KINDS = st.sampled_from(list(SpanKind))


def utc(time_ms: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=time_ms)


@settings(max_examples=200)
@given(TIMES, KINDS)
def test_each_time_is_in_one_span_that_its_label_tells(time_ms: int, kind: SpanKind):
    span = span_of(time_ms, kind)
    assert span.start_ms <= time_ms < span.end_ms
    assert span_of(span.start_ms, kind) == span_of(span.end_ms - 1, kind) == span
    assert span_of(span.end_ms, kind).start_ms == span.end_ms
    assert span_labelled(span.label) == span


@settings(max_examples=100)
@given(TIMES)
def test_spans_begin_where_people_expect_them_to(time_ms: int):
    assert span_of(time_ms, SpanKind.DAY).end_ms - span_of(time_ms, SpanKind.DAY).start_ms == DAY_MS
    assert utc(span_of(time_ms, SpanKind.WEEK).start_ms).weekday() == 0
    assert utc(span_of(time_ms, SpanKind.MONTH).start_ms).day == 1
    assert utc(span_of(time_ms, SpanKind.YEAR).start_ms).replace(year=1) == dt.datetime(1, 1, 1, tzinfo=dt.UTC)


@settings(max_examples=50)
@given(TIMES, st.integers(0, 500 * DAY_MS), KINDS)
def test_the_spans_between_two_times_follow_one_another(start_ms: int, length_ms: int, kind: SpanKind):
    end_ms = start_ms + length_ms
    found = list(spans_between(start_ms, end_ms, kind))
    assert bool(found) == bool(length_ms)
    if found:
        assert found[0].start_ms <= start_ms
        assert found[-1].end_ms >= end_ms
        assert [span.end_ms for span in found[:-1]] == [span.start_ms for span in found[1:]]
        assert all(span.overlaps(start_ms, end_ms) for span in found)


def test_spans_touch_without_overlapping():
    one = span_of(0, SpanKind.DAY)
    assert not one.overlaps(one.end_ms, one.end_ms + 1)
    assert not one.overlaps(one.start_ms - 1, one.start_ms)
    assert one.overlaps(one.end_ms - 1, one.end_ms)


@pytest.mark.parametrize(
    "label",
    ["", "2026-11-23", "2026-11-24.week", "2026-11-23.fortnight", "20261123.week", "2026-02-30.day", "x.day", ".day"],
)
def test_what_is_no_label_of_a_span_is_none(label: str):
    assert span_labelled(label) is None


def test_a_label_is_the_first_day_and_how_long_it_is():
    week = span_of(1_795_392_000_000, SpanKind.WEEK)
    assert week.label == "2026-11-23.week"
    assert isinstance(span_labelled(week.label), Span)
