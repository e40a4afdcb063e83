"""Reads single values the strict way: as JSON writes them, and as the text of a query writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from core.errors import FieldFault

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,3})?")
_EXACT = 2.0**53  # beyond it a float stands for several whole numbers
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Wrong(Exception):
    """Faults of one value, each with its path relative to it."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(faults)
        self.faults = faults

    @classmethod
    def of(cls, code: str, message: str) -> Wrong:
        """One fault of the value itself."""
        return cls(FieldFault("", code, message))


@attrs.frozen
class Scalars:
    """How one notation writes each scalar type; ``typed`` where a value shows its type by itself."""

    typed: bool
    parsers: Mapping[type, Callable[[Any], Any]]


def type_name(scalar: type) -> str:
    """Say what a scalar type is, for a message."""
    return _TYPE_NAMES[scalar]


def _unlike(scalar: type) -> Wrong:
    return Wrong.of("type", f"must be {_TYPE_NAMES[scalar]}")


# JSON


def _json_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _unlike(bool)


def _json_int(value: object) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    raise _unlike(int)


def _json_float(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _unlike(float)


def _json_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise _unlike(str)


# the text of a query; a list where a parameter was repeated that may not be


def _once(parse: Callable[[str], Any]) -> Callable[[str | list[str]], Any]:
    def structure(value: str | list[str]) -> Any:
        if isinstance(value, list):
            raise Wrong.of("repeated", "may be given only once")
        return parse(value)

    return structure


def _text_bool(text: str) -> bool:
    if text in ("true", "false"):
        return text == "true"
    raise _unlike(bool)


def _text_int(text: str) -> int:
    if _INTEGER.fullmatch(text):
        return int(text)
    raise _unlike(int)


def _text_float(text: str) -> float:
    number = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if math.isfinite(number):
        return number
    raise _unlike(float)


JSON = Scalars(typed=True, parsers={bool: _json_bool, int: _json_int, float: _json_float, str: _json_str})
TEXT = Scalars(
    typed=False,
    parsers={bool: _once(_text_bool), int: _once(_text_int), float: _once(_text_float), str: _once(str)},
)
