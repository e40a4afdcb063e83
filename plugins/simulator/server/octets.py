"""Plain values as the tagged octets that stand for them on the wire."""

from __future__ import annotations

import datetime as dt
import functools
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bacpypes3.basetypes import EngineeringUnits

from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Bits, Date, ObjectId, Time
from plugins.bacnet.wire.enumerations import type_number
from plugins.simulator.objects import ObjectType, SimulatedObject, Value

_FIRST_YEAR = 1900
_REAL_TAG = 0x44
_real_octets = struct.Struct(">Bf").pack


def object_id(data: SimulatedObject) -> ObjectId:
    """Return the object id of an object."""
    return ObjectId(number_of(data.type), data.instance)


@functools.cache
def number_of(kind: ObjectType) -> int:
    """Return the number of an object type."""
    return type_number(kind)


@functools.cache
def units_octets(name: str) -> bytes:
    """Write the number of a unit, given by the standard's name."""
    return primitives.encode_enumerated(int(EngineeringUnits(name)))


def bits_octets(length: int, numbers: Collection[int]) -> bytes:
    """Write a bit string of so many bits, in which those with the given numbers are set."""
    return primitives.encode_bit_string(Bits(tuple(number in numbers for number in range(length))))


def _real(value: Any) -> bytes:
    return _real_octets(_REAL_TAG, value)


def _binary(value: Value) -> bytes:
    return b"\x91\x01" if value is True else b"\x91\x00"


def _bit_string(value: Any) -> bytes:
    return primitives.encode_bit_string(Bits(value))


def _date(value: Any) -> bytes:
    day: dt.date = value
    return primitives.encode_date(Date(day.year - _FIRST_YEAR, day.month, day.day, day.isoweekday()))


def _time(value: Any) -> bytes:
    time: dt.time = value
    return primitives.encode_time(Time(time.hour, time.minute, time.second, time.microsecond // 10_000))


ENCODERS: Mapping[ObjectType, Callable[[Any], bytes]] = {
    ObjectType.ANALOG_INPUT: _real,
    ObjectType.ANALOG_OUTPUT: _real,
    ObjectType.ANALOG_VALUE: _real,
    ObjectType.BINARY_INPUT: _binary,
    ObjectType.BINARY_OUTPUT: _binary,
    ObjectType.BINARY_VALUE: _binary,
    ObjectType.MULTI_STATE_INPUT: primitives.encode_unsigned,
    ObjectType.MULTI_STATE_OUTPUT: primitives.encode_unsigned,
    ObjectType.MULTI_STATE_VALUE: primitives.encode_unsigned,
    ObjectType.ACCUMULATOR: primitives.encode_unsigned,
    ObjectType.INTEGER_VALUE: primitives.encode_integer,
    ObjectType.POSITIVE_INTEGER_VALUE: primitives.encode_unsigned,
    ObjectType.LARGE_ANALOG_VALUE: primitives.encode_double,
    ObjectType.CHARACTER_STRING_VALUE: primitives.encode_character_string,
    ObjectType.BIT_STRING_VALUE: _bit_string,
    ObjectType.DATE_VALUE: _date,
    ObjectType.TIME_VALUE: _time,
}
"""How a present value is written, by object type; each takes what `SimulatedObject.value` is for that type."""
