"""Dates, times, bits, octets and object ids as texts, and back."""

from __future__ import annotations

import datetime as dt

import pytest
from bacpypes3.primitivedata import ObjectType
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire.datatypes import (
    NO_INSTANCE,
    Bits,
    Date,
    DateTime,
    ObjectId,
    Time,
    parse_object_id,
    parse_octets,
)
from plugins.bacnet.wire.enumerations import OBJECT_TYPES, type_name, type_number

DATES = st.dates(min_value=dt.date(1900, 1, 1), max_value=dt.date(2154, 12, 31))
TIMES = st.builds(
    Time,
    st.just(255) | st.integers(0, 23),
    st.just(255) | st.integers(0, 59),
    st.just(255) | st.integers(0, 59),
    st.just(255) | st.integers(0, 99),
)
PATTERNS = st.builds(
    Date,
    st.just(255) | st.integers(0, 254),
    st.sampled_from([*range(1, 15), 255]),
    st.sampled_from([32, 33, 34, 255]),
    st.sampled_from([*range(1, 8), 255]),
)
PARSERS = (Date.parse, Time.parse, DateTime.parse, Bits.parse, parse_octets, parse_object_id)


@given(st.from_type(ObjectId))
def test_an_object_id_is_one_number_and_a_text_and_back(object_id):
    assert ObjectId.unpack(object_id.packed) == object_id
    assert 0 <= object_id.packed < 2**32
    assert parse_object_id(str(object_id)) == object_id


def test_the_last_object_id_is_none_of_an_object():
    assert ObjectId(1023, NO_INSTANCE).packed == 0xFFFFFFFF
    assert str(ObjectId(8, NO_INSTANCE)) == "device.4194303"


def test_object_types_have_the_numbers_and_names_of_bacpypes3():
    theirs = {name.replace("-", "").lower(): number for name, number in ObjectType._enum_map.items()}
    for number, name in OBJECT_TYPES.items():
        assert theirs.get(name.replace("-", ""), number) == number
        assert (type_name(number), type_number(name)) == (name, number)


@pytest.mark.parametrize("name", ["type-1024", "type-", "type-x", "type--1", "type-²", "analog input", "", "200"])
def test_a_name_of_no_type_is_refused(name):
    with pytest.raises(ValueError, match="is not an object type"):
        type_number(name)
    assert type_number("type-1023") == 1023


@given(DATES)
def test_a_date_s_weekday_is_told_by_the_calendar(date):
    parsed = Date.parse(str(date))
    assert parsed == Date(date.year - 1900, date.month, date.day, date.isoweekday())
    assert str(parsed) == str(date)


@given(PATTERNS)
def test_a_pattern_of_dates_survives_its_text(pattern):
    assert Date.parse(str(pattern)) == pattern


@given(TIMES)
def test_a_time_or_a_pattern_of_times_survives_its_text(pattern):
    assert Time.parse(str(pattern)) == pattern


@given(PATTERNS, TIMES)
def test_a_date_and_time_survives_its_text(date, time):
    assert DateTime.parse(str(DateTime(date, time))) == DateTime(date, time)


@given(st.from_type(Bits))
def test_bits_survive_their_text(bits):
    assert Bits.parse(str(bits)) == bits


@given(st.binary())
def test_octets_survive_their_text(octets):
    assert parse_octets(octets.hex()) == parse_octets(octets.hex().upper()) == octets


@given(st.from_type(Date), st.from_type(Time))
def test_whatever_a_device_calls_a_date_or_a_time_has_a_text(date, time):
    assert str(DateTime(date, time)) == f"{date}T{time}"


@pytest.mark.parametrize(
    ("date", "text"),
    [
        (Date(126, 1, 31, 6), "2026-01-31"),
        (Date(126, 1, 31, 1), "2026-01-31-mon"),
        (Date(126, 1, 31, 255), "2026-01-31"),
        (Date(126, 2, 30, 1), "2026-02-30-mon"),
        (Date(255, 14, 34, 7), "*-even-even-sun"),
        (Date(126, 0, 0, 9), "2026-00-00"),
    ],
)
def test_a_weekday_stands_in_a_text_where_it_does_not_follow(date, text):
    assert str(date) == text


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (Date.parse, "yesterday", "is not a date; write"),
        (Date.parse, "2026-02-30", "is not a date of the calendar"),
        (Date.parse, "2026-13-01", "is not from 1 to 12"),
        (Date.parse, "2026-00-01", "is not from 1 to 12"),
        (Date.parse, "2026-01-32", "is not from 1 to 31"),
        (Date.parse, "1899-12-31", "is not a year from 1900 to 2154"),
        (Date.parse, "2155-01-01", "is not a year from 1900 to 2154"),
        (Date.parse, "9999-01-01", "is not a year from 1900 to 2154"),
        (Date.parse, "2026-01-31-xyz", "is not a weekday"),
        (Date.parse, "2026-01-31\n", "is not a date; write"),
        (Date.parse, "२०२६-01-31", "is not a date; write"),
        (Time.parse, "24:00:00", "is not from 0 to 23"),
        (Time.parse, "00:60:00", "is not from 0 to 59"),
        (Time.parse, "noon", "is not a time"),
        (Time.parse, "12:00:00\n", "is not a time"),
        (DateTime.parse, "2026-01-31", "is not a date and time"),
        (DateTime.parse, "2026-01-31Tnoon", "is not a time"),
        (Bits.parse, "012", "is not a bit string"),
        (parse_octets, "abc", "is not an octet string"),
        (parse_octets, "zz", "is not an octet string"),
        (parse_object_id, "analog-input", "is not an object id"),
        (parse_object_id, "analog-input.4194304", "is not an object id"),
        (parse_object_id, "analog-input.²", "is not an object id"),
        (parse_object_id, "nothing.1", "is not an object type"),
    ],
)
def test_a_text_that_means_nothing_is_refused_with_a_sentence(parse, text, reason):
    with pytest.raises(ValueError, match=reason):
        parse(text)


@given(st.text(max_size=40) | st.from_regex(r"[\d*]{1,5}-[\w*]{1,4}-[\w*]{1,4}(-\w{3})?"))
def test_any_text_is_a_value_or_a_value_error(text):
    for parse in PARSERS:
        try:
            assert str(parse(text)) is not None
        except ValueError:
            continue
