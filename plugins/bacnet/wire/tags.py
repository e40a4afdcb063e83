"""Tags: what stands before each datum, and around each group (ASHRAE 135, 20.2.1)."""

from __future__ import annotations

from typing import NamedTuple

from plugins.bacnet.wire.errors import DecodeError

CONTEXT = 0x08
"""The bit of a tag's first octet that says: context specific (20.2.1.1)."""

_EXTENDED_NUMBER = 15
_EXTENDED_LENGTH = 5
_OPENING, _CLOSING = 6, 7
_TWO_OCTETS, _FOUR_OCTETS = 254, 255
_BOOLEAN = 1  # an application-tagged boolean has its value where others have their length (20.2.3)


class Tag(NamedTuple):
    """A tag as it was found.

    ``length`` counts the octets of its datum, of an application-tagged boolean it is the value; ``at`` is where the
    datum begins. Opening and closing tags have no datum.
    """

    number: int
    context: bool
    opening: bool
    closing: bool
    length: int
    at: int

    @property
    def end(self) -> int:
        """Where the next tag stands."""
        return self.at if self.number == _BOOLEAN and not self.context else self.at + self.length


def read_tag(data: bytes, at: int) -> Tag:
    """Read the tag that stands at an index; raises DecodeError, IndexError beyond the last octet."""
    first = data[at]
    at += 1
    number, context, length = first >> 4, bool(first & CONTEXT), first & 7
    if number == _EXTENDED_NUMBER:
        number = data[at]
        at += 1
    if length >= _OPENING:
        if not context:
            raise DecodeError(f"an opening or closing tag {number} that is not context specific")
        return Tag(number, context, length == _OPENING, length == _CLOSING, 0, at)
    if length == _EXTENDED_LENGTH:
        length = data[at]
        at += 1
        if length >= _TWO_OCTETS:
            size = 2 if length == _TWO_OCTETS else 4
            length = int.from_bytes(_octets(data, at, size), "big")
            at += size
    tag = Tag(number, context, opening=False, closing=False, length=length, at=at)
    if tag.end > len(data):
        raise DecodeError(f"tag {number} announces {length} octets, and {len(data) - at} follow")
    return tag


def read_context(data: bytes, at: int, number: int) -> tuple[bytes, int]:
    """Read the octets of context tag ``number``, and where they end; raises DecodeError where another tag stands."""
    tag = read_tag(data, at)
    if not tag.context or tag.opening or tag.closing or tag.number != number:
        raise DecodeError(f"context tag {number} is missing")
    return data[tag.at : tag.end], tag.end


def read_application(data: bytes, at: int, number: int) -> tuple[bytes, int]:
    """Read the octets of application tag ``number``, other than a boolean's, and where they end; raises DecodeError."""
    tag = read_tag(data, at)
    if tag.context or tag.number != number:
        raise DecodeError(f"application tag {number} is missing")
    return data[tag.at : tag.end], tag.end


def is_context(data: bytes, at: int, number: int) -> bool:
    """Tell whether context tag ``number`` (below 15), which is neither opening nor closing, stands at an index."""
    return at < len(data) and data[at] & 0xF8 == number << 4 | CONTEXT and data[at] & 7 < _OPENING


def skip_group(data: bytes, at: int, number: int) -> int:
    """Return where the closing tag ``number`` of a group stands whose first octet is at an index.

    Raises DecodeError where it is missing, or groups overlap.
    """
    inside = [number]
    while True:
        first = data[at]
        if first < _EXTENDED_NUMBER << 4 and first & 7 < _EXTENDED_LENGTH:  # a short datum, as most are
            at += 1 if first >> 3 == _BOOLEAN << 1 else 1 + (first & 7)
            continue
        tag = read_tag(data, at)
        if tag.opening:
            inside.append(tag.number)
        elif tag.closing:
            if inside.pop() != tag.number:
                raise DecodeError(f"a closing tag {tag.number} without its opening")
            if not inside:
                return at
        at = tag.end


def application(number: int, octets: bytes) -> bytes:
    """Write an application-tagged datum."""
    return _tagged(number << 4, octets)


def context(number: int, octets: bytes) -> bytes:
    """Write a context-tagged datum."""
    if number >= _EXTENDED_NUMBER:
        return _tagged(_EXTENDED_NUMBER << 4 | CONTEXT, octets, number=bytes((number,)))
    return _tagged(number << 4 | CONTEXT, octets)


def opening(number: int) -> bytes:
    """Write an opening tag."""
    return _bracket(number, _OPENING)


def closing(number: int) -> bytes:
    """Write a closing tag."""
    return _bracket(number, _CLOSING)


def _bracket(number: int, kind: int) -> bytes:
    if number >= _EXTENDED_NUMBER:
        return bytes((_EXTENDED_NUMBER << 4 | CONTEXT | kind, number))
    return bytes((number << 4 | CONTEXT | kind,))


def _tagged(first: int, octets: bytes, *, number: bytes = b"") -> bytes:
    length = len(octets)
    if length < _EXTENDED_LENGTH:
        return bytes((first | length,)) + number + octets
    if length < _TWO_OCTETS:
        size = bytes((length,))
    elif length < 1 << 16:
        size = bytes((_TWO_OCTETS,)) + length.to_bytes(2, "big")
    else:
        size = bytes((_FOUR_OCTETS,)) + length.to_bytes(4, "big")
    return bytes((first | _EXTENDED_LENGTH,)) + number + size + octets


def _octets(data: bytes, at: int, count: int) -> bytes:
    octets = data[at : at + count]
    if len(octets) != count:
        raise DecodeError("the octets end too early")
    return octets
