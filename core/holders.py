"""Remembers who holds which slot of a priority array, as far as it was written through us."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from core.model import Command, Point, Taken, Value, WriteResult
from core.records import Record
from core.values import agrees

SLOTS_KEPT = 10_000


@attrs.frozen
class Holder:
    """Who last wrote into a slot of a priority array; ``since`` is UTC seconds."""

    principal: str
    since: float
    value: Value


class Holders:
    """The holders of slots by point and priority, the last written of them."""

    def __init__(self) -> None:
        self._holders: OrderedDict[tuple[str, int], Holder] = OrderedDict()

    def get(self, point: Point, priority: int, shown: Value) -> Holder | None:
        """Return who holds a slot that shows a value; None where that is not what was written through us."""
        holder = self._holders.get((point.id, priority))
        return holder if holder is not None and agrees(point, holder.value, shown) else None

    def note(self, command: Command, result: WriteResult | Taken, now: float) -> None:
        """Note what a command has done to the slot that it was for."""
        if result.priority is not None:
            self._put(command.point.id, result.priority, command.principal, now, held(command, result))

    def restore(self, records: Iterable[Record]) -> None:
        """Take over what was noted before a restart, from the records of all commands, the oldest first."""
        for record in records:
            priority = record.result.get("priority")
            if priority is not None:
                self._put(record.target, priority, record.principal, record.at, record.result.get("held"))

    def _put(self, point_id: str, priority: int, principal: str, since: float, value: Value) -> None:
        key = point_id, priority
        self._holders.pop(key, None)
        if value is not None:
            self._holders[key] = Holder(principal, since, value)
            if len(self._holders) > SLOTS_KEPT:
                self._holders.popitem(last=False)


def held(command: Command, result: WriteResult | Taken) -> Value:
    """Return what a command has left in its slot: None where it was emptied, or holds something else."""
    if result.priority is None or command.relinquish:
        return None
    if isinstance(result, Taken):
        return command.value
    if result.verified is False:
        return None
    return result.value if result.active_priority == result.priority else command.value
