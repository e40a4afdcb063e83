"""Judges who has a device number: the device that is known, another one beside it, or the same at a new address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from core.plugin import Context, DeviceTimeout
from core.tasks import end_tasks
from plugins.bacnet.addresses import Station
from plugins.bacnet.duplicates import Duplicates
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, Prop
from plugins.bacnet.profile import Profile
from plugins.bacnet.profiles import Profiles
from plugins.bacnet.protocol import IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.together import together
from plugins.bacnet.wire.datatypes import ObjectId, Ref

LOOK_AGAIN_S = 60.0
_MOST_AT_ONCE = 32


class Claims:
    """Claims to device numbers; ``follow`` is called with a device that has moved, and examines it at its new place."""

    def __init__(
        self,
        ctx: Context,
        profiles: Profiles,
        reader: Reader,
        duplicates: Duplicates,
        follow: Callable[[IAm], Awaitable[None]],
    ) -> None:
        self._follow = follow
        self._ctx = ctx
        self._profiles = profiles
        self._reader = reader
        self._duplicates = duplicates
        self._checking: dict[int, asyncio.Task[None]] = {}

    async def judge(self, instance: int, places: Mapping[Station, IAm]) -> IAm | None:
        """Return whom to examine of those that say they have a number; None: nobody, since it may be another.

        The device that is known stays for as long as it answers where it is known to be. Where two are new, neither is
        taken: a write might reach the wrong one.
        """
        places = await self._with_others(instance, places)
        known = self._known(instance)
        if known is not None:
            place = known.station.place
            if place in places:
                if len(places) > 1:
                    self._duplicates.note(instance, places, place)
                return places[place]
            if await self._is_there(known):
                self._duplicates.note(instance, {place: _claim_of(known), **places}, place)
                return None
        if len(places) > 1:
            self._duplicates.note(instance, places, None)
            return None
        return next(iter(places.values()))

    def note(self, i_am: IAm) -> None:
        """Look into an I-Am that comes from elsewhere than the device is known to be."""
        known, place = self._known(i_am.instance), i_am.station.place
        if known is None or place == known.station.place:
            return
        duplicate = self._duplicates.get(i_am.instance)
        if duplicate is not None and place in duplicate.places:
            return
        if i_am.instance not in self._checking and len(self._checking) < _MOST_AT_ONCE:
            task = asyncio.create_task(self._check(i_am, known), name="bacnet:claim")
            self._checking[i_am.instance] = task
            task.add_done_callback(lambda _task: self._checking.pop(i_am.instance, None))

    async def keep(self) -> None:
        """Look, every now and then, whether duplicates are duplicates yet; never returns."""
        while True:
            await self._ctx.clock.sleep(LOOK_AGAIN_S)
            await self.look_again()

    async def look_again(self) -> None:
        """Ask all places of each duplicate whether the device is there yet."""
        for duplicate in list(self._duplicates):
            self._duplicates.remain(duplicate.instance, await self._left_of(duplicate.places))

    async def close(self) -> None:
        """Stop looking into what was heard."""
        await end_tasks(list(self._checking.values()))

    async def _with_others(self, instance: int, places: Mapping[Station, IAm]) -> Mapping[Station, IAm]:
        """Add the places of a duplicate that have the number yet, though their answer was not heard."""
        duplicate = self._duplicates.get(instance)
        if duplicate is None:
            return places
        unheard = {place: claim for place, claim in duplicate.places.items() if place not in places}
        everywhere = {**places, **await self._left_of(unheard)}
        self._duplicates.remain(instance, everywhere)
        return everywhere

    async def _left_of(self, places: Mapping[Station, IAm]) -> dict[Station, IAm]:
        there = await together(self._has(claim) for claim in places.values())
        return {place: claim for (place, claim), has_it in zip(places.items(), there, strict=True) if has_it}

    async def _check(self, i_am: IAm, known: Profile) -> None:
        place = known.station.place
        is_new, is_old = await together([self._has(i_am), self._is_there(known)])
        if is_new and is_old:
            self._duplicates.note(i_am.instance, {place: _claim_of(known), i_am.station.place: i_am}, place)
        elif is_new:
            await self._follow(i_am)

    def _known(self, instance: int) -> Profile | None:
        return self._profiles.get(f"{self._ctx.name}.{instance}")

    async def _has(self, claim: IAm) -> bool:
        return await self._is_there(self._profiles.met(claim))

    async def _is_there(self, profile: Profile) -> bool:
        """Read the device object's name, which every device has; one of another number says that it has no such."""
        try:
            await self._reader.one(profile, Ref(ObjectId(DEVICE, profile.instance), Prop.OBJECT_NAME))
        except Refusal as refusal:
            return not refusal.object_is_missing
        except DeviceTimeout:
            return False
        return True


def _claim_of(known: Profile) -> IAm:
    return IAm(known.instance, known.station, known.max_apdu, known.can_segment, vendor_id=0)
