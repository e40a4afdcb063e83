"""What passes between clients and devices where more happens than an answer: faults, trunks, subscriptions."""

from __future__ import annotations

import functools
from typing import NamedTuple

from plugins.bacnet.wire import bvll
from plugins.bacnet.wire.apdu import FROM_SERVER, PduType, Service
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import GLOBAL_NETWORK, Npdu, Place, read_npdu, write_npdu
from plugins.simulator.objects import SimulatedObject
from plugins.simulator.server import discovery
from plugins.simulator.server.cov import ChangeOfValue, Recipient, Subscription
from plugins.simulator.server.delivery import Delivery, Link, gets_through
from plugins.simulator.server.fast import UNSEGMENTED, FastHalf, Way, header_back, start_of
from plugins.simulator.server.link import Address, asker_of
from plugins.simulator.server.station import Station
from plugins.simulator.server.stations import Stations
from plugins.simulator.server.timer import Handle, Timer

_ANSWERS = (PduType.SIMPLE_ACK, PduType.ERROR, PduType.REJECT, PduType.ABORT)
_TO_EVERYBODY = Place(GLOBAL_NETWORK, b"")


class _Request(NamedTuple):
    """A confirmed request; it begins at ``npdu.at`` of the datagram."""

    station: Station
    npdu: Npdu
    datagram: bytes
    address: Address


class Exchange:
    """Takes what the fast half leaves, lets happen to it what is to happen, and hands up to bacpypes3 what is its.

    What bacpypes3 sends goes the same way out, through `depart`.
    """

    def __init__(self, stations: Stations, fast: FastHalf, link: Link, *, timer: Timer) -> None:
        self._stations = stations
        self._fast = fast
        self._link = link
        self._timer = timer
        self._delivery = Delivery(link, timer=timer)
        self._restarts: dict[Station, Handle] = {}
        self.cov = ChangeOfValue(self._notify, timer=timer)

    def arrive(self, datagram: bytes, address: Address) -> None:
        """Take a datagram that the fast half has no answer to."""
        try:
            taken = self._arrive(datagram, address)
        except (DecodeError, IndexError, OverflowError):
            taken = False
        if not taken:
            self._link.hand_up(datagram, address)

    def depart(self, datagram: bytes, address: Address) -> None:
        """Send what bacpypes3 has to say."""
        station = self._sender(datagram) if self._fast.is_watched else None
        if station is None or station.is_plain:
            self._link.send(datagram, address)
        else:
            self._reply(station, datagram, address)

    def check(self, data: SimulatedObject | None = None) -> None:
        """Tell subscribers what has changed, in one object or in all."""
        self.cov.check(only=data)

    def restart(self, station: Station, *, seconds: float) -> None:
        """Let a device be away for so long, know nothing of its subscribers then, and tell that it is there."""
        previous = self._restarts.pop(station, None)
        if previous is not None:
            previous.cancel()
        station.down = True
        station.edition += 1  # what bacpypes3 was about to answer is forgotten as well
        self.cov.forget(station)
        self._fast.review()
        self._restarts[station] = self._timer.call_later(seconds, self._started, station)

    def close(self) -> None:
        """Send nothing more."""
        self._delivery.close()
        self.cov.close()
        for handle in self._restarts.values():
            handle.cancel()

    def _arrive(self, datagram: bytes, address: Address) -> bool:
        start = start_of(datagram)
        if start is None:
            return False
        npdu = read_npdu(datagram, start)
        if not npdu.for_application:
            return False
        kind = datagram[npdu.at] >> 4
        if kind == PduType.CONFIRMED_REQUEST:
            return self._ask(npdu, datagram, address)
        if kind == PduType.UNCONFIRMED_REQUEST:
            return self._seek(npdu, datagram, address)
        station = self._stations.at(npdu.destination)
        if station is None:
            return False
        if not gets_through(station):
            return True
        if kind not in _ANSWERS or (kind == PduType.ABORT and not datagram[npdu.at] & FROM_SERVER):
            return False
        return self.cov.answered(station, Recipient(address, npdu.source), datagram[npdu.at + 1])

    def _ask(self, npdu: Npdu, datagram: bytes, address: Address) -> bool:
        station = self._stations.at(npdu.destination)
        bus = self._stations.bus_of(npdu.destination)
        if station is None:
            if bus is not None:
                bus.ask(None, _nobody)
            return bus is not None
        request = _Request(station, npdu, datagram, address)
        if bus is not None:
            bus.ask(station, functools.partial(self._serve, request))
        else:
            self._serve(request)
        return True

    def _serve(self, request: _Request) -> None:
        station, _npdu, datagram, address = request
        if not gets_through(station):
            return
        answer, subscription = self._answer(request)
        if answer is None:
            self._link.hand_up(datagram, address)
            return
        self._reply(station, answer, asker_of(datagram, address))
        if subscription is not None:
            self.cov.tell(subscription)

    def _answer(self, request: _Request) -> tuple[bytes | None, Subscription | None]:
        station, npdu, datagram, address = request
        if datagram[npdu.at] not in UNSEGMENTED:
            return None, None
        header = header_back(station, npdu)
        invoke_id, service = datagram[npdu.at + 2], datagram[npdu.at + 3]
        refusal = None if station.conduct is None else station.conduct.refusal(service, invoke_id)
        if refusal is not None:
            return bvll.unicast(header + refusal), None
        if service == Service.SUBSCRIBE_COV:
            recipient = Recipient(asker_of(datagram, address), npdu.source)
            taken = self.cov.take(station, datagram[npdu.at + 4 :], recipient, invoke_id=invoke_id)
            return bvll.unicast(header + taken.answer), taken.subscription
        try:
            answers = self._fast.read(datagram, npdu.at, Way(station, header))
        except (DecodeError, IndexError, OverflowError):
            answers = None
        return (None if answers is None else answers[0]), None

    def _seek(self, npdu: Npdu, datagram: bytes, address: Address) -> bool:
        audience = self._stations.audience(npdu)
        found = None if audience is None else discovery.answers(datagram[npdu.at :], audience)
        if found is None:
            return False
        to = asker_of(datagram, address)
        heard: dict[Station, bool] = {}
        at_once = []
        for station, message in found:
            answer = bvll.unicast(header_back(station, npdu) + message)
            if station.is_plain:
                at_once.append(answer)
            elif heard.setdefault(station, gets_through(station)):
                self._notify(station, answer, to)
        self._link.spread(at_once, to)
        return True

    def _sender(self, datagram: bytes) -> Station | None:
        try:
            npdu = read_npdu(datagram, bvll.HEADER)
        except DecodeError:
            return None
        return self._stations.at(npdu.source) if npdu.for_application else None

    def _reply(self, station: Station, datagram: bytes, address: Address) -> None:
        send = functools.partial(self._delivery.deliver, station, datagram, address)
        if station.bus is None:
            send()
        else:
            station.bus.answer(station, len(datagram), send)

    def _notify(self, station: Station, datagram: bytes, address: Address) -> None:
        """Send what answers no request that waits for it."""
        send = functools.partial(self._delivery.deliver, station, datagram, address, paced=True)
        if station.bus is None:
            send()
        else:
            station.bus.carry(len(datagram), send)

    def _started(self, station: Station) -> None:
        del self._restarts[station]
        station.down = False
        self._fast.review()
        npdu = write_npdu(source=station.address, destination=_TO_EVERYBODY)
        for address in self._link.lately():
            self._notify(station, bvll.unicast(npdu + station.i_am()), address)


def _nobody() -> None:
    """Take a request for an address at which there is no device."""
