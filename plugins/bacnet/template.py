"""The learned layout of an answer: which octets stay as they are, and which are numbers, read by one `struct`.

An answer to the same question has the same tags, object ids and property ids each time. What is neither a number of
fixed size nor stays the same makes the layout another one.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from plugins.bacnet.wire.primitives import Primitive


class Field(NamedTuple):
    """A number in an answer: where it begins, its `struct` code, and the bits of it that are free to change."""

    primitive: Primitive
    at: int
    code: str
    free: bytes


def field_at(octets: bytes, start: int, end: int) -> Field | None:
    """Return the number that stands between two indexes, tag included; None where it is none of fixed size."""
    if start >= end:
        return None
    first, count = octets[start], end - start - 1
    if first & 0xFE == Primitive.BOOLEAN << 4 and not count:
        return Field(Primitive.BOOLEAN, start, "B", b"\x01")
    known = _FIELDS.get((first, count))
    if known is None or (first == _DOUBLE and octets[start + 1] != 8):
        return None
    if first == _FLAGS and octets[start + 1] > _UNUSED_OF_FLAGS:
        return None
    primitive, skip, code, free = known
    return Field(primitive, start + skip, code, free)


class Template:
    """A layout: `read` takes the numbers out of an answer of this layout, in order, and None out of any other."""

    __slots__ = ("_fixed", "_length", "_mask", "_unpack")

    def __init__(self, octets: bytes, fields: Sequence[Field]) -> None:
        mask = bytearray(b"\xff" * len(octets))
        codes, at = [">"], 0
        for field in fields:
            codes.append(f"{field.at - at}x{field.code}")
            at = field.at + len(field.free)
            for index, free in enumerate(field.free, field.at):
                mask[index] ^= free
        self._length = len(octets)
        self._mask = int.from_bytes(mask, "little")
        self._fixed = int.from_bytes(octets, "little") & self._mask
        self._unpack = _struct("".join(codes)).unpack_from

    def read(self, octets: bytes) -> tuple[float, ...] | None:
        """Return the numbers of an answer, as they stand in their octets; None where the layout is another."""
        if len(octets) != self._length or int.from_bytes(octets, "little") & self._mask != self._fixed:
            return None
        return self._unpack(octets)


@functools.lru_cache(4096)
def _struct(codes: str) -> struct.Struct:
    """Devices of one make answer alike: they share their layouts."""
    return struct.Struct(codes)


_DOUBLE = 0x55
_FLAGS = 0x82
_UNUSED_OF_FLAGS = 4  # bits of the octet, at most: status flags are four
_THREE_OCTETS = "I"  # read with the tag's octet in front
_FREE = b"\xff"

_FIELDS: dict[tuple[int, int], tuple[Primitive, int, str, bytes]] = {
    (0x21, 1): (Primitive.UNSIGNED, 1, "B", _FREE),
    (0x22, 2): (Primitive.UNSIGNED, 1, "H", _FREE * 2),
    (0x23, 3): (Primitive.UNSIGNED, 0, _THREE_OCTETS, b"\x00" + _FREE * 3),
    (0x24, 4): (Primitive.UNSIGNED, 1, "I", _FREE * 4),
    (0x31, 1): (Primitive.INTEGER, 1, "b", _FREE),
    (0x32, 2): (Primitive.INTEGER, 1, "h", _FREE * 2),
    (0x34, 4): (Primitive.INTEGER, 1, "i", _FREE * 4),
    (0x44, 4): (Primitive.REAL, 1, "f", _FREE * 4),
    (_DOUBLE, 9): (Primitive.DOUBLE, 2, "d", _FREE * 8),
    (_FLAGS, 2): (Primitive.BIT_STRING, 2, "B", _FREE),
    (0x91, 1): (Primitive.ENUMERATED, 1, "B", _FREE),
    (0x92, 2): (Primitive.ENUMERATED, 1, "H", _FREE * 2),
}
"""By the tag's first octet and the octets behind it: how far behind the tag's beginning the number stands, and how."""


def number_in(field: Field, raw: float) -> float:
    """Return the number that a field's octets stand for."""
    if field.primitive is Primitive.BOOLEAN:
        return int(raw) & 1
    return int(raw) & 0xFFFFFF if field.code == _THREE_OCTETS and field.free[0] == 0 else raw
