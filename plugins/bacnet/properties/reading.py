"""Octets to JSON, by the shape of the property that they are the value of."""

from __future__ import annotations

from typing import Any

from plugins.bacnet.properties import generic
from plugins.bacnet.properties.scalars import read_scalar
from plugins.bacnet.properties.shapes import (
    Anything,
    BitNames,
    Choice,
    Enumeration,
    Extent,
    Field,
    Listing,
    Scalar,
    Shape,
    Structure,
    WeekNDay,
    primitive_of,
)
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.primitives import Primitive
from plugins.bacnet.wire.tags import Tag, read_tag


@bounded
def read_value(shape: Shape, data: bytes) -> Any:
    """Return what octets stand for; raises DecodeError where they are not of that shape."""
    cursor = _Cursor(data)
    value = _read(shape, None, cursor)
    if cursor.peek() is not None:
        raise DecodeError("more than the property's datatype has")
    return value


class _Cursor:
    """A place in octets, and how deep in groups it is."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def peek(self) -> Tag | None:
        """Return the tag that stands here, None at the end."""
        return read_tag(self.data, self.at) if self.at < len(self.data) else None

    def take(self) -> Tag:
        """Return the tag that stands here, and go behind its datum."""
        tag = read_tag(self.data, self.at)
        self.at = tag.end
        return tag

    def open(self, number: int) -> None:
        tag = self.take()
        if not tag.opening or tag.number != number:
            raise DecodeError(f"opening tag {number} is missing")

    def close(self, number: int) -> None:
        tag = self.take()
        if not tag.closing or tag.number != number:
            raise DecodeError(f"closing tag {number} is missing")

    @property
    def at_end(self) -> bool:
        """Whether nothing more comes, or a group is closed."""
        tag = self.peek()
        return tag is None or tag.closing


def _read(shape: Shape, tag: int | None, cursor: _Cursor) -> Any:
    if isinstance(shape, Scalar | Enumeration | BitNames | WeekNDay):
        return _read_scalar(shape, tag, cursor)
    if tag is not None:
        cursor.open(tag)
    value = _read_inside(shape, cursor)
    if tag is not None:
        cursor.close(tag)
    return value


def _read_scalar(shape: Scalar | Enumeration | BitNames | WeekNDay, tag: int | None, cursor: _Cursor) -> Any:
    found = cursor.peek()
    if found is None or not _starts(shape, tag, found):
        raise DecodeError(f"a {shape.name} is missing")
    cursor.take()
    octets = cursor.data[found.at : found.end] if found.context else generic.content_of(cursor.data, found)
    return read_scalar(shape, octets)


def _read_inside(shape: Structure | Choice | Listing | Anything, cursor: _Cursor) -> Any:
    match shape:
        case Structure():
            return _read_structure(shape, cursor)
        case Choice():
            return _read_choice(shape, cursor)
        case Listing():
            return _read_listing(shape, cursor)
    return _read_anything(shape, cursor)


def _read_structure(shape: Structure, cursor: _Cursor) -> dict[str, Any]:
    value = {}
    for field in shape.fields:
        found = cursor.peek()
        if field.optional and (found is None or not _starts_field(field, found)):
            continue
        value[field.name] = _read(field.shape, field.tag, cursor)
    return value


def _read_choice(shape: Choice, cursor: _Cursor) -> Any:
    found = cursor.peek()
    for field in shape.alternatives:
        if found is not None and _starts_field(field, found):
            value = _read(field.shape, field.tag, cursor)
            return None if is_plain_null(field) else {field.name: value}
    raise DecodeError(f"none of the alternatives of a {shape.name}")


def _read_listing(shape: Listing, cursor: _Cursor) -> list[Any]:
    items = []
    while not cursor.at_end:
        found = cursor.peek()
        if found is None or not _starts(shape.element, None, found):
            break
        before = cursor.at
        items.append(_read(shape.element, None, cursor))
        if cursor.at == before:  # an element without octets would come for ever
            break
    return items


def _read_anything(shape: Anything, cursor: _Cursor) -> Any:
    items = []
    while not cursor.at_end:
        item, cursor.at = generic.read_item(cursor.data, cursor.at, len(cursor.data))
        items.append(item)
        if shape.extent is Extent.ONE or (shape.extent is Extent.DATETIME and not _goes_on(item, cursor.peek())):
            break
    if not items and shape.extent is not Extent.ALL:
        raise DecodeError("a value is missing")
    return items[0] if len(items) == 1 else items


def _goes_on(item: Any, following: Tag | None) -> bool:
    is_time = following is not None and not following.context and following.number == Primitive.TIME
    return item["type"] == "date" and is_time


def is_plain_null(field: Field) -> bool:
    """Tell whether an alternative is nothing but a null, which is one in JSON, too."""
    return field.tag is None and primitive_of(field.shape) is Primitive.NULL


def _starts_field(field: Field, found: Tag) -> bool:
    return _starts(field.shape, field.tag, found)


def _starts(shape: Shape, tag: int | None, found: Tag) -> bool:
    """Tell whether a value of a shape, in a context tag or none, can begin with a tag."""
    primitive = primitive_of(shape)
    if found.closing:
        return False
    if tag is not None:
        return found.context and found.number == tag and found.opening is (primitive is None)
    if primitive is not None:
        return not found.context and found.number == primitive
    match shape:
        case Structure(fields=fields):
            return _begins(fields, found)
        case Choice(alternatives=alternatives):
            return any(_starts_field(field, found) for field in alternatives)
        case Listing(element=element):
            return _starts(element, None, found)
        case Anything(extent=extent):
            return extent is Extent.ALL or not found.context
    return False


def _begins(fields: tuple[Field, ...], found: Tag) -> bool:
    for field in fields:
        if _starts_field(field, found):
            return True
        if not field.optional:
            return False
    return False
