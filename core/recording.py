"""Hands what changes to the history: readings, and devices of which nothing is known any more."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

from core.events import DeviceStatusChanged, EventHandler, ReadingsChanged
from core.model import DeviceStatus, Reason, Source
from core.readings import Chunk, Row, batch_of
from core.registry import Registry
from core.services import Services

QUEUE = 10_000
RESUME_EVERY_S = 5.0


class Recording:
    """What the kernel hears on behalf of the history service, whichever provides it at the moment.

    A device that is silent is on record as such: its points have a sample without a value, and another when they are
    known again, also where that is no change of the current reading.
    """

    def __init__(self, registry: Registry, services: Services) -> None:
        self._registry = registry
        self._services = services
        self._silent: dict[int, float] = {}  # slots of silent devices, and since when

    @property
    def handlers(self) -> Iterable[EventHandler[ReadingsChanged] | EventHandler[DeviceStatusChanged]]:
        """What to subscribe."""
        yield EventHandler(ReadingsChanged, self._changed, queue=QUEUE)
        yield EventHandler(DeviceStatusChanged, self._status_changed, queue=QUEUE)

    async def _changed(self, event: ReadingsChanged) -> None:
        self._services.history.record(event.batch, event.rows)

    async def _status_changed(self, event: DeviceStatusChanged) -> None:
        if event.status is DeviceStatus.ONLINE:
            await self.resume()
            return
        if not self._registry.has_device(event.device_id):
            return
        reason = Reason.OFFLINE if event.status is DeviceStatus.OFFLINE else Reason.STALE
        points = self._registry.device(event.device_id).points.values()
        current = self._registry.current
        slots = [entry.slot for entry in points if current.time(entry.slot) and entry.slot not in self._silent]
        self._silent.update(dict.fromkeys(slots, event.at))
        self._record(slots, [Row(reason=reason)] * len(slots), time=event.at, source=Source.POLL)

    async def resume(self) -> None:
        """Record the points of devices that were silent and have been read since, as they are now."""
        current, known = self._registry.current, self._registry.by_slot
        self._silent = {slot: since for slot, since in self._silent.items() if known(slot) is not None}
        together: defaultdict[tuple[float, Source], list[int]] = defaultdict(list)
        for slot, since in self._silent.items():
            if current.time(slot) > since:
                together[current.time(slot), current.source(slot)].append(slot)
        for (time, source), slots in together.items():
            for slot in slots:
                del self._silent[slot]
            self._record(slots, [Row.of_stored(current.stored(slot)) for slot in slots], time=time, source=source)

    def _record(self, slots: list[int], rows: list[Row], *, time: float, source: Source) -> None:
        if slots:
            batch = batch_of(Chunk(array("I", slots)), rows, time=time, source=source)
            self._services.history.record(batch, range(len(slots)))
