"""Finds out whom a proxy speaks for: only those that the configuration trusts are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import attrs

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

FORWARDED_FOR = "X-Forwarded-For"
FORWARDED_PROTO = "X-Forwarded-Proto"
HOPS_READ = 32


@attrs.frozen
class Proxies:
    """The networks whose word about a client is taken; of nobody, where there are none."""

    networks: tuple[Network, ...] = ()

    def trust(self, address: str) -> bool:
        """Tell whether an address is a trusted proxy's."""
        return bool(self.networks) and within(address, self.networks)

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """Return the nearest address that is no trusted proxy's.

        Each proxy appends to X-Forwarded-For whom it got the request from, so that it is read from its end: what stands
        before an address that is not trusted, anybody may have written.
        """
        if not self.trust(peer):
            return peer
        client = peer
        hops = _values(headers, FORWARDED_FOR).split(",")
        for hop in reversed(hops[-HOPS_READ:]):
            address = _address(hop.strip())
            if address is None:
                break
            client = address
            if not self.trust(client):
                break
        return client

    def secure(self, peer: str, headers: Mapping[str, str]) -> bool:
        """Tell whether a trusted proxy says that it was asked over TLS."""
        if not self.trust(peer):
            return False
        return _values(headers, FORWARDED_PROTO).rpartition(",")[2].strip().lower() == "https"


NO_PROXIES = Proxies()


def _values(headers: Mapping[str, str], name: str) -> str:
    """Return all lines of a header as one list."""
    every = getattr(headers, "getall", None)
    return ",".join(every(name, ())) if every is not None else headers.get(name, "")


def within(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an IP address is in one of the networks; an IPv4 address counts as itself when mapped into IPv6."""
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


@lru_cache(maxsize=4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def _address(hop: str) -> str | None:
    """Read what a proxy wrote: an address, perhaps with a port, IPv6 perhaps in brackets."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    found = _parsed(hop)
    return None if found is None else str(found)
