"""The fast half of the server: takes a datagram, and answers it at once where the answer is prepared.

What it cannot answer goes on, unchanged: subscriptions, and all that concerns devices with faults or on a trunk, to
the exchange; writes, long answers, the rest of the standard to bacpypes3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plugins.bacnet.wire import bvll
from plugins.bacnet.wire.apdu import APDU_LENGTHS, SEGMENTED_ACCEPTED, PduType
from plugins.bacnet.wire.bvll import BACNET_IP, Function
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import EXPECTS_REPLY, HAS_DESTINATION, Npdu, read_npdu, write_npdu
from plugins.simulator.server import discovery
from plugins.simulator.server.station import Station
from plugins.simulator.server.stations import Stations

MOST_WAYS = 1 << 14

_TAKEN: Mapping[int, int] = {
    function: bvll.CARRIES_NPDU[function]
    for function in (Function.ORIGINAL_UNICAST_NPDU, Function.ORIGINAL_BROADCAST_NPDU, Function.FORWARDED_NPDU)
}
UNSEGMENTED = frozenset((PduType.CONFIRMED_REQUEST << 4, PduType.CONFIRMED_REQUEST << 4 | SEGMENTED_ACCEPTED))
"""The first octets of a request that comes in one piece."""

_USUAL = bytes((1, HAS_DESTINATION | EXPECTS_REPLY))
_ADDRESS_LENGTH = 4  # where the usual header has it
_USUAL_LENGTH = 6  # of a usual header without an address


def start_of(datagram: bytes) -> int | None:
    """Return where the network layer's header stands; None, where there is none for us."""
    start = _TAKEN.get(datagram[1])
    if start is None or datagram[0] != BACNET_IP or datagram[2] << 8 | datagram[3] != len(datagram):
        return None
    return start


class Way(NamedTuple):
    """To whom a header leads, and which header the answer gets."""

    station: Station
    header: bytes


class FastHalf:
    """Answers for devices to which a message comes, and from which an answer goes, without more ado.

    ``is_watched`` says that there are others as well; `review` is to be called when that changes for any of them.
    """

    def __init__(self, stations: Stations) -> None:
        self._stations = stations
        self._ways: dict[bytes, Way] = {}
        self.is_watched = False
        self.review()

    def review(self) -> None:
        """Find out again which devices are plain."""
        self._ways.clear()
        self.is_watched = not all(station.is_plain for station in self._stations)

    def answer(self, datagram: bytes) -> Sequence[bytes] | None:
        """Return the datagrams that answer one, none of them perhaps; None, where bacpypes3 has to."""
        try:
            return self._answer(datagram)
        except (DecodeError, IndexError, OverflowError):
            return None

    def _answer(self, datagram: bytes) -> Sequence[bytes] | None:
        start = _TAKEN.get(datagram[1])  # as `start_of` does, whose call would take its time
        if start is None or datagram[0] != BACNET_IP or datagram[2] << 8 | datagram[3] != len(datagram):
            return None
        if datagram[start : start + 2] == _USUAL:
            at = start + _USUAL_LENGTH + datagram[start + _ADDRESS_LENGTH]
            way = self._ways.get(datagram[start:at])
            if way is not None and datagram[at] in UNSEGMENTED:
                return self.read(datagram, at, way)
        npdu = read_npdu(datagram, start)
        if not npdu.for_application:
            return None
        if datagram[npdu.at] in UNSEGMENTED:
            way = self._way(datagram[start : npdu.at], npdu)
            return None if way is None else self.read(datagram, npdu.at, way)
        audience = None if self.is_watched else self._stations.audience(npdu)
        found = None if audience is None else discovery.answers(datagram[npdu.at :], audience)
        if found is None:
            return None
        return [bvll.unicast(header_back(station, npdu) + answer) for station, answer in found]

    def read(self, datagram: bytes, at: int, way: Way) -> Sequence[bytes] | None:
        """Answer the request that stands at an index; None, where bacpypes3 has to. Raises DecodeError."""
        code = datagram[at + 1] & 0x0F
        if code >= len(APDU_LENGTHS):
            return None
        plan = way.station.plan(datagram[at + 3 :])
        if plan is None or len(plan.body) > way.station.longest[code]:
            return None
        npdu = b"%b%c%c%b" % (way.header, plan.first, datagram[at + 2], plan.body)
        return (bvll.unicast(npdu),)

    def _way(self, header: bytes, npdu: Npdu) -> Way | None:
        """Find out where a header leads, and remember it."""
        way = self._ways.get(header)
        if way is not None:
            return way
        station = self._stations.at(npdu.destination)
        if station is None or not station.is_plain:
            return None
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
        way = self._ways[header] = Way(station, header_back(station, npdu))
        return way


def header_back(station: Station, npdu: Npdu) -> bytes:
    """Write the header of a station's answer."""
    return write_npdu(source=station.address, destination=npdu.source)
