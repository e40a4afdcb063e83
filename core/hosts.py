"""Knows by which names this server may be asked: those of a list, or on loopback by loopback's own only."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import Callable, Collection

from aiohttp import HttpVersion, HttpVersion11
from yarl import URL

from core.errors import RequestError
from core.problem import Misdirected

KNOWN_AT_MOST = 64


class Hosts:
    """Checks the host that a request names; ``host`` is what the server listens on, ``url`` tells what to use.

    ``names`` are all that it may name, in lower case; ``*.`` before one stands for any below it.
    """

    def __init__(self, host: str, *, url: Callable[[], str], names: Collection[str] = ()) -> None:
        self._host = host
        self._url = url
        self._local = is_loopback(host)
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._endings = tuple(name[1:] for name in names if name.startswith("*"))
        self._chosen = bool(names)
        self._known: set[str] = set()

    def known(self, host: str | None) -> bool:
        """Tell whether a Host header has passed the check before."""
        return host in self._known

    def check(self, host: str | None, target: str, version: HttpVersion) -> None:
        """Raise RequestError for a request that names no host, and Misdirected for one that names another server.

        A web page may have pointed a name of its own at this machine; ``target`` may name a host too.
        """
        if host in self._known and target.startswith("/"):
            return
        if host is None and version >= HttpVersion11:
            raise RequestError("HTTP/1.1 requests name their host: send a Host header.")
        if self._local or self._chosen:
            targets = [] if target.startswith("/") else [target]
            for name in [f"//{host}"] * (host is not None) + targets:
                if not self._is_us(name):
                    raise Misdirected(f"This server does not answer to that name; use {self._url()}.")
        if host is not None and len(self._known) < KNOWN_AT_MOST:
            self._known.add(host)

    def _is_us(self, authority: str) -> bool:
        host = host_of(authority)
        if authority == "*" or host is None:
            return authority == "*"
        if not self._chosen:
            return host == self._host or is_loopback(host)
        name = host.lower().removesuffix(".")
        return name in self._names or name.endswith(self._endings)


def reachable(host: str) -> str:
    """Name the address under which this machine reaches what listens on all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


@functools.lru_cache(maxsize=1024)
def host_of(authority: str) -> str | None:
    """Return the host of a Host header or a request target, None where it has none, or is no address of HTTP."""
    with contextlib.suppress(ValueError):
        url = URL(authority, encoded=True)
        if url.scheme in ("", "http", "https"):
            return url.host
    return None


@functools.lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is this machine's own for itself."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
