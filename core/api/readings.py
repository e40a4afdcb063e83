"""Answers the current readings of points, read from their devices first where they are too old."""

from __future__ import annotations

from typing import Literal

import attrs
from aiohttp import web

from core import problem
from core.api.render import age_header, render_reading
from core.clock import Clock
from core.errors import DeviceError, PlantroomError, PluginNotRunning, PointNotFound
from core.exchange import Exchange
from core.registry import PointEntry, Registry
from core.routes import Route
from core.serialize import dumps, field
from core.web import Answer

OLDEST_S = 86_400.0 * 366


@attrs.frozen(kw_only=True)
class Freshness:
    """How old a reading may be, and what to answer where a newer one cannot be had."""

    max_age: float | None = field(
        default=None, min=0, max=OLDEST_S, description="Seconds; an older reading is read from its device first."
    )
    on_error: Literal["last"] | None = field(
        default=None, description="`last`: answer the last reading with its quality instead of the error."
    )


@attrs.frozen(kw_only=True)
class ReadingsBody(Freshness):
    """Which points' readings to answer."""

    point_ids: tuple[str, ...] = field(min_items=1, max_items=1000, max_length=500)


class Readings:
    """The resources /api/v1/points/{point_id}/value, for reading, and /api/v1/readings."""

    def __init__(self, registry: Registry, exchange: Exchange, clock: Clock) -> None:
        self._registry = registry
        self._exchange = exchange
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        one, many = "/api/v1/points/{point_id}/value", "/api/v1/readings/query"
        errors = (PointNotFound, PluginNotRunning, DeviceError)
        return [
            Route("GET", one, self.get, "Answer a point's current reading", query=Freshness, errors=errors),
            Route("POST", many, self.query, "Answer the current readings of many points", body=ReadingsBody),
        ]

    async def get(self, _request: web.Request, *, point_id: str, query: Freshness) -> Answer:
        """Answer one reading."""
        entry = self._registry.point(point_id)
        errors = await self._exchange.refresh([entry], max_age=query.max_age)
        if point_id in errors and not self._last_will_do(entry, query):
            raise errors[point_id]
        reading = self._registry.reading(entry)
        body, tag = render_reading(reading)
        return Answer(body, tag=tag, headers=age_header(reading, self._clock.utc()))

    async def query(self, _request: web.Request, *, body: ReadingsBody) -> Answer:
        """Answer many readings, each with its own success."""
        entries: dict[str, PointEntry] = {}
        errors: dict[str, PlantroomError] = {}
        for point_id in dict.fromkeys(body.point_ids):
            try:
                entries[point_id] = self._registry.point(point_id)
            except PointNotFound as error:
                errors[point_id] = error
        failed = await self._exchange.refresh(list(entries.values()), max_age=body.max_age)
        errors |= {each: error for each, error in failed.items() if not self._last_will_do(entries[each], body)}
        return batch_answer([self._item(each, entries.get(each), errors.get(each)) for each in body.point_ids])

    def _item(self, point_id: str, entry: PointEntry | None, error: PlantroomError | None) -> bytes:
        if error is not None:
            return failed_item(point_id, error)
        reading = None if entry is None else self._registry.reading(entry)
        return b'{"point_id":%b,"reading":%b}' % (dumps(point_id), render_reading(reading)[0])

    def _last_will_do(self, entry: PointEntry, freshness: Freshness) -> bool:
        return freshness.on_error == "last" and self._registry.reading(entry) is not None


def failed_item(point_id: str, error: PlantroomError) -> bytes:
    """Write an item of a batch that failed alone."""
    return dumps({"point_id": point_id, "error": problem.document(error)})


def batch_answer(items: list[bytes]) -> Answer:
    """Write the answer to a batch, its items in the order asked."""
    return Answer(b'{"items":[' + b",".join(items) + b"]}")
