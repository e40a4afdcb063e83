"""JSON to octets, by the shape of the property that they are to be the value of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins.bacnet.properties import generic
from plugins.bacnet.properties.reading import is_plain_null
from plugins.bacnet.properties.scalars import write_scalar
from plugins.bacnet.properties.shapes import (
    Anything,
    BitNames,
    Choice,
    Enumeration,
    Extent,
    Listing,
    Scalar,
    Shape,
    Structure,
    WeekNDay,
    primitive_of,
)
from plugins.bacnet.wire import tags
from plugins.bacnet.wire.items import DEEPEST

_DEEPEST = 2 * DEEPEST  # each group of the generic form takes two levels of JSON


class Unsuitable(ValueError):
    """A JSON value that is not of the shape; ``path`` says where, ``wanted`` what would suit there."""

    def __init__(self, wanted: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.path = path

    def at(self, step: str | int) -> Unsuitable:
        """Say the same from one step further out."""
        return Unsuitable(self.wanted, (step, *self.path))


def write_value(shape: Shape | None, value: Any) -> bytes:
    """Return the octets for a JSON value; raises Unsuitable.

    A value of a property that the standard does not know says its datatypes itself, as any other may.
    """
    if not is_shallow(value):
        raise Unsuitable(f"a value of no more than {_DEEPEST} levels")
    if shape is None or (generic.is_generic(value) and not isinstance(shape, Anything)):
        try:
            return generic.write_all(value)
        except ValueError as error:
            raise Unsuitable(str(error)) from error
    return _write(shape, None, value)


def is_shallow(value: Any) -> bool:
    """Tell whether a JSON value is no deeper than any that has a use; who goes into it by levels may rely on it."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [
            part
            for each in level
            if isinstance(each, list | dict)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def _write(shape: Shape, tag: int | None, value: Any) -> bytes:
    if isinstance(shape, Scalar | Enumeration | BitNames | WeekNDay):
        return _write_scalar(shape, tag, value)
    inside = _write_inside(shape, value)
    return inside if tag is None else tags.opening(tag) + inside + tags.closing(tag)


def _write_scalar(shape: Scalar | Enumeration | BitNames | WeekNDay, tag: int | None, value: Any) -> bytes:
    try:
        octets = write_scalar(shape, value)
    except ValueError as error:
        raise Unsuitable(str(error)) from error
    primitive = primitive_of(shape)
    if tag is not None or primitive is None:
        return tags.context(tag or 0, octets)
    return generic.write_tagged(primitive, octets)


def _write_inside(shape: Structure | Choice | Listing | Anything, value: Any) -> bytes:
    match shape:
        case Structure():
            return _write_structure(shape, value)
        case Choice():
            return _write_choice(shape, value)
        case Listing():
            return _write_listing(shape, value)
    return _write_anything(shape, value)


def _write_structure(shape: Structure, value: Any) -> bytes:
    names = [field.name for field in shape.fields]
    required = [field.name for field in shape.fields if not field.optional]
    if not isinstance(value, Mapping) or set(value) - set(names) or set(required) - set(value):
        optional = [name for name in names if name not in required]
        more = f", perhaps with {', '.join(optional)}" if optional else ""
        raise Unsuitable(f"an object with {', '.join(required) or 'nothing'}{more}")
    parts = []
    for field in shape.fields:
        if field.name in value:
            try:
                parts.append(_write(field.shape, field.tag, value[field.name]))
            except Unsuitable as error:
                raise error.at(field.name) from error
    return b"".join(parts)


def _write_choice(shape: Choice, value: Any) -> bytes:
    for field in shape.alternatives:
        is_null = value is None and is_plain_null(field)
        if is_null or (isinstance(value, Mapping) and list(value) == [field.name]):
            try:
                return _write(field.shape, field.tag, None if is_null else value[field.name])
            except Unsuitable as error:
                raise error.at(field.name) from error
    names = ", ".join(field.name for field in shape.alternatives)
    null = "null or " if any(is_plain_null(field) for field in shape.alternatives) else ""
    raise Unsuitable(f"{null}an object with one of {names}")


def _write_listing(shape: Listing, value: Any) -> bytes:
    if not isinstance(value, list):
        raise Unsuitable("a list")
    if shape.length is not None and len(value) != shape.length:
        raise Unsuitable(f"a list of {shape.length}")
    parts = []
    for index, item in enumerate(value):
        try:
            parts.append(_write(shape.element, None, item))
        except Unsuitable as error:
            raise error.at(index) from error
    return b"".join(parts)


def _write_anything(shape: Anything, value: Any) -> bytes:
    items = value if isinstance(value, list) else [{"type": "null"} if value is None else value]
    if shape.extent is not Extent.ALL:
        kinds = [item.get("type") if isinstance(item, Mapping) else None for item in items]
        if len(items) != 1 and (shape.extent is Extent.ONE or kinds != ["date", "time"]):
            raise Unsuitable("one value")
        if "group" in kinds or "context" in kinds:
            raise Unsuitable("a value of one of the standard's datatypes")
    try:
        return b"".join(generic.write_item(item) for item in items)
    except ValueError as error:
        raise Unsuitable(str(error)) from error
