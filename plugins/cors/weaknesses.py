"""Says which origins should not be listed in production."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from core.plugin import Weakness
from plugins.cors.config import CorsConfig

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def weaknesses(config: CorsConfig) -> Iterator[Weakness]:
    """Name what is wider than a page that is in use needs."""
    if config.any_origin:
        yield Weakness("every page on the internet may read answers", "list the origins that need it", ("origins",))
        return
    for index, origin in enumerate(config.origins):
        parts, at = urlsplit(origin), ("origins", index)
        if parts.hostname in LOOPBACK:
            yield Weakness("whatever runs on a user's own machine may use the API as him", "leave it out", at)
        elif parts.scheme == "http":
            yield Weakness("whoever is on the line can put a page there", "serve that page by https://", at)
