"""Finds devices: asks who is there, listens who answers, and notices who has another's number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.protocol import IAm

_ROUNDS = 2
_LONGEST_WAIT_S = 10.0


@attrs.define(eq=False)
class RollCall:
    """Who answered one Who-Is, within ``ranges`` of device numbers (empty: all)."""

    ranges: Sequence[tuple[int, int]]
    answers: dict[int, dict[Station, IAm]] = attrs.field(factory=dict)
    last_new: float = 0.0

    def note(self, i_am: IAm, now: float) -> None:
        """Take an answer in; the same device heard on two of our interfaces counts once."""
        if self.ranges and not any(low <= i_am.instance <= high for low, high in self.ranges):
            return
        places = self.answers.setdefault(i_am.instance, {})
        place = attrs.evolve(i_am.station, interface="")
        if place not in places:
            places[place] = i_am
            self.last_new = now

    def heard_from(self, target: Station) -> bool:
        """Tell whether a target answered, or anything behind it."""
        for places in self.answers.values():
            for place in places:
                if (place.ip, place.port) == (target.ip, target.port) and target.network in (None, place.network):
                    return True
        return False


class Discovery:
    """Asks over all networks; ``quiet_s`` without a new answer ends the waiting."""

    def __init__(self, clock: Clock, *, quiet_s: float) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._open: set[RollCall] = set()

    @property
    def asks(self) -> bool:
        """Whether somebody is being asked for, so that an I-Am is likely an answer."""
        return bool(self._open)

    def note(self, i_am: IAm) -> None:
        """Take in an I-Am, asked for or not."""
        for call in self._open:
            call.note(i_am, self._clock.monotonic())

    async def call(
        self,
        ranges: Sequence[tuple[int, int]],
        broadcast: Iterable[Client],
        targets: Sequence[tuple[Client, Station]],
    ) -> RollCall:
        """Ask everybody and the targets, each twice, since a datagram can be lost; return who answered."""
        call = RollCall(ranges)
        clients = tuple(broadcast)
        self._open.add(call)
        try:
            for _ in range(_ROUNDS):
                for limits in ranges or (None,):
                    for client in clients:
                        client.who_is(limits)
                    for client, target in targets:
                        if not call.heard_from(target):
                            client.who_is(limits, at=target)
                await self._until_quiet(call)
        finally:
            self._open.discard(call)
        return call

    async def _until_quiet(self, call: RollCall) -> None:
        started = call.last_new = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            end = min(call.last_new + self._quiet_s, started + _LONGEST_WAIT_S)
            if now >= end:
                return
            await self._clock.sleep(end - now)


def chosen(places: Mapping[Station, IAm], is_known: Callable[[Station], bool]) -> IAm:
    """Of the devices that have one number, return the one that had it first."""
    return next((i_am for place, i_am in places.items() if is_known(place)), next(iter(places.values())))
