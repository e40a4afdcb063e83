"""The plugin's section of the configuration, and the key that the environment may bring."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import voluptuous as vol

from core.security import Secret
from core.validators import integer, seconds, text

VARIABLE = "PLANTROOM_API_KEY"
SHORTEST_BOOTSTRAP = 32
LONGEST_PASSWORD = 256

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


@attrs.frozen
class SessionOptions:
    """How many seconds a session lasts unused (``idle``) and at all (``absolute``), and how many each user has."""

    idle: float = 1800.0
    absolute: float = 43_200.0
    per_user: int = 20


@attrs.frozen
class PasswordOptions:
    """How long a password must be, and what checking one costs: argon2id as RFC 9106 recommends it second.

    ``memory`` is in KiB.
    """

    min_length: int = 12
    memory: int = 65_536
    iterations: int = 3
    parallelism: int = 4


@attrs.frozen
class MetricsOptions:
    """From which networks /metrics may be read without credentials."""

    networks: tuple[str, ...] = ()

    @property
    def parsed(self) -> tuple[Network, ...]:
        return tuple(map(ipaddress.ip_network, self.networks))


def bootstrap_key() -> Secret | None:
    """Return the value of the environment's variable, None where it is not set or empty; raises ValueError."""
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    if len(given) < SHORTEST_BOOTSTRAP:
        raise ValueError(
            f"{VARIABLE} in the environment has {len(given)} characters, and takes {SHORTEST_BOOTSTRAP} at least; "
            "`openssl rand -hex 32` makes one"
        )
    if not given.isprintable():
        raise ValueError(
            f"{VARIABLE} in the environment has characters that no header can carry; use letters and digits"
        )
    return Secret(given)


@attrs.frozen
class AuthConfig:
    """The whole section; ``origins`` are those under which a proxy serves us to browsers.

    ``bootstrap`` comes from the environment, so that a value that cannot be used is a mistake of the configuration.
    """

    session: SessionOptions = SessionOptions()
    password: PasswordOptions = PasswordOptions()
    metrics: MetricsOptions = MetricsOptions()
    origins: tuple[str, ...] = ()
    bootstrap: Secret | None = attrs.field(factory=bootstrap_key, repr=False)


def network(value: Any) -> str:
    """Take an IP network, or a single address."""
    try:
        return str(ipaddress.ip_network(text(value)))
    except ValueError as error:
        raise vol.Invalid(f"expected a network such as 10.0.0.0/8, without bits behind its prefix ({error})") from None


def origin(value: Any) -> str:
    """Take a web origin: scheme, host and perhaps a port, as browsers write it."""
    given = text(value).lower()
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or given != f"{parts.scheme}://{parts.netloc}":
        raise vol.Invalid("expected an origin such as https://bms.example, without a path")
    return given


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("session"): {
        vol.Optional("idle"): seconds,
        vol.Optional("absolute"): seconds,
        vol.Optional("per_user"): integer(min=1, max=1000),
    },
    vol.Optional("password"): {
        vol.Optional("min_length"): integer(min=8, max=LONGEST_PASSWORD),
        vol.Optional("memory"): integer(min=7168, max=4_194_304),
        vol.Optional("iterations"): integer(min=1, max=100),
        vol.Optional("parallelism"): integer(min=1, max=64),
    },
    vol.Optional("metrics"): {vol.Optional("networks"): [network]},
    vol.Optional("origins"): [origin],
}
