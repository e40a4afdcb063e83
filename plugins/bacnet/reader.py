"""Asks devices, each request in its turn, with fallbacks for what a device refuses: each property has its answer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from core.plugin import Clock, DeviceTimeout
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.engine import Engine, Outcome, Request
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, Prop
from plugins.bacnet.planner import cost, halves, pack
from plugins.bacnet.profile import Budget, Profile
from plugins.bacnet.protocol import Answer
from plugins.bacnet.requests import answers_of, items_of, octets_of, read_multiple, read_one
from plugins.bacnet.together import together
from plugins.bacnet.traffic import Traffic, Turn
from plugins.bacnet.wire.datatypes import Items, ObjectId, Ref

T = TypeVar("T")


class Reader:
    """Requests to devices.

    ``recovered`` is called with a device that answered when nothing on its network had.
    """

    def __init__(
        self, client_of: Callable[[Station], Client], traffic: Traffic, clock: Clock, *, timeout_s: float, retries: int
    ) -> None:
        self.recovered: Callable[[Profile], None] = lambda _profile: None
        self._client_of = client_of
        self.traffic = traffic
        self.clock = clock
        self._timeout_s = timeout_s
        self._later_s = (timeout_s,) * retries
        self._probes: dict[Profile, asyncio.Task[Answer]] = {}

    async def ask(self, profile: Profile, request: Request) -> bytes:
        """Send a request and return the octets of its result; raises Refusal or DeviceTimeout."""
        errand = _Awaited(self, profile, request)
        self.traffic.enter(errand)
        try:
            outcome = await errand.outcome
        finally:
            errand.give_up()
        if isinstance(outcome, bytes):
            return outcome
        raise outcome

    async def all(
        self,
        profile: Profile,
        refs: Iterable[Ref],
        budget: Budget,
        *,
        told: Callable[[int], None] = lambda _count: None,
    ) -> dict[Ref, Answer]:
        """Read properties in chunks of the budget; raises DeviceTimeout when the device is silent.

        ``told`` is called with the number of answers so far. A request that alone goes unanswered is torn
        in two like one that is refused.
        """
        answers: dict[Ref, Answer] = {}
        for entries in pack(((ref,) for ref in refs), budget.octets):
            chunk = [ref for entry in entries for ref in entry]
            answers.update(zip(chunk, await self._patiently(profile, chunk, budget), strict=True))
            told(len(answers))
        return answers

    async def chunk(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        """Read properties with one request if that can be; raises DeviceTimeout.

        Where the device refuses the request as a whole, it is torn in two until what is wrong stands alone.
        """
        return await _fairly(profile, refs, self._chunk(profile, refs, budget))

    async def torn(self, profile: Profile, refs: Sequence[Ref], budget: Budget, refusal: Refusal) -> list[Answer]:
        """Read properties with smaller requests after one for all of them was refused; raises DeviceTimeout."""
        return await _fairly(profile, refs, self._torn(profile, refs, budget, refusal))

    async def alive(self, profile: Profile) -> None:
        """Ask the least that any device answers, once for all who want to know; raises DeviceTimeout."""
        probe = self._probes.get(profile)
        if probe is None:
            name = Ref(ObjectId(DEVICE, profile.instance), Prop.OBJECT_NAME)
            probe = self._probes[profile] = asyncio.create_task(self._single(profile, name), name="bacnet:probe")
            probe.add_done_callback(lambda task: self._probed(profile, task))
        await asyncio.shield(probe)

    async def one(self, profile: Profile, ref: Ref) -> Items:
        """Read one property, in segments where its value is too long for one answer; raises Refusal, DeviceTimeout."""
        return items_of(await self.octets(profile, ref))

    async def octets(self, profile: Profile, ref: Ref) -> bytes:
        """Read one property as `one` does, and answer its tagged octets."""
        try:
            return octets_of(await self.ask(profile, read_one(profile.path, ref)), ref)
        except Refusal as refusal:
            if not refusal.answer_is_too_long or not profile.can_segment:
                raise
            return await self._long(profile, ref)

    async def _long(self, profile: Profile, ref: Ref) -> bytes:
        """Read one property whose value may come in segments."""
        async with self.traffic.turn(profile.lane):
            return await self._slowly(profile, self._client_of(profile.station).read_long(profile.station, ref))

    def lost(self, profile: Profile) -> None:
        """Note that a request got no answer while others did: it was one too many, or too large."""
        profile.lane.pace.missed(self.clock.monotonic())

    def engine(self, profile: Profile) -> Engine:
        """Return the engine that reaches a device."""
        return self._client_of(profile.station).engine

    def waits(self, profile: Profile) -> tuple[float, ...]:
        """Return how long to wait for each try: the first as long as answers take, the last as long as is allowed."""
        if profile.lane.silent or not self._later_s:
            return (self._timeout_s, *self._later_s)
        return (profile.latency.wait_s(self._timeout_s), *self._later_s)

    def note(self, errand: Errand, outcome: Outcome) -> None:
        """Learn from how a request went."""
        profile, request = errand.profile, errand.request
        if isinstance(outcome, DeviceTimeout):
            self.missed(profile, errand.asked_at or 0.0)
            return
        self._answered(profile, request.ended_at)
        rtt_s = request.rtt_s
        if rtt_s is not None:
            profile.latency.note(rtt_s, alone=errand.alone)
            slow = profile.latency.is_slow(rtt_s)
            self.traffic.answered(errand, request.sent_at, request.ended_at, slow=slow)
        else:
            self.lost(profile)

    def missed(self, profile: Profile, asked_at: float) -> None:
        """Note that a device has not answered a request of this (monotonic) time."""
        lane = profile.lane
        if not lane.silent:
            lane.silent = True
            if lane.network.missed(asked_at):
                self.traffic.let_all_pass(lane.network)

    async def _patiently(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        try:
            return await self.chunk(profile, refs, budget)
        except DeviceTimeout:
            await self.alive(profile)
        if len(refs) == 1:
            return [Refusal("abort", "no-response")]
        budget.shrink(cost(refs), self.clock.monotonic())
        left, right = halves(refs)
        return [*await self._patiently(profile, left, budget), *await self._patiently(profile, right, budget)]

    async def _chunk(self, profile: Profile, refs: Sequence[Ref], budget: Budget) -> list[Answer]:
        profile.reconsider(self.clock)
        if len(refs) == 1 or not profile.multiple or not profile.loners.keys().isdisjoint(refs):
            return await self._singles(profile, refs)
        try:
            answers = answers_of(await self.ask(profile, read_multiple(profile.path, refs)), refs)
        except Refusal as refusal:
            return await self._torn(profile, refs, budget, refusal)
        budget.fits(cost(refs), self.clock)
        profile.trust(refs)
        return answers

    async def _torn(self, profile: Profile, refs: Sequence[Ref], budget: Budget, refusal: Refusal) -> list[Answer]:
        now = self.clock.monotonic()
        if refusal.service_is_missing:
            profile.refuses_multiple(now)
        elif refusal.answer_is_too_long:
            budget.shrink(cost(refs), now)
        elif len({ref.object for ref in refs}) == 1:
            profile.suspect(refs, now)
        if refusal.service_is_missing or len(refs) == 1:
            return await self._singles(profile, refs)
        left, right = halves(refs)
        return [*await self._chunk(profile, left, budget), *await self._chunk(profile, right, budget)]

    async def _singles(self, profile: Profile, refs: Sequence[Ref]) -> list[Answer]:
        first = await self._single(profile, refs[0])
        return [first, *await together(self._single(profile, ref) for ref in refs[1:])]

    async def _single(self, profile: Profile, ref: Ref) -> Answer:
        try:
            return await self.one(profile, ref)
        except Refusal as refusal:
            return refusal

    async def _slowly(self, profile: Profile, work: Awaitable[T]) -> T:
        """Do what bacpypes3 does for us, and note whether the device answered."""
        asked_at = self.clock.monotonic()
        try:
            result = await work
        except DeviceTimeout:
            self.missed(profile, asked_at)
            raise
        except Refusal:
            self._answered(profile, self.clock.monotonic())
            raise
        self._answered(profile, self.clock.monotonic())
        return result

    def _answered(self, profile: Profile, now: float) -> None:
        profile.lane.silent = False
        if profile.lane.network.answered(now):
            self.recovered(profile)

    def _probed(self, profile: Profile, task: asyncio.Task[Answer]) -> None:
        del self._probes[profile]
        if not task.cancelled():
            task.exception()  # told to whoever waits


class Errand(Turn):
    """A request in its turn; what becomes of it is `told`, and whoever has it can give it up.

    ``asked_at`` is the monotonic time of the first try, None before its turn.
    """

    __slots__ = ("_reader", "asked_at", "profile", "request")

    def __init__(self, reader: Reader, profile: Profile, request: Request) -> None:
        super().__init__(profile.lane)
        self._reader = reader
        self.asked_at: float | None = None
        self.profile = profile
        self.request = request

    @abstractmethod
    def told(self, outcome: Outcome) -> None:
        """Take the outcome."""

    def begin(self) -> None:
        reader, request = self._reader, self.request
        request.waits_s = reader.waits(self.profile)
        reader.engine(self.profile).ask(request, self)
        self.asked_at = request.sent_at

    def answered(self, outcome: Outcome) -> None:
        """Take the request's outcome, and make room for the next."""
        try:
            self._reader.note(self, outcome)
            self.told(outcome)
        finally:
            self._reader.traffic.leave(self)

    def overdue(self) -> None:
        """Hold up nobody else while the first try has got no answer."""
        self._reader.traffic.step_aside(self)

    def give_up(self) -> None:
        """Wait no longer for the outcome; it is not told. That a first try got no answer is noted all the same."""
        self.given_up = True
        request = self.request
        if request.sender is self:
            self._reader.engine(self.profile).give_up(request)
            if request.tries > 1:
                self._reader.missed(self.profile, request.sent_at)
            self._reader.traffic.leave(self)


class _Awaited(Errand):
    """A request that a coroutine waits for."""

    __slots__ = ("outcome",)

    def __init__(self, reader: Reader, profile: Profile, request: Request) -> None:
        super().__init__(reader, profile, request)
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def is_gone(self) -> bool:
        return self.outcome.cancelled()

    def told(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


async def _fairly(profile: Profile, refs: Sequence[Ref], work: Awaitable[list[Answer]]) -> list[Answer]:
    """Isolate nothing where of several objects each failed, or one got no answer: it is the device that is unwell."""
    several = len({ref.object for ref in refs}) > 1
    try:
        answers = await work
    except DeviceTimeout:
        if several:
            profile.forgive(refs)
        raise
    if several and all(isinstance(answer, Refusal) for answer in answers):
        profile.forgive(refs)
    return answers
