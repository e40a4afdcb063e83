"""Which routers there are on one interface, and which networks they lead to, as they say themselves (clause 6.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import islice

import attrs

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.wire import network_messages as messages
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.network_messages import MessageType, NetworkNumber

_MOST_ROUTERS = 1000
_MOST_NETWORKS = 4096
_NO_WAY = 1  # reason of a Reject-Message-To-Network: the router does not find the network (6.4.4)


@attrs.define(eq=False)
class Router:
    """A router: when it last said so of each network (monotonic seconds), and those that it found no way to."""

    station: Station
    networks: dict[int, float] = attrs.field(factory=dict)
    unreachable: set[int] = attrs.field(factory=set)


class Routers:
    """What is heard of routers; ``number`` is what the network of the interface is called, where somebody said so."""

    def __init__(self, clock: Clock) -> None:
        self.number: NetworkNumber | None = None
        self.last_new = 0.0
        self._clock = clock
        self._routers: dict[Station, Router] = {}
        self._said: dict[tuple[Station, int], None] = {}
        self._readers: dict[int, Callable[[bytes, int, Station], None]] = {
            MessageType.I_AM_ROUTER_TO_NETWORK: self._leads,
            MessageType.NETWORK_NUMBER_IS: self._number_is,
            MessageType.REJECT_MESSAGE_TO_NETWORK: self._rejects,
        }

    def __iter__(self) -> Iterator[Router]:
        return iter(self._routers.values())

    def hear(self, data: bytes, at: int, station: Station) -> None:
        """Take in a network layer message, whose header ends at an index; what makes no sense says nothing."""
        reader = self._readers.get(data[at]) if at < len(data) else None
        if reader is not None:
            with contextlib.suppress(DecodeError):
                reader(data, at, station)

    def conflicts(self, since: float = 0.0) -> dict[int, list[Station]]:
        """Return the networks that more than one router says it leads to, as heard since a (monotonic) time."""
        found: dict[int, list[Station]] = {}
        for router in self:
            for network, heard_at in router.networks.items():
                if heard_at >= since:
                    found.setdefault(network, []).append(router.station)
        return {network: sorted(stations, key=str) for network, stations in sorted(found.items()) if len(stations) > 1}

    def forget(self, before: float) -> None:
        """Forget what was not said again since a (monotonic) time."""
        for router in list(self):
            router.networks = {number: at for number, at in router.networks.items() if at >= before}
            router.unreachable &= set(router.networks)
            if not router.networks:
                del self._routers[router.station]
        self._said = {key: None for key in self._said if self._leads_to(*key)}

    def _leads(self, data: bytes, at: int, station: Station) -> None:
        networks = messages.read_i_am_router(data, at)
        router = self._routers.get(station)
        if router is None:
            if len(self._routers) >= _MOST_ROUTERS:
                return
            router = self._routers[station] = Router(station)
        now = self._clock.monotonic()
        if not router.networks.keys() >= set(networks):
            self.last_new = now
        router.networks |= dict.fromkeys(networks, now)
        router.unreachable.difference_update(networks)
        for network in networks:
            self._said.pop((station, network), None)
            self._said[station, network] = None
        for key in list(islice(self._said, max(len(self._said) - _MOST_NETWORKS, 0))):
            self._drop(*key)

    def _leads_to(self, station: Station, network: int) -> bool:
        router = self._routers.get(station)
        return router is not None and network in router.networks

    def _drop(self, station: Station, network: int) -> None:
        """Forget what was said again the longest ago, where more is said than any site has."""
        del self._said[station, network]
        router = self._routers[station]
        del router.networks[network]
        router.unreachable.discard(network)
        if not router.networks:
            del self._routers[station]

    def _number_is(self, data: bytes, at: int, _station: Station) -> None:
        said = messages.read_number_is(data, at)
        if self.number is None or said.configured or not self.number.configured:
            self.number = said

    def _rejects(self, data: bytes, at: int, station: Station) -> None:
        reason, network = messages.read_rejection(data, at)
        router = self._routers.get(station)
        if reason == _NO_WAY and router is not None and network in router.networks:
            router.unreachable.add(network)
