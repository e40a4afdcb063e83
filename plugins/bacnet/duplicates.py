"""Device numbers that more than one device has: told once when it begins and once when it ends, and in the health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from core.plugin import Context, Health
from plugins.bacnet.addresses import Station
from plugins.bacnet.protocol import IAm


@attrs.frozen
class Duplicate:
    """A number with all places where a device has it.

    ``kept`` is the place of the one that is listed, None where none is; ``since`` is UTC seconds.
    """

    instance: int
    places: Mapping[Station, IAm]
    kept: Station | None
    since: float

    def __str__(self) -> str:
        return ", ".join(str(place) for place in self.places)


class Duplicates:
    """The duplicates of now."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._found: dict[int, Duplicate] = {}

    def __iter__(self) -> Iterator[Duplicate]:
        return iter(sorted(self._found.values(), key=lambda each: each.instance))

    def __len__(self) -> int:
        return len(self._found)

    def get(self, instance: int) -> Duplicate | None:
        """Return the duplicate of a number, if it is one."""
        return self._found.get(instance)

    def note(self, instance: int, places: Mapping[Station, IAm], kept: Station | None) -> Duplicate:
        """Enter that all these places have a number, beside those that are known to."""
        known = self._found.get(instance)
        since = self._ctx.clock.utc() if known is None else known.since
        everywhere = dict(places) if known is None else {**known.places, **places}
        found = self._found[instance] = Duplicate(instance, everywhere, kept, since)
        if known is None:
            self._ctx.log.warning(
                "device_number_duplicate", instance=instance, addresses=str(found), listed=kept and str(kept)
            )
        return found

    def remain(self, instance: int, places: Mapping[Station, IAm]) -> None:
        """Note that only these places have the number yet; with one or none it is no duplicate any more."""
        known = self._found.get(instance)
        if known is None:
            return
        if len(places) > 1:
            self._found[instance] = attrs.evolve(
                known, places=places, kept=known.kept if known.kept in places else None
            )
            return
        del self._found[instance]
        left = next(iter(places), None)
        self._ctx.log.info("device_number_unique", instance=instance, address=left and str(left))

    def health(self) -> tuple[Health, str]:
        """Name them, if there are any."""
        if not self._found:
            return Health.OK, "every device has a number of its own"
        return Health.DEGRADED, "; ".join(f"device number {each.instance} is used at {each}" for each in self)
