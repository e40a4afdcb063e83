"""The plugin's section of the configuration: which server, how long to wait for it, and what is kept there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import voluptuous as vol

from core.caches import CACHE_BYTES, CACHE_ENTRIES
from core.rate_limits import LIMITER_KEYS
from core.security import Secret
from core.validators import boolean, file_path, host, integer, port, secret, text

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 6379
LARGEST_DB = 1_000_000
LONGEST_PREFIX = 100
LONGEST_WAIT_S = 5.0
_URL = "write an address such as redis://10.0.0.5:6379/0, rediss://... for TLS, or unix:///run/redis.sock?db=0"
"""It does not begin with "expected": what does is told with the value, which has a password perhaps."""


@attrs.frozen
class Address:
    """Where the server listens, and as whom to speak to it; it shows itself without credentials.

    ``path`` is that of a Unix socket, which stands in the place of host and port.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    db: int = 0
    path: str = ""
    tls: bool = False
    username: str = attrs.field(default="", repr=False)
    password: Secret | None = None

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.path or f'{name}:{self.port}'}/{self.db}"


@attrs.frozen
class TlsOptions:
    """Speak TLS, and whom to believe.

    ``ca_file`` has the certificates that may sign the server's, instead of the system's. ``cert_file`` and
    ``key_file`` are our own, where the server asks for one. ``verify`` false takes any certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True


@attrs.frozen
class FallbackOptions:
    """How much this process keeps by itself while the server does not answer: values and their octets, limited keys."""

    entries: int = CACHE_ENTRIES
    bytes: int = CACHE_BYTES
    keys: int = LIMITER_KEYS


@attrs.frozen
class RedisConfig:
    """The whole section; either ``url``, or host, port, db, username and password.

    ``timeout_s`` is for each answer, ``connect_timeout_s`` for each connection, ``connections`` how many there are at
    most. ``prefix`` is what every key begins with; None: ``plantroom:<site>:``.
    """

    url: Secret | None = None
    host: str | None = None
    port: int | None = None
    db: int | None = None
    username: str | None = None
    password: Secret | None = None
    tls: TlsOptions | None = None
    prefix: str | None = None
    timeout_s: float = 0.5
    connect_timeout_s: float = 2.0
    connections: int = 8
    cache: bool = True
    rate_limits: bool = True
    fallback: FallbackOptions = FallbackOptions()

    def __attrs_post_init__(self) -> None:
        if self.url is not None:
            given = [name for name in ("host", "port", "db", "username", "password") if getattr(self, name) is not None]
            if given:
                raise ValueError(f"`url` has a place for `{given[0]}`: give one of them")
            if self.tls is not None and self.address.path:
                raise ValueError("there is no TLS on a Unix socket: leave out `tls`")
        if self.tls is not None and self.tls.key_file is not None and self.tls.cert_file is None:
            raise ValueError("`tls` has a `key_file` without its `cert_file`")
        if not (self.cache or self.rate_limits):
            raise ValueError("`cache` and `rate_limits` are both false: there is nothing to do")

    @property
    def address(self) -> Address:
        """Where the server is, from whichever options say so."""
        if self.url is not None:
            given = parse_url(self.url.reveal())
            return attrs.evolve(given, tls=given.tls or self.tls is not None)
        return Address(
            host=self.host or DEFAULT_HOST,
            port=self.port or DEFAULT_PORT,
            db=self.db or 0,
            tls=self.tls is not None,
            username=self.username or "",
            password=self.password,
        )


def parse_url(value: str) -> Address:
    """Read the address of a server; raises ValueError, in whose words nothing of it is repeated."""
    try:
        parts = urlsplit(value)
        where = _socket(parts.path, parts.query) if parts.scheme == "unix" else _tcp(parts.path, parts.query)
        if parts.scheme not in ("redis", "rediss", "unix") or parts.fragment:
            raise ValueError(_URL)  # noqa: TRY301 - one message for all that is wrong with it
        if parts.scheme != "unix":
            where = attrs.evolve(
                where,
                host=host(parts.hostname or DEFAULT_HOST),
                port=parts.port or DEFAULT_PORT,
                tls=parts.scheme == "rediss",
            )
    except (ValueError, vol.Invalid):
        raise ValueError(_URL) from None
    password = None if parts.password is None else Secret(unquote(parts.password))
    return attrs.evolve(where, username=unquote(parts.username or ""), password=password)


def _tcp(path: str, query: str) -> Address:
    if query:
        raise ValueError(_URL)
    return Address(db=_db(path.removeprefix("/") or "0"))


def _socket(path: str, query: str) -> Address:
    name, _equals, db = query.partition("=")
    if not path.startswith("/") or name not in ("", "db"):
        raise ValueError(_URL)
    return Address(path=unquote(path), db=_db(db or "0"))


def _db(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(LARGEST_DB)):
        raise ValueError(_URL)
    return int(digits)


def _url(value: Any) -> Secret:
    given = secret(value)
    try:
        parse_url(given.reveal())
    except ValueError as error:
        raise vol.Invalid(str(error)) from None
    return given


def _prefix(value: Any) -> str:
    prefix = text(value)
    if len(prefix) > LONGEST_PREFIX or not prefix.isprintable() or " " in prefix:
        raise vol.Invalid(f"expected up to {LONGEST_PREFIX} characters without spaces, such as plantroom:local:")
    return prefix


def _wait(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_WAIT_S:
        raise vol.Invalid(f"expected a number of seconds, more than 0 and up to {LONGEST_WAIT_S:g}")
    return value


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("url"): _url,
    vol.Optional("host"): host,
    vol.Optional("port"): port,
    vol.Optional("db"): integer(min=0, max=LARGEST_DB),
    vol.Optional("username"): text,
    vol.Optional("password"): secret,
    vol.Optional("tls"): {
        vol.Optional("ca_file"): file_path,
        vol.Optional("cert_file"): file_path,
        vol.Optional("key_file"): file_path,
        vol.Optional("verify"): boolean,
    },
    vol.Optional("prefix"): _prefix,
    vol.Optional("timeout_s"): _wait,
    vol.Optional("connect_timeout_s"): _wait,
    vol.Optional("connections"): integer(min=1, max=100),
    vol.Optional("cache"): boolean,
    vol.Optional("rate_limits"): boolean,
    vol.Optional("fallback"): {
        vol.Optional("entries"): integer(min=1, max=10_000_000),
        vol.Optional("bytes"): integer(min=1_000_000, max=10_000_000_000),
        vol.Optional("keys"): integer(min=1, max=10_000_000),
    },
}
