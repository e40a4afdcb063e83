"""The one way in which octets can be wrong."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DecodeError(ValueError):
    """Octets that are not what the standard has in their place."""


def bounded(decoder: Callable[P, T]) -> Callable[P, T]:
    """Make a decoder that runs beyond the last octet raise DecodeError."""

    @functools.wraps(decoder)
    def checked(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return decoder(*arguments, **named)
        except (IndexError, struct.error) as error:
            raise DecodeError("the octets end too early") from error

    return checked
