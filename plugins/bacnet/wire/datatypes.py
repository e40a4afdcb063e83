"""The datatypes that Python has no type for, and the one text form of each (ASHRAE 135, 20.2 and 21).

| value | text |
|---|---|
| date | ``2026-01-31``; ``*`` is any |
| pattern of dates | ``*-odd-last``: months ``odd`` and ``even``, days ``last``, ``odd`` and ``even`` |
| pattern with a weekday | ``*-*-*-fri`` |
| time | ``13:45:00`` or, with hundredths, ``13:45:00.50``; ``*`` is any |
| date and time | ``2026-01-31T13:45:00`` |
| bit string | ``0110``, the first bit first |
| octet string | ``0a1b2c`` |
| object id | ``analog-input.1`` |
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TypeAlias

import attrs

from plugins.bacnet.wire.enumerations import type_name, type_number

NO_INSTANCE = 0x3FFFFF

_ANY = 255
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = {13: "odd", 14: "even"}
_DAYS = {32: "last", 33: "odd", 34: "even"}
_FIRST_YEAR = 1900

_DATE = re.compile(r"(\*|\d{4})-(\*|odd|even|\d{1,2})-(\*|last|odd|even|\d{1,2})(?:-(\w{3}))?", re.ASCII)
_TIME = re.compile(r"(\*|\d{1,2}):(\*|\d{1,2}):(\*|\d{1,2})(?:\.(\*|\d{2}))?", re.ASCII)


@attrs.frozen
class ObjectId:
    """An object's type and instance number (20.2.14)."""

    type: int
    instance: int

    @property
    def packed(self) -> int:
        """Both in one number of 32 bits, as on the wire."""
        return self.type << 22 | self.instance

    @classmethod
    def unpack(cls, packed: int) -> ObjectId:
        """Make an object id of one number of 32 bits."""
        return cls(packed >> 22, packed & NO_INSTANCE)

    def __str__(self) -> str:
        return f"{type_name(self.type)}.{self.instance}"


@attrs.frozen
class Ref:
    """One property of one object, or one element of it."""

    object: ObjectId
    property: int
    index: int | None = None


class Enumerated(int):
    """A number that stands for a state (20.2.11)."""


@attrs.frozen
class Date:
    """A date or a pattern of dates (ASHRAE 135, 20.2.12): year less 1900, month, day, weekday from 1; 255 is any."""

    year: int
    month: int
    day: int
    weekday: int

    @classmethod
    def parse(cls, text: str) -> Date:
        """Read the text form; raises ValueError."""
        match = _DATE.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a date; write it like 2026-01-31")
        year = _year(match[1])
        month, day = _part(match[2], _MONTHS, 1, 12), _part(match[3], _DAYS, 1, 31)
        if match[4] is None:
            return cls(year, month, day, _weekday_of(year, month, day, text))
        if match[4] not in _WEEKDAYS:
            raise ValueError(f"'{match[4]}' is not a weekday: {', '.join(_WEEKDAYS)}")
        return cls(year, month, day, _WEEKDAYS.index(match[4]) + 1)

    def __str__(self) -> str:
        year = "*" if self.year == _ANY else f"{self.year + _FIRST_YEAR:04}"
        month = _part_text(self.month, _MONTHS)
        text = f"{year}-{month}-{_part_text(self.day, _DAYS)}"
        if not 1 <= self.weekday <= 7:
            return text
        try:
            follows = _weekday_of(self.year, self.month, self.day, text)
        except ValueError:
            follows = _ANY
        return text if follows == self.weekday else f"{text}-{_WEEKDAYS[self.weekday - 1]}"


@attrs.frozen
class Time:
    """A time of day or a pattern of times (ASHRAE 135, 20.2.13); 255 is any."""

    hour: int
    minute: int
    second: int
    hundredths: int

    @classmethod
    def parse(cls, text: str) -> Time:
        """Read the text form; raises ValueError."""
        match = _TIME.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a time; write it like 13:45:00")
        return cls(
            _part(match[1], {}, 0, 23),
            _part(match[2], {}, 0, 59),
            _part(match[3], {}, 0, 59),
            _part(match[4] or "0", {}, 0, 99),
        )

    def __str__(self) -> str:
        text = ":".join(_part_text(part, {}) for part in (self.hour, self.minute, self.second))
        return f"{text}.{_part_text(self.hundredths, {})}" if self.hundredths else text


@attrs.frozen
class DateTime:
    """A date and a time."""

    date: Date
    time: Time

    @classmethod
    def parse(cls, text: str) -> DateTime:
        """Read the text form; raises ValueError."""
        date, found, time = text.partition("T")
        if not found:
            raise ValueError(f"'{text}' is not a date and time; write it like 2026-01-31T13:45:00")
        return cls(Date.parse(date), Time.parse(time))

    def __str__(self) -> str:
        return f"{self.date}T{self.time}"


@attrs.frozen
class Bits:
    """A bit string, the first bit first."""

    bits: tuple[bool, ...]

    @classmethod
    def parse(cls, text: str) -> Bits:
        """Read the text form; raises ValueError."""
        if set(text) - {"0", "1"}:
            raise ValueError(f"'{text}' is not a bit string; write it like 0110")
        return cls(tuple(bit == "1" for bit in text))

    def __str__(self) -> str:
        return "".join("1" if bit else "0" for bit in self.bits)


@attrs.frozen
class Group:
    """What stood between an opening and a closing tag, or in one context tag, which says nothing of its datatype."""

    number: int
    items: tuple[Datum, ...]


Datum: TypeAlias = None | bool | int | float | str | bytes | Bits | Date | Time | ObjectId | Group
Items: TypeAlias = tuple[Datum, ...]


def parse_octets(text: str) -> bytes:
    """Read an octet string's text form; raises ValueError."""
    if len(text) % 2 or not re.fullmatch("[0-9a-fA-F]*", text):
        raise ValueError(f"'{text}' is not an octet string; write pairs of hex digits like 0a1b2c")
    return bytes.fromhex(text)


def parse_object_id(text: str) -> ObjectId:
    """Read an object id's text form; raises ValueError."""
    name, _, instance = text.rpartition(".")
    if not (instance.isascii() and instance.isdigit() and int(instance) <= NO_INSTANCE):
        raise ValueError(f"'{text}' is not an object id; write it like analog-input.1")
    return ObjectId(type_number(name), int(instance))


def _year(text: str) -> int:
    if text == "*":
        return _ANY
    if not 0 <= int(text) - _FIRST_YEAR < _ANY:
        raise ValueError(f"'{text}' is not a year from 1900 to 2154")
    return int(text) - _FIRST_YEAR


def _part(text: str, words: dict[int, str], low: int, high: int) -> int:
    if text == "*":
        return _ANY
    for number, word in words.items():
        if text == word:
            return number
    if not low <= int(text) <= high:
        raise ValueError(f"'{text}' is not from {low} to {high}")
    return int(text)


def _part_text(number: int, words: dict[int, str]) -> str:
    return "*" if number == _ANY else words.get(number, f"{number:02}")


def _weekday_of(year: int, month: int, day: int, text: str) -> int:
    """Return the weekday of a complete date, 255 of a pattern; raises ValueError where there is no such date."""
    if year == _ANY or month > 12 or day > 31:
        return _ANY
    try:
        return dt.date(year + _FIRST_YEAR, month, day).isoweekday()
    except ValueError:
        raise ValueError(f"'{text}' is not a date of the calendar") from None
