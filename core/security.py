"""Keeps secrets out of sight: the type of a secret value, and what must be blacked out before it is shown."""

from __future__ import annotations

import enum
import hmac
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeAlias, final

import attrs

MASK = "***"
_SHORTEST_MASKED = 3
_DEEPEST = 60

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

_SENSITIVE_KEY = re.compile(
    r"(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|authorization|cookie|credentials?)$"
)
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/\s]*(?=@)")


@final
class Secret:
    """Text that shows itself as ``***`` wherever it is printed, formatted, logged or serialised.

    Only `reveal` gives the text: call it where it is used, and keep no copy. Equality takes constant time.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, _spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written to files or pipes; reveal() it where it is used")


def is_sensitive(key: object) -> bool:
    """Tell whether what stands under this name is a secret by custom: ``password``, ``api_key``, ``X-Auth-Token``."""
    return isinstance(key, str) and _SENSITIVE_KEY.search(key.lower()) is not None


def redact(value: Any, *, depth: int = 0) -> Any:
    """Copy a value with ``***`` for each `Secret`, for what stands under a sensitive name, for passwords in URLs.

    Mappings, lists, tuples and sets are walked through, ``depth`` counting how deep; other objects are passed on.
    """
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        return _URL_PASSWORD.sub(MASK, value)
    if isinstance(value, Mapping):
        return {
            redact(key, depth=depth + 1): _redact_under(key, inner, depth=depth + 1) for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, depth=depth + 1) for inner in value]
    return value


def redacted_json(value: Any) -> Json:
    """Copy a value as `redact` does and make it plain JSON: enums by value, keys as text, other objects as text."""
    return _plain(redact(value))


def mask(text: str, value: Any) -> str:
    """Put ``***`` in the place of every `Secret` of a configuration that shows up in a text made from it."""
    for secret in secrets_in(value):
        if len(secret.reveal()) >= _SHORTEST_MASKED:
            text = text.replace(secret.reveal(), MASK)
    return text


def secrets_in(value: object) -> Iterator[Secret]:
    """Find every secret in configuration classes, mappings and lists."""
    inner: Iterable[object] = ()
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif attrs.has(cls := type(value)):
        inner = (getattr(value, each.name) for each in attrs.fields(cls))
    for each in inner:
        yield from secrets_in(each)


def blacked_out(value: Any, config: object) -> Any:
    """Copy plain data with ``***`` for each text that is a `Secret` in the configuration that was made of it.

    None was made, and nobody knows what is secret: every text is blacked out.
    """
    return _blacked_out(value, None if config is None else {secret.reveal() for secret in secrets_in(config)})


def _blacked_out(value: Any, texts: Collection[str] | None) -> Any:
    if isinstance(value, str):
        return MASK if texts is None or value in texts else value
    if isinstance(value, Mapping):
        return {key: _blacked_out(inner, texts) for key, inner in value.items()}
    return [_blacked_out(inner, texts) for inner in value] if isinstance(value, list) else value


def _redact_under(key: object, value: Any, *, depth: int) -> Any:
    hide = is_sensitive(key) and value is not None and not isinstance(value, bool)
    return MASK if hide else redact(value, depth=depth)


def _plain(value: Any) -> Json:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(redact(str(value)))
