"""Finds devices: asks who is there and who has what, listens who answers, and asks routers where they lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.discovery.duplicates import MOST_PLACES
from plugins.bacnet.protocol import IAm
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.who_has import IHave, WhoHas

_ROUNDS = 2
_LONGEST_WAIT_S = 10.0
MOST_ANSWERS = 20_000


class _Listening(Protocol):
    """What waits for answers; ``last_new`` is when the last came that was new, in monotonic seconds."""

    last_new: float


@attrs.define(eq=False)
class RollCall:
    """Who answered one Who-Is, within ``ranges`` of device numbers (empty: all).

    ``left_out`` counts answers beyond `MOST_ANSWERS`, or from more places with one number than are looked at.
    """

    ranges: Sequence[tuple[int, int]]
    answers: dict[int, dict[Station, IAm]] = attrs.field(factory=dict)
    last_new: float = 0.0
    left_out: int = 0
    _count: int = 0

    def note(self, i_am: IAm, now: float) -> None:
        """Take an answer in; the same device heard on two of our interfaces counts once."""
        if self.ranges and not any(low <= i_am.instance <= high for low, high in self.ranges):
            return
        places, place = self.answers.get(i_am.instance, {}), i_am.station.place
        if place in places:
            return
        if self._count >= MOST_ANSWERS or len(places) >= MOST_PLACES:
            self.left_out += 1
            return
        self.answers.setdefault(i_am.instance, places)[place] = i_am
        self._count += 1
        self.last_new = now

    def heard_from(self, target: Station) -> bool:
        """Tell whether a target answered, or anything behind it."""
        for places in self.answers.values():
            for place in places:
                if (place.ip, place.port) == (target.ip, target.port) and target.network in (None, place.network):
                    return True
        return False


@attrs.define(eq=False)
class Search:
    """Who has what a Who-Has asks for."""

    wanted: ObjectId | str
    answers: dict[tuple[Station, ObjectId], tuple[IHave, Station]] = attrs.field(factory=dict)
    last_new: float = 0.0

    def note(self, i_have: IHave, station: Station, now: float) -> None:
        """Take an answer in, if it is one to this question."""
        key = station.place, i_have.object
        is_new = key not in self.answers and len(self.answers) < MOST_ANSWERS
        if is_new and self.wanted in (i_have.object, i_have.name):
            self.answers[key] = i_have, station
            self.last_new = now


class Discovery:
    """Asks over networks and at targets, each twice, since a datagram can be lost.

    ``quiet_s`` without a new answer ends the waiting.
    """

    def __init__(self, clock: Clock, *, quiet_s: float) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._calls: set[RollCall] = set()
        self._searches: set[Search] = set()

    @property
    def asks(self) -> bool:
        """Whether somebody is being asked for, so that an I-Am is likely an answer."""
        return bool(self._calls)

    def note(self, i_am: IAm) -> None:
        """Take in an I-Am, asked for or not."""
        for call in self._calls:
            call.note(i_am, self._clock.monotonic())

    def note_object(self, i_have: IHave, station: Station) -> None:
        """Take in an I-Have, asked for or not."""
        for search in self._searches:
            search.note(i_have, station, self._clock.monotonic())

    async def call(
        self,
        ranges: Sequence[tuple[int, int]],
        broadcast: Iterable[Client],
        targets: Sequence[tuple[Client, Station]],
    ) -> RollCall:
        """Ask who is there, and routers where they lead; return who answered."""
        call, clients = RollCall(ranges), tuple(broadcast)

        def ask() -> None:
            ask_routers(clients, targets)
            for limits in ranges or (None,):
                for client in clients:
                    client.who_is(limits)
                for client, target in targets:
                    if not call.heard_from(target):
                        client.who_is(limits, at=target)

        self._calls.add(call)
        try:
            await self._twice(ask, [call])
        finally:
            self._calls.discard(call)
        return call

    async def search(
        self,
        wanted: ObjectId | str,
        ranges: Sequence[tuple[int, int]],
        broadcast: Iterable[Client],
        targets: Sequence[tuple[Client, Station]],
    ) -> Search:
        """Ask who has an object; return who does."""
        search, clients = Search(wanted), tuple(broadcast)

        def ask() -> None:
            for limits in ranges or (None,):
                for client in clients:
                    client.who_has(WhoHas(wanted, limits))
                for client, target in targets:
                    client.who_has(WhoHas(wanted, limits), at=target)

        self._searches.add(search)
        try:
            await self._twice(ask, [search])
        finally:
            self._searches.discard(search)
        return search

    async def routers(self, broadcast: Iterable[Client], targets: Sequence[tuple[Client, Station]]) -> None:
        """Ask routers where they lead, and wait until they have said so."""
        clients = tuple(broadcast)
        listening = {client.routers for client in (*clients, *(client for client, _target in targets))}
        await self._twice(lambda: ask_routers(clients, targets), list(listening))

    async def _twice(self, ask: Callable[[], None], listening: Sequence[_Listening]) -> None:
        for _ in range(_ROUNDS):
            ask()
            await self._until_quiet(listening)

    async def _until_quiet(self, listening: Sequence[_Listening]) -> None:
        started = self._clock.monotonic()
        for each in listening:
            each.last_new = started
        while True:
            now = self._clock.monotonic()
            last = max((each.last_new for each in listening), default=started)
            end = min(last + self._quiet_s, started + _LONGEST_WAIT_S)
            if now >= end:
                return
            await self._clock.sleep(end - now)


def ask_routers(clients: Iterable[Client], targets: Iterable[tuple[Client, Station]]) -> None:
    """Ask routers where they lead, without waiting."""
    for client in clients:
        client.who_is_router()
    for client, target in targets:
        if target.network is None:
            client.who_is_router(at=target)
