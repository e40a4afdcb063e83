"""BACnet values to point values and back: what suits a point's kind, and how it is encoded for writing."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from core.plugin import Flag, Kind, Value
from plugins.bacnet.objects import Datatype
from plugins.bacnet.wire.datatypes import (
    Bits,
    Date,
    DateTime,
    Datum,
    Enumerated,
    Group,
    Time,
    parse_object_id,
    parse_octets,
)

_NULL, _BOOLEAN, _UNSIGNED, _INTEGER, _REAL, _DOUBLE, _OCTETS, _TEXT, _BITS, _ENUM, _DATE, _TIME, _OBJECT = range(13)

_FLOAT32_MAX = 3.4028234663852886e38
_UNSIGNED_MAX = 2**64 - 1
_INTEGER_MAX = 2**31 - 1


@attrs.frozen
class Encoded:
    """A primitive ready to send: its application tag's number, and its octets (a boolean's is the length field)."""

    number: int
    octets: bytes = b""
    lvt: int | None = None


NULL = Encoded(_NULL)


class NotThatKind(ValueError):
    """A value came that is not of the point's kind."""


def flags_of(items: Sequence[Datum]) -> Flag:
    """Return a status-flags property as flags; anything else is no flags."""
    flags = Flag(0)
    if len(items) == 1 and isinstance(items[0], Bits):
        for bit, flag in zip(items[0].bits, Flag, strict=False):
            flags |= flag if bit else Flag(0)
    return flags


def value_of(items: Sequence[Datum], kind: Kind) -> Value:
    """Return a property as a point's value; null is None. Raises NotThatKind."""
    datum = _joined(items)
    if datum is None:
        return None
    if kind is Kind.TEXT:
        return text_of(datum)
    if kind is Kind.NUMBER and isinstance(datum, int | float):
        return datum if isinstance(datum, float) else int(datum)
    if kind is Kind.BOOLEAN and isinstance(datum, int):
        return bool(datum)
    if kind is Kind.ENUM and isinstance(datum, int):
        return int(datum)
    raise NotThatKind(f"{type(datum).__name__.lower()} where a {kind} belongs")


def _joined(items: Sequence[Datum]) -> Datum | DateTime:
    """Take the one datum out of its list; a date followed by a time is one datum."""
    match items:
        case [Group(items=(Date() as date, Time() as time))] | [Date() as date, Time() as time]:
            return DateTime(date, time)
        case [datum]:
            return datum
    raise NotThatKind(f"{len(items)} values where one belongs")


def text_of(datum: Datum | DateTime) -> str:
    """Write any primitive in its text form; raises NotThatKind for what has none."""
    if isinstance(datum, bytes):
        return datum.hex()
    if datum is None or isinstance(datum, Group):
        raise NotThatKind("a constructed value where a text belongs")
    return str(datum)


def kind_of(items: Sequence[Datum]) -> Kind:
    """Return the kind of point that a value of unknown datatype makes; null is a number without value."""
    match items:
        case [bool()]:
            return Kind.BOOLEAN
        case [Enumerated()]:
            return Kind.ENUM
        case [int() | float() | None]:
            return Kind.NUMBER
    return Kind.TEXT


def encode(datatype: Datatype, value: Value) -> tuple[Encoded, ...]:
    """Encode a point's value for writing; raises ValueError with a sentence that says what would suit."""
    match datatype:
        case Datatype.DATETIME:
            whole = DateTime.parse(str(value))
            return _date(whole.date), _time(whole.time)
        case Datatype.REAL | Datatype.DOUBLE:
            return (_float(datatype, float(value or 0)),)
        case Datatype.BOOLEAN:
            return (Encoded(_BOOLEAN, lvt=int(bool(value))),)
        case Datatype.UNSIGNED | Datatype.ENUMERATED | Datatype.INTEGER:
            return (_whole(datatype, value),)
    return (_from_text(datatype, str(value)),)


def _from_text(datatype: Datatype, text: str) -> Encoded:
    match datatype:
        case Datatype.CHARACTER_STRING:
            return Encoded(_TEXT, b"\0" + text.encode())
        case Datatype.OCTET_STRING:
            return Encoded(_OCTETS, parse_octets(text))
        case Datatype.BIT_STRING:
            return Encoded(_BITS, _bit_octets(Bits.parse(text)))
        case Datatype.DATE:
            return _date(Date.parse(text))
        case Datatype.TIME:
            return _time(Time.parse(text))
        case Datatype.OBJECT_ID:
            object_id = parse_object_id(text)
            return Encoded(_OBJECT, (object_id.type << 22 | object_id.instance).to_bytes(4, "big"))
    raise ValueError("a value whose datatype only the device knows cannot be written")


def _float(datatype: Datatype, value: float) -> Encoded:
    if datatype is Datatype.DOUBLE:
        return Encoded(_DOUBLE, struct.pack(">d", value))
    if abs(value) > _FLOAT32_MAX:
        raise ValueError("a number within ±3.4028235e38")
    return Encoded(_REAL, struct.pack(">f", value))


def _whole(datatype: Datatype, value: Value) -> Encoded:
    if isinstance(value, str) or value is None or value != int(value):
        raise ValueError("a whole number")
    number = int(value)
    if datatype is Datatype.INTEGER:
        if not -_INTEGER_MAX - 1 <= number <= _INTEGER_MAX:
            raise ValueError(f"a whole number from {-_INTEGER_MAX - 1} to {_INTEGER_MAX}")
        length = next(size for size in range(1, 5) if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1)
        return Encoded(_INTEGER, number.to_bytes(length, "big", signed=True))
    if not 0 <= number <= _UNSIGNED_MAX:
        raise ValueError(f"a whole number from 0 to {_UNSIGNED_MAX}")
    octets = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return Encoded(_UNSIGNED if datatype is Datatype.UNSIGNED else _ENUM, octets)


def _date(date: Date) -> Encoded:
    return Encoded(_DATE, bytes((date.year, date.month, date.day, date.weekday)))


def _time(time: Time) -> Encoded:
    return Encoded(_TIME, bytes((time.hour, time.minute, time.second, time.hundredths)))


def _bit_octets(bits: Bits) -> bytes:
    text = str(bits)
    unused = -len(text) % 8
    whole = int(text + "0" * unused, 2) if text else 0
    return bytes([unused]) + whole.to_bytes((len(text) + 7) // 8, "big")
