"""Turns plain values into bacpypes3's and back."""

from __future__ import annotations

import datetime as dt
from typing import Any

from bacpypes3.basetypes import BinaryPV, PriorityValue
from bacpypes3.primitivedata import (
    BitString,
    CharacterString,
    Date,
    Double,
    Integer,
    Null,
    Real,
    Time,
    Unsigned,
)

from plugins.simulator.objects import ObjectType, Value, ValueOutOfRange

_ENCODERS: dict[ObjectType, Any] = {
    ObjectType.ANALOG_INPUT: Real,
    ObjectType.ANALOG_OUTPUT: Real,
    ObjectType.ANALOG_VALUE: Real,
    ObjectType.BINARY_INPUT: BinaryPV,
    ObjectType.BINARY_OUTPUT: BinaryPV,
    ObjectType.BINARY_VALUE: BinaryPV,
    ObjectType.MULTI_STATE_INPUT: Unsigned,
    ObjectType.MULTI_STATE_OUTPUT: Unsigned,
    ObjectType.MULTI_STATE_VALUE: Unsigned,
    ObjectType.ACCUMULATOR: Unsigned,
    ObjectType.INTEGER_VALUE: Integer,
    ObjectType.POSITIVE_INTEGER_VALUE: Unsigned,
    ObjectType.LARGE_ANALOG_VALUE: Double,
    ObjectType.CHARACTER_STRING_VALUE: CharacterString,
    ObjectType.BIT_STRING_VALUE: BitString,
    ObjectType.DATE_VALUE: Date,
    ObjectType.TIME_VALUE: Time,
}


def encode(kind: ObjectType, value: Value) -> Any:
    """Make the datatype that a present value of this type has on the wire."""
    if kind.is_binary:
        return BinaryPV(int(value is True))
    if isinstance(value, tuple):
        return BitString([int(bit) for bit in value])
    return _ENCODERS[kind](value)


def encode_slot(kind: ObjectType, value: Value | None) -> Any:
    """Make one element of a priority array."""
    return PriorityValue(null=Null(())) if value is None else PriorityValue(encode(kind, value))


def decode(kind: ObjectType, value: Any) -> Value:
    """Make a plain value of one from the wire; raises ValueOutOfRange for a date or time with wildcards."""
    if kind.is_binary:
        return bool(int(value))
    if isinstance(value, BitString):
        return tuple(bool(bit) for bit in value)
    if isinstance(value, CharacterString):
        return str(value)
    try:
        if isinstance(value, Date):
            return dt.date(value[0] + 1900, value[1], value[2])
        if isinstance(value, Time):
            return dt.time(value[0], value[1], value[2], value[3] * 10_000)
    except ValueError as error:
        raise ValueOutOfRange(str(value)) from error
    return float(value) if isinstance(value, Real) else int(value)
