"""Brings writes to a device, several in one request where it can, and tells what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from core.plugin import DeviceTimeout, NotSent
from plugins.bacnet.errors import Refusal
from plugins.bacnet.profile import Profile
from plugins.bacnet.reader import Reader
from plugins.bacnet.requests import write_multiple, write_one
from plugins.bacnet.wire import write_property
from plugins.bacnet.wire.apdu import APDU_LENGTHS
from plugins.bacnet.wire.write_property import Written
from plugins.bacnet.wire.write_property_multiple import size

Fate: TypeAlias = Refusal | DeviceTimeout | None
"""What became of a write: the device's no, silence, or None, as it was taken."""

_HEADER = 4  # octets of a confirmed request before its parameters (20.1.2)
MAYBE = "The write may have been carried out."
_MOST_SINGLY = 8  # so that little is untold where a device takes long over each


class Delivery:
    """Sends writes in their order.

    A write is sent again where no answer came, as a read is: the same value at the same priority twice leaves what it
    leaves once. What is sent after it waits until it is answered or given up.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def send(self, profile: Profile, writes: Sequence[Written]) -> list[Fate]:
        """Send writes of one chunk; after one that got no answer the rest is not sent."""
        if len(writes) == 1 or not profile.writes_multiple(self._reader.clock.monotonic()):
            return await self._singly(profile, writes)
        try:
            await self._reader.ask(profile, write_multiple(profile.path, writes))
        except DeviceTimeout as error:
            return [DeviceTimeout(f"{error} {MAYBE}")] * len(writes)
        except Refusal as refusal:
            return await self._refused(profile, writes, refusal)
        profile.write_multiple = True
        return [None] * len(writes)

    async def _refused(self, profile: Profile, writes: Sequence[Written], refusal: Refusal) -> list[Fate]:
        """Go on behind the write that failed: those before it were carried out, those behind it were not (15.10)."""
        refs = [write.ref for write in writes]
        if refusal.failed in refs:
            at = refs.index(refusal.failed)
            rest = await self.send(profile, writes[at + 1 :]) if writes[at + 1 :] else []
            return [*[None] * at, refusal, *rest]
        if refusal.service_is_missing:
            profile.refuses_write_multiple(self._reader.clock.monotonic())
        elif refusal.answer_is_too_long:
            middle = len(writes) // 2
            first = await self.send(profile, writes[:middle])
            return [*first, *await self._behind(first, profile, writes[middle:])]
        return await self._singly(profile, writes)

    async def _behind(self, before: Sequence[Fate], profile: Profile, writes: Sequence[Written]) -> list[Fate]:
        if isinstance(before[-1], DeviceTimeout):
            return [NotSent()] * len(writes)
        return await self.send(profile, writes)

    async def _singly(self, profile: Profile, writes: Sequence[Written]) -> list[Fate]:
        fates: list[Fate] = []
        for number, write in enumerate(writes):
            try:
                await self._reader.ask(profile, write_one(profile.path, write))
            except Refusal as refusal:
                fates.append(refusal)
            except DeviceTimeout as error:
                rest = len(writes) - number - 1
                return [
                    *fates, DeviceTimeout(f"{error} {MAYBE}"), *[NotSent()] * rest,
                ]  # fmt: skip
            else:
                fates.append(None)
        return fates


def longest_write(profile: Profile) -> int:
    """Return how many octets the parameters of a request to a device may have; longer ones would need segments."""
    return min(profile.max_apdu, APDU_LENGTHS[-1]) - _HEADER


def fits(profile: Profile, write: Written) -> bool:
    """Tell whether a write can be sent in one piece."""
    parameters = write_property.write_parameters(write.ref, write.value, priority=write.priority)
    return len(parameters) <= longest_write(profile)


def chunks(profile: Profile, writes: Sequence[Written], *, singly: bool = False) -> Iterator[slice]:
    """Divide writes into chunks that fit one request each, or few of them, and write no property twice.

    So a failure names one write, and what is read back is what that one left.
    """
    longest = min(longest_write(profile), profile.values.octets)
    most = _MOST_SINGLY if singly else len(writes)
    start, room = 0, longest
    refs: set[object] = set()
    for number, write in enumerate(writes):
        octets = size(write)
        if number > start and (octets > room or write.ref in refs or number - start == most):
            yield slice(start, number)
            start, room = number, longest
            refs.clear()
        room -= octets
        refs.add(write.ref)
    if writes:
        yield slice(start, len(writes))
