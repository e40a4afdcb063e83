"""Values on the wire and in Plantroom: both ways, and never an unhandled exception on what strangers send."""

from __future__ import annotations

import datetime as dt
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Flag, Kind
from plugins.bacnet.objects import Datatype
from plugins.bacnet.values import NotThatKind, encode, flags_of, kind_of, text_of, value_of
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import (
    Bits,
    Date,
    DateTime,
    Enumerated,
    Group,
    ObjectId,
    Time,
    parse_object_id,
    parse_octets,
)
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import decode_items


def sent(datatype, value):
    """Return what a device would make of a value that we write."""
    return decode_items(b"".join(encode(datatype, value)))


dates = st.dates(min_value=dt.date(1900, 1, 1), max_value=dt.date(2154, 12, 31))
times = st.builds("{:02}:{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))


@pytest.mark.parametrize(
    ("datatype", "kind", "values"),
    [
        (Datatype.BOOLEAN, Kind.BOOLEAN, st.booleans()),
        (Datatype.ENUMERATED, Kind.BOOLEAN, st.booleans()),
        (Datatype.UNSIGNED, Kind.NUMBER, st.integers(0, 2**64 - 1)),
        (Datatype.UNSIGNED, Kind.ENUM, st.integers(1, 1000)),
        (Datatype.ENUMERATED, Kind.ENUM, st.integers(0, 65535)),
        (Datatype.INTEGER, Kind.NUMBER, st.integers(-(2**31), 2**31 - 1)),
        (Datatype.DOUBLE, Kind.NUMBER, st.floats(allow_nan=False)),
        (Datatype.CHARACTER_STRING, Kind.TEXT, st.text()),
        (Datatype.OCTET_STRING, Kind.TEXT, st.binary().map(bytes.hex)),
        (Datatype.BIT_STRING, Kind.TEXT, st.text("01")),
        (Datatype.DATE, Kind.TEXT, dates.map(str)),
        (Datatype.TIME, Kind.TEXT, times),
        (Datatype.DATETIME, Kind.TEXT, st.builds("{}T{}".format, dates, times)),
        (Datatype.OBJECT_ID, Kind.TEXT, st.builds("analog-input.{}".format, st.integers(0, 0x3FFFFF))),
    ],
)
def test_what_is_written_is_read_back(datatype, kind, values):
    @given(values)
    def check(value):
        assert value_of(sent(datatype, value), kind) == value

    check()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_real_is_read_with_as_few_digits_as_it_has(value):
    (read,) = decode_items(b"\x44" + struct.pack(">f", value))
    assert struct.pack(">f", read) == struct.pack(">f", value)
    assert len(repr(read)) <= len(repr(value))


def test_a_real_looks_like_what_was_set():
    (read,) = decode_items(b"\x44" + struct.pack(">f", 21.7))
    assert read == 21.7
    assert math.isnan(decode_items(b"\x44\x7f\xc0\0\0")[0])
    assert decode_items(b"\x44\x7f\x80\0\0") == (math.inf,)


@given(st.binary(max_size=60))
def test_any_octets_are_values_or_a_decode_error(octets):
    try:
        items = decode_items(octets)
    except DecodeError:
        return
    for kind in Kind:
        try:
            value_of(items, kind)
        except NotThatKind:
            continue


@given(st.integers(0, 15), st.binary(max_size=12))
def test_any_primitive_is_a_value_or_a_decode_error(number, octets):
    try:
        item = primitives.decode(number, octets)
    except DecodeError:
        return
    if item is not None:
        assert isinstance(text_of(item), str)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_every_date_and_time_has_a_text(first, second, third, fourth):
    assert str(Date(first, second, third, fourth))
    assert str(Time(first, second, third, fourth))


@given(
    st.one_of(st.just(255), st.integers(0, 254)),
    st.sampled_from([*range(1, 15), 255]),
    st.sampled_from([32, 33, 34, 255]),
    st.sampled_from([*range(1, 8), 255]),
)
def test_a_pattern_of_dates_survives_its_text(year, month, day, weekday):
    pattern = Date(year, month, day, weekday)
    assert Date.parse(str(pattern)) == pattern


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (Date.parse, "2026-01-31", Date(126, 1, 31, 6)),
        (Date.parse, "*-*-*-fri", Date(255, 255, 255, 5)),
        (Date.parse, "2026-odd-last", Date(126, 13, 32, 255)),
        (Date.parse, "2026-01-31-mon", Date(126, 1, 31, 1)),
        (Time.parse, "13:45:00.50", Time(13, 45, 0, 50)),
        (Time.parse, "*:00:*", Time(255, 0, 255, 0)),
        (DateTime.parse, "2026-01-31T01:02:03", DateTime(Date(126, 1, 31, 6), Time(1, 2, 3, 0))),
        (Bits.parse, "0110", Bits((False, True, True, False))),
        (parse_octets, "0A1b", b"\x0a\x1b"),
        (parse_object_id, "type-200.5", ObjectId(200, 5)),
        (parse_object_id, "trend-log.1", ObjectId(20, 1)),
    ],
)
def test_texts_are_read_as_documented(parse, text, value):
    assert parse(text) == value
    if not isinstance(value, bytes):
        assert str(value) == text


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (Date.parse, "yesterday"),
        (Date.parse, "2026-02-30"),
        (Date.parse, "2026-13-01"),
        (Date.parse, "1899-01-01"),
        (Date.parse, "2026-01-31-xyz"),
        (Time.parse, "24:00:00"),
        (Time.parse, "noon"),
        (DateTime.parse, "2026-01-31"),
        (Bits.parse, "012"),
        (parse_octets, "abc"),
        (parse_object_id, "analog-input.4194304"),
        (parse_object_id, "nothing.1"),
        (parse_object_id, "type-5000.1"),
    ],
)
def test_texts_that_mean_nothing_are_refused_with_a_sentence(parse, text):
    with pytest.raises(ValueError, match=r"'.+' is not"):
        parse(text)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (Datatype.REAL, 1e39),
        (Datatype.UNSIGNED, -1),
        (Datatype.UNSIGNED, 2**64),
        (Datatype.UNSIGNED, 1.5),
        (Datatype.UNSIGNED, "1"),
        (Datatype.INTEGER, 2**31),
        (Datatype.ANY, "x"),
    ],
)
def test_what_the_datatype_cannot_hold_is_refused(datatype, value):
    with pytest.raises(ValueError, match=r"number|datatype"):
        encode(datatype, value)


def test_a_constructed_value_has_no_text():
    with pytest.raises(NotThatKind):
        value_of((Group(3, (Enumerated(1), Group(2, (b"\5",)))),), Kind.TEXT)


def test_a_date_and_time_in_a_priority_array_is_one_value():
    moment = Group(1, (Date(126, 1, 31, 6), Time(1, 2, 3, 0)))
    assert value_of((moment,), Kind.TEXT) == "2026-01-31T01:02:03"


@pytest.mark.parametrize(
    ("items", "kind"), [(("x",), Kind.NUMBER), ((1.5,), Kind.ENUM), ((1.5,), Kind.BOOLEAN), ((1, 2), Kind.NUMBER)]
)
def test_a_value_of_another_kind_is_not_taken(items, kind):
    with pytest.raises(NotThatKind):
        value_of(items, kind)


def test_null_is_no_value():
    assert value_of((None,), Kind.NUMBER) is None


def test_flags_are_read_in_the_order_of_the_standard():
    assert flags_of((Bits((True, False, False, True)),)) == Flag.IN_ALARM | Flag.OUT_OF_SERVICE
    assert flags_of(()) == Flag(0)


def test_the_value_of_a_schedule_decides_its_kind():
    assert [kind_of((item,)) for item in (1.5, 3, True, Enumerated(1), "x", None)] == [
        Kind.NUMBER,
        Kind.NUMBER,
        Kind.BOOLEAN,
        Kind.ENUM,
        Kind.TEXT,
        Kind.NUMBER,
    ]
