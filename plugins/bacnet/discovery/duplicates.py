"""Device numbers that more than one device has: told once when it begins and once when it ends, and in the health."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import attrs

from core.plugin import Context, Health
from plugins.bacnet.addresses import Station
from plugins.bacnet.protocol import IAm

ROUNDS = 3
"""How often in a row nobody has to answer at a place before it counts as left."""

REMEMBERED_S = 86_400.0
"""For so long after it was one of a duplicate, a place is never taken for where the device has moved to."""

MOST_PLACES = 16
_MOST_NUMBERS = 1000
_MOST_LEFT = 4096


@attrs.frozen
class Duplicate:
    """A number with all places where a device has it.

    ``kept`` is the place of the one that is listed, None where none is; ``since`` is UTC seconds. ``misses`` counts for
    each place how often in a row nobody answered there.
    """

    instance: int
    places: Mapping[Station, IAm]
    kept: Station | None
    since: float
    misses: Mapping[Station, int] = attrs.field(factory=dict)

    @property
    def kept_is_silent(self) -> bool:
        """Whether the one that is listed is away, and the number is another's claim meanwhile."""
        return self.kept is not None and self.misses.get(self.kept, 0) >= ROUNDS

    @property
    def claimed(self) -> str:
        """Where it is claimed by others than the one that is listed."""
        return ", ".join(str(place) for place in self.places if place != self.kept)

    def __str__(self) -> str:
        return ", ".join(str(place) for place in self.places)


class Duplicates:
    """The duplicates of now, and the places that were one of them within the last day."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._found: dict[int, Duplicate] = {}
        self._left: dict[tuple[int, Station], float] = {}

    def __iter__(self) -> Iterator[Duplicate]:
        return iter(sorted(self._found.values(), key=lambda each: each.instance))

    def __len__(self) -> int:
        return len(self._found)

    def get(self, instance: int) -> Duplicate | None:
        """Return the duplicate of a number, if it is one."""
        return self._found.get(instance)

    def concerned(self, instance: int, place: Station) -> bool:
        """Tell whether a place is one of a number's duplicate, or was within a day."""
        known = self._found.get(instance)
        if known is not None and place in known.places:
            return True
        left_at = self._left.get((instance, place))
        return left_at is not None and self._ctx.clock.monotonic() - left_at < REMEMBERED_S

    def note(
        self, instance: int, places: Mapping[Station, IAm], kept: Station | None, *, kept_is_silent: bool = False
    ) -> None:
        """Enter that all these places have a number, beside those that are known to; a thousand numbers at most."""
        known = self._found.get(instance)
        if known is None and len(self._found) >= _MOST_NUMBERS:
            return
        first = {} if known is None else dict(known.places)
        if kept is not None and kept in places:
            first = {kept: places[kept], **first}
        everywhere = dict(islice({**first, **places}.items(), MOST_PLACES))
        misses = {} if known is None else {place: known.misses.get(place, 0) for place in everywhere}
        misses |= {place: ROUNDS if kept_is_silent and place == kept else 0 for place in places}
        since = self._ctx.clock.utc() if known is None else known.since
        found = self._found[instance] = Duplicate(instance, everywhere, kept, since, misses)
        if known is None and kept_is_silent:
            self._ctx.log.warning(
                "device_number_claimed", instance=instance, address=found.claimed, listed=str(kept),
                reason="another device has the number of one that is listed and silent; it is not taken for that one",
            )  # fmt: skip
        elif known is None:
            self._ctx.log.warning(
                "device_number_duplicate", instance=instance, addresses=str(found), listed=kept and str(kept)
            )

    def looked(self, instance: int, *, gone: Collection[Station], silent: Collection[Station], rounds: int = 1) -> None:
        """Note at which of a number's places another number is by now, and at which nobody answered in so many rounds.

        A place where nobody does for a while is left; that of the one that is listed only where all rounds were at
        once, because a person wants to know. With one place or none it is no duplicate any more.
        """
        known = self._found.get(instance)
        if known is None:
            return
        misses = {
            place: known.misses.get(place, 0) + rounds if place in silent else ROUNDS if place in gone else 0
            for place in known.places
        }
        stay = [
            place for place, missed in misses.items() if missed < ROUNDS or (place == known.kept and rounds < ROUNDS)
        ]
        if len(stay) > 1:
            self._leave(instance, [place for place in known.places if place not in stay])
            self._found[instance] = attrs.evolve(
                known,
                places={place: known.places[place] for place in stay},
                kept=known.kept if known.kept in stay else None,
                misses={place: misses[place] for place in stay},
            )
            return
        self._leave(instance, known.places)
        del self._found[instance]
        left = stay[0] if stay else None
        self._ctx.log.info("device_number_unique", instance=instance, address=left and str(left))

    def disown(self, instance: int) -> None:
        """Note that the one of a duplicate that was listed is listed no more."""
        known = self._found.get(instance)
        if known is not None:
            self._found[instance] = attrs.evolve(known, kept=None)

    def health(self) -> tuple[Health, str]:
        """Name them, if there are any."""
        if not self._found:
            return Health.OK, "every device has a number of its own"
        return Health.DEGRADED, "; ".join(_sentence(each) for each in self)

    def _leave(self, instance: int, places: Collection[Station]) -> None:
        """Remember places for a day, the last few thousand of them."""
        now = self._ctx.clock.monotonic()
        for place in places:
            self._left.pop((instance, place), None)
            self._left[instance, place] = now
        for key, left_at in list(islice(self._left.items(), max(len(self._left) - _MOST_LEFT, 0) + len(places))):
            if len(self._left) > _MOST_LEFT or now - left_at >= REMEMBERED_S:
                del self._left[key]


def _sentence(duplicate: Duplicate) -> str:
    if duplicate.kept_is_silent:
        return (
            f"device number {duplicate.instance} is claimed at {duplicate.claimed} by another device than the one at "
            f"{duplicate.kept}, which is listed and silent"
        )
    return f"device number {duplicate.instance} is used at {duplicate}"
