"""Values that say their datatypes themselves: ``{"type": "real", "value": 21.5}``, several of them in a list.

| in octets | in JSON |
|---|---|
| a datum of one of the standard's datatypes | its name as ``type``, its value as in any property |
| a datum in a context tag, of which only the octets are known | ``{"type": "context", "tag": 2, "value": "0a"}`` |
| what stands between an opening and a closing tag | ``{"type": "group", "tag": 1, "items": [...]}`` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins.bacnet.properties.scalars import read_scalar, write_scalar
from plugins.bacnet.properties.shapes import Scalar
from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import parse_octets
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import DEEPEST
from plugins.bacnet.wire.primitives import Primitive
from plugins.bacnet.wire.tags import Tag, read_tag

_NAMES = {each: each.name.lower().replace("_", "-") for each in Primitive}
_SCALARS = {name: Scalar(each, name) for each, name in _NAMES.items()}
_CONTEXT, _GROUP = "context", "group"
TYPES = (*_SCALARS, _CONTEXT, _GROUP)
_HIGHEST_TAG = 254
_SUITS = 'an object with "type" and "value", such as {"type": "real", "value": 21.5}, or a list of them'


def read_all(data: bytes) -> Any:
    """Return all that octets hold: the one datum, or the list of them; raises DecodeError."""
    items = read_items(data, 0, len(data))
    return items[0] if len(items) == 1 else items


def read_items(data: bytes, at: int, end: int, *, depth: int = 0) -> list[Any]:
    """Return what stands between two indexes; raises DecodeError."""
    if depth > DEEPEST:
        raise DecodeError(f"groups more than {DEEPEST} deep")
    items = []
    while at < end:
        item, at = read_item(data, at, end, depth=depth)
        items.append(item)
    return items


def read_item(data: bytes, at: int, end: int, *, depth: int = 0) -> tuple[Any, int]:
    """Return what begins at an index, and where the next does; raises DecodeError."""
    tag = read_tag(data, at)
    if tag.closing:
        raise DecodeError("a closing tag without its opening")
    if tag.opening:
        stop = tags.skip_group(data, tag.at, tag.number)
        inner = read_items(data, tag.at, stop, depth=depth + 1)
        return {"type": _GROUP, "tag": tag.number, "items": inner}, read_tag(data, stop).at
    if tag.end > end:
        raise DecodeError("a datum reaches beyond the value that it is part of")
    if tag.context:
        return {"type": _CONTEXT, "tag": tag.number, "value": data[tag.at : tag.end].hex()}, tag.end
    return {"type": _name(tag), "value": read_scalar(_SCALARS[_name(tag)], content_of(data, tag))}, tag.end


def content_of(data: bytes, tag: Tag) -> bytes:
    """Return the octets behind an application tag; a boolean has its value in the tag itself (20.2.3)."""
    if tag.number == Primitive.BOOLEAN and not tag.context:
        return bytes((tag.length,))
    return data[tag.at : tag.end]


def is_generic(value: Any) -> bool:
    """Tell whether a JSON value says its datatypes itself; no structure of the standard has a part named ``type``."""
    if isinstance(value, list):
        return bool(value) and all(is_generic(item) for item in value)
    return isinstance(value, Mapping) and "type" in value


def write_all(value: Any) -> bytes:
    """Write one datum or a list of them; raises ValueError."""
    return b"".join(write_item(item) for item in (value if isinstance(value, list) else [value]))


def write_item(value: Any, *, depth: int = 0) -> bytes:
    """Write one datum or group; raises ValueError."""
    if not isinstance(value, Mapping) or value.get("type") not in TYPES or depth > DEEPEST:
        raise ValueError(_SUITS)
    kind = value["type"]
    if kind in _SCALARS:
        if set(value) - {"type"} not in ({"value"}, set()) or ("value" not in value and kind != "null"):
            raise ValueError(_SUITS)
        return write_tagged(_SCALARS[kind].primitive, write_scalar(_SCALARS[kind], value.get("value")))
    number = value.get("tag")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _HIGHEST_TAG:
        raise ValueError(f'an object with a "tag" from 0 to {_HIGHEST_TAG}')
    if kind == _CONTEXT:
        return tags.context(number, parse_octets(str(value.get("value"))))
    items = value.get("items")
    if not isinstance(items, list):
        raise ValueError('an object with "items", a list')  # noqa: TRY004 - it is a value of a caller
    inner = b"".join(write_item(item, depth=depth + 1) for item in items)
    return tags.opening(number) + inner + tags.closing(number)


def write_tagged(primitive: Primitive, content: bytes) -> bytes:
    """Put a datum's own tag before its octets."""
    if primitive is Primitive.BOOLEAN:
        return bytes((Primitive.BOOLEAN << 4 | content[0],))
    return tags.application(primitive, content)


def _name(tag: Tag) -> str:
    try:
        return _NAMES[Primitive(tag.number)]
    except ValueError:
        raise DecodeError(f"an application tag {tag.number}, which the standard does not have") from None
