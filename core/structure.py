"""How the fields of a request are declared, and how each type is structured: strictly, with every fault kept."""

from __future__ import annotations

import difflib
import enum
import functools
import itertools
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from core.errors import FieldFault
from core.scalars import Scalars, Wrong, type_name

Structure: TypeAlias = Callable[[Any], Any]


class Unset(enum.Enum):
    """What a field is that a request did not mention, where null means something else."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
INFO: Final = "plantroom"
FAULTS_TOLD = 100
"""How many faults of a request are told: more of them nobody reads, and each takes longer to explain than to make."""
LONGEST_NAMED = 100


@attrs.frozen
class FieldInfo:
    """What holds for a field, and what the API document says about it.

    In a list, ``min_items`` and ``max_items`` hold for the list and all else for each item. ``format`` is a format of
    JSON Schema (``date-time``), for the document alone.
    """

    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    pattern: str | None = None
    format: str | None = None
    description: str = ""
    example: Any = None


def field(*, default: Any = attrs.NOTHING, **info: Any) -> Any:
    """Declare a field of a query or body class; ``info`` are the members of `FieldInfo`."""
    return attrs.field(default=default, metadata={INFO: FieldInfo(**info)})


def info_of(attribute: attrs.Attribute[Any]) -> FieldInfo:
    """Return what was declared about a field."""
    info: FieldInfo = attribute.metadata.get(INFO, FieldInfo())
    return info


def structure_class(cls: type, scalars: Scalars) -> Structure:
    """Make the function that structures an object into an attrs class.

    It raises Wrong or a cattrs validation error, which `faults_of` lists. Raises TypeError where a field has a type
    that a request cannot carry.
    """
    attrs.resolve_types(cls)
    fields: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        fields[attribute.name] = _override(structure_type(attribute.type, info_of(attribute), scalars))
    from_dict: Callable[[dict[str, Any], type], Any] = make_dict_structure_fn(
        cls,
        _converter(),
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **fields,
    )

    def structure(value: object) -> Any:
        if not isinstance(value, dict):
            raise Wrong.of("type", "must be an object")
        return from_dict(value, cls)

    return structure


@functools.cache
def _converter() -> cattrs.Converter:
    """Make the converter once: each field brings its own hook, so nothing is ever registered with it."""
    return cattrs.Converter()


def _override(structure: Structure) -> Any:
    return override(struct_hook=lambda value, _type: structure(value))


def structure_type(hint: Any, info: FieldInfo, scalars: Scalars) -> Structure:
    """Make the function that structures one field; raises TypeError for a type that a request cannot carry."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), info, scalars)
    if origin is tuple and get_args(hint)[1:] == (...,):
        return _tuple(structure_type(get_args(hint)[0], info, scalars), info, indexed=scalars.typed)
    if origin is Literal:
        return _choice({str(choice): choice for choice in get_args(hint)})
    if hint is Any:
        return lambda value: value
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice({str(choice.value): choice for choice in hint})
    if hint in scalars.parsers:
        return _limited(scalars.parsers[hint], info)
    if attrs.has(hint):
        return structure_class(hint, scalars)
    raise TypeError(f"a request cannot carry {hint!r}")


def _union(members: tuple[Any, ...], info: FieldInfo, scalars: Scalars) -> Structure:
    """Structure an optional type, or a choice between scalars that write themselves differently."""
    nullable = type(None) in members
    members = tuple(member for member in members if member not in (type(None), Unset))
    if len(members) == 1:
        inner = structure_type(members[0], info, scalars)
    elif scalars.typed and all(member in scalars.parsers for member in members):
        inner = _limited(_one_of(members), info)
    else:
        raise TypeError(f"a request cannot carry a choice between {members!r}")

    def structure(value: object) -> Any:
        return None if value is None and nullable else inner(value)

    return structure


def _one_of(members: tuple[type, ...]) -> Structure:
    allowed = (*members, int) if float in members else members
    names = " or ".join(type_name(member) for member in members)

    def structure(value: object) -> object:
        if type(value) in allowed:
            return value
        if int in members and type(value) is float and value.is_integer():
            return int(value)
        raise Wrong.of("type", f"must be {names}")

    return structure


def _tuple(item: Structure, info: FieldInfo, *, indexed: bool) -> Structure:
    least, most = info.min_items or 0, math.inf if info.max_items is None else info.max_items

    def structure(values: object) -> tuple[Any, ...]:
        if not isinstance(values, list):
            raise Wrong.of("type", "must be a list")
        if not least <= len(values) <= most:
            raise Wrong.of("length", f"must have {_span(info.min_items, info.max_items)} items")
        items: list[Any] = []
        faults: list[FieldFault] = []
        for index, value in enumerate(values):
            try:
                items.append(item(value))
            except (Wrong, BaseValidationError) as error:
                faults += first_faults(error, FAULTS_TOLD - len(faults), below=str(index) if indexed else "")
        if faults:
            raise Wrong(*faults)
        return tuple(items)

    return structure


def _choice(choices: Mapping[str, Any]) -> Structure:
    def structure(value: object) -> Any:
        if isinstance(value, str) and value in choices:
            return choices[value]
        if isinstance(value, list):
            raise Wrong.of("repeated", "may be given only once")
        raise Wrong.of("choice", f"must be one of {', '.join(choices)}")

    return structure


def _limited(structure: Structure, info: FieldInfo) -> Structure:
    """Add a field's limits to the structure of its scalar."""
    checks = [check for check in (_length_check(info), _pattern_check(info), _range_check(info)) if check is not None]
    if not checks:
        return structure

    def limited(value: object) -> Any:
        result = structure(value)
        for check in checks:
            check(result)
        return result

    return limited


def _length_check(info: FieldInfo) -> Structure | None:
    if info.min_length is None and info.max_length is None:
        return None
    shortest, longest = info.min_length or 0, math.inf if info.max_length is None else info.max_length

    def check(value: object) -> None:
        if isinstance(value, str) and not shortest <= len(value) <= longest:
            raise Wrong.of("length", f"must have {_span(info.min_length, info.max_length)} characters")

    return check


def _pattern_check(info: FieldInfo) -> Structure | None:
    if info.pattern is None:
        return None
    pattern = re.compile(info.pattern)

    def check(value: object) -> None:
        if isinstance(value, str) and pattern.fullmatch(value) is None:
            raise Wrong.of("pattern", f"must match {info.pattern}")

    return check


def _range_check(info: FieldInfo) -> Structure | None:
    if info.min is None and info.max is None:
        return None
    least, most = -math.inf if info.min is None else info.min, math.inf if info.max is None else info.max

    def check(value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            raise Wrong.of("range", f"must be {_span(info.min, info.max)}")

    return check


def _span(least: float | None, most: float | None) -> str:
    if most is None:
        return f"at least {least:g}"
    return f"at most {most:g}" if least is None else f"{least:g} to {most:g}"


def first_faults(error: Exception, count: int = FAULTS_TOLD, *, below: str = "") -> list[FieldFault]:
    """List the first so many faults that an error says, each with its dotted path, all ``below`` one where it is given.

    The error is of no use afterwards: it no longer knows where it was raised.
    """
    faults = [*itertools.islice(_below(below, error) if below else faults_of(error), count)]
    _part(error)
    return faults


def _part(error: BaseException) -> None:
    """Part an error from the frames it was gathered in: each knows the other, and they would keep the whole body."""
    error.__traceback__ = error.__context__ = None
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            _part(inner)


def faults_of(error: Exception) -> Iterator[FieldFault]:
    """List what an error of a structuring function says, each with its dotted path; the root's is empty."""
    if isinstance(error, Wrong):
        yield from error.faults
    elif isinstance(error, ClassValidationError):
        named, unnamed = error.group_exceptions()
        for inner, note in named:
            yield from _below(note.name, inner)
        for inner in unnamed:
            yield from faults_of(inner)
    elif isinstance(error, ForbiddenExtraKeysError):
        yield from _unknown(error)
    elif isinstance(error, KeyError):
        yield FieldFault("", "missing", "is required")
    else:  # a check of the class itself
        yield FieldFault("", "invalid", str(error))


def _below(name: object, error: Exception) -> Iterator[FieldFault]:
    for fault in faults_of(error):
        yield attrs.evolve(fault, field=f"{name}.{fault.field}" if fault.field else str(name))


def _unknown(error: ForbiddenExtraKeysError) -> Iterator[FieldFault]:
    known = [attribute.name for attribute in attrs.fields(error.cl)]
    for given in sorted(error.extra_fields):
        name = given if len(given) <= LONGEST_NAMED else f"{given[:LONGEST_NAMED]}..."
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}" if known else ""
        yield FieldFault(name, "unknown", f"is not known here{hint}")
