"""Judges who has a device number: the device that is known, another one beside it, or the same at a new address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from core.errors import DeviceNotFound
from core.plugin import Context, Device, DeviceTimeout
from core.tasks import end_tasks
from plugins.bacnet.addresses import Station
from plugins.bacnet.discovery.duplicates import ROUNDS, Duplicate, Duplicates
from plugins.bacnet.discovery.nameplate import Nameplate, nameplate
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
    """Claims to device numbers; ``follow`` is called with a device that has moved, and examines it at its new place.

    A device is followed only where nobody answers at its old place, and where what answers at the new one has its
    vendor, model and name and has never been seen beside it. So a write reaches the device that is listed, or none.
    """

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
        self._window = asyncio.Semaphore(_MOST_AT_ONCE)

    async def judge(self, instance: int, places: Mapping[Station, IAm], *, named: bool = False) -> IAm | None:
        """Return whom to examine of those that say they have a number; None: nobody.

        The device that is listed stays for as long as it answers where it is known to be, and of two that are new
        neither is taken. Where the listed one is silent, the one that claims its number is examined if it is the same
        device, or if a person ``named`` the number, whatever device it is; else it is entered among the duplicates,
        unless it does not even say who it is.
        """
        there = await self._with_others(instance, places, tries=ROUNDS if named else 1)
        known = self._known(instance)
        if known is None:
            if len(there) > 1:
                self._duplicates.note(instance, there, None)
            is_one = len(there) == 1 and self._duplicates.get(instance) is None
            return next(iter(there.values())) if is_one else None
        place = known.station.place
        if place in there:
            if len(there) > 1:
                self._duplicates.note(instance, there, place)
            return there[place]
        if await self._is_there(known, tries=ROUNDS):
            self._duplicates.note(instance, {place: _claim_of(known), **there}, place)
            return None
        return await self._of_others(known, there, named=named)

    async def note_renumbered(self, answers: Mapping[int, Mapping[Station, IAm]]) -> None:
        """Have nothing read or written any more where a device has another number now and denies the one it had."""
        numbers = {place: instance for instance, places in answers.items() for place in places}
        for _device_id, profile in list(self._profiles):
            other = numbers.get(profile.station.place, profile.instance)
            if profile.station.place in answers.get(profile.instance, ()) or other == profile.instance:
                continue
            if await self._is_there(profile) is False:
                profile.renumbered = other

    def note(self, i_am: IAm) -> None:
        """Look into an I-Am that comes from elsewhere than the device is known to be."""
        profile, place = self._profiles.get(self._id(i_am.instance)), i_am.station.place
        if profile is None or place == profile.station.place:
            return
        duplicate = self._duplicates.get(i_am.instance)
        if duplicate is not None and place in duplicate.places:
            return
        if i_am.instance not in self._checking and len(self._checking) < _MOST_AT_ONCE:
            task = asyncio.create_task(self._check(i_am), name="bacnet:claim")
            self._checking[i_am.instance] = task
            task.add_done_callback(lambda _task: self._checking.pop(i_am.instance, None))

    def is_listed_as(self, device: Device) -> bool:
        """Tell whether a device is, by its own words, the one that is listed under its id."""
        listed = self._listed(device.id)
        return listed is None or Nameplate.of(listed) == Nameplate.of(device)

    async def keep(self) -> None:
        """Look, every now and then, whether duplicates are duplicates yet; never returns."""
        while True:
            await self._ctx.clock.sleep(LOOK_AGAIN_S)
            await self.look_again()

    async def look_again(self) -> None:
        """Ask all places of each duplicate whether the device is there yet."""
        await together(self._look_at(duplicate) for duplicate in list(self._duplicates))

    async def close(self) -> None:
        """Stop looking into what was heard."""
        await end_tasks(list(self._checking.values()))

    async def _of_others(self, known: Profile, there: Mapping[Station, IAm], *, named: bool) -> IAm | None:
        """Return whom to examine where the device that is listed is silent."""
        claims = list(there.values())
        if len(claims) == 1 and named:
            return claims[0]
        plates = await together(self._nameplate(claim) for claim in claims)
        match plates:
            case [Nameplate() as plate] if self._is_same(plate, claims[0]):
                return claims[0]
        told = {claim.station.place: claim for claim, plate in zip(claims, plates, strict=True) if plate is not None}
        if told:
            place = known.station.place
            self._duplicates.note(known.instance, {place: _claim_of(known), **told}, place, kept_is_silent=True)
        return None

    async def _look_at(self, duplicate: Duplicate) -> None:
        self._known(duplicate.instance)
        async with self._window:
            await self._left_of(duplicate, duplicate.places)

    async def _with_others(self, instance: int, places: Mapping[Station, IAm], *, tries: int) -> Mapping[Station, IAm]:
        """Add the places of a duplicate that have the number yet, though their answer was not heard."""
        self._known(instance)
        duplicate = self._duplicates.get(instance)
        if duplicate is None:
            return places
        unheard = {place: claim for place, claim in duplicate.places.items() if place not in places}
        return {**places, **await self._left_of(duplicate, unheard, tries=tries)}

    async def _left_of(
        self, duplicate: Duplicate, places: Mapping[Station, IAm], *, tries: int = 1
    ) -> dict[Station, IAm]:
        """Ask at these places of a duplicate, note who is gone, and return the places that have the number yet."""
        asked = await together(self._is_there(self._asked(claim), tries=tries) for claim in places.values())
        answers = dict(zip(places, asked, strict=True))
        gone = {place for place, has_it in answers.items() if has_it is False}
        silent = {place for place, has_it in answers.items() if has_it is None}
        self._duplicates.looked(duplicate.instance, gone=gone, silent=silent, rounds=tries)
        return {place: claim for place, claim in places.items() if answers[place]}

    async def _check(self, i_am: IAm) -> None:
        known = self._known(i_am.instance)
        if known is None:
            return
        plate = await self._nameplate(i_am)
        is_there = plate is not None and await self._is_there(known, tries=ROUNDS)
        if plate is None or self._known(i_am.instance) is not known:
            return  # it only claims to be somebody; or a scan was faster
        if not is_there and self._is_same(plate, i_am):
            await self._follow(i_am)
            return
        places = {known.station.place: _claim_of(known), i_am.station.place: i_am}
        self._duplicates.note(i_am.instance, places, known.station.place, kept_is_silent=not is_there)

    def _is_same(self, plate: Nameplate, claim: IAm) -> bool:
        """Tell whether it is the listed device that claims its number from elsewhere, and surely no other."""
        listed = self._listed(self._id(claim.instance))
        alike = listed is not None and Nameplate.of(listed) == plate
        return alike and not self._duplicates.concerned(claim.instance, claim.station.place)

    def _known(self, instance: int) -> Profile | None:
        """Return the profile of the listed device of a number; one that was deleted is forgotten."""
        device_id = self._id(instance)
        profile = self._profiles.get(device_id)
        if profile is not None and self._listed(device_id) is None:
            self._profiles.forget(device_id)
            self._duplicates.disown(instance)
            return None
        return profile

    def _listed(self, device_id: str) -> Device | None:
        try:
            return self._ctx.commands.device(device_id)
        except DeviceNotFound:
            return None

    def _id(self, instance: int) -> str:
        return f"{self._ctx.name}.{instance}"

    def _asked(self, claim: IAm) -> Profile:
        """Return by what to ask whoever claims a number: the device's own profile only where that is."""
        known = self._profiles.get(self._id(claim.instance))
        if known is not None and known.station.place == claim.station.place:
            return known
        return self._profiles.stranger(claim)

    async def _nameplate(self, claim: IAm) -> Nameplate | None:
        return await nameplate(self._reader, self._asked(claim), vendor_id=claim.vendor_id)

    async def _is_there(self, profile: Profile, *, tries: int = 1) -> bool | None:
        """Read the device object's name, which every device has; one of another number says that it has no such.

        None: nobody answers.
        """
        for _ in range(tries):
            try:
                await self._reader.one(profile, Ref(ObjectId(DEVICE, profile.instance), Prop.OBJECT_NAME))
            except Refusal as refusal:
                return not refusal.object_is_missing
            except DeviceTimeout:
                continue
            return True
        return None


def _claim_of(known: Profile) -> IAm:
    return IAm(known.instance, known.station, known.max_apdu, known.can_segment, vendor_id=0)
