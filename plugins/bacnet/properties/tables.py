"""Which shape the standard gives to which property, and how properties are named, from bacpypes3's tables."""

from __future__ import annotations

import functools
import re
from typing import Any

import bacpypes3.object  # noqa: F401 - it fills the tables that are asked below
from bacpypes3 import basetypes, constructeddata, primitivedata
from bacpypes3.primitivedata import PropertyIdentifier
from bacpypes3.vendor import get_vendor_info

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
)
from plugins.bacnet.wire.primitives import Primitive

ALL, REQUIRED, OPTIONAL = 8, 105, 80
"""What stands for several properties, and is none itself (ASHRAE 135, 15.7.3.1.2)."""

LARGEST = 0x3FFFFF
"""The largest property identifier (clause 21, BACnetPropertyIdentifier)."""

_NAMES: dict[int, str] = dict(PropertyIdentifier._asn1_map)  # noqa: SLF001 - the one place where it has the names
_NUMBERS = {name: number for number, name in _NAMES.items()}

_PRIMITIVES: tuple[tuple[type, Primitive], ...] = (
    (primitivedata.Null, Primitive.NULL),
    (primitivedata.Boolean, Primitive.BOOLEAN),
    (primitivedata.Unsigned, Primitive.UNSIGNED),
    (primitivedata.Integer, Primitive.INTEGER),
    (primitivedata.Double, Primitive.DOUBLE),  # before Real, which it is derived from
    (primitivedata.Real, Primitive.REAL),
    (primitivedata.OctetString, Primitive.OCTET_STRING),
    (primitivedata.CharacterString, Primitive.CHARACTER_STRING),
    (primitivedata.Date, Primitive.DATE),
    (primitivedata.Time, Primitive.TIME),
    (primitivedata.ObjectIdentifier, Primitive.OBJECT_IDENTIFIER),
)
_GROWING = {"ServicesSupported", "ObjectTypesSupported"}
_MISSPELT = {"write_success_ful": "write_successful", "authenication_factor": "authentication_factor"}
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def property_name(number: int) -> str:
    """Return a property's name with hyphens, or the number of one that the standard does not know."""
    return _NAMES.get(number) or str(number)


def property_number(name: str) -> int | None:
    """Return the number of a property, by its name or its number; None where it is neither."""
    if name.isascii() and name.isdigit():
        return number if (number := int(name[:8])) <= LARGEST and str(number) == name else None
    return _NUMBERS.get(name)


@functools.cache
def properties_of(object_type: int) -> tuple[int, ...]:
    """Return the properties that objects of a standard type may have, in the order of their numbers."""
    known = get_vendor_info(0).get_object_class(object_type)
    named = () if known is None else known._elements  # noqa: SLF001 - as above
    return tuple(sorted(int(PropertyIdentifier(name)) for name in named))


@functools.cache
def shape_of(object_type: int, number: int) -> Shape | None:
    """Return what the standard makes the value of a property of, None where it does not know it."""
    known = get_vendor_info(0).get_object_class(object_type)
    found = None if known is None else known.get_property_type(number)
    return None if found is None else _shape(found)


def element_of(shape: Shape | None, index: int | None) -> Shape | None:
    """Return what an element of an array is made of: 0 is its length; without index the shape is as it was."""
    if index is None or shape is None:
        return shape
    if not isinstance(shape, Listing) or not shape.array:
        return None
    return shape.element if index else _LENGTH


_LENGTH = Scalar(Primitive.UNSIGNED, "unsigned")


def datatype_name(shape: Shape) -> str:
    """Name a shape as the standard does: ``real``, ``array of daily-schedule``."""
    if isinstance(shape, Listing):
        return f"{'array' if shape.array else 'list'} of {datatype_name(shape.element)}"
    return shape.name


@functools.cache
def _shape(known: Any) -> Shape:
    """Make the shape of one of bacpypes3's classes."""
    if issubclass(known, constructeddata.Choice):
        return Choice(_hyphened(known), _fields(known))
    if issubclass(known, basetypes.NameValue):
        name, value = _fields(known)
        return Structure(_hyphened(known), (name, Field("value", Anything(Extent.DATETIME), value.tag, optional=True)))
    if issubclass(known, constructeddata.Sequence):
        return Structure(_hyphened(known), _fields(known))
    if issubclass(known, constructeddata.ExtendedList):
        is_array = issubclass(known, constructeddata.Array)
        length = known._length if is_array else None  # noqa: SLF001 - as above
        return Listing(_hyphened(known), _shape(known._subtype), array=is_array, length=length)  # noqa: SLF001
    if issubclass(known, constructeddata.AnyAtomic):
        return Anything(Extent.ONE)
    if issubclass(known, constructeddata.Any):
        return Anything()
    return _scalar(known)


def _scalar(known: Any) -> Shape:
    if issubclass(known, basetypes.WeekNDay):
        return WeekNDay()
    if issubclass(known, primitivedata.Enumerated):
        return Enumeration(_hyphened(known), known._asn1_map)  # noqa: SLF001 - as above
    if issubclass(known, primitivedata.BitString):
        named = {bit: name for name, bit in known._bitstring_names.items()}  # noqa: SLF001 - as above
        if named:
            bits = tuple(named.get(bit) or str(bit) for bit in range(max(named) + 1))  # some numbers are not in use
            return BitNames(_hyphened(known), bits, grows=known.__name__ in _GROWING)
        return Scalar(Primitive.BIT_STRING, "bit-string")
    primitive = next(primitive for base, primitive in _PRIMITIVES if issubclass(known, base))
    return Scalar(primitive, _hyphened(known), getattr(known, "_high_limit", None))


def _fields(known: Any) -> tuple[Field, ...]:
    names = known._elements if issubclass(known, constructeddata.Choice) else known._order  # noqa: SLF001 - as above
    return tuple(_field(name, known._elements[name]) for name in names)  # noqa: SLF001 - as above


def _field(name: str, known: Any) -> Field:
    snake = _CAPITAL.sub("_", name).lower()
    return Field(_MISSPELT.get(snake, snake), _shape(known), known._context, optional=bool(known._optional))  # noqa: SLF001


def _hyphened(known: Any) -> str:
    return _CAPITAL.sub("-", known.__name__.strip("!").replace("IPv", "Ipv")).lower()
