"""What plugins that deal with everybody's points may know of them, by slot."""

from __future__ import annotations

from core.model import Point
from core.readings import StoredReading
from core.registry import PointEntry, Registry


class KnownPoints:
    """A view of the register for plugins: what is behind a slot, and what it reads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def version(self) -> int:
        """A number that grows with each change of what points are."""
        return self._registry.version

    def point(self, slot: int) -> Point | None:
        """Return the point of a slot as it was last described; None where there is none any more."""
        entry = self._registry.by_slot(slot)
        return None if entry is None else entry.point

    def tags(self, slot: int) -> tuple[str, ...]:
        """Return a point's tags and its device's."""
        entry = self._registry.by_slot(slot)
        return () if entry is None else (*entry.overrides.tags, *entry.device.overrides.tags)

    def confirmed(self, slot: int) -> StoredReading | None:
        """Return what a point that is polled reads, in columns; None where it has never been read."""
        entry = self._registry.by_slot(slot)
        if entry is None or not _is_read(entry) or not self._registry.current.time(slot):
            return None
        return self._registry.current.stored(slot)


def _is_read(entry: PointEntry) -> bool:
    return entry.polled and not entry.device.vanished
