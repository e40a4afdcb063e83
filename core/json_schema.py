"""Describes attrs classes and their types as JSON Schema (dialect 2020-12), each class once, with an example."""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import types
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from core.structure import INFO, UNSET, FieldInfo, Unset, info_of

Schema: TypeAlias = dict[str, Any]

NOTHING = FieldInfo()
REFERENCE = "#/components/schemas/"
_SCALARS: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    dt.datetime: {"type": "string", "format": "date-time"},
}
_KEYWORDS: Mapping[str, Mapping[str, str]] = {
    "integer": {"min": "minimum", "max": "maximum"},
    "number": {"min": "minimum", "max": "maximum"},
    "string": {"min_length": "minLength", "max_length": "maxLength", "format": "format"},
}


class Schemas:
    """The schemas of classes by name, which `of` fills and refers to.

    A class has the name that it has in Python, without ``Answer`` at its end; behind its owner's where it is not the
    kernel's.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._classes: dict[str, tuple[Any, bool]] = {}

    def of(self, hint: Any, info: FieldInfo = NOTHING, *, owner: str, taken: bool) -> Schema:
        """Describe a type: as requests bring it where it is ``taken``, else as answers have it.

        ``Annotated[plain, cls]`` is described as ``cls``, a type that is unknown here as anything. Raises TypeError
        where two classes have one name.
        """
        schema = self._type(hint, info, owner, taken=taken)
        return schema | ({"description": info.description} if info.description else {})

    def _type(self, hint: Any, info: FieldInfo, owner: str, *, taken: bool) -> Schema:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._type(arguments[1], info, owner, taken=taken)
        if origin in (Union, types.UnionType):
            members = [each for each in arguments if each is not Unset]
            return _any_of([self._type(each, info, owner, taken=taken) for each in members])
        if origin is Literal:
            return _choice(arguments)
        if _is_list(origin):
            items = attrs.evolve(info, description="", example=None)
            return _array(self._type(arguments[0], items, owner, taken=taken), info)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._type(arguments[1], NOTHING, owner, taken=taken)}
        if hint in _SCALARS:
            return _limited(_SCALARS[hint], info)
        if attrs.has(origin or hint) or isinstance(hint, enum.EnumMeta):
            return {"$ref": REFERENCE + self._named(hint, owner, taken=taken)}
        return {"type": "object"} if hint is dict else {}

    def _named(self, hint: Any, owner: str, *, taken: bool) -> str:
        """Describe a class under its name, unless that is done."""
        name = _name(hint, owner)
        known = self._classes.get(name)
        if known is not None and known[0] == hint and known[1] is not taken and attrs.has(get_origin(hint) or hint):
            name += ".body" if taken else ".answer"
            known = self._classes.get(name)
        if known is None:
            self._classes[name] = hint, taken
            self.components[name] = {}  # so that the class may refer to itself
            self.components[name].update(self._component(hint, owner, taken=taken))
        elif known[0] != hint:
            raise TypeError(f"{_place(known[0])} and {_place(hint)} are both {name!r} in the API document: rename one")
        return name

    def _component(self, hint: Any, owner: str, *, taken: bool) -> Schema:
        cls = get_origin(hint) or hint
        about = {"description": first_paragraph(cls)}
        if issubclass(cls, enum.Enum):
            return _choice([each.value for each in cls]) | about
        fields = fields_of(hint)
        properties = {
            name: self.of(each.type, info_of(each), owner=owner, taken=taken) | _shown(each, taken=taken)
            for name, each in fields.items()
        }
        optional = _has_default if taken else _may_be_unset
        required = [name for name, each in fields.items() if not optional(each)]
        closed = {"additionalProperties": False} if taken else {}
        also: Schema = getattr(cls, "ALSO_HOLDS", {})
        return {"type": "object", "properties": properties, "required": required} | closed | about | also


def fields_of(hint: Any) -> dict[str, attrs.Attribute[Any]]:
    """Return the fields of an attrs class, or of a generic one with its parameters filled in, by name."""
    cls = get_origin(hint) or hint
    attrs.resolve_types(cls)
    filled = dict(zip(getattr(cls, "__parameters__", ()), get_args(hint), strict=False))
    return {each.name: each.evolve(type=_filled(each.type, filled)) for each in attrs.fields(cls)}


def _filled(hint: Any, filled: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return filled.get(hint, Any)
    wanted = tuple(filled.get(each, Any) for each in getattr(hint, "__parameters__", ()))
    return hint[wanted] if wanted else hint


def example_of(hint: Any, info: FieldInfo = NOTHING) -> Any:
    """Make an example of a type from those that its fields declare; UNSET where none can be made."""
    origin, arguments = get_origin(hint), get_args(hint)
    if info.example is not None:
        return [info.example] if _is_list(origin) and not isinstance(info.example, list | tuple) else info.example
    if origin is Annotated:
        return example_of(arguments[1])
    if origin in (Union, types.UnionType):
        return example_of(next(each for each in arguments if each is not Unset))
    if _is_list(origin):
        item = example_of(arguments[0])
        return [] if item is UNSET else [item]
    if origin is Literal:
        return arguments[0]
    if attrs.has(origin or hint):
        members = ((name, _example_of_field(each)) for name, each in fields_of(hint).items())
        return {name: member for name, member in members if member is not UNSET}
    if isinstance(hint, enum.EnumMeta):
        return next(iter(hint)).value
    return False if hint is bool else UNSET


def _example_of_field(attribute: attrs.Attribute[Any]) -> Any:
    info = info_of(attribute)
    if info.example is None and _has_default(attribute):
        return default_of(attribute)
    nullable = type(None) in get_args(attribute.type)
    return None if info.example is None and nullable else example_of(attribute.type, info)


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """Return a field's default as JSON has it, UNSET where it has none."""
    default: Any = attribute.default
    if default is attrs.NOTHING or isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return UNSET
    if isinstance(default, tuple):
        return list(default)
    return default.value if isinstance(default, enum.Enum) and default is not UNSET else default


def first_paragraph(described: Any) -> str:
    """Return what a docstring says first, in one line of Markdown."""
    return inspect.cleandoc(described.__doc__ or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def _is_list(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping)


def _name(hint: Any, owner: str) -> str:
    cls = get_origin(hint) or hint
    arguments = "".join(_short(each) for each in get_args(hint))
    ours = owner == "core" or cls.__module__.partition(".")[0] == "core"
    return ("" if ours else f"{owner}.") + arguments + _short(cls)


def _short(cls: Any) -> str:
    name: str = getattr(cls, "__name__", "Any")
    return name.removesuffix("Answer") or name


def _place(hint: Any) -> str:
    cls = get_origin(hint) or hint
    return f"{cls.__module__}.{cls.__qualname__}"


def _has_default(attribute: attrs.Attribute[Any]) -> bool:
    return attribute.default is not attrs.NOTHING


def _may_be_unset(attribute: attrs.Attribute[Any]) -> bool:
    return Unset in get_args(attribute.type)


def _shown(attribute: attrs.Attribute[Any], *, taken: bool) -> Schema:
    """Tell the example that a field declares, and what it is when a request does not mention it."""
    declared = INFO in attribute.metadata and info_of(attribute).example is not None
    shown: Schema = {"examples": [example_of(attribute.type, info_of(attribute))]} if declared else {}
    default = default_of(attribute) if taken else UNSET
    return shown if default is UNSET else shown | {"default": default}


def _limited(scalar: Schema, info: FieldInfo) -> Schema:
    """Add a field's limits to the schema of its scalar; a pattern holds for the whole text."""
    limits = {
        keyword: getattr(info, name)
        for name, keyword in _KEYWORDS.get(scalar["type"], {}).items()
        if getattr(info, name) is not None
    }
    if scalar["type"] == "string" and info.pattern is not None:
        limits["pattern"] = f"^(?:{info.pattern})$"
    return scalar | limits


def _array(items: Schema, info: FieldInfo) -> Schema:
    limits = {"minItems": info.min_items, "maxItems": info.max_items}
    return {"type": "array", "items": items} | {key: limit for key, limit in limits.items() if limit is not None}


def _choice(values: Collection[Any]) -> Schema:
    named = {_SCALARS[type(value)]["type"]: None for value in values}
    kind = next(iter(named)) if len(named) == 1 else list(named)
    return {"type": kind, "enum": list(values)}


def _any_of(members: list[Schema]) -> Schema:
    """Allow each of these; plain types are merged into one array of types."""
    plain = [each for each in members if isinstance(each.get("type"), str) and not {"enum", "const"} & each.keys()]
    if len(members) == 1:
        return members[0]
    if len(plain) < len(members):
        return {"anyOf": members}
    names = list(dict.fromkeys(each["type"] for each in plain))
    if "number" in names and "integer" in names:
        names.remove("integer")
    merged: Schema = {}
    for each in plain:
        merged |= each
    return merged | {"type": names if len(names) > 1 else names[0]}
