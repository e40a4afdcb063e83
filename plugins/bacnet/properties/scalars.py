"""One datum of each datatype, as JSON and back: the octets behind its tag stand for a JSON value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from plugins.bacnet.properties.shapes import BitNames, Enumeration, Scalar, WeekNDay
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Bits, Date, Datum, ObjectId, Time, parse_object_id, parse_octets
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.primitives import Primitive
from plugins.bacnet.wire.tags import read_tag

_ANY = 255
_WEEK_N_DAY = ("month", "week_of_month", "day_of_week")
_LARGEST_ENUMERATED = 2**32 - 1
_UNSIGNED_MAX = 2**64 - 1
_INTEGER_RANGE = range(-(2**63), 2**63)
_NOT_FINITE = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def read_scalar(shape: Scalar | Enumeration | BitNames | WeekNDay, octets: bytes) -> Any:
    """Return the JSON value that octets stand for; raises DecodeError."""
    if isinstance(shape, WeekNDay):
        if len(octets) != len(_WEEK_N_DAY):
            raise DecodeError(f"a week and day of {len(octets)} octets")
        return {name: None if octet == _ANY else octet for name, octet in zip(_WEEK_N_DAY, octets, strict=True)}
    if isinstance(shape, Enumeration):
        number = primitives.unsigned_in(octets)
        return shape.names.get(number, number)
    if isinstance(shape, BitNames):
        datum = primitives.decode(Primitive.BIT_STRING, octets)
        return _named_bits(shape, datum) if isinstance(datum, Bits) else None
    if shape.primitive is Primitive.BOOLEAN:
        return bool(primitives.unsigned_in(octets))
    return json_of(primitives.decode(shape.primitive, octets))


def write_scalar(shape: Scalar | Enumeration | BitNames | WeekNDay, value: Any) -> bytes:
    """Return the octets that stand for a JSON value; raises ValueError with what would suit."""
    if isinstance(shape, WeekNDay):
        return _week_n_day(value)
    if isinstance(shape, Enumeration):
        return _state(shape, value)
    if isinstance(shape, BitNames):
        return _content(primitives.encode_bit_string(_bits(shape, value)))
    return _plain(shape.primitive, value, shape.highest)


def json_of(datum: Datum) -> Any:
    """Return a datum as JSON: numbers and texts as they are, all else in its one text form."""
    if isinstance(datum, bytes):
        return datum.hex()
    if isinstance(datum, float) and not math.isfinite(datum):
        return "NaN" if math.isnan(datum) else "Infinity" if datum > 0 else "-Infinity"
    if isinstance(datum, Date | Time):
        return _moment(datum)
    if isinstance(datum, Bits | ObjectId):
        return str(datum)
    return datum


def _moment(datum: Date | Time) -> Any:
    """Write a date or time; one whose octets mean nothing, which no text could bring back, as these octets."""
    try:
        same = type(datum).parse(str(datum))
    except ValueError:
        same = None
    if same == datum or (isinstance(same, Date) and isinstance(datum, Date) and _is_vague(datum)):
        return str(datum)
    whole = primitives.encode_date(datum) if isinstance(datum, Date) else primitives.encode_time(datum)
    return {"octets": _content(whole).hex()}


def _is_vague(date: Date) -> bool:
    """Tell whether a date leaves out its weekday, which follows from it and is put in where it is written."""
    return date.weekday == _ANY


def _named_bits(shape: BitNames, bits: Bits) -> Any:
    """Write bits by their names, further ones by their number; too few of them as they stand."""
    if len(bits.bits) < len(shape.bits) and not shape.grows:
        return str(bits)
    names = [*shape.bits, *map(str, range(len(shape.bits), len(bits.bits)))]
    return dict(zip(names, bits.bits, strict=False))


def _bits(shape: BitNames, value: Any) -> Bits:
    if isinstance(value, str):
        return Bits.parse(value)
    known = {name: number for number, name in enumerate(shape.bits)}
    wanted = f"bits by name ({', '.join(shape.bits[:4])}{', ...' if len(shape.bits) > 4 else ''})"
    if isinstance(value, list):
        if not all(isinstance(name, str) and name in known for name in value):
            raise ValueError(wanted)
        return Bits(tuple(name in value for name in shape.bits))
    if not isinstance(value, Mapping) or not all(isinstance(bit, bool) for bit in value.values()):
        raise ValueError(wanted)
    bits = {known[name] if name in known else _bit_number(name, wanted): bit for name, bit in value.items()}
    if sorted(bits) != list(range(len(bits))) or (len(bits) < len(shape.bits) and not shape.grows):
        raise ValueError(f"all {wanted}")
    return Bits(tuple(bits[number] for number in range(len(bits))))


def _bit_number(name: str, wanted: str) -> int:
    if not (name.isascii() and name.isdigit()):
        raise ValueError(wanted)
    return int(name)


def _week_n_day(value: Any) -> bytes:
    wanted = f"an object with {', '.join(_WEEK_N_DAY)}, each a number or null"
    if not isinstance(value, Mapping) or sorted(value) != sorted(_WEEK_N_DAY):
        raise ValueError(wanted)
    parts = [value[name] for name in _WEEK_N_DAY]
    if not all(part is None or (_is_whole(part) and 0 <= part <= _ANY) for part in parts):
        raise ValueError(wanted)
    return bytes(_ANY if part is None else int(part) for part in parts)


def _state(shape: Enumeration, value: Any) -> bytes:
    if isinstance(value, str) and value in shape.numbers:
        return primitives.unsigned_octets(shape.numbers[value])
    if _is_whole(value) and 0 <= value <= _LARGEST_ENUMERATED:
        return primitives.unsigned_octets(int(value))
    names = list(shape.names.values())
    raise ValueError(f"one of {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}, or its number")


def _plain(primitive: Primitive, value: Any, highest: int | None) -> bytes:
    match primitive:
        case Primitive.NULL:
            if value is not None:
                raise ValueError("null")
            return b""
        case Primitive.BOOLEAN:
            if not isinstance(value, bool):
                raise ValueError("true or false")  # noqa: TRY004 - it is a value of a caller
            return bytes((value,))
        case Primitive.REAL | Primitive.DOUBLE:
            return _float(primitive, value)
        case Primitive.UNSIGNED | Primitive.ENUMERATED:
            most = highest if highest is not None else _UNSIGNED_MAX
            if not _is_whole(value) or not 0 <= value <= most:
                raise ValueError(f"a whole number from 0 to {most}")
            return primitives.unsigned_octets(int(value))
        case Primitive.INTEGER:
            if not _is_whole(value) or int(value) not in _INTEGER_RANGE:
                raise ValueError(f"a whole number from {_INTEGER_RANGE[0]} to {_INTEGER_RANGE[-1]}")
            return _content(primitives.encode_integer(int(value)))
    return _from_text(primitive, value)


def _from_text(primitive: Primitive, value: Any) -> bytes:
    if isinstance(value, Mapping) and primitive in (Primitive.DATE, Primitive.TIME):
        octets = parse_octets(str(value.get("octets")))
        if len(octets) != 4 or len(value) > 1:
            raise ValueError("a text, or an object with four octets")
        return octets
    if not isinstance(value, str):
        raise ValueError("a text")  # noqa: TRY004 - as above
    match primitive:
        case Primitive.CHARACTER_STRING:
            return _content(primitives.encode_character_string(value))
        case Primitive.OCTET_STRING:
            return parse_octets(value)
        case Primitive.BIT_STRING:
            return _content(primitives.encode_bit_string(Bits.parse(value)))
        case Primitive.DATE:
            return _content(primitives.encode_date(Date.parse(value)))
        case Primitive.TIME:
            return _content(primitives.encode_time(Time.parse(value)))
    return _content(primitives.encode_object_id(parse_object_id(value)))


def _float(primitive: Primitive, value: Any) -> bytes:
    number = _NOT_FINITE.get(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError("a number")  # noqa: TRY004 - as above
    if primitive is Primitive.REAL and math.isfinite(number) and abs(number) > primitives.FLOAT32_MAX:
        raise ValueError("a number within ±3.4028235e38")
    try:
        return _content((primitives.encode_real if primitive is Primitive.REAL else primitives.encode_double)(number))
    except OverflowError:
        raise ValueError("a number") from None


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


def _content(whole: bytes) -> bytes:
    """Return what stands behind a datum's own tag."""
    return whole[read_tag(whole, 0).at :]
