"""The properties of an object in octets, ready to be put into an answer; what can change is told from what cannot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from plugins.bacnet.wire import primitives, tags
from plugins.bacnet.wire.apdu import PropertyError
from plugins.simulator.objects import ObjectType, SimulatedObject
from plugins.simulator.server.octets import ENCODERS, number_of, object_id, units_octets
from plugins.simulator.server.presented import COUNTER_LIMIT
from plugins.simulator.server.properties import SPECIAL, UNLISTED, Property

Live: TypeAlias = Callable[[SimulatedObject], bytes]
"""Writes what a property of an object is at the moment."""

Found: TypeAlias = bytes | Live | PropertyError | None
"""A property: octets that never change, what writes those that do, an error; None, where only bacpypes3 knows."""

UNKNOWN_OBJECT = PropertyError(1, 31)
UNKNOWN_PROPERTY = PropertyError(2, 32)
INVALID_ARRAY_INDEX = PropertyError(2, 42)
NOT_AN_ARRAY = PropertyError(2, 50)

_ZERO = primitives.encode_enumerated(0)
_SCALE = tags.context(1, b"\x00")  # an integer scale of 0
_WHOLE_NUMBERS = (ObjectType.INTEGER_VALUE, ObjectType.POSITIVE_INTEGER_VALUE)
_SLOTS = 16


def find(data: SimulatedObject, number: int, index: int | None = None) -> Found:
    """Look up a property of an object, or one element of an array."""
    if number == Property.PRIORITY_ARRAY and data.priorities:
        return _priority_array(index)
    if number in _ARRAYS:
        items = _ARRAYS[number](data)
        return UNKNOWN_PROPERTY if items is None else element(items, index)
    found: Found = _live(data).get(number)
    if found is None and number in _FIXED:
        found = _FIXED[number](data)
    if found is None:
        return None if number in SPECIAL else UNKNOWN_PROPERTY
    return found if index is None else NOT_AN_ARRAY


def element(items: Sequence[bytes], index: int | None) -> bytes | PropertyError:
    """Return an array whole, its length (index 0) or one of its elements."""
    if index is None:
        return b"".join(items)
    if index == 0:
        return primitives.encode_unsigned(len(items))
    return items[index - 1] if index <= len(items) else INVALID_ARRAY_INDEX


def listed(numbers: Sequence[int]) -> tuple[bytes, ...]:
    """Write the elements of the property list of an object with these properties."""
    return tuple(primitives.encode_enumerated(number) for number in numbers if number not in UNLISTED)


@functools.cache
def present_value(kind: ObjectType) -> Live:
    """Return what writes the present value of an object of a type."""
    encode = ENCODERS[kind]
    return lambda data: encode(data.value)


def status_flags(data: SimulatedObject) -> bytes:
    """Write the status flags of an object."""
    return b"\x82\x04\x10" if data.out_of_service else b"\x82\x04\x00"


def mistyped(data: SimulatedObject) -> bytes:
    """Write a present value as another datatype than it has: a number as text, what is no number as a real."""
    value = data.value
    if data.type.is_binary or not isinstance(value, float | int):
        return primitives.encode_real(float(value is True))
    return primitives.encode_character_string(f"{value:g}")


def _live(data: SimulatedObject) -> Mapping[int, Live]:
    return _live_properties(data.type, commandable=bool(data.priorities))


@functools.cache
def _live_properties(kind: ObjectType, *, commandable: bool) -> Mapping[int, Live]:
    live: dict[int, Live] = {
        Property.PRESENT_VALUE: present_value(kind),
        Property.STATUS_FLAGS: status_flags,
        Property.OUT_OF_SERVICE: lambda data: primitives.encode_boolean(data.out_of_service),
    }
    if commandable:
        encode = ENCODERS[kind]
        live[Property.PRIORITY_ARRAY] = _whole_priority_array
        live[Property.RELINQUISH_DEFAULT] = lambda data: encode(data.automatic)
        live[Property.CURRENT_COMMAND_PRIORITY] = _current_priority
    return live


@functools.cache
def _priority_array(index: int | None) -> bytes | Live | PropertyError:
    if index is None:
        return _whole_priority_array
    if index == 0:
        return primitives.encode_unsigned(_SLOTS)
    return (lambda data: _slot(data, index - 1)) if index <= _SLOTS else INVALID_ARRAY_INDEX


def _whole_priority_array(data: SimulatedObject) -> bytes:
    return b"".join(_slot(data, slot) for slot in range(_SLOTS))


def _slot(data: SimulatedObject, slot: int) -> bytes:
    command = data.priorities[slot]
    return primitives.encode_null() if command is None else ENCODERS[data.type](command)


def _current_priority(data: SimulatedObject) -> bytes:
    active = data.active_priority
    return primitives.encode_null() if active is None else primitives.encode_unsigned(active)


def _text(text: str | None) -> bytes | None:
    return None if text is None else primitives.encode_character_string(text)


def _units(data: SimulatedObject) -> bytes | None:
    units = data.units or ("no-units" if data.type in _WHOLE_NUMBERS else None)
    return None if units is None else units_octets(units)


def _like_the_value(data: SimulatedObject, number: float | None) -> bytes | None:
    return None if number is None else ENCODERS[data.type](number)


def _maximum(data: SimulatedObject) -> bytes | None:
    return _like_the_value(data, COUNTER_LIMIT if data.type is ObjectType.ACCUMULATOR else data.maximum)


def _cov_increment(data: SimulatedObject) -> bytes | None:
    if data.type in _WHOLE_NUMBERS:
        return primitives.encode_unsigned(1)
    if data.type.startswith("analog-") or data.type is ObjectType.LARGE_ANALOG_VALUE:
        return _like_the_value(data, data.cov_increment)
    return None


def _polarity(data: SimulatedObject) -> bytes | None:
    return _ZERO if data.type.is_binary and data.type is not ObjectType.BINARY_VALUE else None


def _state_texts(data: SimulatedObject) -> tuple[bytes, ...] | None:
    return tuple(map(primitives.encode_character_string, data.states)) if data.type.is_multi_state else None


def _property_list(data: SimulatedObject) -> tuple[bytes, ...]:
    fixed = [number for number, write in _FIXED.items() if write(data) is not None]
    return listed([*fixed, *_live(data)])


_FIXED: Mapping[int, Callable[[SimulatedObject], bytes | None]] = {
    Property.OBJECT_IDENTIFIER: lambda data: primitives.encode_object_id(object_id(data)),
    Property.OBJECT_NAME: lambda data: _text(data.name),
    Property.OBJECT_TYPE: lambda data: primitives.encode_enumerated(number_of(data.type)),
    Property.DESCRIPTION: lambda data: _text(data.description),
    Property.EVENT_STATE: lambda _data: _ZERO,
    Property.RELIABILITY: lambda _data: _ZERO,
    Property.UNITS: _units,
    Property.RESOLUTION: lambda data: _like_the_value(data, data.resolution),
    Property.MIN_PRES_VALUE: lambda data: _like_the_value(data, data.minimum),
    Property.MAX_PRES_VALUE: _maximum,
    Property.COV_INCREMENT: _cov_increment,
    Property.SCALE: lambda data: _SCALE if data.type is ObjectType.ACCUMULATOR else None,
    Property.NUMBER_OF_STATES: lambda data: (
        primitives.encode_unsigned(len(data.states)) if data.type.is_multi_state else None
    ),
    Property.STATE_TEXT: lambda data: b"" if data.type.is_multi_state else None,  # for the list; an array, below
    Property.INACTIVE_TEXT: lambda data: _text(data.states[0]) if data.type.is_binary else None,
    Property.ACTIVE_TEXT: lambda data: _text(data.states[1]) if data.type.is_binary else None,
    Property.POLARITY: _polarity,
}
"""What never changes, in the order of the property list; None where an object has none such."""

_ARRAYS: Mapping[int, Callable[[SimulatedObject], tuple[bytes, ...] | None]] = {
    Property.STATE_TEXT: _state_texts,
    Property.PROPERTY_LIST: _property_list,
}
