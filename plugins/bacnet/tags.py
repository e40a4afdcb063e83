"""Reads BACnet tags: primitives say themselves what they are, and a broken one spoils only its own property."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from plugins.bacnet.wire.datatypes import Bits, Date, Datum, Enumerated, Group, ObjectId, Time

_APPLICATION, _CONTEXT, _OPENING, _CLOSING = range(4)

_CHARSETS = {0: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "iso-8859-1"}
_CODE_PAGE = 1
_FLOAT32_MAX = 3.4028234663852886e38


class Tag(Protocol):
    """One tag as it came: class (application, context, opening, closing), number, length/value/type, octets."""

    tag_class: int
    tag_number: int
    tag_lvt: int
    tag_data: bytes


def decode(tags: Iterable[Tag]) -> tuple[Datum, ...]:
    """Turn tags into data, as far as they say themselves what they are; raises ValueError on broken ones."""
    return tuple(_items(iter(tags), None))


def _items(tags: Iterator[Tag], closing: int | None) -> Iterator[Datum]:
    for tag in tags:
        if tag.tag_class == _OPENING:
            yield Group(tag.tag_number, tuple(_items(tags, tag.tag_number)))
        elif tag.tag_class == _CLOSING:
            if tag.tag_number != closing:
                raise ValueError("a closing tag without its opening")
            return
        elif tag.tag_class == _CONTEXT:
            yield Group(tag.tag_number, (bytes(tag.tag_data),))
        else:
            yield _primitive(int(tag.tag_number), tag.tag_lvt, bytes(tag.tag_data))
    if closing is not None:
        raise ValueError("an opening tag without its closing")


def _primitive(number: int, lvt: int, octets: bytes) -> Datum:
    if number == _BOOLEAN:
        return bool(lvt)
    decoder = _DECODERS.get(number)
    if decoder is None:
        raise ValueError(f"an application tag {number}, which the standard does not have")
    try:
        return decoder(octets)
    except (struct.error, TypeError, IndexError) as error:
        raise ValueError(f"an application tag {number} with {len(octets)} octets") from error


def _shortest(octets: bytes) -> float:
    """Return the double with the fewest digits that is this 32-bit float: 21.7, not 21.700000762939453."""
    exact = float(struct.unpack(">f", octets)[0])
    if not math.isfinite(exact) or exact == int(exact):
        return exact
    for digits in (6, 7, 8):
        short = float(f"{exact:.{digits}g}")
        if abs(short) <= _FLOAT32_MAX and struct.pack(">f", short) == octets:
            return short
    return float(f"{exact:.9g}")


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
    unused, rest = octets[0], octets[1:]
    count = len(rest) * 8 - unused
    if unused > 7 or count < 0:
        raise ValueError("a bit string with more unused bits than it has")
    return Bits(tuple(bool(rest[bit // 8] >> (7 - bit % 8) & 1) for bit in range(count)))


def _object_id(octets: bytes) -> ObjectId:
    whole = int.from_bytes(octets, "big")
    return ObjectId(whole >> 22, whole & 0x3FFFFF)


_BOOLEAN = 1  # its value stands in the tag itself

_DECODERS: dict[int, Callable[[bytes], Datum]] = {
    0: lambda _octets: None,
    2: lambda octets: int.from_bytes(octets, "big"),
    3: lambda octets: int.from_bytes(octets, "big", signed=True),
    4: _shortest,
    5: lambda octets: float(struct.unpack(">d", octets)[0]),
    6: bytes,
    7: _text,
    8: _bits,
    9: lambda octets: Enumerated(int.from_bytes(octets, "big")),
    10: lambda octets: Date(*octets),
    11: lambda octets: Time(*octets),
    12: _object_id,
}
