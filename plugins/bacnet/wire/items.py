"""The value of a property: one datum, the elements of an array or list, or constructed data (ASHRAE 135, 20.2).

Tagged octets of the application class say themselves what they are. Context-tagged ones do not: what they stand for
depends on the property, so they stay octets, in a `Group` that bears the tag's number.
"""

from __future__ import annotations

from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Datum, Group, Items
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive
from plugins.bacnet.wire.tags import read_tag

DEEPEST = 32
"""How deep groups may stand in one another; nothing in the standard comes near."""

_SHORT = 4  # octets whose number stands in the tag's first octet
_ORDINARY = frozenset(Primitive) - {Primitive.BOOLEAN}


@bounded
def decode_items(data: bytes, start: int = 0, end: int | None = None) -> Items:
    """Decode all data between two indexes; raises DecodeError."""
    stop = len(data) if end is None else end
    if start < stop:
        first = data[start]
        if start + 1 + (first & 0x0F) == stop and (first & 0x0F) <= _SHORT and first >> 4 in _ORDINARY:
            return (primitives.decode(first >> 4, data[start + 1 : stop]),)
    items, at = _until(data, start, stop, closing=None, depth=0)
    if at != stop:
        raise DecodeError("a datum reaches beyond the value that it is part of")
    return items


def _until(data: bytes, at: int, stop: int, *, closing: int | None, depth: int) -> tuple[Items, int]:
    """Decode up to a closing tag or, where None is given, up to an index; return where it went on to."""
    if depth > DEEPEST:
        raise DecodeError(f"groups more than {DEEPEST} deep")
    items: list[Datum] = []
    while at < stop:
        tag = read_tag(data, at)
        if tag.closing:
            if tag.number != closing:
                raise DecodeError("a closing tag without its opening")
            return tuple(items), tag.end
        if tag.opening:
            inner, at = _until(data, tag.at, stop, closing=tag.number, depth=depth + 1)
            items.append(Group(tag.number, inner))
            continue
        at = tag.end
        if tag.context:
            items.append(Group(tag.number, (data[tag.at : at],)))
        elif tag.number == Primitive.BOOLEAN:
            items.append(bool(tag.length))
        else:
            items.append(primitives.decode(tag.number, data[tag.at : at]))
    if closing is not None:
        raise DecodeError("an opening tag without its closing")
    return tuple(items), at
