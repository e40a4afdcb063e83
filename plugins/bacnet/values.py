"""BACnet values to point values and back: what suits a point's kind, and how it is encoded for writing."""

from __future__ import annotations

from collections.abc import Sequence

from core.plugin import Flag, Kind, Value
from plugins.bacnet.objects import Datatype
from plugins.bacnet.wire import primitives
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

_UNSIGNED_MAX = 2**64 - 1
_INTEGER_MAX = 2**31 - 1


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


def encode(datatype: Datatype, value: Value) -> tuple[bytes, ...]:
    """Encode a point's value for writing, tagged; raises ValueError with a sentence that says what would suit."""
    match datatype:
        case Datatype.DATETIME:
            whole = DateTime.parse(str(value))
            return primitives.encode_date(whole.date), primitives.encode_time(whole.time)
        case Datatype.REAL | Datatype.DOUBLE:
            return (_float(datatype, float(value or 0)),)
        case Datatype.BOOLEAN:
            return (primitives.encode_boolean(bool(value)),)
        case Datatype.UNSIGNED | Datatype.ENUMERATED | Datatype.INTEGER:
            return (_whole(datatype, value),)
    return (_from_text(datatype, str(value)),)


def _from_text(datatype: Datatype, text: str) -> bytes:
    match datatype:
        case Datatype.CHARACTER_STRING:
            return primitives.encode_character_string(text)
        case Datatype.OCTET_STRING:
            return primitives.encode_octet_string(parse_octets(text))
        case Datatype.BIT_STRING:
            return primitives.encode_bit_string(Bits.parse(text))
        case Datatype.DATE:
            return primitives.encode_date(Date.parse(text))
        case Datatype.TIME:
            return primitives.encode_time(Time.parse(text))
        case Datatype.OBJECT_ID:
            return primitives.encode_object_id(parse_object_id(text))
    raise ValueError("a value whose datatype only the device knows cannot be written")


def _float(datatype: Datatype, value: float) -> bytes:
    if datatype is Datatype.DOUBLE:
        return primitives.encode_double(value)
    if abs(value) > primitives.FLOAT32_MAX:
        raise ValueError("a number within ±3.4028235e38")
    return primitives.encode_real(value)


def _whole(datatype: Datatype, value: Value) -> bytes:
    if isinstance(value, str) or value is None or value != int(value):
        raise ValueError("a whole number")
    number = int(value)
    if datatype is Datatype.INTEGER:
        if not -_INTEGER_MAX - 1 <= number <= _INTEGER_MAX:
            raise ValueError(f"a whole number from {-_INTEGER_MAX - 1} to {_INTEGER_MAX}")
        return primitives.encode_integer(number)
    if not 0 <= number <= _UNSIGNED_MAX:
        raise ValueError(f"a whole number from 0 to {_UNSIGNED_MAX}")
    return primitives.encode_unsigned(number) if datatype is Datatype.UNSIGNED else primitives.encode_enumerated(number)
