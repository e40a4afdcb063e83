"""The last stretch of what devices send: delayed, held back, lost, damaged or doubled where their conduct has it so."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from plugins.simulator.server.conduct import Conduct
from plugins.simulator.server.link import Address
from plugins.simulator.server.station import Station
from plugins.simulator.server.timer import Timer

MOST_DELAYED = 8192
HELD_S = 0.2
"""How long an answer that lets the next one go first waits for one."""


class Link(Protocol):
    """The socket, as it is used here."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram at once."""
        ...

    def spread(self, answers: Sequence[bytes], address: Address) -> None:
        """Send datagrams, not too many at a time."""
        ...

    def hand_up(self, data: bytes, address: Address) -> None:
        """Let bacpypes3 answer a datagram."""
        ...

    def lately(self) -> list[Address]:
        """List who has sent something lately."""
        ...


class Delivery:
    """Hands datagrams to the link, in the way that befits their senders."""

    def __init__(self, link: Link, *, timer: Timer) -> None:
        self._link = link
        self._timer = timer
        self._log = logging.getLogger(__name__)
        self._delayed = 0
        self._dropped = 0
        self._held: dict[Conduct, tuple[bytes, Address]] = {}
        self._closed = False

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True

    def deliver(self, station: Station, datagram: bytes, address: Address, *, paced: bool = False) -> None:
        """Let happen to a message what its device's conduct has for it."""
        conduct = station.conduct
        if self._closed or not gets_through(station):
            return
        if conduct is None:
            self._send(datagram, address, paced=paced)
            return
        for delay_s, octets in conduct.copies(datagram):
            if conduct not in self._held and conduct.holds():
                self._held[conduct] = octets, address
                self._timer.call_later(delay_s + HELD_S, self._let_go, conduct)
            elif delay_s > 0.0:
                self._send_later(delay_s, conduct, octets, address)
            else:
                self._send(octets, address, paced=paced)
                self._let_go(conduct)

    def _send_later(self, delay_s: float, conduct: Conduct, datagram: bytes, address: Address) -> None:
        if self._delayed >= MOST_DELAYED:
            if not self._dropped:
                self._log.warning("more than %d datagrams are delayed: further ones are dropped", MOST_DELAYED)
            self._dropped += 1
            return

        def send() -> None:
            self._delayed -= 1
            self._send(datagram, address)
            self._let_go(conduct)

        self._delayed += 1
        self._timer.call_later(delay_s, send)

    def _let_go(self, conduct: Conduct) -> None:
        held = self._held.pop(conduct, None)
        if held is not None:
            self._send(*held)

    def _send(self, datagram: bytes, address: Address, *, paced: bool = False) -> None:
        if self._closed:
            return
        if paced:
            self._link.spread([datagram], address)
        else:
            self._link.send(datagram, address)


def gets_through(station: Station) -> bool:
    """Decide whether a message to or from a device arrives."""
    return station.is_reachable and not (station.conduct is not None and station.conduct.loses())
