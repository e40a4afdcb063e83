"""Applies voluptuous schemas so that every mistake is found, and looks into them for what they know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import voluptuous as vol


def apply(schema: Any, data: Any) -> tuple[Any, Sequence[vol.Invalid]]:
    """Return data as a schema makes it, or None and all that is wrong with it.

    Raises SchemaError for a schema that is none.
    """
    thorough = vol.Schema(_thorough(schema if isinstance(schema, vol.Schema) else vol.Schema(schema)))
    try:
        return thorough(data), ()
    except vol.MultipleInvalid as invalid:
        return None, invalid.errors
    except Exception as error:  # a plugin's validator: whatever it raises is a mistake in its section, told as one
        return None, [vol.Invalid(f"the check of this section failed: {type(error).__name__}: {error}")]


def path_of(error: vol.Invalid) -> tuple[Any, ...]:
    """Return where in the data an error stands, as plain keys and indexes."""
    return tuple(part.schema if isinstance(part, vol.Marker) else part for part in error.path)


def known_keys(schema: Any, path: tuple[Any, ...]) -> set[str]:
    """Collect the keys that a schema takes at a path; empty where it takes any or cannot tell."""
    match schema:
        case vol.Schema():
            return known_keys(schema.schema, path)
        case vol.All() | vol.Any():
            return {key for part in schema.validators for key in known_keys(part, path)}
        case list() | tuple():
            return {key for part in schema for key in known_keys(part, path[1:])} if path else set()
        case Mapping() if not path:
            return {str(key) for key in schema if isinstance(key, str | vol.Marker)}
        case Mapping():
            inner = [
                part for key, part in schema.items() if not isinstance(key, str | vol.Marker) or str(key) == path[0]
            ]
            return {key for part in inner for key in known_keys(part, path[1:])}
    return set()


def _thorough(schema: Any, *, required: bool = False, extra: int = vol.PREVENT_EXTRA) -> Any:
    """Rebuild a schema so that its lists tell of every bad item: voluptuous' own stop at the first."""

    def rebuilt(part: Any) -> Any:
        return _thorough(part, required=required, extra=extra)

    match schema:
        case vol.Schema():
            inner = _thorough(schema.schema, required=schema.required, extra=schema.extra)
            return vol.Schema(inner, required=schema.required, extra=schema.extra)
        case vol.All() | vol.Any() if type(schema) in (vol.All, vol.Any):
            return type(schema)(*map(rebuilt, schema.validators), msg=schema.msg, required=schema.required)
        case dict():
            return {key: rebuilt(part) for key, part in schema.items()}
        case [item] if isinstance(schema, list):
            return _each(vol.Schema(rebuilt(item), required=required, extra=extra))
        case [_, *_] if isinstance(schema, list):
            return _each(vol.Schema(vol.Any(*map(rebuilt, schema)), required=required, extra=extra))
    return schema


def _each(item: vol.Schema) -> Callable[[Any], list[Any]]:
    def check(data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise vol.SequenceTypeInvalid("expected a list")
        checked: list[Any] = []
        errors: list[vol.Invalid] = []
        for index, value in enumerate(data):
            try:
                checked.append(item(value))
            except vol.MultipleInvalid as invalid:
                invalid.prepend([index])
                errors.extend(invalid.errors)
        if errors:
            raise vol.MultipleInvalid(errors)
        return checked

    return check
