"""Checks that a value suits a point, before anything is sent to equipment."""

from __future__ import annotations

import math

from core.errors import FieldFault, ValueNotSuitable
from core.model import Kind, Point, Value

_SINGLE_PRECISION = 1e-6


def suitable(point: Point, value: Value) -> Value:
    """Return the value as the point takes it; raises ValueNotSuitable.

    Enums take their integer or state text and become the integer; booleans take true, false or their state text.
    """
    check = {Kind.NUMBER: _number, Kind.BOOLEAN: _boolean, Kind.ENUM: _enum, Kind.TEXT: _text}[point.kind]
    return check(point, value)


def _number(point: Point, value: Value) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unsuitable(point, "a number")
    if not _finite(value):
        raise _unsuitable(point, "a finite number")
    if point.min is not None and value < point.min:
        raise _unsuitable(point, f"at least {_with_symbol(point, point.min)}")
    if point.max is not None and value > point.max:
        raise _unsuitable(point, f"at most {_with_symbol(point, point.max)}")
    return value


def _boolean(point: Point, value: Value) -> Value:
    if isinstance(value, bool):
        return value
    for key, text in (point.states or {}).items():
        if isinstance(value, str) and value == text:
            return key == "true"
    raise _unsuitable(point, _choices(point, ["true", "false"]))


def _enum(point: Point, value: Value) -> Value:
    states = point.states or {}
    if isinstance(value, str):
        for key, text in states.items():
            if value == text and key.isdecimal():
                return int(key)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == int_or_none(value):
        number = int(value)
        if (str(number) in states) if states else number >= 0:
            return number
    raise _unsuitable(point, _choices(point, list(states) or ["a whole number from 0"]))


def _text(point: Point, value: Value) -> Value:
    if not isinstance(value, str):
        raise _unsuitable(point, "text")
    return value


def agrees(point: Point, written: Value, shown: Value) -> bool:
    """Tell whether a device shows what was written: a number within single precision and the point's resolution."""
    numbers = [value for value in (written, shown) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2:
        return written == shown and isinstance(written, bool) is isinstance(shown, bool)
    return math.isclose(*numbers, rel_tol=_SINGLE_PRECISION, abs_tol=abs(point.resolution or 0.0))


def int_or_none(value: float) -> int | None:
    """Return a whole number as an int, anything else as None."""
    return int(value) if _finite(value) and value == int(value) else None


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond what a float can hold
        return False


def _choices(point: Point, keys: list[str]) -> str:
    texts = [f"{text!r}" for text in (point.states or {}).values()]
    return "one of " + ", ".join([*keys, *texts])


def _with_symbol(point: Point, limit: float) -> str:
    return f"{limit:g} {point.symbol}" if point.symbol else f"{limit:g}"


def _unsuitable(point: Point, expected: str) -> ValueNotSuitable:
    detail = f"{point.id} takes {expected}."
    return ValueNotSuitable(detail, errors=[FieldFault("value", "value.not_suitable", f"must be {expected}")])
