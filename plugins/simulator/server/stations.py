"""All devices behind the port, by where they stand: on virtual networks, or on the port itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from plugins.bacnet.wire.npdu import GLOBAL_NETWORK, Npdu, Place
from plugins.simulator.server.bus import Bus
from plugins.simulator.server.station import Station


class Stations:
    """The stations, and which of them a message is for; ``buses`` are the networks that carry one at a time.

    ``networks`` are the numbers of all networks, in the order of their first stations.
    """

    def __init__(self, stations: Sequence[Station], *, networks: Sequence[int] = (), buses: Sequence[Bus] = ()) -> None:
        self._all = tuple(stations)
        self._by_place = {station.address: station for station in stations}
        self._by_network: dict[int, list[Station]] = {network: [] for network in networks}
        self._buses = {bus.network: bus for bus in buses}
        for station in stations:
            if station.address is not None:
                self._by_network.setdefault(station.address.network, []).append(station)

    def __iter__(self) -> Iterator[Station]:
        return iter(self._all)

    @property
    def networks(self) -> Sequence[int]:
        """The numbers of the networks behind the port."""
        return tuple(self._by_network)

    def at(self, place: Place | None) -> Station | None:
        """Return who stands at a place; None is the port itself."""
        return self._by_place.get(place)

    def bus_of(self, place: Place | None) -> Bus | None:
        """Return the bus that leads to a place, if one does."""
        return None if place is None else self._buses.get(place.network)

    def audience(self, npdu: Npdu) -> Iterable[Station] | None:
        """Say who hears what is asked without wanting an answer; None for what is not for our networks."""
        if npdu.destination is None or npdu.destination.network == GLOBAL_NETWORK:
            return self._all
        if npdu.destination.network not in self._by_network:
            return None
        if not npdu.destination.mac:
            return self._by_network[npdu.destination.network]
        return filter(None, (self.at(npdu.destination),))
