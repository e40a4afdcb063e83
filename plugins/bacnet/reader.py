"""Reads any number of properties of a device, whatever it can and cannot do: each has its answer in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from core.plugin import Clock, DeviceTimeout
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, Prop
from plugins.bacnet.planner import Ref, cost, halves, pack
from plugins.bacnet.profile import Budget, Profile
from plugins.bacnet.protocol import Answer, Items
from plugins.bacnet.values import Encoded
from plugins.bacnet.windows import Windows, together
from plugins.bacnet.wire.datatypes import ObjectId

T = TypeVar("T")

NO_ANSWER = Refusal("abort", "no-response")


class Reader:
    """Requests to devices, each in its window, with fallbacks for what a device refuses.

    ``recovered`` is called with a device that answered when nothing on its network had.
    """

    def __init__(self, client_of: Callable[[Station], Client], clock: Clock) -> None:
        self.windows = Windows(clock)
        self.recovered: Callable[[Profile], None] = lambda _profile: None
        self._client_of = client_of
        self._clock = clock

    async def all(self, profile: Profile, refs: Iterable[Ref], budget: Budget) -> dict[Ref, Answer]:
        """Read properties in chunks of the budget; raises DeviceTimeout when the device is silent.

        A request that alone goes unanswered is torn in two like one that is refused.
        """
        answers: dict[Ref, Answer] = {}
        for entries in pack(((ref,) for ref in refs), budget.octets):
            chunk = [ref for entry in entries for ref in entry]
            answers.update(zip(chunk, await self._patiently(profile, chunk, budget), strict=True))
        return answers

    async def chunk(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        """Read properties with one request if that can be; raises DeviceTimeout.

        Where the device refuses the request as a whole, it is torn in two until what is wrong stands alone.
        """
        if len(refs) == 1 or not profile.multiple or not profile.loners.isdisjoint(refs):
            return await self._singles(profile, refs)
        try:
            return await self._ask(profile, lambda client: client.read_multiple(profile.station, refs))
        except Refusal as refusal:
            if refusal.service_is_missing:
                profile.multiple = False
                return await self._singles(profile, refs)
            if refusal.answer_is_too_long:
                budget.shrink(cost(refs))
                return await self._halved(profile, refs, budget)
            if len({ref.object for ref in refs}) == 1:
                profile.loners.update(refs)
            return await self._halved(profile, refs, budget)

    async def alive(self, profile: Profile) -> None:
        """Ask the least that any device answers; raises DeviceTimeout."""
        await self._single(profile, Ref(ObjectId(DEVICE, profile.instance), Prop.OBJECT_NAME))

    async def one(self, profile: Profile, ref: Ref) -> Items:
        """Read one property; raises Refusal or DeviceTimeout."""
        return await self._ask(profile, lambda client: client.read(profile.station, ref))

    async def write(self, profile: Profile, ref: Ref, value: Sequence[Encoded], *, priority: int | None) -> None:
        """Write one property; raises Refusal or DeviceTimeout."""
        await self._ask(profile, lambda client: client.write(profile.station, ref, value, priority=priority))

    async def _patiently(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        try:
            return await self.chunk(profile, refs, budget)
        except DeviceTimeout:
            await self.alive(profile)
        if len(refs) == 1:
            return [NO_ANSWER]
        budget.shrink(cost(refs))
        left, right = halves(refs)
        return [*await self._patiently(profile, left, budget), *await self._patiently(profile, right, budget)]

    async def _halved(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        left, right = halves(refs)
        return [*await self.chunk(profile, left, budget), *await self.chunk(profile, right, budget)]

    async def _singles(self, profile: Profile, refs: Sequence[Ref]) -> list[Answer]:
        first = await self._single(profile, refs[0])
        return [first, *await together(self._single(profile, ref) for ref in refs[1:])]

    async def _single(self, profile: Profile, ref: Ref) -> Answer:
        try:
            return await self.one(profile, ref)
        except Refusal as refusal:
            return refusal

    async def _ask(self, profile: Profile, request: Callable[[Client], Awaitable[T]]) -> T:
        async with self.windows.turn(profile.station, profile.window, silent=profile.silent) as network:
            asked_at = self._clock.monotonic()
            try:
                answer = await request(self._client_of(profile.station))
            except DeviceTimeout:
                if not profile.silent:
                    network.missed(asked_at)
                profile.silent = True
                raise
            except Refusal:
                self._answered(profile)
                raise
            self._answered(profile)
            return answer

    def _answered(self, profile: Profile) -> None:
        profile.silent = False
        if self.windows.network(profile.station).answered():
            self.recovered(profile)
