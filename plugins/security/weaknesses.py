"""Says which of the headers should not be missing in production."""

from __future__ import annotations

from collections.abc import Iterator

from core.plugin import Weakness
from plugins.security.config import HEADERS, SecurityConfig

BACK = "leave the option out"


def weaknesses(config: SecurityConfig, now: float) -> Iterator[Weakness]:
    """Name what is switched off, and a security.txt that counts no more."""
    for name in HEADERS:
        if config.headers.get(name) is False:
            yield Weakness(f"browsers are not told {name}", BACK, ("headers", name))
    if config.hsts is False or str(config.hsts).startswith("max-age=0"):
        yield Weakness("browsers go on using plain HTTP where somebody makes them", BACK, ("hsts",))
    if not config.cache_control:
        yield Weakness("caches may keep what is only for who asked", BACK, ("cache_control",))
    if config.security_txt is not None and config.security_txt.expires < now:
        yield Weakness(
            "nobody is to trust it any more", "read it again, and set another day", ("security_txt", "expires")
        )
