"""The plugin's section of the configuration: whose pages may ask, and what they may send and see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.validators import boolean, integer, origin, text

ANY = "*"
MAX_AGE_S = 600
DAY_S = 86_400

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


@attrs.frozen
class CorsConfig:
    """The whole section.

    ``origins`` are compared as a whole, ``*`` alone is any; without one, no other page may ask. ``credentials`` has
    browsers send cookies, ``headers`` are names that requests may have beside those that our routes take, ``max_age``
    the seconds that a browser may go by what a preflight said, ``private_network`` whether pages of the internet may
    ask inside of a private network.
    """

    origins: tuple[str, ...] = ()
    credentials: bool = False
    headers: tuple[str, ...] = ()
    max_age: int = MAX_AGE_S
    private_network: bool = False

    def __attrs_post_init__(self) -> None:
        if self.credentials and self.any_origin:
            raise ValueError("name the origins: with `credentials` browsers take no answer that is for any of them")

    @property
    def any_origin(self) -> bool:
        """Whether every page may ask."""
        return self.origins == (ANY,)


def _origins(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise vol.Invalid("expected a list of origins such as [https://panel.example]")
    if value == [ANY]:
        return (ANY,)
    return tuple(_origin(each) for each in value)


def _origin(value: Any) -> str:
    if value == "null":
        raise vol.Invalid("null is what any file and any sandboxed frame calls itself: name an origin")
    if isinstance(value, str) and ANY in value:
        raise vol.Invalid('origins are compared as a whole: name each, or give ["*"] alone for all of them')
    return origin(value)


def _header(value: Any) -> str:
    given = text(value)
    if not _NAME.fullmatch(given) or given == ANY:
        raise vol.Invalid("expected the name of a header such as X-Panel")
    return given


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("origins"): _origins,
    vol.Optional("credentials"): boolean,
    vol.Optional("headers"): [_header],
    vol.Optional("max_age"): integer(min=0, max=DAY_S),
    vol.Optional("private_network"): boolean,
}
