"""The plugin's section of the configuration, and the key that the environment may bring."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import voluptuous as vol

from core.plugin import Role
from core.security import Secret
from core.validators import integer, number, one_of, origin, seconds, text

VARIABLE = "PLANTROOM_API_KEY"
SHORTEST_BOOTSTRAP = 32
LONGEST_PASSWORD = 256
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the issuer has; never a secret that both know."""

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


@attrs.frozen
class OidcOptions:
    """Whose tokens are taken: of which issuer, for which audience, signed by which algorithms.

    Keys are at ``jwks_url``, or where the issuer's discovery document says. The values of ``claim`` (dots lead into
    objects) stand for the roles in ``roles``. ``leeway`` is how many seconds clocks may differ.
    """

    issuer: str
    audience: str
    roles: Mapping[str, str]
    jwks_url: str | None = None
    claim: str = "roles"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    leeway: float = 30.0


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
    oidc: OidcOptions | None = None
    bootstrap: Secret | None = attrs.field(factory=bootstrap_key, repr=False)


def network(value: Any) -> str:
    """Take an IP network, or a single address."""
    try:
        return str(ipaddress.ip_network(text(value)))
    except ValueError as error:
        raise vol.Invalid(f"expected a network such as 10.0.0.0/8, without bits behind its prefix ({error})") from None


def https_url(value: Any) -> str:
    """Take an address with TLS, or one of this machine, where nobody listens in."""
    given = text(value)
    parts = urlsplit(given)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.fragment or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise vol.Invalid("expected an address such as https://login.example/realms/building")
    return given


def roles(value: Any) -> Mapping[str, str]:
    """Take what a token's claim says for each role, such as ``{building-admins: admin}``."""
    known = [role.value for role in Role]
    if not isinstance(value, Mapping) or not value:
        raise vol.Invalid(f"expected a role for each value of the claim, such as {{building-admins: {known[-1]}}}")
    for name, role in value.items():
        if not isinstance(name, str) or role not in known:
            raise vol.Invalid(f"expected one of {', '.join(known)} for {name!r}")
    return dict(value)


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
    vol.Optional("oidc"): {
        vol.Required("issuer"): https_url,
        vol.Required("audience"): text,
        vol.Required("roles"): roles,
        vol.Optional("jwks_url"): https_url,
        vol.Optional("claim"): text,
        vol.Optional("algorithms"): vol.All([one_of(*ALGORITHMS)], vol.Length(min=1, msg="name one at least")),
        vol.Optional("leeway"): number(min=0, max=600),
    },
}
