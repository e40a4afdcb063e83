"""Looks up what `!env` in the configuration asks of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TEMPLATE = re.compile(r"\$\{([^}:]*)(?::([^}]*))?\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)


def is_template(text: str) -> bool:
    """Tell whether `substitute` is for this text, rather than `look_up`."""
    return "${" in text


def look_up(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Answer ``NAME`` or ``NAME default``: the value, and whether it is text whatever it looks like.

    A variable that is set to nothing counts as not set; a default in quotes is text. Raises ValueError.
    """
    name, _, default = text.strip().partition(" ")
    default = default.strip()
    if quoted := _QUOTED.fullmatch(default):
        value = _value(name, quoted[2], environ)
        return value, value == quoted[2]
    return _value(name, default or None, environ), False


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Put values in the place of each ``${NAME}`` or ``${NAME:default}``; raises ValueError."""
    return _TEMPLATE.sub(lambda found: _value(found[1], found[2], environ), text)


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"'{name}' is no name of an environment variable; write NAME and perhaps a default")
    value = environ.get(name) or default
    if value is None:
        raise ValueError(f"environment variable {name} is not set; set it, or give a default behind its name")
    return value
