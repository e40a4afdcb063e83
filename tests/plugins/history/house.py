"""A house as the history knows it: points by slot, with what tests say of them."""

from __future__ import annotations

import attrs

from core.model import Flag, Kind, Point, Reason, Source
from core.readings import StoredReading


@attrs.define
class House:
    """Points that are added one by one; slots are theirs in this order, from 1 on."""

    version: int = 1
    _points: list[Point] = attrs.field(factory=list)
    _tags: list[tuple[str, ...]] = attrs.field(factory=list)
    _read: dict[int, StoredReading] = attrs.field(factory=dict)

    def add(
        self, point_id: str, *, tags: tuple[str, ...] = (), unit: str | None = None, kind: Kind = Kind.NUMBER
    ) -> int:
        """Add a point, and return its slot."""
        device = point_id.rpartition(".")[0]
        self._points.append(Point(id=point_id, device_id=device, name=point_id, kind=kind, unit=unit))
        self._tags.append(tags)
        self.version += 1
        return len(self._points)

    def tag(self, slot: int, *tags: str) -> None:
        """Give a point other tags."""
        self._tags[slot - 1] = tags
        self.version += 1

    def confirm(self, slot: int, value: float | None, at: float, *, text: str | None = None) -> None:
        """Have a point read something, unchanged or not, at a time in UTC seconds."""
        codes = int(Reason.NONE), int(Flag(0)), int(Source.POLL)
        self._read[slot] = StoredReading(slot, value, text, None, *codes, time=at, changed_at=at)

    def point(self, slot: int) -> Point | None:
        return self._points[slot - 1] if 0 < slot <= len(self._points) else None

    def tags(self, slot: int) -> tuple[str, ...]:
        return self._tags[slot - 1]

    def confirmed(self, slot: int) -> StoredReading | None:
        return self._read.get(slot)
