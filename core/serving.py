"""How the REST API is served: the section ``http`` of the configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol

from core import validators
from core.proxies import Network
from core.security import Secret

MIB = 1024 * 1024
TLS_VERSIONS = ("1.2", "1.3")

_PATTERN = re.compile(r"(\*\.)?(.+)")


@attrs.frozen
class Deadlines:
    """How long, in seconds, a connection may take for what."""

    header_s: float = 20.0
    body_s: float = 60.0
    idle_s: float = 30.0
    unread_answer_s: float = 60.0
    handshake_s: float = 10.0
    finish_s: float = 0.4
    held_s: float = 20.0


@attrs.frozen
class Tls:
    """Where the certificate (its chain behind it) and its key are, PEM both, and the oldest TLS that is spoken."""

    certificate: Path
    key: Path
    key_password: Secret | None = None
    min_version: str = "1.2"


@attrs.frozen
class Http:
    """Where the REST API is served, and within which bounds; port 0 is one that the system chooses.

    ``trusted_proxies`` are the networks of proxies whose word about a client's address is taken. ``hosts`` are the
    names that requests may ask for, ``*.`` before one for all below it; without any, those of loopback on loopback, and
    any elsewhere. ``redirect_port`` is the port from which plain HTTP is sent on to TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    allow_unauthenticated: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    tls: Tls | None = None
    redirect_port: int | None = None
    deadlines: Deadlines = Deadlines()
    max_body: int = MIB
    connections_per_address: int = 256

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _host_pattern(value: Any) -> str:
    found = _PATTERN.fullmatch(validators.text(value))
    try:
        if found is not None:
            return (found[1] or "") + validators.host(found[2]).lower().rstrip(".")
    except vol.Invalid:
        pass
    raise vol.Invalid('expected a host name such as bms.example, "*.bms.example", or an IP address, without a port')


def _version(value: Any) -> str:
    if isinstance(value, float) and str(value) in TLS_VERSIONS:
        raise vol.Invalid(f'write it in quotes: "{value}"')
    checked: str = validators.one_of(*TLS_VERSIONS)(value)
    return checked


_TLS = {
    vol.Required("certificate"): validators.file_path,
    vol.Required("key"): validators.file_path,
    vol.Optional("key_password"): validators.secret,
    vol.Optional("min_version"): _version,
}
_DEADLINES = {
    vol.Optional(each): validators.seconds
    for each in ("header_s", "body_s", "idle_s", "unread_answer_s", "handshake_s")
}

SCHEMA: Mapping[Any, Any] = {
    vol.Optional("host"): validators.host,
    vol.Optional("port"): validators.port_or_any,
    vol.Optional("allow_unauthenticated"): validators.boolean,
    vol.Optional("trusted_proxies"): validators.networks,
    vol.Optional("hosts"): [_host_pattern],
    vol.Optional("tls"): _TLS,
    vol.Optional("redirect_port"): validators.port_or_any,
    vol.Optional("deadlines"): _DEADLINES,
    vol.Optional("max_body"): validators.integer(min=1024, max=1024 * MIB),
    vol.Optional("connections_per_address"): validators.integer(min=1, max=100_000),
}


def http_of(section: Mapping[str, Any]) -> Http:
    """Make the section, checked by `SCHEMA`, into its class."""
    made = dict(section)
    for name, cls in (("tls", Tls), ("deadlines", Deadlines)):
        if name in made:
            made[name] = cls(**made[name])
    return Http(**made | {"hosts": tuple(made.get("hosts", ()))})
