"""Makes a plugin's checked section of the configuration into its config class."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import cattrs
from cattrs.strategies import configure_union_passthrough

from core.security import Secret, mask
from core.source import Fault, KeyPath, Source


def structured(source: Source, checked: Any, config_class: type[Any], *, at: KeyPath) -> tuple[Any, list[Fault]]:
    """Return a section as its class, or the mistakes that keep it from being one."""
    try:
        return _converter().structure(checked, config_class), []
    except Exception as error:  # a plugin's class: whatever its fields and validators raise is told as a mistake
        return None, [_fault(source, line, at) for line in cattrs.transform_error(error, format_exception=_told)]


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(structure_fallback_factory=_as_it_is)
    configure_union_passthrough(str | int | float | bool | None, converter)
    converter.register_structure_hook(Path, lambda value, _type: Path(value))
    converter.register_structure_hook(
        Secret, lambda value, _type: value if isinstance(value, Secret) else Secret(value)
    )
    converter.register_structure_hook_factory(attrs.has, lambda cls: _ready_or(cls, converter))
    return converter


def _as_it_is(cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Take what the schema made already: addresses, patterns, anything that cattrs does not know."""

    def take(value: Any, _type: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise TypeError(f"expected {cls.__name__}, not {type(value).__name__}")

    return take


def _ready_or(cls: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    from_dict = cattrs.gen.make_dict_structure_fn(cls, converter)

    def structure(value: Any, hint: Any) -> Any:
        return value if isinstance(value, cls) else from_dict(value, hint)

    return structure


def _told(error: BaseException, _type: type | None) -> str:
    match error:
        case KeyError():
            return f"this option is missing; give {error.args[0]} a value"
        case _:
            return str(error) or type(error).__name__


def _fault(source: Source, line: str, at: KeyPath) -> Fault:
    """Turn a line of cattrs, ``what is wrong @ $.networks[0].address``, into a mistake with its place."""
    text, _, where = line.rpartition(" @ $")
    keys = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", where)
    path = (*at, *(int(index) if index else name for name, index in keys))
    return source.fault(path, mask(text, source.at(at)))
