"""Makes text safe to show: nothing in it steers a terminal, breaks a line or turns its direction."""

from __future__ import annotations

import re
from typing import Any

from structlog.typing import EventDict, WrappedLogger

from core.security import redact

_INVISIBLE = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""DEL and C1, line and paragraph separators, and what turns the direction of text (UAX 9)."""
_BEYOND_JSON = re.compile(f"[{_INVISIBLE}]")
_STEERING = re.compile(f"[\x00-\x1f{_INVISIBLE}]")
_STEERING_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{_INVISIBLE}]")
_INDENT = "    "
_IN_LINES = ("exception", "stack")
"""Values that are several lines."""


def escaped(text: str) -> str:
    """Escape in rendered JSON what JSON itself leaves as it is; what it says stays the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _BEYOND_JSON.sub(_escape, text)


def printable(value: object) -> str:
    """Return a value as one line of text in which every character is harmless."""
    return _STEERING.sub(_escape, value if isinstance(value, str) else redact(repr(value)))


def print_safely(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make a line's names and values harmless for people on a terminal; a processor of structlog's.

    Tracebacks keep their lines, each of them indented, so that none passes for a line of the log.
    """
    return {printable(key): _shown(key, value) for key, value in event.items()}


def _shown(key: object, value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if key in _IN_LINES and isinstance(value, str):
        lines = _STEERING_IN_LINES.sub(_escape, value).split("\n")
        return "\n".join(f"{_INDENT}{line}" for line in lines)
    return printable(value)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
