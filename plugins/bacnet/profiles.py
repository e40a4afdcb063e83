"""The profiles of all devices that were met, kept over restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from core.errors import PlantroomError
from core.plugin import Context, Device, Migration
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.profile import DEFAULT_APDU, Profile
from plugins.bacnet.protocol import IAm
from plugins.bacnet.traffic import Traffic

SAVE_EVERY_S = 60.0

_LATENCY = "latency_s"
_TIMES = (_LATENCY, "latency_deviation_s")

MIGRATIONS = (
    Migration(
        1,
        "CREATE TABLE IF NOT EXISTS bacnet_profiles (device_id TEXT PRIMARY KEY, learned TEXT NOT NULL) WITHOUT ROWID",
    ),
)


class Profiles:
    """Profiles by device id; what was learned before a restart is recalled when a device is met again."""

    def __init__(self, ctx: Context, traffic: Traffic) -> None:
        self._ctx = ctx
        self._traffic = traffic
        self._profiles: dict[str, Profile] = {}
        self._saved: dict[str, dict[str, Any]] = {}
        self._writing = asyncio.Lock()

    def __iter__(self) -> Iterator[tuple[str, Profile]]:
        return iter(self._profiles.items())

    def get(self, device_id: str) -> Profile | None:
        """Return the profile of a device, if it has been met since the start."""
        return self._profiles.get(device_id)

    def put(self, profile: Profile) -> None:
        """Have a device read by this profile from now on."""
        self._profiles[self._id(profile.instance)] = profile

    def met(self, i_am: IAm) -> Profile:
        """Return the profile of a device that has said who it is: a new one where it is not what it was."""
        known = self._profiles.get(self._id(i_am.instance))
        if known is not None and known.is_of(i_am):
            known.renumbered = None
            return known
        return self._begin(i_am.instance, i_am.station, i_am.max_apdu, can_segment=i_am.can_segment)

    def stranger(self, i_am: IAm) -> Profile:
        """Return by what to ask a device that only says who it is; nothing of it is kept."""
        return Profile.begin(i_am.instance, i_am.station, i_am.max_apdu, self._traffic, can_segment=i_am.can_segment)

    def forget(self, device_id: str) -> None:
        """Forget where a device is that is listed no more; what was learned of it waits for its return."""
        self._profiles.pop(device_id, None)

    def restored(self, device: Device, interface: str) -> Profile:
        """Begin with what the registry kept of a device; raises ValueError where that is not enough to ask it."""
        kept = device.attributes
        instance = int(kept.get("instance", device.id.rpartition(".")[2]))
        station = parse_station(device.address, interface=interface)
        longest = int(kept.get("max_apdu", DEFAULT_APDU))
        profile = self._profiles[device.id] = self._begin(
            instance, station, longest, can_segment=bool(kept.get("segmentation"))
        )
        return profile

    async def reset(self, device_id: str) -> Profile | None:
        """Forget what was learned of a device, and begin anew with what it said of itself; None: it was not met."""
        async with self._writing:
            self._saved.pop(device_id, None)
            await self._ctx.store.write(("DELETE FROM bacnet_profiles WHERE device_id = ?", [(device_id,)]))
            known = self._profiles.get(device_id)
            if known is None:
                return None
            fresh = self._begin(known.instance, known.station, known.max_apdu, can_segment=known.can_segment)
            fresh.lane.silent = known.silent
            self._profiles[device_id] = fresh
            return fresh

    async def load(self) -> None:
        """Read what was learned before the start; what cannot be read is learned anew, and said so."""
        for device_id, learned in await self._ctx.store.read("SELECT device_id, learned FROM bacnet_profiles"):
            if device_id.startswith(f"{self._ctx.name}."):
                try:
                    self._saved[device_id] = dict(orjson.loads(learned))
                except (TypeError, ValueError) as error:
                    self._ctx.log.warning("profile_not_recalled", device=device_id, error=str(error))

    async def save(self) -> None:
        """Store what has been learned since the last time; that answers took a little more or less is no news."""
        async with self._writing:
            learned = {device_id: profile.learned() for device_id, profile in self._profiles.items()}
            changed = {name: what for name, what in learned.items() if _is_news(what, self._saved.get(name))}
            if changed:
                rows = [(device_id, orjson.dumps(what).decode()) for device_id, what in changed.items()]
                await self._ctx.store.write(("INSERT OR REPLACE INTO bacnet_profiles VALUES (?, ?)", rows))
                self._saved |= changed

    async def keep(self) -> None:
        """Store what is learned, every now and then; never returns."""
        failing = False
        while True:
            await self._ctx.clock.sleep(SAVE_EVERY_S)
            try:
                await self.save()
            except PlantroomError as error:
                if not failing:
                    self._ctx.log.warning("profiles_not_saved", error=str(error))
                failing = True
            else:
                failing = False

    def _begin(self, instance: int, station: Station, max_apdu: int, *, can_segment: bool) -> Profile:
        profile = Profile.begin(instance, station, max_apdu, self._traffic, can_segment=can_segment)
        learned = self._saved.get(self._id(instance))
        if learned is not None:
            try:
                profile.recall(learned, self._ctx.clock.monotonic())
            except (KeyError, TypeError, ValueError) as error:
                self._ctx.log.warning("profile_not_recalled", device=self._id(instance), error=repr(error))
        return profile

    def _id(self, instance: int) -> str:
        return f"{self._ctx.name}.{instance}"


def _is_news(learned: Mapping[str, Any], saved: Mapping[str, Any] | None) -> bool:
    """Tell whether what was learned is worth writing, so that a disk is not written to for each answer's time."""
    if saved is None or {**learned, **dict.fromkeys(_TIMES)} != {**saved, **dict.fromkeys(_TIMES)}:
        return True
    before, now = saved.get(_LATENCY), learned[_LATENCY]
    return not isinstance(before, float | int) or not before / 2 <= now <= 2 * before
