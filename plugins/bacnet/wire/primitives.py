"""One datum of each datatype, in octets and back (ASHRAE 135, 20.2.2 to 20.2.14)."""

from __future__ import annotations

import enum
import functools
import math
import struct
from collections.abc import Callable

from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import Bits, Date, Datum, Enumerated, ObjectId, Time
from plugins.bacnet.wire.errors import DecodeError


class Primitive(enum.IntEnum):
    """The numbers of application tags (20.2.1.4)."""

    NULL = 0
    BOOLEAN = 1
    UNSIGNED = 2
    INTEGER = 3
    REAL = 4
    DOUBLE = 5
    OCTET_STRING = 6
    CHARACTER_STRING = 7
    BIT_STRING = 8
    ENUMERATED = 9
    DATE = 10
    TIME = 11
    OBJECT_IDENTIFIER = 12


LONGEST_NUMBER = 8
"""Octets of the longest whole number: the standard's largest is Unsigned64 (clause 21)."""

FLOAT32_MAX = 3.4028234663852886e38
"""The largest number in single precision."""

_UTF_8 = 0
_CODE_PAGE = 1
_CHARSETS = {_UTF_8: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "iso-8859-1"}

_FEW = 16  # octets of the bit strings that come again and again: status flags, object types and services supported

_REAL = struct.Struct(">f")
_DOUBLE = struct.Struct(">d")


def decode(number: int, octets: bytes) -> Datum:
    """Decode the octets behind an application tag, other than a boolean's, which has none; raises DecodeError."""
    decoder = _DECODERS.get(number)
    if decoder is None:
        raise DecodeError(f"an application tag {number}, which the standard does not have")
    try:
        return decoder(octets)
    except (struct.error, TypeError, IndexError, UnicodeError, OverflowError) as error:
        raise DecodeError(f"an application tag {number} with {len(octets)} octets") from error


def encode_null() -> bytes:
    """Write a null."""
    return b"\x00"


def encode_boolean(value: bool) -> bytes:  # noqa: FBT001 - it is the value
    """Write a boolean, whose value stands in the tag itself (20.2.3)."""
    return b"\x11" if value else b"\x10"


def encode_unsigned(number: int) -> bytes:
    """Write a whole number from 0 on; raises OverflowError below."""
    return tags.application(Primitive.UNSIGNED, unsigned_octets(number))


def encode_integer(number: int) -> bytes:
    """Write a whole number, in two's complement."""
    length = (number.bit_length() if number >= 0 else (number + 1).bit_length()) // 8 + 1
    return tags.application(Primitive.INTEGER, number.to_bytes(length, "big", signed=True))


def encode_real(number: float) -> bytes:
    """Write a number in single precision; raises OverflowError beyond it."""
    return b"\x44" + _REAL.pack(number)


def encode_double(number: float) -> bytes:
    """Write a number in double precision."""
    return b"\x55\x08" + _DOUBLE.pack(number)


def encode_octet_string(octets: bytes) -> bytes:
    """Write octets."""
    return tags.application(Primitive.OCTET_STRING, octets)


def encode_character_string(text: str) -> bytes:
    """Write a text in UTF-8 (character set 0)."""
    return tags.application(Primitive.CHARACTER_STRING, bytes((_UTF_8,)) + text.encode())


def encode_bit_string(bits: Bits) -> bytes:
    """Write bits, the first one first."""
    unused = -len(bits.bits) % 8
    whole = int(str(bits) + "0" * unused, 2) if bits.bits else 0
    octets = bytes((unused,)) + whole.to_bytes((len(bits.bits) + unused) // 8, "big")
    return tags.application(Primitive.BIT_STRING, octets)


def encode_enumerated(number: int) -> bytes:
    """Write the number of a state, from 0 on."""
    return tags.application(Primitive.ENUMERATED, unsigned_octets(number))


def encode_date(date: Date) -> bytes:
    """Write a date or a pattern of dates."""
    return tags.application(Primitive.DATE, bytes((date.year, date.month, date.day, date.weekday)))


def encode_time(time: Time) -> bytes:
    """Write a time of day or a pattern of times."""
    return tags.application(Primitive.TIME, bytes((time.hour, time.minute, time.second, time.hundredths)))


def encode_object_id(object_id: ObjectId) -> bytes:
    """Write an object id."""
    return tags.application(Primitive.OBJECT_IDENTIFIER, object_id.packed.to_bytes(4, "big"))


def unsigned_octets(number: int) -> bytes:
    """Write a whole number from 0 on in as few octets as it takes, without a tag (20.2.4)."""
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


def unsigned_in(octets: bytes) -> int:
    """Read a whole number from 0 on that stands without a tag; raises DecodeError, also where it is longer than any."""
    if not 0 < len(octets) <= LONGEST_NUMBER:
        raise DecodeError(f"a whole number of {len(octets)} octets")
    return int.from_bytes(octets, "big")


def object_id_in(octets: bytes) -> ObjectId:
    """Read an object id that stands without a tag; raises DecodeError."""
    if len(octets) != 4:
        raise DecodeError(f"an object id of {len(octets)} octets")
    return ObjectId.unpack(int.from_bytes(octets, "big"))


def shortest(exact: float) -> float:
    """Return the double with the fewest digits that is this single-precision number: 21.7, not 21.700000762939453."""
    if not math.isfinite(exact) or exact == int(exact):
        return exact
    octets = _REAL.pack(exact)
    for digits in (6, 7, 8):
        short = float(f"{exact:.{digits}g}")
        if abs(short) <= FLOAT32_MAX and _REAL.pack(short) == octets:
            return short
    return float(f"{exact:.9g}")


def _signed(octets: bytes) -> int:
    if not 0 < len(octets) <= LONGEST_NUMBER:
        raise DecodeError(f"a whole number of {len(octets)} octets")
    return int.from_bytes(octets, "big", signed=True)


def _real(octets: bytes) -> float:
    return shortest(_REAL.unpack(octets)[0])


def _double(octets: bytes) -> float:
    return float(_DOUBLE.unpack(octets)[0])


def _null(octets: bytes) -> None:
    if octets:
        raise DecodeError("a null with octets")


def _text(octets: bytes) -> str:
    """Decode a character string; what its character set does not have becomes a replacement character."""
    charset = octets[0]
    if charset == _CODE_PAGE:
        page, rest = int.from_bytes(octets[1:3], "big"), octets[3:]
        try:
            return rest.decode(f"cp{page}", "replace")
        except LookupError:
            return rest.decode("ascii", "replace")
    return octets[1:].decode(_CHARSETS.get(charset, "utf-8"), "replace")


def _bits(octets: bytes) -> Bits:
    return _few_bits(octets) if len(octets) <= _FEW else _any_bits(octets)


def _any_bits(octets: bytes) -> Bits:
    unused, rest = octets[0], octets[1:]
    count = len(rest) * 8 - unused
    if unused > 7 or count < 0:
        raise DecodeError("a bit string with more unused bits than it has")
    # In digits, since shifting a long number once for each bit takes time by the square of its length.
    digits = f"{int.from_bytes(rest, 'big'):0{len(rest) * 8}b}" if rest else ""
    return Bits(tuple(digit == "1" for digit in digits[:count]))


_few_bits = functools.lru_cache(1024)(_any_bits)


def _date(octets: bytes) -> Date:
    return Date(*octets)


def _time(octets: bytes) -> Time:
    return Time(*octets)


_DECODERS: dict[int, Callable[[bytes], Datum]] = {
    Primitive.NULL: _null,
    Primitive.UNSIGNED: unsigned_in,
    Primitive.INTEGER: _signed,
    Primitive.REAL: _real,
    Primitive.DOUBLE: _double,
    Primitive.OCTET_STRING: bytes,
    Primitive.CHARACTER_STRING: _text,
    Primitive.BIT_STRING: _bits,
    Primitive.ENUMERATED: lambda octets: Enumerated(unsigned_in(octets)),
    Primitive.DATE: _date,
    Primitive.TIME: _time,
    Primitive.OBJECT_IDENTIFIER: object_id_in,
}
