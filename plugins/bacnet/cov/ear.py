"""Hears notifications among the datagrams of a link, and answers those that want to be (ASHRAE 135, 13.6, 13.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from plugins.bacnet.addresses import Station
from plugins.bacnet.wire import apdu, bvll, cov, npdu
from plugins.bacnet.wire.apdu import PduType, PropertyError, Service, UnconfirmedService
from plugins.bacnet.wire.cov import Notification
from plugins.bacnet.wire.errors import DecodeError

Taken: TypeAlias = Callable[[Notification, bytes, Station], bool]
"""Takes a notification with the octets that its values stand in; False: it is of no subscription of ours."""

_CONFIRMED = PduType.CONFIRMED_REQUEST << 4
_UNCONFIRMED = bytes((PduType.UNCONFIRMED_REQUEST << 4, UnconfirmedService.UNCONFIRMED_COV_NOTIFICATION))
_SEGMENTED_ACCEPTED = apdu.SEGMENTED_ACCEPTED
_HEADER = 4  # octets of a confirmed request's
_UNKNOWN_SUBSCRIPTION = PropertyError(5, 79)  # services, unknown-subscription


class Ear:
    """Listens on one link; ``send`` sends over it, ``interface`` is the text of the interface of ours."""

    def __init__(self, interface: str, send: Callable[[bytes, tuple[str, int]], None], taken: Taken) -> None:
        self._interface = interface
        self._send = send
        self._taken = taken

    def hear(self, data: bytes, address: tuple[str, int]) -> bool:
        """Take a datagram that is a notification; False: it is something else, or broken."""
        start = bvll.CARRIES_NPDU.get(data[1]) if len(data) > bvll.HEADER else None
        if start is None or data[1] == bvll.Function.DISTRIBUTE_BROADCAST_TO_NETWORK:
            return False
        try:
            header = npdu.read_npdu(data, start)
            if not header.for_application:
                return False
            first = data[header.at]
            if data[header.at : header.at + 2] == _UNCONFIRMED:
                message = data[header.at + 2 :]
                self._taken(cov.read_notification(message), message, self._station(address, header))
                return True
            if first & ~_SEGMENTED_ACCEPTED == _CONFIRMED and data[header.at + 3] == Service.CONFIRMED_COV_NOTIFICATION:
                self._confirm(data, address, header)
                return True
        except (DecodeError, IndexError):
            return False
        return False

    def _confirm(self, data: bytes, address: tuple[str, int], header: npdu.Npdu) -> None:
        message = data[header.at + _HEADER :]
        known = self._taken(cov.read_notification(message), message, self._station(address, header))
        service, invoke_id = Service.CONFIRMED_COV_NOTIFICATION, data[header.at + 2]
        answer = (
            apdu.write_simple_ack(service, invoke_id)
            if known
            else apdu.write_error(service, invoke_id, _UNKNOWN_SUBSCRIPTION)
        )
        try:
            self._send(bvll.unicast(npdu.write_npdu(destination=header.source) + answer), address)
        except OSError:  # no way back just now: the device will send it again
            return

    def _station(self, address: tuple[str, int], header: npdu.Npdu) -> Station:
        if header.source is None:
            return Station(self._interface, *address)
        return Station(self._interface, *address, header.source.network, header.source.mac)
