"""Reads the batches behind a position, and joins them into deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import attrs

from core.clock import Clock
from core.model import Point
from core.registry import Registry
from core.samples import Committed, Lost, Position
from core.services import History
from core.sinks import Delivery

READ_AT_ONCE = 8
"""How many batches are read at once: beyond its bound of samples, a delivery in the making holds so many at most."""
JOINED_AT_MOST = 64
"""How many batches a delivery has at most, however few samples are in them."""
RESOLVED_AT_ONCE = 2000
"""How many slots are looked up between two turns of the event loop."""
NOTE_EVERY_S = 5.0
"""How often a place is noted in the history: each time is a commit of its own there."""


@attrs.frozen
class Sender:
    """Who delivers: the installation's UUID and its site."""

    installation_id: str
    site: str


class Outbox:
    """What a history has committed, as deliveries of ``most`` samples at most, unless one batch alone has more."""

    def __init__(self, history: History, registry: Registry, sender: Sender, *, most: int) -> None:
        self._history = history
        self._registry = registry
        self._sender = sender
        self._most = most

    async def after(self, position: Position) -> Delivery | None:
        """Return what comes behind a position; None where there is nothing yet."""
        lost, batches = await self._read(position)
        if lost is None and not batches:
            return None
        points = await self._points(batches)
        return Delivery(self._sender.installation_id, self._sender.site, tuple(batches), points, lost)

    async def _read(self, position: Position) -> tuple[Lost | None, list[Committed]]:
        lost: Lost | None = None
        batches: list[Committed] = []
        samples = 0
        while position != self._history.newest and len(batches) < JOINED_AT_MOST:
            found = await self._history.read_after(position, READ_AT_ONCE)
            for each in found:
                if isinstance(each, Lost):
                    if lost is not None or batches:  # told with what comes behind it
                        return lost, batches
                    lost, position = each, each.last
                    continue
                samples += len(each.rows.slots)
                if batches and samples > self._most:
                    return lost, batches
                batches.append(each)
                position = each.position
            if not found:
                break
        return lost, batches

    async def _points(self, batches: Sequence[Committed]) -> Mapping[int, Point]:
        """Look up the points of all slots, in pieces, so that nobody waits for a large batch."""
        slots = list(set().union(*(batch.rows.slots for batch in batches)))
        known: dict[int, Point] = {}
        for start in range(0, len(slots), RESOLVED_AT_ONCE):
            piece = slots[start : start + RESOLVED_AT_ONCE]
            known.update((slot, entry.point) for slot in piece if (entry := self._registry.by_slot(slot)))
            await asyncio.sleep(0)
        return known


class Place:
    """Where a sink stands in a history; what it has passed is noted there now and then, and when delivery ends."""

    def __init__(self, name: str, history: History, clock: Clock) -> None:
        self.position = Position(0, 0)
        self.history = history
        self._name = name
        self._clock = clock
        self._noted = self.position
        self._noted_at = clock.monotonic()

    async def find(self) -> None:
        """Ask the history for it; what could not be noted there counts all the same."""
        self._noted = await self.history.register(self._name)
        self.position = max(self.position, self._noted)

    async def note(self, *, at_once: bool = False) -> None:
        """Tell the history of it, if it is time to."""
        is_due = at_once or self._clock.monotonic() - self._noted_at >= NOTE_EVERY_S
        if is_due and self.position > self._noted:
            self._noted, self._noted_at = self.position, self._clock.monotonic()
            await self.history.advance(self._name, self.position)

    def resume(self, known: Position | None) -> bool:
        """Go on where a receiver says that it stands; answers whether it speaks of this history."""
        resumed = resumed_at(self.position, known, self.history.newest)
        self.position = resumed
        return known in (None, resumed)


def batches_between(after: Position, until: Position) -> int:
    """Count the batches behind one position up to another; at least, where an epoch ended between them."""
    if after.epoch == until.epoch:
        return max(0, until.seq - after.seq)
    return until.seq if after < until else 0


def batches_of(lost: Lost) -> int:
    """Count lost batches, at least as `batches_between` does."""
    return max(1, batches_between(Position(lost.first.epoch, lost.first.seq - 1), lost.last))


def resumed_at(cursor: Position, known: Position | None, newest: Position) -> Position:
    """Return where to go on: where the receiver says that it stands, if it speaks of this history, else at the cursor.

    An epoch that is neither the cursor's nor the present one may be another history's, which was in service for a
    while: what is behind the cursor would be left out then.
    """
    if known is None or known > newest or known.epoch not in (cursor.epoch, newest.epoch):
        return cursor
    return known
