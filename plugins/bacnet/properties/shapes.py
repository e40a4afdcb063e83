"""What the value of a property is made of (ASHRAE 135, clause 21), free of octets and JSON."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from plugins.bacnet.wire.primitives import Primitive


@attrs.frozen
class Scalar:
    """One datum; ``name`` is its datatype's, ``highest`` the largest whole number that it takes."""

    primitive: Primitive
    name: str
    highest: int | None = None


@attrs.frozen
class Enumeration:
    """A number that has a name, as far as the standard knows it."""

    name: str
    names: Mapping[int, str] = attrs.field(eq=False)
    numbers: Mapping[str, int] = attrs.field(init=False, eq=False)

    @numbers.default
    def _turned(self) -> Mapping[str, int]:
        return {name: number for number, name in self.names.items()}


@attrs.frozen
class BitNames:
    """A bit string whose bits have names, in their order.

    It ``grows`` with editions of the standard, so that a device may have fewer of them, or more.
    """

    name: str
    bits: tuple[str, ...]
    grows: bool = False


@attrs.frozen
class WeekNDay:
    """Three octets for a month, a week of it, and a day of that (BACnetWeekNDay)."""

    name: str = "week-n-day"


@attrs.frozen
class Field:
    """A part of a structure or an alternative of a choice; ``tag`` is its context tag, None: its datatype's is."""

    name: str
    shape: Shape
    tag: int | None = None
    optional: bool = False


@attrs.frozen
class Structure:
    """A SEQUENCE: named parts in their order."""

    name: str
    fields: tuple[Field, ...]


@attrs.frozen
class Choice:
    """A CHOICE: one of several named parts."""

    name: str
    alternatives: tuple[Field, ...]


@attrs.frozen
class Listing:
    """Elements of one shape; an ``array`` is read and written by index, too, and may have a fixed ``length``."""

    name: str
    element: Shape
    array: bool = False
    length: int | None = None


class Extent(enum.Enum):
    """How much a value of no fixed datatype takes up."""

    ONE = "one datum"
    DATETIME = "one datum, or a date with the time behind it"
    ALL = "all that stands there"


@attrs.frozen
class Anything:
    """A value of any datatype, which says itself which (ABSTRACT-SYNTAX.&Type)."""

    extent: Extent = Extent.ALL
    name: str = "any"


Shape: TypeAlias = Scalar | Enumeration | BitNames | WeekNDay | Structure | Choice | Listing | Anything

UNSIGNED = Scalar(Primitive.UNSIGNED, "unsigned")


def primitive_of(shape: Shape) -> Primitive | None:
    """Return the application tag of a shape that is one datum, None of any other."""
    match shape:
        case Scalar(primitive=primitive):
            return primitive
        case Enumeration():
            return Primitive.ENUMERATED
        case BitNames():
            return Primitive.BIT_STRING
        case WeekNDay():
            return Primitive.OCTET_STRING
    return None
