"""A plugin with the demo's building, which lives through past weeks as fast as it goes and records every minute.

`benchmarks/history_two_months.py` puts it into a house's folder of plugins. POST /building/weeks begins, GET tells.
"""

import asyncio
import contextlib
from array import array
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import attrs
import voluptuous as vol

from benchmarks.history_data import BOOLEAN, ENUM, NUMBER, TEXT, kind_of, minutes_of, text_of
from core.model import Kind, Reason, Source
from core.plugin import Context, Inventory, Plugin, Point, Route, hookimpl
from core.readings import NAN, Chunk, ReadingBatch
from plugins.simulator.building import make_building
from plugins.simulator.objects import SimulatedObject

SEED = 1
"""The demo's building."""
SAFE_EVERY = 15
"""Minutes of the building's life after which all that was recorded is made safe: some 10,000 samples."""
KINDS = {NUMBER: Kind.NUMBER, BOOLEAN: Kind.BOOLEAN, ENUM: Kind.ENUM, TEXT: Kind.TEXT}


@attrs.frozen
class BuildingConfig:
    """How many minutes are lived through, and when the first begins, in UTC milliseconds."""

    minutes: int
    start_ms: int


class Building(Plugin[BuildingConfig]):
    """The devices of a simulated building, without a network in between."""

    schema: ClassVar[Mapping[Any, Any]] = {vol.Required("minutes"): int, vol.Required("start_ms"): int}
    config_class = BuildingConfig

    def __init__(self, config: BuildingConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._inventories: list[Inventory] = []
        self._kinds: list[bytes] = []
        for each in make_building(SEED).devices:
            device = ctx.device(str(each.instance), name=each.name)
            self._kinds.append(bytes(kind_of(data) for data in each.objects))
            points = [
                device.point(f"{data.type}.{data.instance}", kind=KINDS[kind], name=data.name, unit=data.units)
                for data, kind in zip(each.objects, self._kinds[-1], strict=True)
            ]
            self._inventories.append(Inventory(device, points))
        self._begin = asyncio.Event()
        self._done = self._samples = 0

    @hookimpl
    def register_points(self) -> list[Inventory]:
        return self._inventories

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [
            Route("POST", "/weeks", self._start, "Begin to live"),
            Route("GET", "/weeks", self._tell, "Tell how much has been lived"),
        ]

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._live(), name="building:weeks")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _start(self, _request: Any) -> dict[str, int]:
        self._begin.set()
        return await self._tell(_request)

    async def _tell(self, _request: Any) -> dict[str, int]:
        return {"minutes": self._done, "samples": self._samples}

    async def _live(self) -> None:
        await self._begin.wait()
        slots = self._slots()
        chunks = [Chunk(array("I", [slots[point.id] for point in each.points])) for each in self._inventories]
        lives = minutes_of(SEED)
        for minute in range(self.config.minutes):
            objects, silent = next(lives)
            first = 0
            for number, chunk in enumerate(chunks):
                end = first + len(chunk.slots)
                time_s = (self.config.start_ms + minute * 60_000 + number * 2_000) / 1000
                batch = _read(chunk, objects[first:end], self._kinds[number], time_s=time_s, silent=silent[first])
                self.ctx.services.history.record(batch, range(len(chunk.slots)))
                first = end
                await asyncio.sleep(0)
            if minute % SAFE_EVERY == SAFE_EVERY - 1:
                await self.ctx.services.history.flush()
            self._samples += first
            self._done = minute
        await self.ctx.services.history.flush()
        self._done = self.config.minutes

    def _slots(self) -> dict[str, int]:
        """Return the slots of all points, which are numbered without holes in a house that is new."""
        points: list[Point] = []
        while len(points) < sum(len(each.points) for each in self._inventories):
            point = self.ctx.points.point(len(points) + 1)
            if point is None:
                raise LookupError("the house is not new: begin with an empty folder")
            points.append(point)
        return {point.id: slot for slot, point in enumerate(points, 1)}


def _read(chunk: Chunk, objects: list[SimulatedObject], kinds: bytes, *, time_s: float, silent: bool) -> ReadingBatch:
    """Read a device, as a driver does."""
    count = len(objects)
    if silent:
        reasons = bytes([Reason.OFFLINE]) * count
        return ReadingBatch(chunk, time_s, Source.POLL, array("d", [NAN]) * count, reasons, bytes(count))
    texts = {row: text_of(data) for row, (data, kind) in enumerate(zip(objects, kinds, strict=True)) if kind == TEXT}
    values = array("d", [NAN if row in texts else data.value for row, data in enumerate(objects)])
    return ReadingBatch(chunk, time_s, Source.POLL, values, bytes(count), bytes(count), texts)
