"""Turns requests into attrs objects, with every fault at once, and answers into JSON."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, get_origin, get_type_hints

import attrs
import orjson
from cattrs.errors import BaseValidationError
from multidict import MultiMapping

from core.errors import Invalid, MalformedBody
from core.scalars import JSON, TEXT, Wrong
from core.structure import (
    FAULTS_TOLD,
    UNSET,
    FieldInfo,
    Structure,
    Unset,
    field,
    first_faults,
    info_of,
    structure_class,
)

__all__ = [
    "UNSET",
    "FieldInfo",
    "Unset",
    "all_optional",
    "compile_body",
    "compile_query",
    "dumps",
    "field",
    "info_of",
    "loads",
]

T = TypeVar("T")
FIELDS_NAMED = 5


def dumps(value: object) -> bytes:
    """Write plain data and attrs objects, without what is UNSET of them, as JSON; NaN and infinities become null.

    Raises TypeError for what JSON cannot hold.
    """
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> object:
    cls: Any = type(value)
    names = _field_names(cls)
    if names is not None:
        return {name: member for name in names if (member := getattr(value, name)) is not UNSET}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{cls.__name__} cannot be written as JSON")


@functools.lru_cache(maxsize=1024)
def _field_names(cls: Any) -> tuple[str, ...] | None:
    """The names of an attrs class's fields, None for any other class."""
    return tuple(attribute.name for attribute in attrs.fields(cls)) if attrs.has(cls) else None


def loads(raw: bytes) -> Any:
    """Read one JSON document; raises MalformedBody."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}.") from error


def compile_body(cls: type[T]) -> Callable[[object], T]:
    """Make the function that structures a JSON body into ``cls``; it raises Invalid with every fault.

    Raises TypeError where ``cls`` has a field of a type that JSON cannot carry.
    """
    return _reporting(cls, structure_class(cls, JSON), root="body")


def compile_query(cls: type[T]) -> Callable[[MultiMapping[str]], T]:
    """Make the function that structures query parameters into ``cls``; it raises Invalid with every fault.

    A field whose type is a tuple may be given several times. Raises TypeError as `compile_body` does.
    """
    structure = _reporting(cls, structure_class(cls, TEXT), root="query")
    repeatable = {name for name, hint in get_type_hints(cls).items() if get_origin(hint) is tuple}
    absent = structure({}) if all_optional(cls) else None

    def parse(query: MultiMapping[str]) -> T:
        if not query and absent is not None:
            return absent
        given: dict[str, object] = {}
        for name in dict.fromkeys(query):
            values = query.getall(name)
            given[name] = values if name in repeatable or len(values) > 1 else values[0]
        return structure(given)

    return parse


def all_optional(cls: type) -> bool:
    """Tell whether every field has a default."""
    return all(attribute.default is not attrs.NOTHING for attribute in attrs.fields(cls))


def _reporting(_cls: type[T], structure: Structure, *, root: str) -> Callable[[object], T]:
    """Turn what is wrong into one Invalid that lists it all, or as much as anybody would read."""

    def call(data: object) -> T:
        try:
            return cast("T", structure(data))
        except (Wrong, BaseValidationError) as error:
            faults = [attrs.evolve(fault, field=fault.field or root) for fault in first_faults(error)]
        names = list(dict.fromkeys(fault.field for fault in faults))
        count = "many" if len(faults) == FAULTS_TOLD else len(names) - FIELDS_NAMED
        more = f" and {count} more" if len(names) > FIELDS_NAMED else ""
        raise Invalid(f"Correct these: {', '.join(names[:FIELDS_NAMED])}{more}.", errors=faults)

    return call
