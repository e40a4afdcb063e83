"""The fast half of the server: takes a datagram, and answers it at once where the answer is prepared.

What it cannot answer goes to bacpypes3, unchanged: writes, subscriptions, long answers, the rest of the standard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plugins.bacnet.wire import bvll
from plugins.bacnet.wire.apdu import APDU_LENGTHS, SEGMENTED_ACCEPTED, PduType
from plugins.bacnet.wire.bvll import BACNET_IP, Function
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import EXPECTS_REPLY, GLOBAL_NETWORK, HAS_DESTINATION, Npdu, Place, read_npdu, write_npdu
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.server import discovery
from plugins.simulator.server.station import Station

MOST_WAYS = 1 << 14

_TAKEN: Mapping[int, int] = {
    function: bvll.CARRIES_NPDU[function]
    for function in (Function.ORIGINAL_UNICAST_NPDU, Function.ORIGINAL_BROADCAST_NPDU, Function.FORWARDED_NPDU)
}
_UNSEGMENTED = frozenset((PduType.CONFIRMED_REQUEST << 4, PduType.CONFIRMED_REQUEST << 4 | SEGMENTED_ACCEPTED))
_USUAL = bytes((1, HAS_DESTINATION | EXPECTS_REPLY))
_ADDRESS_LENGTH = 4  # where the usual header has it
_USUAL_LENGTH = 6  # of a usual header without an address


class _Way(NamedTuple):
    """To whom a header leads, and which header the answer gets."""

    station: Station
    header: bytes


class FastHalf:
    """Answers for the devices of one virtual network, by their addresses there.

    ``direct`` stands on the port itself: it gets what bears no destination network.
    """

    def __init__(
        self, devices: Mapping[bytes, SimulatedDevice], *, network: int, direct: SimulatedDevice | None = None
    ) -> None:
        self._network = network
        self._stations = {mac: Station(device, Place(network, mac)) for mac, device in devices.items()}
        self._direct = None if direct is None else Station(direct, None)
        self._ways: dict[bytes, _Way] = {}

    def answer(self, datagram: bytes) -> Sequence[bytes] | None:
        """Return the datagrams that answer one, none of them perhaps; None, where bacpypes3 has to."""
        try:
            return self._answer(datagram)
        except (DecodeError, IndexError, OverflowError):
            return None

    def _answer(self, datagram: bytes) -> Sequence[bytes] | None:
        start = _TAKEN.get(datagram[1])
        if start is None or datagram[0] != BACNET_IP or datagram[2] << 8 | datagram[3] != len(datagram):
            return None
        if datagram[start : start + 2] == _USUAL:
            at = start + _USUAL_LENGTH + datagram[start + _ADDRESS_LENGTH]
            way = self._ways.get(datagram[start:at])
            if way is not None and datagram[at] in _UNSEGMENTED:
                return self._read(datagram, at, way)
        npdu = read_npdu(datagram, start)
        if not npdu.for_application:
            return None
        if datagram[npdu.at] in _UNSEGMENTED:
            way = self._way(datagram[start : npdu.at], npdu)
            return None if way is None else self._read(datagram, npdu.at, way)
        audience = self._audience(npdu)
        found = None if audience is None else discovery.answers(datagram[npdu.at :], audience)
        if found is None:
            return None
        return [bvll.unicast(_header_back(station, npdu) + answer) for station, answer in found]

    def _read(self, datagram: bytes, at: int, way: _Way) -> Sequence[bytes] | None:
        code = datagram[at + 1] & 0x0F
        if code >= len(APDU_LENGTHS):
            return None
        plan = way.station.plan(datagram[at + 3 :])
        if plan is None or len(plan.body) > way.station.longest[code]:
            return None
        npdu = b"%b%c%c%b" % (way.header, plan.first, datagram[at + 2], plan.body)
        return (bvll.unicast(npdu),)

    def _way(self, header: bytes, npdu: Npdu) -> _Way | None:
        """Find out where a header leads, and remember it."""
        way = self._ways.get(header)
        if way is not None:
            return way
        if npdu.destination is None:
            station = self._direct
        elif npdu.destination.network == self._network:
            station = self._stations.get(npdu.destination.mac)
        else:
            station = None
        if station is None:
            return None
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
        way = self._ways[header] = _Way(station, _header_back(station, npdu))
        return way

    def _audience(self, npdu: Npdu) -> Iterable[Station] | None:
        """Say who hears what is asked without wanting an answer; None for what is not for our network."""
        if npdu.destination is None or npdu.destination.network == GLOBAL_NETWORK:
            return itertools.chain(self._stations.values(), filter(None, (self._direct,)))
        if npdu.destination.network != self._network:
            return None
        if not npdu.destination.mac:
            return self._stations.values()
        return filter(None, (self._stations.get(npdu.destination.mac),))


def _header_back(station: Station, npdu: Npdu) -> bytes:
    return write_npdu(source=station.address, destination=npdu.source)
