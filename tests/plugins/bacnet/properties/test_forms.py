"""The forms of values in JSON, and what is said of those that do not suit."""

from __future__ import annotations

import pytest

from plugins.bacnet.properties.reading import read_value
from plugins.bacnet.properties.shapes import BitNames, Scalar
from plugins.bacnet.properties.tables import (
    datatype_name,
    element_of,
    properties_of,
    property_name,
    property_number,
    shape_of,
)
from plugins.bacnet.properties.writing import Unsuitable, write_value
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Bits, Date, Time
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.primitives import Primitive

SCHEDULE, OUTPUT, DEVICE = 17, 1, 8


def shape(kind: int, name: str):
    return shape_of(kind, property_number(name))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (OUTPUT, "present-value", 21.5),
        (OUTPUT, "units", "degrees-celsius"),
        (OUTPUT, "units", 47_000),
        (OUTPUT, "out-of-service", True),
        (OUTPUT, "status-flags", {"in-alarm": False, "fault": True, "overridden": False, "out-of-service": True}),
        (OUTPUT, "priority-array", [None, {"real": 10.0}, *[None] * 14]),
        (OUTPUT, "event-time-stamps", [
            {"time": "13:45:00"}, {"sequence_number": 5}, {"date_time": {"date": "2026-01-31", "time": "13:45:00"}},
        ]),
        (SCHEDULE, "weekly-schedule", [
            {"day_schedule": [
                {"time": "06:30:00", "value": {"type": "real", "value": 21.0}},
                {"time": "20:00:00", "value": {"type": "null", "value": None}},
            ]},
            *[{"day_schedule": []}] * 6,
        ]),
        (SCHEDULE, "exception-schedule", [
            {
                "period": {"calendar_entry": {"week_n_day": {"month": 12, "week_of_month": 6, "day_of_week": None}}},
                "list_of_time_values": [{"time": "08:00:00", "value": {"type": "enumerated", "value": 1}}],
                "event_priority": 10,
            },
            {"period": {"calendar_reference": "calendar.1"}, "list_of_time_values": [], "event_priority": 1},
        ]),
        (SCHEDULE, "list-of-object-property-references", [
            {"object_identifier": "analog-output.1", "property_identifier": "present-value"},
        ]),
        (DEVICE, "device-address-binding", [
            {"device_object_identifier": "device.2", "device_address": {"network_number": 5, "mac_address": "0a"}},
        ]),
    ],
)  # fmt: skip
def test_a_value_has_one_form(kind, name, value):
    octets = write_value(shape(kind, name), value)
    assert read_value(shape(kind, name), octets) == value


@pytest.mark.parametrize(
    ("kind", "name", "value", "path", "wanted"),
    [
        (OUTPUT, "present-value", "warm", (), "a number"),
        (OUTPUT, "present-value", True, (), "a number"),
        (OUTPUT, "present-value", 1e39, (), "±3.4028235e38"),
        (OUTPUT, "out-of-service", 1, (), "true or false"),
        (OUTPUT, "units", "degrees", (), "one of"),
        (OUTPUT, "units", -1, (), "or its number"),
        (OUTPUT, "description", None, (), "a text"),
        (OUTPUT, "priority-array", [{"real": 1.0}], (), "a list of 16"),
        (OUTPUT, "event-enable", {"to-fault": True}, (), "all bits by name"),
        (OUTPUT, "event-enable", ["to-nowhere"], (), "bits by name"),
        (OUTPUT, "event-enable", 5, (), "bits by name"),
        (OUTPUT, "object-identifier", "analog.x", (), "object id"),
        (SCHEDULE, "weekly-schedule", [{"day_schedule": [{"time": "25:00:00", "value": None}]}, *[{}] * 6],
         (0, "day_schedule", 0, "time"), "not from 0 to 23"),
        (SCHEDULE, "weekly-schedule", [{"day_schedule": [{"time": "05:00:00", "value": 21.0}]}, *[{}] * 6],
         (0, "day_schedule", 0, "value"), '"type"'),
        (SCHEDULE, "effective-period", {"start_date": "*-*-*"}, (), "an object with start_date, end_date"),
        (SCHEDULE, "effective-period", {"start_date": "*-*-*", "end_date": 1}, ("end_date",), "a text"),
        (SCHEDULE, "schedule-default", [{"type": "real", "value": 1.0}] * 2, (), "one value"),
        (SCHEDULE, "schedule-default", {"type": "group", "tag": 1, "items": []}, (), "datatypes"),
        (OUTPUT, "event-time-stamps", [{"noon": 1}] * 3, (0,), "one of time, sequence_number, date_time"),
        (15, "priority", [1, 2, -3], (2,), "a whole number from 0"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_said_where_it_stands(kind, name, value, path, wanted):
    with pytest.raises(Unsuitable) as caught:
        write_value(shape(kind, name), value)
    assert caught.value.path == path
    assert wanted in caught.value.wanted


@pytest.mark.parametrize(
    "value",
    [
        {"type": "real"},
        {"type": "word", "value": 1},
        {"type": "real", "value": 1.0, "more": 1},
        {"type": "group", "tag": 300, "items": []},
        {"type": "group", "tag": 1, "items": 5},
        {"type": "context", "tag": 1, "value": "xyz"},
        {"type": "boolean", "value": 1},
        1.5,
        "text",
    ],
)
def test_a_value_of_a_proprietary_property_says_its_datatype(value):
    with pytest.raises(Unsuitable):
        write_value(None, value)


def test_any_property_may_be_written_in_the_form_that_says_its_datatype():
    assert write_value(shape(OUTPUT, "present-value"), {"type": "unsigned", "value": 5}) == b"\x21\x05"
    assert write_value(None, {"type": "null"}) == b"\x00"


def test_bits_may_be_a_list_of_those_that_are_set_or_their_text():
    enable = shape(OUTPUT, "event-enable")
    assert isinstance(enable, BitNames)
    wanted = primitives.encode_bit_string(Bits((True, False, True)))
    assert write_value(enable, ["to-offnormal", "to-normal"]) == wanted
    assert write_value(enable, "101") == wanted
    assert read_value(enable, primitives.encode_bit_string(Bits((True,)))) == "1", "fewer than there should be"


def test_a_device_of_another_edition_has_more_or_fewer_services():
    services = shape(DEVICE, "protocol-services-supported")
    few, many = Bits((True,) * 40), Bits((False,) * 60)
    shown = read_value(services, primitives.encode_bit_string(few))
    assert (len(shown), shown["read-property"]) == (40, True)
    assert write_value(services, shown) == primitives.encode_bit_string(few)
    shown = read_value(services, primitives.encode_bit_string(many))
    assert shown["59"] is False
    assert write_value(services, shown) == primitives.encode_bit_string(many)


def test_dates_and_times_that_mean_nothing_come_back_as_their_octets():
    for primitive, datum, write in (
        (Primitive.DATE, Date(126, 77, 1, 1), primitives.encode_date),
        (Primitive.TIME, Time(99, 0, 0, 0), primitives.encode_time),
    ):
        scalar = Scalar(primitive, "x")
        shown = read_value(scalar, write(datum))
        assert list(shown) == ["octets"]
        assert write_value(scalar, shown) == write(datum)
    scalar = Scalar(Primitive.DATE, "date")
    assert read_value(scalar, primitives.encode_date(Date(126, 1, 31, 255))) == "2026-01-31"
    with pytest.raises(Unsuitable):
        write_value(scalar, {"octets": "00"})


def test_numbers_that_are_not_finite_have_a_text():
    scalar = Scalar(Primitive.REAL, "real")
    for text in ("Infinity", "-Infinity", "NaN"):
        assert read_value(scalar, write_value(scalar, text)) == text


@pytest.mark.parametrize("octets", ["", "2105", "440000", "4441ac0000440000", "3e"])
def test_octets_that_are_not_of_the_shape_are_told(octets):
    with pytest.raises(DecodeError):
        read_value(shape(OUTPUT, "present-value"), bytes.fromhex(octets))


def test_properties_have_names_and_numbers():
    assert property_number("present-value") == property_number("85") == 85
    for none in ("no-such", "4194304", "-1", "085", "9" * 5000):
        assert property_number(none) is None
    assert (property_name(85), property_name(5000)) == ("present-value", "5000")
    assert {75, 77, 85, 87} <= set(properties_of(OUTPUT))
    assert properties_of(500) == ()
    assert shape_of(500, 85) is None
    assert shape_of(OUTPUT, 5000) is None


def test_an_array_has_a_length_and_elements():
    whole = shape(OUTPUT, "priority-array")
    assert datatype_name(whole) == "array of priority-value"
    assert datatype_name(element_of(whole, 0)) == "unsigned"
    assert datatype_name(element_of(whole, 3)) == "priority-value"
    assert element_of(whole, None) is whole
    assert element_of(shape(OUTPUT, "units"), 1) is None
    assert element_of(None, 1) is None
