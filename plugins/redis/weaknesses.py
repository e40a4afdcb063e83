"""Says what should not be so about the way to the server in production."""

from __future__ import annotations

from collections.abc import Iterator

from core.plugin import Weakness
from plugins.redis.config import RedisConfig

OWN = ("127.0.0.1", "::1", "localhost")


def weaknesses(config: RedisConfig) -> Iterator[Weakness]:
    """Name a server of another machine that anybody may read, change, or pretend to be."""
    if config.tls is not None and not config.tls.verify:
        text = "whoever is on the line may pretend to be the server"
        yield Weakness(text, "give the `ca_file` that its certificate is signed by", ("tls", "verify"))
    address = config.address
    if address.path or address.host in OWN:
        return
    if not address.tls:
        yield Weakness(f"whoever is on the line to {address} reads what is kept there", "use TLS")
    if address.password is None:
        yield Weakness(f"whoever reaches {address} may change what is answered", "give the server a password")
